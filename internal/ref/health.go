package ref

import "math"

// NonfiniteParams mirrors nonfinite.wgsl.
type NonfiniteParams struct {
	N, Lanes, First uint32
}

// Nonfinite counts NaN and infinities into partial, element i going to
// partial[First + i % Lanes].
func Nonfinite(p NonfiniteParams, x, partial []float64) {
	partial = partial[p.First:][:p.Lanes]
	clear(partial)
	for i, v := range x[:p.N] {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			partial[i%int(p.Lanes)]++
		}
	}
}
