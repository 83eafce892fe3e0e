package gpu

import "wgjepa/internal/ref"

var (
	targetNorm = registerRowwise("target_norm", "target_norm.wgsl", "h targets dst", func(p ref.TargetNormParams, b []ref.Buffer) {
		ref.TargetNorm(p, b[0].F, b[1].U, b[2].F)
	})
	smoothL1 = register("smooth_l1", "smooth_l1.wgsl", nil, "z h dz partial", func(p ref.SmoothL1Params, b []ref.Buffer) {
		ref.SmoothL1(p, b[0].F, b[1].F, b[2].F, b[3].F)
	})
)

// TargetNorm gathers the patches target (M, B, L) of h (B, P, D) into dst
// (M·B, L, D), each row normalised as LayerNorm without gain and bias does.
func (e *Encoder) TargetNorm(dst, h, target Tensor, eps float64) {
	blocks, batch, l := target.Dim(0), target.Dim(1), target.Dim(2)
	patches, width := h.Dim(1), h.Dim(2)
	if h.Dim(0) != batch || dst.Len() != blocks*batch*l*width || dst.Cols() != width {
		panic(shapes("TargetNorm", "dst", dst, "h", h, "target", target))
	}
	launchRows(e, targetNorm, blocks*batch*l, width, ref.TargetNormParams{
		Blocks: uint32(blocks), Batch: uint32(batch), Patches: uint32(patches), PerBlock: uint32(l), Width: uint32(width), Eps: eps,
	}, h, target, dst)
}

// SmoothL1 sets loss (1) to the mean over all elements of the smooth L1 loss
// (β = 1) of z − h, and dz, unless it is nil, to scale times its gradient in z.
func (e *Encoder) SmoothL1(loss, dz, z, h Tensor, scale float64) {
	n := z.Len()
	if loss.Len() != 1 || h.Len() != n || !dz.IsNil() && dz.Len() != n {
		panic(shapes("SmoothL1", "loss", loss, "dz", dz, "z", z, "h", h))
	}
	l := lanes(n)
	partial := e.d.scratch("lanes", l)
	launch(e, smoothL1, [3]int{ceil(l, 64), 1, 1},
		ref.SmoothL1Params{N: uint32(n), Grad: flag(!dz.IsNil()), Lanes: uint32(l), Scale: scale / float64(n)},
		z, h, e.orNone(dz, true), partial)
	e.sum(loss, 0, partial, l, 1/float64(n))
}

func loss() Op {
	return Op{
		Name: "loss",
		Cases: []Case{
			{"target norm", func(t *Trial) {
				t.variants(func() {
					for _, s := range [][5]int{{1, 1, 1, 1, 1}, {2, 3, 5, 4, 6}, {4, 2, 17, 5, 64}, {3, 5, 9, 9, 65}, {4, 4, 8, 3, 260}} { // blocks, batch, patches, target, width
						blocks, batch, patches, l, width := s[0], s[1], s[2], s[3], s[4]
						h, target := t.In("h", batch, patches, width), t.choice("target", patches, blocks, batch, l)
						dst := t.Out("dst", blocks*batch, l, width)
						t.E.TargetNorm(dst, h, target, 1e-5)
						v := t.Values(dst)
						t.Within(dst, func(i int) float64 { return normBound(width, 1, 0, v[i]) })
					}
				})
			}},
			{"smooth L1", func(t *Trial) {
				for _, n := range []int{1, 63, 64, 65, 4095, 4097, 1000000} {
					z, h := t.In("z", n), t.In("h", n)
					loss, dz := t.Out("loss", 1), t.Out("dz", n)
					t.E.SmoothL1(loss, dz, z, h, 0.25)
					// All terms are positive; each is rounded 6 times before it is added.
					mean := t.Values(loss)[0]
					t.Within(loss, func(int) float64 { return (lanesChain(n) + 8) * Epsilon * mean })
					grad := t.magnitudes(dz)
					t.Within(dz, func(i int) float64 { return 4 * Epsilon * grad[i] })
					alone := t.Out("alone", 1)
					t.E.SmoothL1(alone, Tensor{}, z, h, 1)
					t.Within(alone, func(int) float64 { return (lanesChain(n) + 8) * Epsilon * mean })
				}
			}},
		},
		Bench: []Bench{{Shape: []int{1 << 20}, Bytes: 4 * 3 << 20, Record: func(d *Device) func(*Encoder) {
			loss, dz, z, h := d.Tensor("loss", 1), d.Tensor("dz", 1<<20), d.Tensor("z", 1<<20), d.Tensor("h", 1<<20)
			return func(e *Encoder) { e.SmoothL1(loss, dz, z, h, 1) }
		}}},
	}
}
