package gpu

import (
	"math"

	"wgjepa/internal/ref"
)

var nonfinite = register("nonfinite", "nonfinite.wgsl", nil, "x partial", func(p ref.NonfiniteParams, b []ref.Buffer) {
	ref.Nonfinite(p, b[0].F, b[1].F)
})

// Nonfinite sets count (1) to the number of NaNs and infinities in x.
func (e *Encoder) Nonfinite(count Tensor, x Tensor) {
	if count.Len() != 1 {
		panic(shapes("Nonfinite", "count", count))
	}
	partial, n := e.lanes([]Tensor{x}, func(x, partial Tensor, n, lanes, first int) {
		launch(e, nonfinite, [3]int{ceil(lanes, 64), 1, 1}, ref.NonfiniteParams{N: uint32(n), Lanes: uint32(lanes), First: uint32(first)}, x, partial)
	})
	e.sum(count, 0, partial, n, 1)
}

// FeatureStd sets dst (1) to the mean over the columns of x (N, D) of their
// population standard deviation: it falls towards 0 when features collapse.
func (e *Encoder) FeatureStd(dst Tensor, x Tensor) {
	n, d := x.Rows(), x.Cols()
	if dst.Len() != 1 {
		panic(shapes("FeatureStd", "dst", dst))
	}
	mean, variance := e.d.scratch("feature mean", d), e.d.scratch("feature variance", d)
	e.scaledColumnSums(mean, x, Tensor{}, 1/float64(n))
	e.scaledColumnSums(variance, x, mean, 1/float64(n))
	launch(e, sum, [3]int{1, 1, 1}, ref.SumParams{N: uint32(d), RootTerms: 1, Scale: 1 / float64(d)}, variance, dst)
}

func health() Op {
	return Op{
		Name: "health",
		Cases: []Case{
			{"nonfinite", func(t *Trial) {
				for _, n := range []int{1, 63, 64, 65, 4097, 100000} {
					x := t.InFunc("x", func(i int) float64 {
						return []float64{0, 1, math.MaxFloat32, math.Inf(1), math.NaN(), -math.MaxFloat32, math.Inf(-1), 1e-45, -0.5, 3, 4}[(i+n)%11]
					}, n)
					count := t.Out("count", 1)
					t.E.Nonfinite(count, x)
					t.Exact(count)
				}
			}},
			{"feature std", func(t *Trial) {
				for _, s := range [][2]int{{1, 1}, {2, 3}, {63, 64}, {64, 63}, {1000, 65}, {4097, 12}} {
					n, d := s[0], s[1]
					x := t.InFunc("x", func(i int) float64 { return float64(i%d%3) + t.Rand().NormFloat64() }, n, d)
					dst := t.Out("dst", 1)
					size := 0.0 // mean over the columns of the mean magnitude: the means' error in proportion
					for _, v := range t.magnitudes(x) {
						size += v / float64(n*d)
					}
					t.E.FeatureStd(dst, x)
					std := t.Values(dst)[0]
					t.Within(dst, func(int) float64 { return (chain(n) + 12) * Epsilon * (std + size) })
				}
			}},
		},
	}
}
