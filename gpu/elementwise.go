package gpu

import (
	"wgjepa/internal/ref"
)

var fill = register("fill", "fill.wgsl", nil, "dst", func(p ref.FillParams, b []ref.Buffer) {
	ref.Fill(p, b[0].F)
})

// Fill sets every element of dst to value.
func (e *Encoder) Fill(dst Tensor, value float64) {
	n := dst.Len()
	launch(e, fill, e.groups1(ceil(n, 64)), ref.FillParams{N: uint32(n), Value: value}, dst)
}

var elementwise = Op{
	Name: "elementwise",
	Cases: []Case{
		{"fill", func(t *Trial) {
			for _, n := range []int{1, 63, 64, 65, 1000} {
				dst := t.Out("dst", n)
				t.E.Fill(dst, 0.25)
				t.Exact(dst)
			}
		}},
	},
}
