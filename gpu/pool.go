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

func pool() Op {
	return Op{
		Name: "pool",
		Cases: []Case{{"mean", func(t *Trial) {
			for _, s := range [][3]int{{1, 1, 1}, {2, 5, 3}, {3, 64, 63}, {1, 7, 64}, {5, 513, 65}} { // batch, tokens, width
				batch, tokens, width := s[0], s[1], s[2]
				x, y := t.In("x", batch, tokens, width), t.Out("y", batch, width)
				sums := make([]float64, y.Len())
				for i, v := range t.magnitudes(x) {
					sums[i/(tokens*width)*width+i%width] += v / float64(tokens)
				}
				t.E.MeanPool(y, x)
				t.Within(y, func(i int) float64 { return float64(tokens+2) * Epsilon * sums[i] })

				dy, dx := t.In("dy", batch, width), t.In("dx", batch, tokens, width)
				d, before := t.magnitudes(dy), t.magnitudes(dx)
				t.E.MeanPoolGradAdd(dx, dy)
				t.Within(dx, func(i int) float64 {
					return Epsilon * (before[i] + 4*d[i/(tokens*width)*width+i%width]/float64(tokens))
				})
			}
		}}},
	}
}
