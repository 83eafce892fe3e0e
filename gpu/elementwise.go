package gpu

import (
	"wgjepa/internal/ref"
)

var (
	fill = register("fill", "fill.wgsl", nil, "dst", func(p ref.FillParams, b []ref.Buffer) {
		ref.Fill(p, b[0].F)
	})
	copyKernel = registerVectors("copy", "copy.wgsl", "x dst", func(p ref.CopyParams, b []ref.Buffer) {
		ref.Copy(p, b[0].F, b[1].F)
	})
	scaleRows = registerVectors("scale_rows", "scale_rows.wgsl", "x scale dst", func(p ref.ScaleRowsParams, b []ref.Buffer) {
		ref.ScaleRows(p, b[0].F, b[1].F, b[2].F)
	})
	scaleRowsAdd = registerVectors("scale_rows_add", "scale_rows_add.wgsl", "residual branch scale y", func(p ref.ScaleRowsParams, b []ref.Buffer) {
		ref.ScaleRowsAdd(p, b[0].F, b[1].F, b[2].F, b[3].F)
	})
)

// Fill sets every element of dst to value.
func (e *Encoder) Fill(dst Tensor, value float64) {
	e.pieces(dst.Len(), func(off, n int) {
		launch(e, fill, e.groups1(ceil(n, 64)), ref.FillParams{N: uint32(n), Value: value}, e.piece(dst, off, n))
	})
}

// Copy is dst = x.
func (e *Encoder) Copy(dst, x Tensor) {
	if dst.Len() != x.Len() {
		panic(shapes("Copy", "dst", dst, "x", x))
	}
	e.pieces(x.Len(), func(off, n int) {
		launchElements(e, copyKernel, n, n, ref.CopyParams{N: uint32(n)}, e.piece(x, off, n), e.piece(dst, off, n))
	})
}

// ScaleRows multiplies every sample of x (B, …) by its factor: dst =
// scale[b]·x.
func (e *Encoder) ScaleRows(dst, x, scale Tensor) {
	n, row := x.Len(), x.Len()/max(1, x.Dim(0))
	if dst.Len() != n || scale.Len() != x.Dim(0) {
		panic(shapes("ScaleRows", "dst", dst, "x", x, "scale", scale))
	}
	launchElements(e, scaleRows, n, row, ref.ScaleRowsParams{N: uint32(n), Row: uint32(row)}, x, scale, dst)
}

// ScaleRowsAdd is stochastic depth (Huang et al. 2016): y (B, …) = residual +
// scale[b]·branch, where scale[b] is 0 for a dropped sample.
func (e *Encoder) ScaleRowsAdd(y, residual, branch, scale Tensor) {
	n, row := y.Len(), y.Len()/max(1, y.Dim(0))
	if residual.Len() != n || branch.Len() != n || scale.Len() != y.Dim(0) {
		panic(shapes("ScaleRowsAdd", "y", y, "residual", residual, "branch", branch, "scale", scale))
	}
	launchElements(e, scaleRowsAdd, n, row, ref.ScaleRowsParams{N: uint32(n), Row: uint32(row)}, residual, branch, scale, y)
}

func elementwise() Op {
	return Op{
		Name: "elementwise",
		Cases: []Case{
			{"fill", func(t *Trial) {
				for _, n := range []int{1, 63, 64, 65, 1000} {
					dst := t.Out("dst", n)
					t.E.Fill(dst, 0.25)
					t.Exact(dst)
				}
			}},
			{"copy", func(t *Trial) {
				for _, n := range []int{1, 4, 63, 64, 65, 255, 256, 257, 1000} {
					x, twin := t.In("x", n), t.Out("twin", n)
					t.E.Copy(twin, x)
					t.Exact(twin)
				}
			}},
			{"fill, copy in pieces", func(t *Trial) {
				limits := t.d.info.Limits
				defer func() { t.d.info.Limits = limits }()
				t.d.info.Limits.BindingSize = 1 << 10 // 256 elements
				for _, n := range []int{256, 257, 1000} {
					x, twin, dst := t.In("x", n), t.Out("twin", n), t.Out("dst", n)
					t.E.Copy(twin, x)
					t.E.Fill(dst, 0.25)
					t.Exact(twin)
					t.Exact(dst)
				}
			}},
			{"stochastic depth", func(t *Trial) {
				for _, s := range [][3]int{{1, 1, 1}, {3, 5, 3}, {2, 7, 4}, {5, 13, 20}, {4, 9, 65}} {
					x, branch, y, dst := t.In("x", s[:]...), t.In("branch", s[:]...), t.Out("y", s[:]...), t.Out("dst", s[:]...)
					scale := t.InFunc("scale", func(i int) float64 { return 1.25 * float64(i%2) }, s[0])
					t.E.ScaleRowsAdd(y, x, branch, scale)
					t.E.ScaleRows(dst, x, scale)
					r, b := t.magnitudes(x), t.magnitudes(branch)
					t.Within(y, func(i int) float64 { return 2 * Epsilon * (r[i] + 1.25*b[i]) })
					t.Exact(dst)
				}
			}},
		},
	}
}
