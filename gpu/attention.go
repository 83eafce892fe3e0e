package gpu

import (
	"fmt"
	"math"
	"strconv"

	"wgjepa/internal/ref"
	"wgjepa/wgsl"
)

var (
	softmax = register("softmax", "softmax.wgsl", nil, "scores lse inverse", func(p ref.SoftmaxParams, b []ref.Buffer) {
		ref.Softmax(p, b[0].F, b[1].F, b[2].F)
	})
	attentionDelta = register("attention_delta", "attention_delta.wgsl", nil, "dout o delta", func(p ref.AttentionParams, b []ref.Buffer) {
		ref.AttentionDelta(p, b[0].F, b[1].F, b[2].F)
	})
)

// flash is attention without writing the scores: the three kernels for head
// dimensions up to dim, in fours or scalar.
type flash struct {
	dim                    int
	rows, gradRows         int // of a workgroup, forward and backward
	forward, gradQ, gradKV [2]*kernel
}

// flashes are in increasing order of dim.
var flashes = func() (all []flash) {
	for _, dim := range []int{16, 32, 64, 96, 128, 192, 256} {
		f := flash{dim: dim}
		// Vectors in registers bound what one invocation may keep of a row: two
		// of 64 elements forward, four of 32 backward.
		f.rows = 64 / split(dim, 64)
		f.gradRows = 64 / split(dim, 32)
		for scalar := range 2 {
			defines := func(split int) wgsl.Defines {
				step := max(4, 16/split)
				part := dim / 4 / split
				shared, element := "0", "vec4<f32>"
				if split > 1 {
					shared = "1"
				}
				if scalar == 1 {
					element = "f32"
				}
				return wgsl.Defines{"SCALAR": strconv.Itoa(scalar), "ELEMENT": element, "SHARED": shared, "PART": strconv.Itoa(part),
					"SPLIT": strconv.Itoa(split), "STEP": strconv.Itoa(step), "TILE": strconv.Itoa(step * part * split), "PRODUCTS": strconv.Itoa(step * 64)}
			}
			name := func(kernel string) string {
				if scalar == 1 {
					kernel += "_scalar"
				}
				return fmt.Sprintf("%s_%d", kernel, dim)
			}
			f.forward[scalar] = register(name("attention"), "attention.wgsl", defines(split(dim, 64)), "qkv o lse", func(p ref.AttentionParams, b []ref.Buffer) {
				ref.Attention(p, b[0].F, b[1].F, b[2].F)
			})
			f.gradQ[scalar] = register(name("attention_grad_q"), "attention_grad_q.wgsl", defines(split(dim, 32)), "qkv dout lse delta dqkv", func(p ref.AttentionParams, b []ref.Buffer) {
				ref.AttentionGradQ(p, b[0].F, b[1].F, b[2].F, b[3].F, b[4].F)
			})
			f.gradKV[scalar] = register(name("attention_grad_kv"), "attention_grad_kv.wgsl", defines(split(dim, 32)), "qkv dout lse delta dqkv", func(p ref.AttentionParams, b []ref.Buffer) {
				ref.AttentionGradKV(p, b[0].F, b[1].F, b[2].F, b[3].F, b[4].F)
			})
		}
		all = append(all, f)
	}
	return all
}()

// split is the power of two of invocations that share a row of dim elements
// when none may keep more than most.
func split(dim, most int) int {
	n := 1
	for n*most < dim {
		n *= 2
	}
	return n
}

// flashFor returns the kernels for these heads, or none where products of
// whole matrices of scores serve better, or heads are too wide.
func (e *Encoder) flashFor(p ref.AttentionParams) (f flash, scalar int, ok bool) {
	scoreBytes := 4 * uint64(p.T) * uint64(p.T+3)
	if e.d.tuning.registers && scoreBytes <= e.d.info.Limits.BindingSize {
		return f, 0, false
	}
	if p.Dim%4 != 0 {
		scalar = 1
	}
	for _, f = range flashes {
		if int(p.Dim) <= f.dim {
			return f, scalar, true
		}
	}
	return f, 0, false
}

// attentionShape checks the tensors of Attention and returns its parameters.
func attentionShape(name string, o, lse, qkv Tensor, heads int) ref.AttentionParams {
	if qkv.Rank() != 3 || heads < 1 || qkv.Cols()%(3*heads) != 0 || o.Len() != qkv.Len()/3 || o.Cols() != qkv.Cols()/3 ||
		lse.Len() != qkv.Rows()*heads {
		panic(fmt.Sprintf("gpu: %s: qkv is %v, o is %v, lse is %v, %d heads", name, qkv, o, lse, heads))
	}
	dim := qkv.Cols() / (3 * heads)
	return ref.AttentionParams{T: uint32(qkv.Dim(1)), Heads: uint32(heads), Dim: uint32(dim), Batch: uint32(qkv.Dim(0)),
		Scale: 1 / math.Sqrt(float64(dim))}
}

