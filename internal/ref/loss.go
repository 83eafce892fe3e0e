package ref

import "math"

// TargetNormParams mirrors target_norm.wgsl.
type TargetNormParams struct {
	Blocks, Batch, Patches, PerBlock, Width uint32
	Eps                                     float64
}

// TargetNorm gathers the target patches of h (batch, patches, width) into dst
// (blocks·batch, per block, width), each row normalised without gain and bias.
// targets is (blocks, batch, per block).
func TargetNorm(p TargetNormParams, h []float64, targets []uint32, dst []float64) {
	l, n := int(p.PerBlock), int(p.Width)
	Parallel(int(p.Blocks*p.Batch)*l, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			b := r / l % int(p.Batch)
			x := h[(b*int(p.Patches)+int(targets[r]))*n:][:n]
			mean, rstd := moments(x, p.Eps)
			for i, v := range x {
				dst[r*n+i] = (v - mean) * rstd
			}
		}
	})
}

// SmoothL1Params mirrors smooth_l1.wgsl.
type SmoothL1Params struct {
	N, Grad, Lanes uint32
	Scale          float64 // of the gradient of one element
}

// SmoothL1 sums the smooth L1 loss (β = 1) of d = z − h,
//
//	d²/2 where |d| < 1, |d| − ½ elsewhere,
//
// into partial, element i going to partial[i % Lanes], and with Grad sets
// dz = Scale·(d cut to [−1, 1]).
func SmoothL1(p SmoothL1Params, z, h, dz, partial []float64) {
	clear(partial[:p.Lanes])
	for i := range int(p.N) {
		d := z[i] - h[i]
		loss := math.Abs(d) - 0.5
		if math.Abs(d) < 1 {
			loss = d * d / 2
		}
		partial[i%int(p.Lanes)] += loss
		if p.Grad != 0 {
			dz[i] = p.Scale * max(-1, min(1, d))
		}
	}
}
