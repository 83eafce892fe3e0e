package gpu

import "wgjepa/internal/ref"

var (
	layerNormKernel = registerRowwise("layernorm", "layernorm.wgsl", "x gamma beta y mean rstd", func(p ref.LayerNormParams, b []ref.Buffer) {
		ref.LayerNorm(p, b[0].F, b[1].F, b[2].F, b[3].F, b[4].F, b[5].F)
	})
	layerNormGrad = registerRowwise("layernorm_grad", "layernorm_grad.wgsl", "dy x gamma mean rstd dx", func(p ref.LayerNormGradParams, b []ref.Buffer) {
		ref.LayerNormGrad(p, b[0].F, b[1].F, b[2].F, b[3].F, b[4].F, b[5].F)
	})
	layerNormPartial = registerVectors("layernorm_partial", "layernorm_partial.wgsl", "dy x mean rstd partial", func(p ref.LayerNormPartialParams, b []ref.Buffer) {
		ref.LayerNormPartial(p, b[0].F, b[1].F, b[2].F, b[3].F, b[4].F)
	})
)

// LayerNorm normalises the rows of x's last axis (Ba et al. 2016): y = (x −
// mean)·rstd·gamma + beta with rstd = 1/√(variance + eps). gamma and beta
// (cols) may both be nil; mean and rstd (rows) are saved for the gradient, or
// both nil.
func (e *Encoder) LayerNorm(y, mean, rstd, x, gamma, beta Tensor, eps float64) {
	rows, cols := x.Rows(), x.Cols()
	if y.Len() != x.Len() || y.Cols() != cols || gamma.IsNil() != beta.IsNil() || mean.IsNil() != rstd.IsNil() ||
		!gamma.IsNil() && (gamma.Len() != cols || beta.Len() != cols) || !mean.IsNil() && (mean.Len() != rows || rstd.Len() != rows) {
		panic(shapes("LayerNorm", "y", y, "mean", mean, "rstd", rstd, "x", x, "gamma", gamma, "beta", beta))
	}
	if mean.IsNil() {
		mean, rstd = e.d.scratch("mean", rows), e.d.scratch("rstd", rows)
	}
	launchRows(e, layerNormKernel, rows, cols,
		ref.LayerNormParams{Rows: uint32(rows), Cols: uint32(cols), Affine: flag(!gamma.IsNil()), Eps: eps},
		x, e.orNone(gamma, true), e.orNone(beta, true), y, mean, rstd)
}

// LayerNormGrad sets dx to the gradient of LayerNorm in x; gamma may be nil.
func (e *Encoder) LayerNormGrad(dx, dy, x, gamma, mean, rstd Tensor) {
	e.layerNormGrad("LayerNormGrad", dx, dy, x, gamma, mean, rstd, false)
}

// LayerNormGradAdd adds the gradient of LayerNorm in x to dx; gamma may be nil.
func (e *Encoder) LayerNormGradAdd(dx, dy, x, gamma, mean, rstd Tensor) {
	e.layerNormGrad("LayerNormGradAdd", dx, dy, x, gamma, mean, rstd, true)
}

func (e *Encoder) layerNormGrad(name string, dx, dy, x, gamma, mean, rstd Tensor, add bool) {
	rows, cols := x.Rows(), x.Cols()
	if dx.Len() != x.Len() || dy.Len() != x.Len() || dx.Cols() != cols || dy.Cols() != cols ||
		!gamma.IsNil() && gamma.Len() != cols || mean.Len() != rows || rstd.Len() != rows {
		panic(shapes(name, "dx", dx, "dy", dy, "x", x, "gamma", gamma, "mean", mean, "rstd", rstd))
	}
	launchRows(e, layerNormGrad, rows, cols,
		ref.LayerNormGradParams{Rows: uint32(rows), Cols: uint32(cols), Affine: flag(!gamma.IsNil()), Add: flag(add)},
		dy, x, e.orNone(gamma, true), mean, rstd, dx)
}

// LayerNormGradParams adds the gradients of LayerNorm in gamma and beta to
// dgamma and dbeta (cols).
func (e *Encoder) LayerNormGradParams(dgamma, dbeta, dy, x, mean, rstd Tensor) {
	rows, cols := x.Rows(), x.Cols()
	if dy.Len() != x.Len() || dy.Cols() != cols || dgamma.Len() != cols || dbeta.Len() != cols || mean.Len() != rows || rstd.Len() != rows {
		panic(shapes("LayerNormGradParams", "dgamma", dgamma, "dbeta", dbeta, "dy", dy, "x", x, "mean", mean, "rstd", rstd))
	}
	chunks := ceil(rows, chunk(rows))
	partial := e.d.scratch("layer norm", 2*chunks*cols)
	kernel, w := layerNormPartial.pick(cols)
	launch(e, kernel, [3]int{ceil(cols/w, 64), chunks, 1},
		ref.LayerNormPartialParams{Rows: uint32(rows), Cols: uint32(cols), Chunk: uint32(chunk(rows))},
		dy, x, mean, rstd, partial)
	e.reduce(dgamma, partial, 0, chunks, cols, true, 1)
	e.reduce(dbeta, partial, chunks*cols, chunks, cols, true, 1)
}