// Attention computes softmax(q·kᵀ/√hd)·v of every head. qkv (B, T, 3D) holds
// q, k and v, each (heads, hd); o is (B, T, D). lse (B, heads, T) keeps the
// log-sum-exp of each row of scaled scores for AttentionGrad.
func (e *Encoder) Attention(o, lse, qkv Tensor, heads int) {
	p := attentionShape("Attention", o, lse, qkv, heads)
	if f, scalar, ok := e.flashFor(p); ok {
		launch(e, f.forward[scalar], [3]int{ceil(int(p.T), f.rows), heads, int(p.Batch)}, p, qkv, o, lse)
		return
	}
	e.eachScores(p, func(s scores) {
		raw := s.times(s.matrix(), s.q(qkv), s.k(qkv).transposed())
		raw.Scale = p.Scale
		e.multiply(raw)
		rows := s.samples * s.heads * s.t
		inverse := e.d.scratch("attention inverse sums", lse.cap)
		launch(e, softmax, e.groups1(ceil(rows, 64)), ref.SoftmaxParams{
			Rows: uint32(rows), Cols: p.T, Stride: uint32(s.stride), OffsetLSE: uint32(s.firstRow())}, s.memory, lse, inverse)
		weighted := s.times(s.out(o), s.matrix(), s.v(qkv))
		weighted.Epilogue, weighted.vector = ref.EpilogueRowScale, inverse
		e.multiply(weighted)
	})
}

// AttentionGrad computes dqkv (B, T, 3D), the gradient of what Attention
// computed o and lse from, given do, that of o. Probabilities are computed
// again rather than kept.
func (e *Encoder) AttentionGrad(dqkv, do, qkv, o, lse Tensor, heads int) {
	p := attentionShape("AttentionGrad", o, lse, qkv, heads)
	if dqkv.Len() != qkv.Len() || do.Len() != o.Len() {
		panic(fmt.Sprintf("gpu: AttentionGrad: dqkv is %v, do is %v, qkv is %v", dqkv, do, qkv))
	}
	delta := e.d.scratch("attention delta", lse.cap)
	launch(e, attentionDelta, e.groups1(ceil(lse.Len(), 64)), p, do, o, delta)
	if f, scalar, ok := e.flashFor(p); ok {
		groups := [3]int{ceil(int(p.T), f.gradRows), heads, int(p.Batch)}
		launch(e, f.gradQ[scalar], groups, p, qkv, do, lse, delta, dqkv)
		launch(e, f.gradKV[scalar], groups, p, qkv, do, lse, delta, dqkv)
		return
	}
	e.eachScores(p, func(s scores) {
		prob := s.times(s.matrix(), s.q(qkv), s.k(qkv).transposed())
		prob.Scale, prob.Epilogue = p.Scale, ref.EpilogueExp
		prob.vector, prob.OffsetVector = lse, uint32(s.firstRow())
		e.multiply(prob)
		e.multiply(s.times(s.v(dqkv), s.matrix().transposed(), s.out(do)))

		ds := s.times(s.matrix(), s.out(do), s.v(qkv).transposed())
		ds.Scale, ds.Epilogue = p.Scale, ref.EpilogueSoftmaxGrad
		ds.vector, ds.OffsetVector = delta, uint32(s.firstRow())
		e.multiply(ds)
		e.multiply(s.times(s.q(dqkv), s.matrix(), s.k(qkv)))
		e.multiply(s.times(s.k(dqkv), s.matrix().transposed(), s.q(qkv)))
	})
}

// scores are the (t, t) matrices of some heads: all heads of consecutive
// samples, or consecutive heads of one sample.
type scores struct {
	memory                                 Tensor
	t, dim, width, stride                  int // rows of the matrices begin stride elements apart
	allHeads, sample, head, samples, heads int
}

