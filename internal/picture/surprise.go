package picture

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"
)

// Surprised is a sample with the predictor's error at each patch.
type Surprised struct {
	Image
	Errors []float32 // (P), NaN where a patch was never predicted
}

// heat are the colours of small to large errors: black, purple, red, orange, pale yellow, each
// lighter than the one before, so that the order shows in grey too.
var heat = []color.RGBA{{0, 0, 4, 255}, {87, 16, 110, 255}, {188, 55, 84, 255}, {249, 142, 9, 255}, {252, 255, 164, 255}}

// heatAt is the colour of t in 0 to 1.
func heatAt(t float64) color.RGBA {
	t = math.Min(math.Max(t, 0), 1) * float64(len(heat)-1)
	i := min(int(t), len(heat)-2)
	return mix(heat[i], heat[i+1], t-float64(i))
}

// mostSurprising is the patch of the largest error, -1 where there is none.
func (s *Surprised) mostSurprising() int {
	best := -1
	for p, e := range s.Errors {
		if e == e && (best < 0 || e > s.Errors[best]) {
			best = p
		}
	}
	return best
}

// slice is the plane through the most surprising patch in place of the centre.
func (s *Surprised) slice(p plane) plane {
	at := s.mostSurprising()
	if len(s.Size) == 2 || at < 0 {
		return p
	}
	var voxel [3]int
	for a := 2; a >= 0; a-- {
		voxel[a] = (2*(at%s.Grid[a]) + 1) * s.Size[a] / (2 * s.Grid[a])
		at /= s.Grid[a]
	}
	fixed := map[string]int{"axial": 2, "coronal": 1, "sagittal": 0}[p.name]
	inner := p.voxel
	p.voxel = func(r, c int) [3]int {
		v := inner(r, c)
		v[fixed] = voxel[fixed]
		return v
	}
	return p
}

// Surprise draws samples on the planes through their most surprising patch, and beside each the
// errors over it, brighter where larger; all on one scale from low to high. Patches that were
// never predicted stay grey.
func Surprise(title string, low, high float64, samples []Surprised) image.Image {
	var rows [][]*image.RGBA
	var names, columns []string
	for _, s := range samples {
		s.check()
		patches := 1
		for _, g := range s.Grid {
			patches *= g
		}
		if len(s.Errors) != patches {
			panic(fmt.Sprintf("picture: %s: %d errors for a grid of %v", s.Name, len(s.Errors), s.Grid))
		}
		gray := s.gray()
		var row []*image.RGBA
		columns = columns[:0]
		for _, p := range planes(s.Size) {
			p = s.slice(p)
			row = append(row,
				s.tile(p, func(v [3]int) color.RGBA { return shade(gray[s.at(v)]) }),
				s.tile(p, func(v [3]int) color.RGBA {
					g, e := shade(gray[s.at(v)]), float64(s.Errors[s.patch(v)])
					if math.IsNaN(e) {
						return mix(g, color.RGBA{255, 255, 255, 255}, 0.6)
					}
					return mix(g, heatAt((e-low)/math.Max(high-low, 1e-30)), 0.6)
				}))
			columns = append(columns, label(p.name, "image"), label(p.name, "error"))
		}
		rows, names = append(rows, row), append(names, s.Name)
	}
	if len(rows) == 0 {
		panic("picture: Surprise of no samples")
	}
	return withScale(montage(title, columns, names, rows), low, high)
}

// withScale adds the colours of the scale under a picture.
func withScale(m image.Image, low, high float64) image.Image {
	const length, thick, room = 240, 12, 44
	b := m.Bounds()
	out := image.NewRGBA(image.Rect(0, 0, max(b.Dx(), length+2*gap), b.Dy()+room))
	for i := range out.Pix {
		out.Pix[i] = 255
	}
	for y := range b.Dy() {
		for x := range b.Dx() {
			out.Set(x, y, m.At(x, y))
		}
	}
	for x := range length {
		for y := range thick {
			out.SetRGBA(gap+x, b.Dy()+y, heatAt(float64(x)/(length-1)))
		}
	}
	face := newFace(11)
	write(out, face, fmt.Sprintf("error %.3g", low), gap, b.Dy()+thick+14)
	write(out, face, fmt.Sprintf("%.3g", high), gap+length-28, b.Dy()+thick+14)
	return out
}

// ErrorScale is the range of colours for errors: their 2nd to 98th percentiles.
func ErrorScale(samples []Surprised) (low, high float64) {
	var all []float32
	for _, s := range samples {
		for _, e := range s.Errors {
			if e == e {
				all = append(all, e)
			}
		}
	}
	if len(all) == 0 {
		return 0, 1
	}
	slices.Sort(all)
	return float64(all[len(all)*2/100]), float64(all[len(all)-1-len(all)*2/100])
}
