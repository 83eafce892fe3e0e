package gpu

import (
	"fmt"
	"math"

	"wgjepa/internal/ref"
)

var (
	cropResize = register("crop_resize", "crop_resize.wgsl", nil, "source neighbours weights dst", func(p ref.CropResizeParams, b []ref.Buffer) {
		ref.CropResize(p, b[0].U, b[1].U, b[2].F, b[3].F)
	})
	rowChunks = register("row_chunks", "row_chunks.wgsl", nil, "x mean partial", func(p ref.RowChunksParams, b []ref.Buffer) {
		ref.RowChunks(p, b[0].F, b[1].F, b[2].F)
	})
	rowMoment = register("row_moment", "row_moment.wgsl", nil, "partial mean moment", func(p ref.RowMomentParams, b []ref.Buffer) {
		ref.RowMoment(p, b[0].F, b[1].F, b[2].F)
	})
	standardize = register("standardize", "standardize.wgsl", nil, "mean scale x", func(p ref.StandardizeParams, b []ref.Buffer) {
		ref.Standardize(p, b[0].F, b[1].F, b[2].F)
	})
)

// Packing is how the elements of packed samples lie in words.
type Packing int

const (
	PackedUint8   Packing = iota // four a word, the first in the lowest bits
	PackedInt16                  // two a word
	PackedFloat32                // one a word, its bits
)

// PerWord is the number of elements of a word.
func (p Packing) PerWord() int { return [3]int{4, 2, 1}[p] }

// Sample says where a sample lies among packed ones and how it is brought to
// the size of a batch's. Axes are the source's; an image has a first axis of 1.
type Sample struct {
	Packing Packing
	First   int    // element that it begins with
	From    [3]int // its size
	Size    [3]int // outputs along each axis
	Stride  [3]int // elements between neighbours along them in the output
	Table   int    // element of weights that its tables begin with
	Out     int    // element of the batch that it begins with
}

// CropResize writes a sample of source (words) to its place in dst. For outputs t
// = 0, 1, … of the three axes one after the other, from s.Table on, weights[t] is
// the share of the source index neighbours[2t+1], the rest that of
// neighbours[2t].
func (e *Encoder) CropResize(dst, source, neighbours, weights Tensor, s Sample, channels int) {
	from, to := s.From[0]*s.From[1]*s.From[2], s.Size[0]*s.Size[1]*s.Size[2]
	tables := s.Table + s.Size[0] + s.Size[1] + s.Size[2]
	if s.First+channels*from > source.Len()*s.Packing.PerWord() || s.Out+channels*to > dst.Len() || tables > weights.Len() || 2*tables > neighbours.Len() {
		panic(shapes("CropResize", "dst", dst, "source", source, "neighbours", neighbours, "weights", weights, "sample", fmt.Sprintf("%+v", s)))
	}
	if s.First+channels*from > math.MaxUint32 {
		panic("gpu: CropResize: more than 2³² elements")
	}
	u := func(v int) uint32 { return uint32(v) }
	launch(e, cropResize, e.groups1(ceil(channels*to, 64)), ref.CropResizeParams{
		Kind: u(int(s.Packing)), First: u(s.First), From1: u(s.From[1]), From2: u(s.From[2]), FromVoxels: u(from),
		Size0: u(s.Size[0]), Size1: u(s.Size[1]), Size2: u(s.Size[2]), Stride0: u(s.Stride[0]), Stride1: u(s.Stride[1]), Stride2: u(s.Stride[2]),
		Voxels: u(to), Channels: u(channels), Table: u(s.Table), Out: u(s.Out),
	}, source, neighbours, weights, dst)
}

// Standardize replaces each row of x (rows, cols) by (x − μ)/(σ + eps), σ the
// population standard deviation; a constant row becomes 0.
func (e *Encoder) Standardize(x Tensor, eps float64) {
	rows, cols := x.Rows(), x.Cols()
	size := max(256, int(math.Sqrt(float64(cols))))
	chunks := ceil(cols, size)
	most := max(1, x.cap/max(1, cols))
	partial, mean, scale := e.d.scratch("row sums", most*chunks), e.d.scratch("row means", most), e.d.scratch("row scales", most)
	moment := func(dst, about Tensor) { // the second moment is about the mean, the first about none
		square := flag(!about.IsNil())
		about = e.orNone(about, true)
		launch(e, rowChunks, e.groups1(ceil(rows*chunks, 64)), ref.RowChunksParams{Rows: uint32(rows), Cols: uint32(cols), Chunk: uint32(size), Square: square}, x, about, partial)
		launch(e, rowMoment, [3]int{ceil(rows, 64), 1, 1}, ref.RowMomentParams{Rows: uint32(rows), Chunks: uint32(chunks), Cols: uint32(cols), Square: square, Eps: eps}, partial, about, dst)
	}
	moment(mean, Tensor{})
	moment(scale, mean)
	launch(e, standardize, e.groups1(ceil(rows*cols, 64)), ref.StandardizeParams{N: uint32(rows * cols), Cols: uint32(cols)}, mean, scale, x)
}