// eachScores calls f for groups of heads whose scores fit a bounded scratch.
func (e *Encoder) eachScores(p ref.AttentionParams, f func(scores)) {
	s := scores{t: int(p.T), dim: int(p.Dim), width: int(p.Heads * p.Dim), allHeads: int(p.Heads)}
	s.stride = ceil(s.t, 4) * 4
	if p.Batch*p.T == 0 {
		return
	}
	fit := max(1, min(e.d.tuning.scores/(s.t*s.stride), e.d.info.Limits.Workgroups)) // heads at once
	s.samples, s.heads = max(1, fit/s.allHeads), min(fit, s.allHeads)
	s.memory = e.d.scratch("attention scores", max(e.d.tuning.scores, s.t*s.stride))
	samples, heads := s.samples, s.heads
	for s.sample = 0; s.sample < int(p.Batch); s.sample += samples {
		s.samples = min(samples, int(p.Batch)-s.sample)
		for s.head = 0; s.head < s.allHeads; s.head += heads {
			s.heads = min(heads, s.allHeads-s.head)
			f(s)
		}
	}
}

// firstRow is where the rows of these heads begin in lse and delta.
func (s scores) firstRow() int { return (s.sample*s.allHeads + s.head) * s.t }

func (s scores) matrix() strided {
	size := s.t * s.stride
	return strided{Tensor: s.memory, row: s.stride, col: 1, sample: s.heads * size, head: size}
}

func (s scores) q(qkv Tensor) strided { return s.part(qkv, 0) }
func (s scores) k(qkv Tensor) strided { return s.part(qkv, 1) }
func (s scores) v(qkv Tensor) strided { return s.part(qkv, 2) }

func (s scores) part(qkv Tensor, i int) strided {
	sample := s.t * 3 * s.width
	return strided{Tensor: qkv, offset: s.sample*sample + i*s.width + s.head*s.dim, row: 3 * s.width, col: 1, sample: sample, head: s.dim}
}

func (s scores) out(o Tensor) strided {
	sample := s.t * s.width
	return strided{Tensor: o, offset: s.sample*sample + s.head*s.dim, row: s.width, col: 1, sample: sample, head: s.dim}
}

// times is the product c = a·b for these heads; one side of each is t long,
// and k follows from the operands: the scores' columns, or the head dimension.
func (s scores) times(c, a, b strided) product {
	n, k := s.dim, s.t
	if c.buf == s.memory.buf {
		n, k = s.t, s.dim
	}
	p := batched(s.t, n, k, s.samples, s.heads, c, a, b)
	p.padded = c.buf == s.memory.buf
	return p
}

// attentionBounds derives from exact values how far float32 may be off in o,
// lse and dqkv: from the rounding of each score and sum, carried through the
// exponentials.
func attentionBounds(p ref.AttentionParams, qkv, do []float64) (o, lse, dqkv []float64) {
	t, heads, dim, batch := int(p.T), int(p.Heads), int(p.Dim), int(p.Batch)
	width := heads * dim
	o, lse, dqkv = make([]float64, len(do)), make([]float64, batch*heads*t), make([]float64, len(qkv))
	out, sums := make([]float64, len(do)), make([]float64, len(lse))
	ref.Attention(p, qkv, out, sums)
	for z := range batch * heads {
		sample, h := z/heads, z%heads*dim
		at := func(i, part, d int) int { return (sample*t+i)*3*width + part*width + h + d }
		ato := func(i, d int) int { return (sample*t+i)*width + h + d }
		score, scoreError := make([]float64, t), make([]float64, t)
		for i := range t {
			worst := 0.0
			for j := range t {
				magnitude := 0.0
				score[j] = 0
				for d := range dim {
					x := p.Scale * qkv[at(i, 0, d)] * qkv[at(j, 1, d)]
					score[j] += x
					magnitude += math.Abs(x)
				}
				scoreError[j] = float64(dim+6) * Epsilon * magnitude
				worst = max(worst, scoreError[j])
			}
			l := sums[z*t+i]
			lse[z*t+i] = worst + float64(t+16)*Epsilon + 4*Epsilon*math.Abs(l)
			probError := func(j int) float64 { // relative
				return scoreError[j] + lse[z*t+i] + (8+4*math.Abs(score[j]-l))*Epsilon
			}
			for d := range dim {
				for j := range t {
					o[ato(i, d)] += math.Exp(score[j]-l) * math.Abs(qkv[at(j, 2, d)]) * (probError(j) + float64(t+4)*Epsilon)
				}
			}
			for j := range t {
				prob := math.Exp(score[j] - l)
				dprob, delta, magnitude, carried := 0.0, 0.0, 0.0, 0.0
				for d := range dim {
					x, y := do[ato(i, d)]*qkv[at(j, 2, d)], do[ato(i, d)]*out[ato(i, d)]
					dprob, delta, magnitude = dprob+x, delta+y, magnitude+math.Abs(x)+math.Abs(y)
					carried += math.Abs(do[ato(i, d)]) * o[ato(i, d)]
				}
				ds := prob * math.Abs(dprob-delta) * p.Scale
				dsError := ds*probError(j) + prob*p.Scale*(float64(dim+6)*Epsilon*magnitude+carried) + float64(t+8)*Epsilon*ds
				for d := range dim {
					dqkv[at(i, 0, d)] += dsError * math.Abs(qkv[at(j, 1, d)])
					dqkv[at(j, 1, d)] += dsError * math.Abs(qkv[at(i, 0, d)])
					dqkv[at(j, 2, d)] += prob * math.Abs(do[ato(i, d)]) * (probError(j) + float64(t+4)*Epsilon)
				}
			}
		}
	}
	return o, lse, dqkv
}

