package gpu

import (
	"math"

	"wgjepa/internal/ref"
)

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
	partial := e.d.scratch("layer norm", 2*mostChunks(x.cap/cols)*cols)
	kernel, w := layerNormPartial.pick(cols)
	launch(e, kernel, [3]int{ceil(cols/w, 64), chunks, 1},
		ref.LayerNormPartialParams{Rows: uint32(rows), Cols: uint32(cols), Chunk: uint32(chunk(rows))},
		dy, x, mean, rstd, partial)
	e.reduce(dgamma, partial, 0, chunks, cols, true, 1)
	e.reduce(dbeta, partial, chunks*cols, chunks, cols, true, 1)
}

// rowShapes are sizes around those of the row kernels: rows, cols.
var rowShapes = [][2]int{{1, 1}, {3, 2}, {2, 3}, {63, 4}, {64, 5}, {65, 63}, {7, 64}, {5, 65}, {1, 127}, {130, 128}, {3, 252}, {2, 256}, {4, 260}, {3, 1021}}

// normBound bounds a row normalised in float32, n elements: n + 8 roundings of
// quantities of the order of 1 and of the value itself, then gain and bias.
func normBound(n int, gamma, beta, y float64) float64 {
	return float64(n+8) * Epsilon * (math.Abs(gamma) + math.Abs(y) + 2*math.Abs(beta))
}

// normGradBounds bounds LayerNormGrad, given magnitudes of g = dy·gamma and of
// x̂: each of its terms is rounded at most n + 8 times.
func normGradBounds(g, xhat []float64, rstd float64) []float64 {
	n := float64(len(g))
	var a, b float64
	for i := range g {
		a += g[i] / n
		b += g[i] * xhat[i] / n
	}
	bound := make([]float64, len(g))
	for i := range g {
		bound[i] = (n + 8) * Epsilon * rstd * (g[i] + a + xhat[i]*b)
	}
	return bound
}

func layerNorm() Op {
	return Op{
		Name: "layernorm",
		Cases: []Case{
			{"forward", func(t *Trial) {
				t.variants(func() {
					for _, s := range rowShapes {
						rows, cols := s[0], s[1]
						// A mean far from 0: a variance by Σx² − (Σx)² would lose it.
						x := t.InFunc("x", func(i int) float64 { return 50*float64(i/cols%3) + t.Rand().NormFloat64() }, rows, cols)
						gamma, beta := t.In("gamma", cols), t.In("beta", cols)
						y, mean, rstd := t.Out("y", rows, cols), t.Out("mean", rows), t.Out("rstd", rows)
						t.E.LayerNorm(y, mean, rstd, x, gamma, beta, 1e-5)
						g, b, v, m, r := t.Values(gamma), t.Values(beta), t.Values(y), t.Values(mean), t.Values(rstd)
						t.Within(y, func(i int) float64 { return normBound(cols, g[i%cols], b[i%cols], v[i]) })
						t.Within(mean, func(i int) float64 { return Epsilon * (2*math.Abs(m[i]) + float64(cols+4)/r[i]) })
						t.Within(rstd, func(i int) float64 { return float64(cols+8) * Epsilon * r[i] })
						plain := t.Out("plain", rows, cols)
						t.E.LayerNorm(plain, Tensor{}, Tensor{}, x, Tensor{}, Tensor{}, 1e-6)
						v2 := t.Values(plain)
						t.Within(plain, func(i int) float64 { return normBound(cols, 1, 0, v2[i]) })
					}
				})
			}},
		},
		Bench: []Bench{
			layerNormBench(2, func(e *Encoder, x, y, _, gamma, beta, mean, rstd Tensor) {
				e.LayerNorm(y, mean, rstd, x, gamma, beta, 1e-6)
			}),
		},
	}
}

