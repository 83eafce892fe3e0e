package ref

import "math"

// LayerNormParams mirrors layernorm.wgsl.
type LayerNormParams struct {
	Rows, Cols, Affine uint32
	Eps                float64
}

// LayerNorm normalises rows over their elements:
//
//	y = (x − mean)·rstd·gamma + beta,  rstd = 1/√(variance + eps)
//
// with the population variance. Without Affine gamma is 1 and beta 0.
func LayerNorm(p LayerNormParams, x, gamma, beta, y, mean, rstd []float64) {
	n := int(p.Cols)
	Parallel(int(p.Rows), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			x, y := x[r*n:][:n], y[r*n:][:n]
			mean[r], rstd[r] = moments(x, p.Eps)
			for i, v := range x {
				y[i] = (v - mean[r]) * rstd[r]
				if p.Affine != 0 {
					y[i] = y[i]*gamma[i] + beta[i]
				}
			}
		}
	})
}

// moments returns the mean of x and 1/√(variance + eps).
func moments(x []float64, eps float64) (mean, rstd float64) {
	n := float64(len(x))
	for _, v := range x {
		mean += v / n
	}
	variance := 0.0
	for _, v := range x {
		variance += (v - mean) * (v - mean) / n
	}
	return mean, 1 / math.Sqrt(variance+eps)
}

// LayerNormGradParams mirrors layernorm_grad.wgsl.
type LayerNormGradParams struct {
	Rows, Cols, Affine, Add uint32
}

// LayerNormGrad is the gradient of LayerNorm in x: with g = dy·gamma and
// x̂ = (x − mean)·rstd,
//
//	dx = rstd·(g − mean of g − x̂·mean of g·x̂)
//
// which is added to dx where Add is set.
func LayerNormGrad(p LayerNormGradParams, dy, x, gamma, mean, rstd, dx []float64) {
	n := int(p.Cols)
	if p.Affine == 0 {
		gamma = nil
	}
	Parallel(int(p.Rows), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			normGrad(dy[r*n:][:n], x[r*n:][:n], gamma, mean[r], rstd[r], dx[r*n:][:n], p.Add != 0)
		}
	})
}

// normGrad is LayerNormGrad for one row; gamma may be nil.
func normGrad(dy, x, gamma []float64, mean, rstd float64, dx []float64, add bool) {
	n := float64(len(x))
	g := func(i int) float64 {
		if gamma == nil {
			return dy[i]
		}
		return dy[i] * gamma[i]
	}
	var a, b float64
	for i, v := range x {
		a += g(i) / n
		b += g(i) * (v - mean) * rstd / n
	}
	for i, v := range x {
		d := rstd * (g(i) - a - (v-mean)*rstd*b)
		if add {
			d += dx[i]
		}
		dx[i] = d
	}
}

// LayerNormPartialParams mirrors layernorm_partial.wgsl.
type LayerNormPartialParams struct {
	Rows, Cols, Chunk uint32
}

// LayerNormPartial sums the gradients of gamma (dy·x̂) and beta (dy) over
// chunks of rows. partial is (2, chunks, cols).
func LayerNormPartial(p LayerNormPartialParams, dy, x, mean, rstd, partial []float64) {
	rows, n, chunk := int(p.Rows), int(p.Cols), int(p.Chunk)
	chunks := (rows + chunk - 1) / chunk
	Parallel(chunks, func(lo, hi int) {
		for c := lo; c < hi; c++ {
			dgamma, dbeta := partial[c*n:][:n], partial[(chunks+c)*n:][:n]
			clear(dgamma)
			clear(dbeta)
			for r := c * chunk; r < min(rows, (c+1)*chunk); r++ {
				for i := range n {
					dgamma[i] += dy[r*n+i] * (x[r*n+i] - mean[r]) * rstd[r]
					dbeta[i] += dy[r*n+i]
				}
			}
		}
	})
}
