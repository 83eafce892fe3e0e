package ref

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// poisoned returns n NaNs: what a twin does not write is seen.
func poisoned(n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = math.NaN()
	}
	return x
}

func TestLayerNormNormalises(t *testing.T) {
	y, mean, rstd := poisoned(4), poisoned(2), poisoned(2)
	LayerNorm(LayerNormParams{Rows: 2, Cols: 2}, []float64{1, 3, 10, 10}, nil, nil, y, mean, rstd)
	require.Equal(t, []float64{2, 10}, mean)
	require.Equal(t, []float64{-1, 1}, y[:2])
	// A constant row has no variance: eps keeps it finite.
	LayerNorm(LayerNormParams{Rows: 2, Cols: 2, Eps: 3}, []float64{1, 3, 10, 10}, nil, nil, y, mean, rstd)
	require.Equal(t, []float64{-0.5, 0.5, 0, 0}, y)
	require.Equal(t, []float64{0.5, 1 / math.Sqrt(3)}, rstd)
}

func TestLayerNormGrad(t *testing.T) {
	const rows, cols, chunk, eps = 5, 4, 2, 0.1
	for _, affine := range []uint32{0, 1} {
		r := rand.New(rand.NewPCG(1, 5))
		x, gamma, beta, dy := normals(r, rows*cols), normals(r, cols), normals(r, cols), normals(r, rows*cols)
		y, mean, rstd := poisoned(rows*cols), poisoned(rows), poisoned(rows)
		loss := func() float64 {
			LayerNorm(LayerNormParams{Rows: rows, Cols: cols, Affine: affine, Eps: eps}, x, gamma, beta, y, mean, rstd)
			return dot(y, dy)
		}
		loss()
		dx, partial := poisoned(rows*cols), poisoned(2*3*cols)
		LayerNormGrad(LayerNormGradParams{Rows: rows, Cols: cols, Affine: affine}, dy, x, gamma, mean, rstd, dx)
		LayerNormPartial(LayerNormPartialParams{Rows: rows, Cols: cols, Chunk: chunk}, dy, x, mean, rstd, partial)
		requireDerivative(t, "x", loss, x, dx)
		if affine != 0 {
			dgamma, dbeta := make([]float64, cols), make([]float64, cols)
			Reduce(ReduceParams{Chunks: 3, Cols: cols, Add: 1, Scale: 1}, partial, dgamma)
			Reduce(ReduceParams{Chunks: 3, Cols: cols, First: 3 * cols, Scale: 1}, partial, dbeta)
			requireDerivative(t, "gamma", loss, gamma, dgamma)
			requireDerivative(t, "beta", loss, beta, dbeta)
		}
		sum := append([]float64(nil), dx...)
		loss()
		LayerNormGrad(LayerNormGradParams{Rows: rows, Cols: cols, Affine: affine, Add: 1}, dy, x, gamma, mean, rstd, sum)
		for i := range sum {
			require.InDelta(t, 2*dx[i], sum[i], 1e-14)
		}
	}
}

func TestQKNormGrad(t *testing.T) {
	const tokens, heads, hd, chunk, width = 3, 2, 4, 2, 8
	r := rand.New(rand.NewPCG(1, 6))
	x, dy := normals(r, tokens*3*width), normals(r, tokens*3*width)
	qGamma, qBeta, kGamma, kBeta := normals(r, hd), normals(r, hd), normals(r, hd), normals(r, hd)
	y, mean, rstd := poisoned(len(x)), poisoned(2*tokens*heads), poisoned(2*tokens*heads)
	loss := func() float64 {
		QKNorm(QKNormParams{Tokens: tokens, Width: width, Heads: heads, Eps: 0.1}, x, qGamma, qBeta, kGamma, kBeta, y, mean, rstd)
		return dot(y, dy)
	}
	loss()
	for token := range tokens {
		v := token*3*width + 2*width
		require.Equal(t, x[v:v+width], y[v:v+width])
	}
	dx, partial := poisoned(len(x)), poisoned(4*2*hd)
	QKNormGrad(QKNormGradParams{Tokens: tokens, Width: width, Heads: heads}, dy, x, qGamma, kGamma, mean, rstd, dx)
	QKNormPartial(QKNormPartialParams{Tokens: tokens, Width: width, Heads: heads, Chunk: chunk}, dy, x, mean, rstd, partial)
	requireDerivative(t, "x", loss, x, dx)
	for i, c := range []struct {
		name string
		x    []float64
	}{{"q gain", qGamma}, {"q bias", qBeta}, {"k gain", kGamma}, {"k bias", kBeta}} {
		grad := poisoned(hd)
		Reduce(ReduceParams{Chunks: 2, Cols: hd, First: uint32(i * 2 * hd), Scale: 1}, partial, grad)
		requireDerivative(t, c.name, loss, c.x, grad)
	}
}
