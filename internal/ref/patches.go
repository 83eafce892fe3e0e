package ref

// PatchesParams mirrors patches.wgsl.
type PatchesParams struct {
	Batch, Kept, Channels  uint32
	Height, Width, Depth   uint32
	PatchH, PatchW, PatchD uint32
	Indexed                uint32
}

// Patches cuts x (batch, channels, height, width, depth) into patches. Patch n
// of sample b is number index[b, n] of the grid in row-major order, or n
// itself where Indexed is 0; dst is (batch, kept, channels·patch) with a
// patch's elements in the order of a convolution's weight.
func Patches(p PatchesParams, x []float64, index []uint32, dst []float64) {
	gw, gd := p.Width/p.PatchW, p.Depth/p.PatchD
	Parallel(int(p.Batch*p.Kept), func(lo, hi int) {
		for row := lo; row < hi; row++ {
			b, patch := uint32(row)/p.Kept, uint32(row)%p.Kept
			if p.Indexed != 0 {
				patch = index[row]
			}
			h0, w0, d0 := patch/(gw*gd)*p.PatchH, patch/gd%gw*p.PatchW, patch%gd*p.PatchD
			at := row * int(p.Channels*p.PatchH*p.PatchW*p.PatchD)
			for c := range p.Channels {
				for h := range p.PatchH {
					for w := range p.PatchW {
						for d := range p.PatchD {
							dst[at] = x[(((int(b)*int(p.Channels)+int(c))*int(p.Height)+int(h0+h))*int(p.Width)+int(w0+w))*int(p.Depth)+int(d0+d)]
							at++
						}
					}
				}
			}
		}
	})
}
