package ref

import "math"

// CenterParams mirrors center.wgsl.
type CenterParams struct {
	Rows, Cols uint32
}

// Center is dst = x − mean, mean being (cols).
func Center(p CenterParams, x, mean, dst []float64) {
	for i := range int(p.Rows * p.Cols) {
		dst[i] = x[i] - mean[i%int(p.Cols)]
	}
}

// VarianceCovarianceParams mirrors variance_covariance.wgsl.
type VarianceCovarianceParams struct {
	D          uint32
	Scale      float64 // 1/(N − 1): of the product to the covariance
	Variance   float64 // weight·Scale/D
	Covariance float64 // 4·weight·Scale/D
}

// VarianceCovariance takes C = Scale·product, the covariance (D, D) of
// features z, and computes VICReg's two terms (Bardes et al. 2022) column by
// column,
//
//	variance[j] = max(0, 1 − √(C_jj + 1e-4)),  covariance[j] = Σ_{i≠j} C_ij²
//
// and the matrix G with dz = (z − mean)·G for the weighted mean over j:
//
//	G_ij = Covariance·C_ij,  G_jj = −Variance/√(C_jj + 1e-4) where below 1.
func VarianceCovariance(p VarianceCovarianceParams, product, grad, variance, covariance []float64) {
	n := int(p.D)
	for j := range n {
		covariance[j] = 0
		for i := range n {
			c := p.Scale * product[i*n+j]
			if i != j {
				covariance[j] += c * c
				grad[i*n+j] = p.Covariance * c
				continue
			}
			std := math.Sqrt(c + 1e-4)
			variance[j] = max(0, 1-std)
			grad[i*n+j] = 0
			if std < 1 {
				grad[i*n+j] = -p.Variance / std
			}
		}
	}
}

// SIGRegKnots is the number of knots t = ½, 1, … 4 at which SIGReg compares the
// characteristic function, and, by symmetry, at −t; at 0 it is always 1.
const SIGRegKnots = 8

// sigregKnot is the k-th knot t, from 0, the standard normal's characteristic
// function there, and the weight of the trapezoid rule for ±t with the
// normal window.
func sigregKnot(k int) (t, normal, weight float64) {
	t = 0.5 * float64(k+1)
	normal = math.Exp(-t * t / 2)
	weight = 2 * 0.5 * normal
	if k == SIGRegKnots-1 {
		weight /= 2
	}
	return t, normal, weight
}

// SIGRegMomentsParams mirrors sigreg_moments.wgsl.
type SIGRegMomentsParams struct {
	Rows, Cols, Chunk uint32
}

// SIGRegMoments sums cos(t·x) and sin(t·x) of the projections x (rows, cols)
// over chunks of rows into partial (chunks, cols, knots, 2).
func SIGRegMoments(p SIGRegMomentsParams, x, partial []float64) {
	rows, n, chunk := int(p.Rows), int(p.Cols), int(p.Chunk)
	Parallel((rows+chunk-1)/chunk, func(lo, hi int) {
		for c := lo; c < hi; c++ {
			sums := partial[c*n*SIGRegKnots*2:][:n*SIGRegKnots*2]
			clear(sums)
			for r := c * chunk; r < min(rows, (c+1)*chunk); r++ {
				for i, v := range x[r*n:][:n] {
					for k := range SIGRegKnots {
						t, _, _ := sigregKnot(k)
						sin, cos := math.Sincos(t * v)
						sums[(i*SIGRegKnots+k)*2] += cos
						sums[(i*SIGRegKnots+k)*2+1] += sin
					}
				}
			}
		}
	})
}

// SIGRegGradParams mirrors sigreg_grad.wgsl.
type SIGRegGradParams struct {
	Rows, Cols uint32
	Scale      float64
}

// SIGRegGrad is the Epps–Pulley statistic of each projection against the
// standard normal distribution (Balestriero & LeCun 2025),
//
//	terms[s] = Σ_t weight·((mean cos − normal)² + (mean sin)²)
//
// and dx, Scale times its gradient in each projected value but for the 1/rows
// of the means. moments (cols, knots, 2) are the means.
func SIGRegGrad(p SIGRegGradParams, x, moments, dx, terms []float64) {
	n := int(p.Cols)
	for s := range n {
		terms[s] = 0
		for k := range SIGRegKnots {
			_, normal, weight := sigregKnot(k)
			cos, sin := moments[(s*SIGRegKnots+k)*2]-normal, moments[(s*SIGRegKnots+k)*2+1]
			terms[s] += weight * (cos*cos + sin*sin)
		}
	}
	Parallel(int(p.Rows), func(lo, hi int) {
		for at := lo * n; at < hi*n; at++ {
			sum := 0.0
			for k := range SIGRegKnots {
				t, normal, weight := sigregKnot(k)
				meanCos, meanSin := moments[(at%n*SIGRegKnots+k)*2], moments[(at%n*SIGRegKnots+k)*2+1]
				sin, cos := math.Sincos(t * x[at])
				sum += 2 * weight * t * (meanSin*cos - (meanCos-normal)*sin)
			}
			dx[at] = p.Scale * sum
		}
	})
}
