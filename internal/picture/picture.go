// Package picture draws what a training did: curves over its updates, the masks
// of a step and the features of patches, on slices of images and volumes.
//
// Volumes (H, W, D) are shown on their three central planes, with axes as NIfTI
// has them: the first to the right, the second to the front, the third up.
// Images (H, W) are shown whole, rows downwards.
package picture

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"

	"github.com/go-analyze/charts"
	"github.com/golang/freetype/truetype"
	"golang.org/x/image/font"
	"golang.org/x/image/math/fixed"
)

// Image is one sample: channels first, row-major.
type Image struct {
	Name     string
	Channels int
	Size     []int     // (H, W) or (H, W, D)
	Values   []float32 // (C, H, W[, D])
	Grid     []int     // patches along each axis
}

func (m *Image) check() {
	n := m.Channels
	for _, s := range m.Size {
		n *= s
	}
	if len(m.Size) != len(m.Grid) || len(m.Size) < 2 || len(m.Size) > 3 || len(m.Values) != n {
		panic(fmt.Sprintf("picture: %s: %d values, %d channels of %v, a grid of %v", m.Name, len(m.Values), m.Channels, m.Size, m.Grid))
	}
}

// plane is a slice of an image: where its pixels lie.
type plane struct {
	name       string
	rows, cols int
	voxel      func(row, col int) [3]int
}

// planes of an image of that size.
func planes(size []int) []plane {
	if len(size) == 2 {
		return []plane{{"", size[0], size[1], func(r, c int) [3]int { return [3]int{r, c, 0} }}}
	}
	h, w, d := size[0], size[1], size[2]
	return []plane{
		{"axial", w, h, func(r, c int) [3]int { return [3]int{c, w - 1 - r, d / 2} }},
		{"coronal", d, h, func(r, c int) [3]int { return [3]int{c, w / 2, d - 1 - r} }},
		{"sagittal", d, w, func(r, c int) [3]int { return [3]int{h / 2, c, d - 1 - r} }},
	}
}

// gray returns the brightness of each voxel, 0 to 1: the mean of the channels
// between its 1st and 99th percentiles.
func (m *Image) gray() []float64 {
	n := len(m.Values) / m.Channels
	v := make([]float64, n)
	for i, x := range m.Values {
		v[i%n] += float64(x) / float64(m.Channels)
	}
	sorted := slices.Sorted(slices.Values(v))
	low, high := sorted[n/100], sorted[n-1-n/100]
	if high <= low {
		low, high = sorted[0], math.Max(sorted[n-1], math.Nextafter(sorted[0], math.Inf(1)))
	}
	for i := range v {
		v[i] = math.Min(math.Max((v[i]-low)/(high-low), 0), 1)
	}
	return v
}

// at is the place of a voxel in (H, W[, D]).
func (m *Image) at(v [3]int) int {
	i := v[0]*m.Size[1] + v[1]
	if len(m.Size) == 3 {
		i = i*m.Size[2] + v[2]
	}
	return i
}

// patch is the place of the patch that a voxel lies in.
func (m *Image) patch(v [3]int) int {
	i := 0
	for a, g := range m.Grid {
		i = i*g + v[a]*g/m.Size[a]
	}
	return i
}

// tileSize is about the length of an image's longest axis in pixels.
const tileSize = 150

// tile paints a plane, each voxel a square.
func (m *Image) tile(p plane, paint func(voxel [3]int) color.RGBA) *image.RGBA {
	scale := max(1, tileSize/slices.Max(m.Size))
	out := image.NewRGBA(image.Rect(0, 0, p.cols*scale, p.rows*scale))
	for r := range p.rows {
		for c := range p.cols {
			v := paint(p.voxel(r, c))
			for y := range scale {
				for x := range scale {
					out.SetRGBA(c*scale+x, r*scale+y, v)
				}
			}
		}
	}
	return out
}

func shade(v float64) color.RGBA {
	g := uint8(math.Round(255 * v))
	return color.RGBA{g, g, g, 255}
}

// mix is a with share t of b.
func mix(a, b color.RGBA, t float64) color.RGBA {
	f := func(x, y uint8) uint8 { return uint8(math.Round(float64(x)*(1-t) + float64(y)*t)) }
	return color.RGBA{f(a.R, b.R), f(a.G, b.G), f(a.B, b.B), 255}
}

// blockColors tell target blocks apart.
var blockColors = []color.RGBA{{230, 85, 60, 255}, {60, 130, 230, 255}, {60, 170, 90, 255}, {235, 170, 40, 255}, {160, 90, 200, 255}, {40, 180, 190, 255}, {230, 110, 170, 255}, {130, 110, 70, 255}}

// Masked is a sample with the masks that one training step draws for it.
type Masked struct {
	Image
	Context []uint32   // patches that the context encoder sees
	Targets [][]uint32 // patches of each target block
}