func attentionTrial(t *Trial, batch, tokens, heads, dim int, spread float64) {
	width := heads * dim
	qkv := t.InFunc("qkv", func(int) float64 { return spread * t.Rand().NormFloat64() }, batch, tokens, 3*width)
	do := t.In("do", batch, tokens, width)
	o, lse, dqkv := t.Out("o", batch, tokens, width), t.Out("lse", batch, heads, tokens), t.Out("dqkv", batch, tokens, 3*width)
	t.E.Attention(o, lse, qkv, heads)
	t.E.AttentionGrad(dqkv, do, qkv, o, lse, heads)
	bounds := [3][]float64{}
	bounds[0], bounds[1], bounds[2] = attentionBounds(attentionShape("Attention", o, lse, qkv, heads), t.Values(qkv), t.Values(do))
	for i, x := range []Tensor{o, lse, dqkv} {
		t.Within(x, func(at int) float64 { return bounds[i][at] })
	}
}

func attentionBench(batch, tokens, heads, dim int, grad bool) Bench {
	products := 2.0 // q·kᵀ, p·v
	if grad {
		products = 7 // and q·kᵀ, do·vᵀ, dq, dk, dv
	}
	shape := []int{batch, tokens, heads, dim}
	return Bench{Shape: shape, FLOP: products * 2 * float64(batch*heads*tokens*tokens*dim), Bytes: 4 * float64(batch*tokens*heads*dim) * 4,
		Record: func(d *Device) func(*Encoder) {
			width := heads * dim
			qkv, dqkv := d.Tensor("qkv", batch, tokens, 3*width), d.Tensor("dqkv", batch, tokens, 3*width)
			o, do, lse := d.Tensor("o", batch, tokens, width), d.Tensor("do", batch, tokens, width), d.Tensor("lse", batch, heads, tokens)
			return func(e *Encoder) {
				e.Attention(o, lse, qkv, heads)
				if grad {
					e.AttentionGrad(dqkv, do, qkv, o, lse, heads)
				}
			}
		}}
}

func attention() Op {
	return Op{
		Name: "attention",
		Cases: []Case{
			{"shapes", func(t *Trial) {
				t.variants(func() {
					for _, s := range [][4]int{
						{1, 1, 1, 1}, {2, 7, 3, 5}, {1, 15, 2, 8}, {1, 16, 2, 4}, {2, 17, 1, 16}, {1, 31, 2, 24}, {2, 33, 2, 32},
						{1, 63, 1, 12}, {1, 64, 2, 64}, {1, 65, 1, 80}, {1, 130, 1, 20}, {2, 33, 1, 66}, {1, 9, 1, 110}, {1, 40, 1, 128},
						{1, 17, 1, 192}, {1, 20, 1, 256}, {1, 5, 1, 260},
					} {
						attentionTrial(t, s[0], s[1], s[2], s[3], 1)
					}
				})
			}},
			{"sharp", func(t *Trial) { // scores far apart
				t.variants(func() { attentionTrial(t, 1, 40, 2, 16, 4) })
			}},
			{"in parts", func(t *Trial) { // two heads, or two samples at once
				t.variants(func() {
					for _, n := range []int{2, 6} {
						t.d.tuning.scores = n * 9 * 12
						attentionTrial(t, 3, 9, 3, 8, 1)
					}
				})
			}},
		},
		Bench: []Bench{
			attentionBench(16, 64, 8, 32, false), attentionBench(8, 196, 3, 64, false), attentionBench(4, 512, 8, 32, false),
		},
	}
}

func attentionGrad() Op {
	return Op{
		Name: "attention_grad",
		Bench: []Bench{
			attentionBench(16, 64, 8, 32, true), attentionBench(8, 196, 3, 64, true), attentionBench(4, 512, 8, 32, true),
		},
	}
}
