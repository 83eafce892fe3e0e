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