// Masks draws samples, what the context encoder sees of them, and the blocks
// whose features are predicted.
func Masks(title string, samples []Masked) image.Image {
	var rows [][]*image.RGBA
	var names, columns []string
	for _, s := range samples {
		s.check()
		gray := s.gray()
		seen, block := map[int]bool{}, map[int]int{}
		for _, p := range s.Context {
			seen[int(p)] = true
		}
		for i, t := range s.Targets {
			for _, p := range t {
				block[int(p)] = i + 1
			}
		}
		var row []*image.RGBA
		columns = columns[:0]
		for _, p := range planes(s.Size) {
			row = append(row,
				s.tile(p, func(v [3]int) color.RGBA { return shade(gray[s.at(v)]) }),
				s.tile(p, func(v [3]int) color.RGBA {
					if seen[s.patch(v)] {
						return shade(gray[s.at(v)])
					}
					return color.RGBA{238, 238, 240, 255}
				}),
				s.tile(p, func(v [3]int) color.RGBA {
					g := shade(gray[s.at(v)])
					if b := block[s.patch(v)]; b > 0 {
						return mix(g, blockColors[(b-1)%len(blockColors)], 0.55)
					}
					return mix(g, color.RGBA{255, 255, 255, 255}, 0.75)
				}))
			columns = append(columns, label(p.name, "image"), label(p.name, "context"), label(p.name, "targets"))
		}
		rows, names = append(rows, row), append(names, s.Name)
	}
	return montage(title, columns, names, rows)
}

// Colored is a sample with a colour for each patch from each of several
// encoders.
type Colored struct {
	Image
	Maps [][][3]uint8 // for each encoder, (P) colours
}

// Features draws samples beside their patches' colours; encoders names the
// maps.
func Features(title string, encoders []string, samples []Colored) image.Image {
	var rows [][]*image.RGBA
	var names, columns []string
	for _, s := range samples {
		s.check()
		gray := s.gray()
		var row []*image.RGBA
		columns = columns[:0]
		for _, p := range planes(s.Size) {
			row = append(row, s.tile(p, func(v [3]int) color.RGBA { return shade(gray[s.at(v)]) }))
			columns = append(columns, label(p.name, "image"))
			for i, m := range s.Maps {
				row = append(row, s.tile(p, func(v [3]int) color.RGBA {
					c := m[s.patch(v)]
					return color.RGBA{c[0], c[1], c[2], 255}
				}))
				columns = append(columns, label(p.name, encoders[i]))
			}
		}
		rows, names = append(rows, row), append(names, s.Name)
	}
	return montage(title, columns, names, rows)
}

func label(plane, what string) string {
	if plane == "" {
		return what
	}
	return plane + ": " + what
}

// gap between tiles and around them, in pixels.
const gap = 12

// montage arranges tiles under a title, one row a sample with its name above.
func montage(title string, columns, names []string, rows [][]*image.RGBA) image.Image {
	titleFace, face := newFace(15), newFace(11)
	widths := make([]int, len(columns))
	for i, c := range columns {
		widths[i] = font.MeasureString(face, c).Ceil()
		for _, row := range rows {
			widths[i] = max(widths[i], row[i].Bounds().Dx())
		}
	}
	width, height := gap, 34+22
	for _, w := range widths {
		width += w + gap
	}
	width = max(width, font.MeasureString(titleFace, title).Ceil()+2*gap)
	rowHeights := make([]int, len(rows))
	for i, row := range rows {
		for _, t := range row {
			rowHeights[i] = max(rowHeights[i], t.Bounds().Dy())
		}
		height += 20 + rowHeights[i] + gap
	}
	out := image.NewRGBA(image.Rect(0, 0, width, height))
	for i := range out.Pix {
		out.Pix[i] = 255
	}
	write(out, titleFace, title, gap, 24)
	x := gap
	for i, c := range columns {
		write(out, face, c, x, 48)
		x += widths[i] + gap
	}
	y := 34 + 22
	for i, row := range rows {
		write(out, face, names[i], gap, y+13)
		y += 20
		x = gap
		for j, t := range row {
			b := t.Bounds()
			for r := range b.Dy() {
				copy(out.Pix[out.PixOffset(x, y+r):][:4*b.Dx()], t.Pix[t.PixOffset(0, r):])
			}
			x += widths[j] + gap
		}
		y += rowHeights[i] + gap
	}
	return out
}

func newFace(size float64) font.Face {
	return truetype.NewFace(charts.GetDefaultFont(), &truetype.Options{Size: size, DPI: 72, Hinting: font.HintingFull})
}

func write(dst *image.RGBA, face font.Face, text string, x, baseline int) {
	d := font.Drawer{Dst: dst, Src: image.NewUniform(color.RGBA{60, 60, 60, 255}), Face: face, Dot: fixed.P(x, baseline)}
	d.DrawString(text)
}
