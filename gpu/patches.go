package gpu

import (
	"slices"

	"wgjepa/internal/ref"
)

var patchesKernel = registerVectors("patches", "patches.wgsl", "x index dst", func(p ref.PatchesParams, b []ref.Buffer) {
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
	size, patch := g.Size, g.Patch
	if size[2] == patch[2] {
		// Whole rows of the last axis, as in every image: the last two are one.
		size, patch = [3]int{size[0], 1, size[1] * size[2]}, [3]int{patch[0], 1, patch[1] * patch[2]}
	}
	kernel, _ := patchesKernel.pick(size[2] | patch[2])
	groups := [3]int{ceil(g.Channels*patch[0]*patch[1], 16), ceil(kept, 4), batch}
	launch(e, kernel, groups, ref.PatchesParams{
		Batch: uint32(batch), Kept: uint32(kept), Channels: uint32(g.Channels),
		Height: uint32(size[0]), Width: uint32(size[1]), Depth: uint32(size[2]),
		PatchH: uint32(patch[0]), PatchW: uint32(patch[1]), PatchD: uint32(patch[2]),
		Indexed: flag(!index.IsNil()),
	}, x, e.orNone(index, false), dst)
}

func patches() Op {
	return Op{
		Name: "patches",
		Cases: []Case{{"2-D and 3-D", func(t *Trial) {
			for _, g := range []Geometry{
				{1, [3]int{1, 1, 1}, [3]int{1, 1, 1}},
				{3, [3]int{6, 4, 1}, [3]int{3, 2, 1}},
				{1, [3]int{8, 8, 8}, [3]int{4, 4, 4}},
				{2, [3]int{4, 6, 10}, [3]int{2, 3, 5}},
			} {
				for _, batch := range []int{1, 3} {
					x := t.In("x", batch, g.Channels*g.Size[0], g.Size[1], g.Size[2])
					all := t.Out("all", batch, g.Patches(), g.PatchLen())
					t.E.Patches(all, x, Tensor{}, g)
					t.Exact(all)
					kept := ceil(g.Patches(), 2)
					index := t.choice("index", g.Patches(), batch, kept)
					some := t.Out("some", batch, kept, g.PatchLen())
					t.E.Patches(some, x, index, g)
					t.Exact(some)
				}
			}
		}}},
		Bench: []Bench{{Shape: []int{16, 64, 64, 64}, Bytes: 4 * 2 * 16 * 64 * 64 * 64, Record: func(d *Device) func(*Encoder) {
			g := Geometry{1, [3]int{64, 64, 64}, [3]int{8, 8, 8}}
			x, dst := d.Tensor("x", 16, 64*64*64), d.Tensor("patches", 16, g.Patches(), g.PatchLen())
			return func(e *Encoder) { e.Patches(dst, x, Tensor{}, g) }
		}}},
	}
}

// choice makes an input of rows of indices below n, ascending and distinct
// within each row.
func (t *Trial) choice(name string, n int, dims ...int) Tensor {
	width := dims[len(dims)-1]
	var row []int
	return t.Indices(name, func(i int) uint32 {
		if i%width == 0 {
			row = t.values.Perm(n)[:width]
			slices.Sort(row)
		}
		return uint32(row[i%width])
	}, dims...)
}
