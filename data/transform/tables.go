package transform

import "slices"

// Tables are a [Geometry] as one gather with linear interpolation: what a kernel needs to
// apply it. Axes are the source's; an image has a first axis of length 1.
type Tables struct {
	Axis      [3]int       // the output axis along which a source axis lies
	Low, High [3][]int     // the two neighbours of each output index
	Weight    [3][]float32 // the second one's weight
}

// Tables makes t the gather that [Geometry.Apply] does to images of the given size, in the
// memory that t has.
func (g Geometry) Tables(t *Tables, size []int) {
	n, shift := three(size), 3-len(size)
	for a := range 3 {
		t.Axis[a] = a
		t.Low[a], t.High[a], t.Weight[a] = linear(t.Low[a][:0], t.High[a][:0], t.Weight[a][:0], g.Box.At[a], g.Box.Size[a], n[a])
		reversed := a >= shift && g.Flip[a-shift]
		if g.Turn != (Orientation{}) {
			t.Axis[a] = slices.Index(g.Turn.Axes[:], a)
			reversed = reversed != g.Turn.Flip[t.Axis[a]]
		}
		if reversed {
			slices.Reverse(t.Low[a])
			slices.Reverse(t.High[a])
			slices.Reverse(t.Weight[a])
		}
	}
}
