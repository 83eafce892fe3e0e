package picture

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"
)

// Prepared is a sample on its way to the encoder.
type Prepared struct {
	Image               // as it is preprocessed
	About     string    // written after its name
	Stored    Image     // as its file holds it; its Grid is not used
	Spacing   []float64 // of Stored: its pixels are shown in proportion
	Augmented []float32 // Values, augmented
	Context   []uint32  // patches that the context encoder sees
	Targets   [][]uint32
}

// Sheet draws, for each sample, what its file holds, what is made of it, what an
// augmentation makes of that, and the masks of a training step on it: what is to be
// predicted in colour, what the context encoder sees as it is, the rest pale. Volumes take
// three rows, one for each plane.
func Sheet(title string, samples []Prepared) image.Image {
	var rows [][]*image.RGBA
	var names []string
	for _, s := range samples {
		s.check()
		if len(s.Augmented) != len(s.Values) || len(s.Spacing) != len(s.Stored.Size) || len(s.Stored.Size) != len(s.Size) {
			panic(fmt.Sprintf("picture: %s: %d augmented of %d values, %v stored with spacing %v", s.Name, len(s.Augmented), len(s.Values), s.Stored.Size, s.Spacing))
		}
		augmented := s.Image
		augmented.Values = s.Augmented
		raw, gray, changed := s.Stored.gray(), s.gray(), augmented.gray()
		seen, block := s.patches()
		stored, prepared := planes(s.Stored.Size), planes(s.Size)
		longest := 0.0
		for _, q := range stored {
			height, width := q.proportions(s.Spacing)
			longest = max(longest, height, width)
		}
		for i, p := range prepared {
			height, width := stored[i].proportions(s.Spacing)
			rows = append(rows, []*image.RGBA{
				fitted(stored[i], height*tileSize/longest, width*tileSize/longest, func(v [3]int) color.RGBA { return shade(raw[s.Stored.at(v)]) }),
				s.fit(p, func(v [3]int) color.RGBA { return shade(gray[s.at(v)]) }),
				s.fit(p, func(v [3]int) color.RGBA { return shade(changed[s.at(v)]) }),
				s.fit(p, func(v [3]int) color.RGBA {
					c, patch := shade(changed[s.at(v)]), s.patch(v)
					switch b := block[patch]; {
					case b > 0:
						return mix(c, blockColors[(b-1)%len(blockColors)], 0.55)
					case seen[patch]:
						return c
					}
					return mix(c, color.RGBA{255, 255, 255, 255}, 0.75)
				}),
			})
			name := p.name
			if i == 0 {
				name = label(s.Name+s.About, p.name)
				if p.name == "" {
					name = s.Name + s.About
				}
			}
			names = append(names, name)
		}
	}
	return montage(title, []string{"file", "preprocessed", "augmented", "masks"}, names, rows)
}

// patches says which patches the context encoder sees, and the target block, from 1, of
// those that are to be predicted.
func (s *Prepared) patches() (seen map[int]bool, block map[int]int) {
	seen, block = map[int]bool{}, map[int]int{}
	for _, p := range s.Context {
		seen[int(p)] = true
	}
	for i, t := range s.Targets {
		for _, p := range t {
			block[int(p)] = i + 1
		}
	}
	return seen, block
}

// proportions returns the height and width of a plane whose voxels are spaced so.
func (p plane) proportions(spacing []float64) (height, width float64) {
	o, down, right := p.voxel(0, 0), p.voxel(min(1, p.rows-1), 0), p.voxel(0, min(1, p.cols-1))
	height, width = float64(p.rows), float64(p.cols)
	for a, s := range spacing {
		if down[a] != o[a] {
			height *= s
		}
		if right[a] != o[a] {
			width *= s
		}
	}
	return height, width
}

// fit paints a plane so that the image's longest axis takes tileSize pixels.
func (m *Image) fit(p plane, paint func(voxel [3]int) color.RGBA) *image.RGBA {
	scale := tileSize / float64(slices.Max(m.Size))
	return fitted(p, float64(p.rows)*scale, float64(p.cols)*scale, paint)
}

// fitted paints a plane on so many pixels, of the nearest voxels.
func fitted(p plane, height, width float64, paint func(voxel [3]int) color.RGBA) *image.RGBA {
	h, w := max(1, int(math.Round(height))), max(1, int(math.Round(width)))
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			out.SetRGBA(x, y, paint(p.voxel(y*p.rows/h, x*p.cols/w)))
		}
	}
	return out
}

// Finite replaces what is not a number, so that the rest can be seen.
func Finite(values []float32) []float32 {
	out := slices.Clone(values)
	for i, v := range out {
		if v != v || math.IsInf(float64(v), 0) {
			out[i] = 0
		}
	}
	return out
}
