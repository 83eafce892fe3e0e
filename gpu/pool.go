package gpu

import "wgjepa/internal/ref"

var (
	meanPool = register("mean_pool", "mean_pool.wgsl", nil, "x dst", func(p ref.MeanPoolParams, b []ref.Buffer) {
		ref.MeanPool(p, b[0].F, b[1].F)
	})
	meanPoolGrad = register("mean_pool_grad", "mean_pool_grad.wgsl", nil, "dy dx", func(p ref.MeanPoolParams, b []ref.Buffer) {
		ref.MeanPoolGrad(p, b[0].F, b[1].F)
	})
)

// MeanPool sets dst (B, D) to the mean over the tokens of x (B, T, D).
func (e *Encoder) MeanPool(dst, x Tensor) {
	p := meanPoolParams("MeanPool", dst, x)
	launch(e, meanPool, e.groups1(ceil(dst.Len(), 64)), p, x, dst)
}

// MeanPoolGradAdd adds the gradient of MeanPool, dy/T, to dx (B, T, D).
func (e *Encoder) MeanPoolGradAdd(dx, dy Tensor) {
	p := meanPoolParams("MeanPoolGradAdd", dy, dx)
	launch(e, meanPoolGrad, e.groups1(ceil(dx.Len(), 64)), p, dy, dx)
}

func meanPoolParams(name string, pooled, x Tensor) ref.MeanPoolParams {
	batch, tokens, width := x.Dim(0), x.Dim(1), x.Dim(2)
	if pooled.Len() != batch*width || pooled.Cols() != width {
		panic(shapes(name, "pooled", pooled, "tokens", x))
	}
	return ref.MeanPoolParams{Batch: uint32(batch), Tokens: uint32(tokens), Width: uint32(width), Scale: 1 / float64(tokens)}
}
