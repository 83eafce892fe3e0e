// Package view turns samples, masks and features into what a person is shown:
// numbers for the command's pictures and for a page, the same for both.
package view

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"wgjepa/jepa"
	"wgjepa/jepa/probe"
	"wgjepa/maskgen"
)

// Masks are what a training step draws for one sample.
type Masks struct {
	Context []uint32   // patches that the context encoder sees
	Targets [][]uint32 // patches of each target block
}

// DrawMasks draws the masks of a training step: one entry for each sample of
// the batch.
func DrawMasks(c *jepa.Config, step int) ([]Masks, error) {
	sampler, err := maskgen.New(c.Masks())
	if err != nil {
		return nil, err
	}
	var m maskgen.Masks
	if err := sampler.Sample(&m, c.Seed, uint64(step), c.BatchSize); err != nil {
		return nil, err
	}
	list := make([]Masks, m.B)
	for b := range list {
		list[b].Context = m.Context[b*m.K : (b+1)*m.K]
		for i := range m.M {
			at := (i*m.B + b) * m.L
			list[b].Targets = append(list[b].Targets, m.Target[at:at+m.L])
		}
	}
	return list, nil
}

// mostValues bounds what is sorted or factorised for a picture.
const mostValues = 1 << 16

// Percentiles returns the values below which the shares low and high of x lie,
// estimated from at most 2¹⁶ of them, evenly spread.
func Percentiles(x []float32, low, high float64) (float32, float32) {
	step := max(1, len(x)/mostValues) | 1 // odd, so that it does not follow an axis
	var some []float32
	for i := 0; i < len(x); i += step {
		some = append(some, x[i])
	}
	slices.Sort(some)
	at := func(share float64) float32 { return some[int(share*float64(len(some)-1)+0.5)] }
	return at(low), at(high)
}

// Bytes scales a sample to bytes: its percentiles 0.5 and 99.5, low and high,
// become 0 and 255, what lies beyond is clipped.
func Bytes(x []float32) (b []byte, low, high float32) {
	low, high = Percentiles(x, 0.005, 0.995)
	if low == high { // such as a few bright voxels on nothing
		low, high = slices.Min(x), slices.Max(x)
	}
	b = make([]byte, len(x))
	if low == high {
		return b, low, high
	}
	for i, v := range x {
		b[i] = uint8(math.Round(255 * float64(min(max((v-low)/(high-low), 0), 1))))
	}
	return b, low, high
}

// mostRows bounds the patches that a basis is computed from.
const mostRows = 4096

// Colors shows features as colours: their first three principal components are
// red, green and blue, percentiles 2 to 98 of each become its whole range.
type Colors struct {
	pca       *probe.Components
	component [3]int // of each colour, beyond those that there are: none
	sign      [3]float32
	low, high [3]float32
	scores    probe.Matrix // of the features that the basis was computed from
}

// NewColors computes the basis from the features x (N, D) of some patches.
func NewColors(x probe.Matrix) (*Colors, error) {
	if x.Rows > mostRows {
		rows := make([]int, mostRows)
		for i := range rows {
			rows[i] = i * x.Rows / mostRows
		}
		x = x.Select(rows)
	}
	pca, err := probe.PCA(x, min(3, x.Cols, x.Rows))
	if err != nil {
		return nil, fmt.Errorf("view: %w", err)
	}
	c := &Colors{pca: pca, component: [3]int{0, 1, 2}, sign: [3]float32{1, 1, 1}, scores: pca.Transform(x)}
	c.scale()
	return c, nil
}

// Follow gives each colour the component, and the sign, that is most like that
// of the basis before: as an encoder learns, its components trade places.
func (c *Colors) Follow(before *Colors) {
	if c.scores.Rows != before.scores.Rows || c.scores.Cols != 3 || before.scores.Cols != 3 {
		return
	}
	var like [3][3]float64 // of the colours before and the components now
	for j := range 3 {
		for k := range 3 {
			like[j][k] = correlation(before.scores, before.component[j], c.scores, k) * float64(before.sign[j])
		}
	}
	best := -1.0
	for _, order := range [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		sum := 0.0
		for j, k := range order {
			sum += math.Abs(like[j][k])
		}
		if sum > best {
			best, c.component = sum, order
		}
	}
	for j, k := range c.component {
		c.sign[j] = 1
		if like[j][k] < 0 {
			c.sign[j] = -1
		}
	}
	c.scale()
}

// correlation of columns whose means are 0.
func correlation(a probe.Matrix, i int, b probe.Matrix, j int) float64 {
	var ab, aa, bb float64
	for row := range a.Rows {
		x, y := float64(a.Row(row)[i]), float64(b.Row(row)[j])
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	if aa == 0 || bb == 0 {
		return 0
	}
	return ab / math.Sqrt(aa*bb)
}

// scale finds the range of each colour.
func (c *Colors) scale() {
	column := make([]float32, c.scores.Rows)
	for j, k := range c.component {
		if k >= c.scores.Cols {
			continue
		}
		for i := range column {
			column[i] = c.sign[j] * c.scores.Row(i)[k]
		}
		c.low[j], c.high[j] = Percentiles(column, 0.02, 0.98)
	}
}

// Of returns the colours of the features x (N, D).
func (c *Colors) Of(x probe.Matrix) [][3]uint8 {
	z := c.pca.Transform(x)
	colors := make([][3]uint8, x.Rows)
	for j, k := range c.component {
		if k >= z.Cols || c.high[j] <= c.low[j] {
			continue
		}
		for i := range colors {
			v := (c.sign[j]*z.Row(i)[k] - c.low[j]) / (c.high[j] - c.low[j])
			colors[i][j] = uint8(255 * min(max(v, 0), 1))
		}
	}
	return colors
}

// Neighbour is a row near another, with the cosine of the angle between them.
type Neighbour struct {
	Row    int
	Cosine float64
}

// Nearest returns the k rows of x nearest to row at, the nearest first, equal ones in
// their order. Where a row is zero its cosine is 0.
func Nearest(x probe.Matrix, at, k int) []Neighbour {
	dot := func(a, b []float32) (sum float64) {
		for j, v := range a {
			sum += float64(v) * float64(b[j])
		}
		return sum
	}
	query := x.Row(at)
	length := math.Sqrt(dot(query, query))
	list := make([]Neighbour, 0, max(0, x.Rows-1))
	for i := range x.Rows {
		if i == at {
			continue
		}
		row := x.Row(i)
		cosine := 0.0
		if norm := length * math.Sqrt(dot(row, row)); norm > 0 {
			cosine = dot(query, row) / norm
		}
		list = append(list, Neighbour{i, cosine})
	}
	slices.SortStableFunc(list, func(a, b Neighbour) int { return cmp.Compare(b.Cosine, a.Cosine) })
	return list[:min(len(list), k)]
}
