package ref

import "math"

// AttentionParams mirrors attention.wgsl and its gradients. qkv is
// (batch, T, 3, heads, dim); o and its gradient are (batch, T, heads, dim);
// lse and delta are (batch, heads, T).
type AttentionParams struct {
	T, Heads, Dim uint32
	Batch         uint32
	Scale         float64 // of the scores, 1/√dim
}

// head is one head of one sample: element (i, d) of q lies at qkv + i·row + d,
// k at q + width, v at q + 2·width, and of o at out + i·width + d.
type head struct{ qkv, row, out, width, rows int }

func (p AttentionParams) head(z int) head {
	t, width := int(p.T), int(p.Heads*p.Dim)
	sample, h := z/int(p.Heads), z%int(p.Heads)*int(p.Dim)
	return head{qkv: sample*t*3*width + h, row: 3 * width, out: sample*t*width + h, width: width, rows: z * t}
}

func (h head) q(i int) int { return h.qkv + i*h.row }
func (h head) k(i int) int { return h.q(i) + h.width }
func (h head) v(i int) int { return h.q(i) + 2*h.width }
func (h head) o(i int) int { return h.out + i*h.width }

func logSumExp(row []float64) float64 {
	top := math.Inf(-1)
	for _, s := range row {
		top = max(top, s)
	}
	sum := 0.0
	for _, s := range row {
		sum += math.Exp(s - top)
	}
	return top + math.Log(sum)
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

// addScaled adds v·x to dst.
func addScaled(dst []float64, v float64, x []float64) {
	for i := range dst {
		dst[i] += v * x[i]
	}
}

// Attention computes o = softmax(scale·q·kᵀ)·v of every head and keeps the
// log-sum-exp of each row of scores.
func Attention(p AttentionParams, qkv, o, lse []float64) {
	t, dim := int(p.T), int(p.Dim)
	Parallel(int(p.Batch*p.Heads), func(lo, hi int) {
		scores := make([]float64, t)
		for z := lo; z < hi; z++ {
			h := p.head(z)
			for i := range t {
				q := qkv[h.q(i):][:dim]
				for j := range t {
					scores[j] = p.Scale * dot(q, qkv[h.k(j):][:dim])
				}
				l := logSumExp(scores)
				out := o[h.o(i):][:dim]
				clear(out)
				for j, s := range scores {
					addScaled(out, math.Exp(s-l), qkv[h.v(j):][:dim])
				}
				lse[h.rows+i] = l
			}
		}
	})
}

// AttentionDelta computes delta_i = dout_i·o_i, which is Σ_j p_ij·dp_ij: what
// the softmax gradient subtracts.
func AttentionDelta(p AttentionParams, dout, o, delta []float64) {
	dim := int(p.Dim)
	for z := range int(p.Batch * p.Heads) {
		h := p.head(z)
		for i := range int(p.T) {
			delta[h.rows+i] = dot(dout[h.o(i):][:dim], o[h.o(i):][:dim])
		}
	}
}

// scoreGrad returns the probability p_ij and the gradient of the score,
// ds_ij = p_ij·(dout_i·v_j − delta_i).
func (p AttentionParams) scoreGrad(h head, i, j int, qkv, dout, lse, delta []float64) (prob, ds float64) {
	dim := int(p.Dim)
	prob = math.Exp(p.Scale*dot(qkv[h.q(i):][:dim], qkv[h.k(j):]) - lse[h.rows+i])
	return prob, prob * (dot(dout[h.o(i):][:dim], qkv[h.v(j):]) - delta[h.rows+i])
}

// AttentionGradQ writes dq_i = scale·Σ_j ds_ij·k_j into dqkv.
func AttentionGradQ(p AttentionParams, qkv, dout, lse, delta, dqkv []float64) {
	t, dim := int(p.T), int(p.Dim)
	Parallel(int(p.Batch*p.Heads)*t, func(lo, hi int) {
		for zi := lo; zi < hi; zi++ {
			h, i := p.head(zi/t), zi%t
			dq := dqkv[h.q(i):][:dim]
			clear(dq)
			for j := range t {
				_, ds := p.scoreGrad(h, i, j, qkv, dout, lse, delta)
				addScaled(dq, p.Scale*ds, qkv[h.k(j):])
			}
		}
	})
}

// AttentionGradKV writes dk_j = scale·Σ_i ds_ij·q_i and dv_j = Σ_i p_ij·dout_i
// into dqkv.
func AttentionGradKV(p AttentionParams, qkv, dout, lse, delta, dqkv []float64) {
	t, dim := int(p.T), int(p.Dim)
	Parallel(int(p.Batch*p.Heads)*t, func(lo, hi int) {
		for zj := lo; zj < hi; zj++ {
			h, j := p.head(zj/t), zj%t
			dk, dv := dqkv[h.k(j):][:dim], dqkv[h.v(j):][:dim]
			clear(dk)
			clear(dv)
			for i := range t {
				prob, ds := p.scoreGrad(h, i, j, qkv, dout, lse, delta)
				addScaled(dk, p.Scale*ds, qkv[h.q(i):])
				addScaled(dv, prob, dout[h.o(i):])
			}
		}
	})
}
