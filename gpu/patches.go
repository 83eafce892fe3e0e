package gpu

import "wgjepa/internal/ref"

var patchesKernel = register("patches", "patches.wgsl", nil, "x index dst", func(p ref.PatchesParams, b []ref.Buffer) {
	ref.Patches(p, b[0].F, b[1].U, b[2].F)
})

// Geometry is how an image or a volume is cut into patches. An image's third
// axis is 1. Voxels are row-major, (C, H, W, D).
type Geometry struct {
	Channels    int
	Size, Patch [3]int
}

// Grid is the number of patches along each axis.
func (g Geometry) Grid() [3]int {
	return [3]int{g.Size[0] / g.Patch[0], g.Size[1] / g.Patch[1], g.Size[2] / g.Patch[2]}
}

// Patches is the number of patches, P.
func (g Geometry) Patches() int {
	grid := g.Grid()
	return grid[0] * grid[1] * grid[2]
}

// PatchLen is the number of elements of a patch.
func (g Geometry) PatchLen() int {
	return g.Channels * g.Patch[0] * g.Patch[1] * g.Patch[2]
}

// Patches cuts x (B, C·H·W·D, on one or more axes) into dst (B, N, PatchLen).
// A patch's elements lie in the order of a convolution's weight (C, h, w, d).
// index (B, N) says which patches, counted row-major in the grid; nil means
// all of them, N = P.
func (e *Encoder) Patches(dst, x, index Tensor, g Geometry) {
	batch := x.Dim(0)
	kept := dst.Len() / (batch * g.PatchLen())
	if x.Len() != batch*g.Channels*g.Size[0]*g.Size[1]*g.Size[2] || dst.Len() != batch*kept*g.PatchLen() ||
		!index.IsNil() && index.Len() != batch*kept || index.IsNil() && kept != g.Patches() {
		panic(shapes("Patches", "dst", dst, "x", x, "index", index, "geometry", g))
	}
	launch(e, patchesKernel, e.groups1(ceil(dst.Len(), 64)), ref.PatchesParams{
		Batch: uint32(batch), Kept: uint32(kept), Channels: uint32(g.Channels),
		Height: uint32(g.Size[0]), Width: uint32(g.Size[1]), Depth: uint32(g.Size[2]),
		PatchH: uint32(g.Patch[0]), PatchW: uint32(g.Patch[1]), PatchD: uint32(g.Patch[2]),
		Indexed: flag(!index.IsNil()),
	}, x, e.orNone(index, false), dst)
}