func resident() Op {
	return Op{
		Name: "resident data",
		Cases: []Case{
			{"crop and resize", func(t *Trial) {
				for _, packing := range []Packing{PackedUint8, PackedInt16, PackedFloat32} {
					for _, s := range [][6]int{{1, 1, 1, 1, 1, 1}, {1, 5, 7, 1, 5, 7}, {6, 5, 7, 6, 5, 7}, {9, 8, 10, 4, 6, 5}, {3, 4, 5, 8, 9, 7}} {
						from, to := [3]int(s[:3]), [3]int(s[3:])
						for channels := range 3 {
							t.cropResize(packing, from, to, channels+1)
						}
					}
				}
			}},
			{"standardize", func(t *Trial) {
				for _, s := range [][2]int{{1, 1}, {1, 255}, {2, 256}, {3, 257}, {5, 4000}, {2, 70001}, {130, 9}} {
					rows, cols := s[0], s[1]
					x := t.InFunc("x", func(i int) float64 {
						if i/cols == 1 {
							return 37.25 // a constant row
						}
						return 100 + 50*t.values.NormFloat64()
					}, rows, cols)
					t.E.Standardize(x, 1e-8)
					// The mean is near twice the deviation, whose error it brings in.
					k := float64(max(256, int(math.Sqrt(float64(cols)))) + ceil(cols, 256) + 16)
					v := t.Values(x)
					t.Within(x, func(i int) float64 { return 8 * k * Epsilon * (4 + math.Abs(v[i])) })
				}
			}},
		},
		Bench: []Bench{{Shape: []int{16, 64, 64, 64}, Bytes: 4 * 6 * 16 << 18, Record: func(d *Device) func(*Encoder) {
			size := [3]int{64, 64, 64}
			x, source := d.Tensor("x", 16, 1<<18), d.Indices("source", 1<<16)
			neighbours, weights := d.Indices("neighbours", 2*3*64), d.Tensor("weights", 3*64)
			return func(e *Encoder) {
				for b := range 16 {
					e.CropResize(x, source, neighbours, weights, Sample{From: size, Size: size, Stride: [3]int{1 << 12, 1 << 6, 1}, Out: b << 18}, 1)
				}
				e.Standardize(x, 1e-8)
			}
		}}},
	}
}

// cropResize brings the second of two samples into the second place of a batch,
// its axes turned.
func (t *Trial) cropResize(packing Packing, from, to [3]int, channels int) {
	n := channels * from[0] * from[1] * from[2]
	m := channels * to[0] * to[1] * to[2]
	source := t.Indices("source", func(int) uint32 {
		if packing == PackedFloat32 {
			return math.Float32bits(float32(t.values.NormFloat64()))
		}
		return t.values.Uint32()
	}, ceil(2*n, packing.PerWord()))
	var low, high []uint32
	for a := range 3 {
		for range to[a] {
			l := t.values.IntN(from[a])
			low, high = append(low, uint32(l)), append(high, uint32(min(l+1, from[a]-1)))
		}
	}
	const table = 3
	neighbours := t.Indices("neighbours", func(i int) uint32 {
		switch at := i/2 - table; {
		case at < 0:
			return 0
		case i%2 == 0:
			return low[at]
		default:
			return high[at]
		}
	}, 2*(table+len(low)))
	weights := t.InFunc("weights", func(int) float64 { return t.values.Float64() }, table+len(low))
	dst := t.InFunc("dst", func(i int) float64 { return float64(i) }, 2*m)
	// The output's axes are the source's axes 2, 0, 1.
	s := Sample{Packing: packing, First: n, From: from, Size: to, Stride: [3]int{to[1], 1, to[0] * to[1]}, Table: table, Out: m}
	t.E.CropResize(dst, source, neighbours, weights, s, channels)
	largest := [3]float64{255, 1 << 15, 6}[packing]
	t.Within(dst, func(i int) float64 {
		if i < m {
			return 0
		}
		return 16 * Epsilon * largest
	})
}
