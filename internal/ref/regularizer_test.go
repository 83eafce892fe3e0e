package ref

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVarianceCovarianceGrad(t *testing.T) {
	const n, d, varWeight, covWeight = 6, 3, 0.7, 0.3
	r := rand.New(rand.NewPCG(1, 13))
	z := normals(r, n*d)
	for i := range z {
		z[i] *= []float64{0.3, 0.6, 3}[i%d] // deviations on both sides of 1
	}
	p := VarianceCovarianceParams{D: d, Scale: 1. / (n - 1), Variance: varWeight / (n - 1) / d, Covariance: 4 * covWeight / (n - 1) / d}
	mean, centred, product, grad := poisoned(d), poisoned(n*d), poisoned(d*d), poisoned(d*d)
	variance, covariance, partial := poisoned(d), poisoned(d), poisoned(2*d)
	loss := func() float64 {
		ColumnChunks(ColumnChunksParams{Rows: n, Cols: d, Chunk: 4, Take: n}, z, nil, partial)
		Reduce(ReduceParams{Chunks: 2, Cols: d, Scale: 1. / n}, partial, mean)
		Center(CenterParams{Rows: n, Cols: d}, z, mean, centred)
		Matmul(wholeMatmul(d, d, n, true, false), centred, centred, product, nil, nil)
		VarianceCovariance(p, product, grad, variance, covariance)
		sum := 0.0
		for j := range d {
			sum += (varWeight*variance[j] + covWeight*covariance[j]) / d
		}
		return sum
	}
	loss()
	require.Zero(t, variance[2])
	require.Positive(t, variance[0])
	dz := poisoned(n * d)
	Matmul(wholeMatmul(n, d, d, false, false), centred, grad, dz, nil, nil)
	requireDerivative(t, "z", loss, z, dz)
}

// TestSIGReg holds the statistic to the formula as it is written, with all 17
// knots, and its gradient to central differences.
func TestSIGReg(t *testing.T) {
	const n, s = 9, 2
	r := rand.New(rand.NewPCG(1, 14))
	x := normals(r, n*s)
	partial, moments, dx, terms := poisoned(3*s*SIGRegKnots*2), poisoned(s*SIGRegKnots*2), poisoned(n*s), poisoned(s)
	loss := func() float64 {
		SIGRegMoments(SIGRegMomentsParams{Rows: n, Cols: s, Chunk: 4}, x, partial)
		Reduce(ReduceParams{Chunks: 3, Cols: s * SIGRegKnots * 2, Scale: 1. / n}, partial, moments)
		SIGRegGrad(SIGRegGradParams{Rows: n, Cols: s, Scale: 1. / n}, x, moments, dx, terms)
		return terms[0] + terms[1]
	}
	want := 0.0
	for j := range s {
		for k := range 17 {
			at, cos, sin := -4+0.5*float64(k), 0.0, 0.0
			for i := range n {
				cos += math.Cos(at*x[i*s+j]) / n
				sin += math.Sin(at*x[i*s+j]) / n
			}
			w, step := math.Exp(-at*at/2), 0.5
			if k == 0 || k == 16 {
				step /= 2
			}
			want += step * w * ((cos-w)*(cos-w) + sin*sin)
		}
	}
	require.InDelta(t, want, loss(), 1e-14)
	requireDerivative(t, "x", loss, x, append([]float64(nil), dx...))
}
