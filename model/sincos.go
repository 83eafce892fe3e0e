package model

import "math"

// sincosTemperature is the base of the wavelengths, as in MoCo v3 and nidl.
const sincosTemperature = 10000

// sinCos returns fixed position embeddings (P, D) for a grid of patches in
// token order. In 2-D the quarters are [sin w, cos w, sin h, cos h]; in 3-D
// the six parts of ⌈D/6⌉ are [sin w, cos w, sin h, cos h, sin d, cos d], cut
// to D.
//
// nidl enumerates the grid as (w, h, …) and reads it as (h, w, …), so on
// unequal sides its positions are wrong and on equal ones w and h swap roles.
// order "nidl" does the same, for its weights; "hwd" is right.
func sinCos(grid []int, width int, order string) []float32 {
	h, w, d := grid[0], grid[1], 1
	axes := 2
	if len(grid) == 3 {
		d, axes = grid[2], 3
	}
	part := (width + 2*axes - 1) / (2 * axes)
	omega := make([]float64, part)
	for i := range omega {
		omega[i] = math.Pow(sincosTemperature, -float64(i)/float64(part))
	}
	table := make([]float32, h*w*d*width)
	for t := range h * w * d {
		at := [3]int{t / d % w, t / (w * d), t % d} // w, h, d in token order
		if order == "nidl" {
			at = [3]int{t / (h * d), t / d % h, t % d}
		}
		for i := range width {
			x := float64(at[i/part/2]) * omega[i%part]
			if i/part%2 == 0 {
				table[t*width+i] = float32(math.Sin(x))
			} else {
				table[t*width+i] = float32(math.Cos(x))
			}
		}
	}
	return table
}
