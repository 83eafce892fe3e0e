package ref

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// normals returns n standard normal values.
func normals(r *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = r.NormFloat64()
	}
	return x
}

// requireDerivative holds grad to central differences of f with respect to x.
func requireDerivative(t *testing.T, name string, f func() float64, x, grad []float64) {
	t.Helper()
	const h = 1e-5
	for i, kept := range x {
		x[i] = kept + h
		above := f()
		x[i] = kept - h
		below := f()
		x[i] = kept
		require.InDelta(t, (above-below)/(2*h), grad[i], 1e-8*(1+math.Abs(grad[i])), "%s: element %d", name, i)
	}
}

// wholeMatmul is c = a·b of whole row-major matrices, transposed if so said.
func wholeMatmul(m, n, k int, ta, tb bool) MatmulParams {
	p := MatmulParams{M: uint32(m), N: uint32(n), K: uint32(k), LastK: uint32(k), Batches: 1, Heads: 1, RowC: uint32(n), Scale: 1}
	p.RowA, p.ColA, p.RowB, p.ColB = uint32(k), 1, uint32(n), 1
	if ta {
		p.RowA, p.ColA = 1, uint32(m)
	}
	if tb {
		p.RowB, p.ColB = 1, uint32(k)
	}
	return p
}

func TestMatmulLayouts(t *testing.T) {
	// a = [1 2; 3 4; 5 6], b = [1 2 3; 4 5 6]
	a, aT := []float64{1, 2, 3, 4, 5, 6}, []float64{1, 3, 5, 2, 4, 6}
	b, bT := []float64{1, 2, 3, 4, 5, 6}, []float64{1, 4, 2, 5, 3, 6}
	want := []float64{9, 12, 15, 19, 26, 33, 29, 40, 51}
	for _, ta := range []bool{false, true} {
		for _, tb := range []bool{false, true} {
			x, y, c := a, b, make([]float64, 9)
			if ta {
				x = aT
			}
			if tb {
				y = bT
			}
			Matmul(wholeMatmul(3, 3, 2, ta, tb), x, y, c, nil, nil)
			require.Equal(t, want, c, "transposed %v %v", ta, tb)
		}
	}
}

func TestMatmulBatches(t *testing.T) {
	// Two samples of two heads: (sample, row, head, 2) times (sample, head, 2, 1),
	// and the last batch sums one term fewer.
	a := []float64{
		1, 2, 3, 4,
		5, 6, 7, 8,

		-1, -2, -3, -4,
		-5, -6, -7, -8}
	b := []float64{0, 1, 10, 2, 20, 3, 30, 4, 40}
	c := make([]float64, 8)
	p := MatmulParams{M: 2, N: 1, K: 2, LastK: 1, Batches: 4, Heads: 2, RowA: 4, ColA: 1, BatchA: 8, HeadA: 2,
		OffsetB: 1, RowB: 1, ColB: 1, BatchB: 4, HeadB: 2, RowC: 1, BatchC: 4, HeadC: 2, Scale: 0.5}
	Matmul(p, a, b, c, nil, nil)
	require.Equal(t, []float64{10.5, 32.5, 43, 87, -31.5, -97.5, -6, -14}, c)
}

