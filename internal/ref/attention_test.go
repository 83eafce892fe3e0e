package ref

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func attentionParams(batch, t, heads, dim int) AttentionParams {
	return AttentionParams{T: uint32(t), Heads: uint32(heads), Dim: uint32(dim), Batch: uint32(batch), Scale: 1 / math.Sqrt(float64(dim))}
}

func TestSoftmax(t *testing.T) {
	scores := []float64{0, math.Log(3), 7, 1000, 1000, 7}
	lse, inverse := make([]float64, 3), make([]float64, 2)
	Softmax(SoftmaxParams{Rows: 2, Cols: 2, Stride: 3, OffsetLSE: 1}, scores, lse, inverse)
	require.InDeltaSlice(t, []float64{1. / 3, 1, 7, 1, 1, 7}, scores, 1e-15)
	require.InDeltaSlice(t, []float64{0.75, 0.5}, inverse, 1e-15)
	require.InDeltaSlice(t, []float64{0, math.Log(4), 1000 + math.Ln2}, lse, 1e-13) // 1000 has a spacing of 1.1e-13
}

// TestAttentionIsAnAverage has equal keys, so that every output is the mean of
// the values of its own head and sample.
func TestAttentionIsAnAverage(t *testing.T) {
	const batch, tokens, heads, dim = 2, 3, 2, 2
	p := attentionParams(batch, tokens, heads, dim)
	r := rand.New(rand.NewPCG(1, 3))
	qkv := normals(r, batch*tokens*3*heads*dim)
	mean := make([]float64, batch*heads*dim)
	for i := range batch * tokens {
		for c := range heads * dim {
			qkv[i*3*heads*dim+heads*dim+c] = 1.5
			mean[i/tokens*heads*dim+c] += qkv[i*3*heads*dim+2*heads*dim+c] / tokens
		}
	}
	o, lse := make([]float64, batch*tokens*heads*dim), make([]float64, batch*heads*tokens)
	Attention(p, qkv, o, lse)
	for i, v := range o {
		require.InDelta(t, mean[i/(tokens*heads*dim)*heads*dim+i%(heads*dim)], v, 1e-14)
	}
	q := qkv[1*3*heads*dim+dim:][:dim] // sample 0, token 1, head 1
	require.InDelta(t, 1.5*(q[0]+q[1])*p.Scale+math.Log(3), lse[1*tokens+1], 1e-14)
}

func TestAttentionGrad(t *testing.T) {
	const batch, tokens, heads, dim = 2, 4, 2, 3
	p := attentionParams(batch, tokens, heads, dim)
	r := rand.New(rand.NewPCG(1, 4))
	qkv, dout := normals(r, batch*tokens*3*heads*dim), normals(r, batch*tokens*heads*dim)
	o, lse := make([]float64, len(dout)), make([]float64, batch*heads*tokens)
	loss := func() float64 {
		Attention(p, qkv, o, lse)
		return dot(o, dout)
	}
	loss()
	delta, dqkv := make([]float64, len(lse)), make([]float64, len(qkv))
	for i := range dqkv {
		dqkv[i] = math.NaN() // every element is written
	}
	AttentionDelta(p, dout, o, delta)
	AttentionGradQ(p, qkv, dout, lse, delta, dqkv)
	AttentionGradKV(p, qkv, dout, lse, delta, dqkv)
	requireDerivative(t, "qkv", loss, qkv, dqkv)
}