func layerNormGradient() Op {
	return Op{
		Name: "layernorm_grad",
		Cases: []Case{
			{"gradient", func(t *Trial) {
				t.variants(func() {
					for _, s := range rowShapes {
						rows, cols := s[0], s[1]
						x, dy, gamma := t.In("x", rows, cols), t.In("dy", rows, cols), t.In("gamma", cols)
						mean, rstd := t.In("mean", rows), t.positive("rstd", rows)
						dx, plain, sum := t.Out("dx", rows, cols), t.Out("plain", rows, cols), t.In("sum", rows, cols)
						xs, g, gain, m, r, before := t.Values(x), t.magnitudes(dy), t.magnitudes(gamma), t.Values(mean), t.Values(rstd), t.magnitudes(sum)
						var bounds, plainBounds []float64
						for row := range rows {
							xhat, scaled := make([]float64, cols), make([]float64, cols)
							for i := range cols {
								xhat[i] = math.Abs(xs[row*cols+i]-m[row]) * r[row]
								scaled[i] = g[row*cols+i] * gain[i]
							}
							bounds = append(bounds, normGradBounds(scaled, xhat, r[row])...)
							plainBounds = append(plainBounds, normGradBounds(g[row*cols:][:cols], xhat, r[row])...)
						}
						t.E.LayerNormGrad(dx, dy, x, gamma, mean, rstd)
						t.E.LayerNormGrad(plain, dy, x, Tensor{}, mean, rstd)
						t.E.LayerNormGradAdd(sum, dy, x, gamma, mean, rstd)
						t.Within(dx, at(bounds))
						t.Within(plain, at(plainBounds))
						t.Within(sum, func(i int) float64 { return 2*bounds[i] + 2*Epsilon*before[i] })
					}
				})
			}},
		},
		Bench: []Bench{layerNormBench(3, func(e *Encoder, x, dy, dx, gamma, _, mean, rstd Tensor) {
			e.LayerNormGrad(dx, dy, x, gamma, mean, rstd)
		})},
	}
}

func layerNormGradientParams() Op {
	return Op{
		Name: "layernorm_grad_params",
		Cases: []Case{
			{"gradient of gain and bias", func(t *Trial) {
				for _, s := range append(rowShapes, [][2]int{{15, 64}, {16, 65}, {17, 63}, {5000, 20}}...) {
					rows, cols := s[0], s[1]
					x, dy := t.In("x", rows, cols), t.In("dy", rows, cols)
					mean, rstd := t.In("mean", rows), t.positive("rstd", rows)
					dgamma, dbeta := t.In("dgamma", cols), t.In("dbeta", cols)
					xs, g, m, r := t.Values(x), t.magnitudes(dy), t.Values(mean), t.Values(rstd)
					gains, biases := t.magnitudes(dgamma), t.magnitudes(dbeta)
					for i := range g {
						gains[i%cols] += g[i] * math.Abs(xs[i]-m[i/cols]) * r[i/cols]
						biases[i%cols] += g[i]
					}
					t.E.LayerNormGradParams(dgamma, dbeta, dy, x, mean, rstd)
					c := chain(rows) + 4
					t.Within(dgamma, func(i int) float64 { return c * Epsilon * gains[i] })
					t.Within(dbeta, func(i int) float64 { return c * Epsilon * biases[i] })
				}
			}},
		},
		Bench: []Bench{layerNormBench(2, func(e *Encoder, x, dy, _, dgamma, dbeta, mean, rstd Tensor) {
			e.LayerNormGradParams(dgamma, dbeta, dy, x, mean, rstd)
		})},
	}
}

func layerNormBench(passes float64, record func(e *Encoder, x, y, dx, gamma, beta, mean, rstd Tensor)) Bench {
	const rows, cols = 4096, 384
	return Bench{Shape: []int{rows, cols}, Bytes: 4 * passes * rows * cols, Record: func(d *Device) func(*Encoder) {
		x, y, dx := d.Tensor("x", rows, cols), d.Tensor("y", rows, cols), d.Tensor("dx", rows, cols)
		gamma, beta, mean, rstd := d.Tensor("gamma", cols), d.Tensor("beta", cols), d.Tensor("mean", rows), d.Tensor("rstd", rows)
		return func(e *Encoder) { record(e, x, y, dx, gamma, beta, mean, rstd) }
	}}
}