func TestMatmulEpilogues(t *testing.T) {
	const m, n, k = 3, 5, 4
	r := rand.New(rand.NewPCG(1, 1))
	a, b, bias, other, before := normals(r, m*k), normals(r, k*n), normals(r, n), normals(r, m*n), normals(r, m*n)
	sums := make([]float64, m*n)
	Matmul(wholeMatmul(m, n, k, false, false), a, b, sums, nil, nil)
	for _, c := range []struct {
		name     string
		epilogue uint32
		vector   []float64
		extra    []float64
		want     func(i, j, at int) float64
	}{
		{"bias", EpilogueBias, bias, nil, func(i, j, at int) float64 { return 0.5*sums[at] + bias[j] }},
		{"add", EpilogueAdd, nil, nil, func(i, j, at int) float64 { return 0.5*sums[at] + before[at] }},
		{"bias residual", EpilogueBias | EpilogueResidual, bias, other, func(i, j, at int) float64 { return 0.5*sums[at] + bias[j] + other[at] }},
		{"gelu grad", EpilogueGELUGrad, nil, other, func(i, j, at int) float64 { return 0.5 * sums[at] * GELUGrad(other[at]) }},
		{"exp", EpilogueExp, other, nil, func(i, j, at int) float64 { return math.Exp(0.5*sums[at] - other[2+i]) }},
		{"row scale", EpilogueRowScale, other, nil, func(i, j, at int) float64 { return 0.5 * sums[at] * other[2+i] }},
		{"softmax grad", EpilogueSoftmaxGrad, other, nil, func(i, j, at int) float64 { return 0.5 * (sums[at] - other[2+i]) * before[at] }},
	} {
		p := wholeMatmul(m, n, k, false, false)
		p.Epilogue, p.Scale, p.OffsetVector = c.epilogue, 0.5, 2
		got := append([]float64(nil), before...)
		Matmul(p, a, b, got, c.vector, c.extra)
		for at, v := range got {
			require.InDelta(t, c.want(at/n, at%n, at), v, 1e-14, "%s: element %d", c.name, at)
		}
	}
	p := wholeMatmul(m, n, k, false, false)
	p.Epilogue = EpilogueBias | EpilogueGELU
	got, pre := make([]float64, m*n), make([]float64, m*n)
	Matmul(p, a, b, got, bias, pre)
	for at, v := range got {
		require.InDelta(t, sums[at]+bias[at%n], pre[at], 1e-14)
		require.InDelta(t, GELU(pre[at]), v, 1e-14)
	}
}

func TestGELU(t *testing.T) {
	require.InDelta(t, 0.841344746068543, GELU(1), 1e-15) // Φ(1)
	require.InDelta(t, -3*0.00134989803163, GELU(-3), 1e-13)
	x := []float64{-40, -6, -3, -1, -0.1, 0, 0.1, 1, 3, 6, 40}
	grad := make([]float64, len(x))
	for i, v := range x {
		grad[i] = GELUGrad(v)
	}
	requireDerivative(t, "gelu", func() float64 {
		sum := 0.0
		for _, v := range x {
			sum += GELU(v)
		}
		return sum
	}, x, grad)
}

// TestLinearGradients holds the products that the gradients of a linear layer
// with GELU are made of to central differences.
func TestLinearGradients(t *testing.T) {
	const rows, in, out = 3, 4, 5
	r := rand.New(rand.NewPCG(1, 2))
	x, w, bias, weight := normals(r, rows*in), normals(r, out*in), normals(r, out), normals(r, rows*out)
	y, pre := make([]float64, rows*out), make([]float64, rows*out)
	loss := func() float64 {
		p := wholeMatmul(rows, out, in, false, true)
		p.Epilogue = EpilogueBias | EpilogueGELU
		Matmul(p, x, w, y, bias, pre)
		return dot(y, weight)
	}
	loss()
	// The gradient of the pre-activation through an identity product.
	eye := make([]float64, out*out)
	for i := range out {
		eye[i*out+i] = 1
	}
	dpre := make([]float64, rows*out)
	p := wholeMatmul(rows, out, out, false, false)
	p.Epilogue = EpilogueGELUGrad
	Matmul(p, weight, eye, dpre, nil, pre)

	dx, dw, db := make([]float64, rows*in), make([]float64, out*in), make([]float64, out)
	Matmul(wholeMatmul(rows, in, out, false, false), dpre, w, dx, nil, nil)
	Matmul(wholeMatmul(out, in, rows, true, false), dpre, x, dw, nil, nil)
	ChunkSums(ChunkSumsParams{Rows: rows, Cols: out, Chunk: rows}, dpre, db)
	requireDerivative(t, "x", loss, x, dx)
	requireDerivative(t, "w", loss, w, dw)
	requireDerivative(t, "bias", loss, bias, db)
}

func TestChunkSums(t *testing.T) {
	x := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	dst := []float64{100, 200, 300, 400, 500, 600}
	ChunkSums(ChunkSumsParams{Rows: 5, Cols: 2, Chunk: 2}, x, dst)
	require.Equal(t, []float64{4, 6, 12, 14, 9, 10}, dst)
	ChunkSums(ChunkSumsParams{Rows: 5, Cols: 2, Chunk: 5, Add: 1}, x, dst)
	require.Equal(t, []float64{29, 36, 12, 14, 9, 10}, dst)
	ChunkSums(ChunkSumsParams{Rows: 0, Cols: 2, Chunk: 1}, nil, dst)
	require.Equal(t, []float64{0, 0, 12, 14, 9, 10}, dst)
}
