package gpu

import "wgjepa/internal/ref"

var (
	center = registerVectors("center", "center.wgsl", "x mean dst", func(p ref.CenterParams, b []ref.Buffer) {
		ref.Center(p, b[0].F, b[1].F, b[2].F)
	})
	varianceCovariance = register("variance_covariance", "variance_covariance.wgsl", nil, "product grad variance_terms covariance_terms", func(p ref.VarianceCovarianceParams, b []ref.Buffer) {
		ref.VarianceCovariance(p, b[0].F, b[1].F, b[2].F, b[3].F)
	})
	sigregMoments = register("sigreg_moments", "sigreg_moments.wgsl", nil, "x partial", func(p ref.SIGRegMomentsParams, b []ref.Buffer) {
		ref.SIGRegMoments(p, b[0].F, b[1].F)
	})
	sigregGrad = register("sigreg_grad", "sigreg_grad.wgsl", nil, "x moments dx terms", func(p ref.SIGRegGradParams, b []ref.Buffer) {
		ref.SIGRegGrad(p, b[0].F, b[1].F, b[2].F, b[3].F)
	})
)

// VarianceCovariance is VICReg's regulariser (Bardes et al. 2022) of features
// z (N, D), N ≥ 2. With the covariance C, over N − 1, loss (2) becomes
//
//	mean_j max(0, 1 − √(C_jj + 1e-4)),  Σ_{i≠j} C_ij²/D
//
// unweighted, and the gradient of their weighted sum is added to dz.
func (e *Encoder) VarianceCovariance(loss, dz, z Tensor, varWeight, covWeight float64) {
	n, d := z.Rows(), z.Cols()
	if n < 2 || loss.Len() != 2 || dz.Len() != z.Len() || dz.Cols() != d {
		panic(shapes("VarianceCovariance", "loss", loss, "dz", dz, "z", z))
	}
	mean := e.d.scratch("feature mean", d).Reshape(d)
	centred := e.d.scratch("centred features", n*d).Reshape(n, d)
	product := e.d.scratch("covariance", d*d).Reshape(d, d)
	grad := e.d.scratch("covariance gradient", d*d).Reshape(d, d)
	variance, covariance := e.d.scratch("variance terms", d), e.d.scratch("covariance terms", d)
	e.scaledColumnSums(mean, z, Tensor{}, 1/float64(n))
	launchElements(e, center, z.Len(), d, ref.CenterParams{Rows: uint32(n), Cols: uint32(d)}, z, mean, centred)
	e.MatMulTN(product, centred, centred)
	scale := 1 / float64(n-1)
	launch(e, varianceCovariance, [3]int{ceil(d, 64), 1, 1}, ref.VarianceCovarianceParams{
		D: uint32(d), Scale: scale, Variance: varWeight * scale / float64(d), Covariance: 4 * covWeight * scale / float64(d),
	}, product, grad, variance, covariance)
	e.sum(loss, 0, variance, d, 1/float64(d))
	e.sum(loss, 1, covariance, d, 1/float64(d))
	e.LinearGradInputAdd(dz.Reshape(n, d), centred, grad)
}

// SIGReg is the regulariser of LeJEPA (Balestriero & LeCun 2025): features z
// (N, D), projected on directions (D, S), whose columns are unit vectors that
// the caller draws, are held to the standard normal distribution by the
// Epps–Pulley statistic, with 17 knots on [−4, 4] and the trapezoid rule. loss
// (1) becomes the mean over the directions times min(N, 256), unweighted;
// weight times its gradient is added to dz.
func (e *Encoder) SIGReg(loss, dz, z, directions Tensor, weight float64) {
	n, d, s := z.Rows(), z.Cols(), directions.Cols()
	if loss.Len() != 1 || dz.Len() != z.Len() || dz.Cols() != d || directions.Rows() != d {
		panic(shapes("SIGReg", "loss", loss, "dz", dz, "z", z, "directions", directions))
	}
	const knots = 8
	chunks := ceil(n, chunk(n))
	x := e.d.scratch("projections", n*s).Reshape(n, s)
	dx := e.d.scratch("projections' gradient", n*s).Reshape(n, s)
	partial := e.d.scratch("partial moments", chunks*s*knots*2)
	moments := e.d.scratch("moments", s*knots*2)
	terms := e.d.scratch("projections' terms", s)
	e.MatMul(x, z.Reshape(n, d), directions)
	launch(e, sigregMoments, [3]int{ceil(s, 64), chunks, 1},
		ref.SIGRegMomentsParams{Rows: uint32(n), Cols: uint32(s), Chunk: uint32(chunk(n))}, x, partial)
	e.reduce(moments, partial, 0, chunks, s*knots*2, false, 1/float64(n))
	factor := float64(min(n, 256)) / float64(s)
	launch(e, sigregGrad, e.groups1(ceil(n*s, 64)),
		ref.SIGRegGradParams{Rows: uint32(n), Cols: uint32(s), Scale: weight * factor / float64(n)}, x, moments, dx, terms)
	e.sum(loss, 0, terms, s, factor)
	p := nt(dz.Reshape(n, d), dx, directions)
	p.Epilogue = ref.EpilogueAdd
	e.multiply(p)
}
