package gpu

import (
	"fmt"
	"math"
	"strings"

	"wgjepa/internal/ref"
	"wgjepa/wgsl"
)

// cropResize is a kernel for each packing.
var cropResize = [4]*kernel{cropResizeOf("UINT8"), cropResizeOf("INT16"), cropResizeOf("FLOAT16"), cropResizeOf("FLOAT32")}

func cropResizeOf(elements string) *kernel {
	d := wgsl.Defines{"UINT8": "0", "INT16": "0", "FLOAT16": "0", "FLOAT32": "0"}
	d[elements] = "1"
	return register("crop_resize_"+strings.ToLower(elements), "crop_resize.wgsl", d, "source rescales neighbours weights dst", func(p ref.CropResizeParams, b []ref.Buffer) {
		ref.CropResize(elements, p, b[0].U, b[1].F, b[2].U, b[3].F, b[4].F)
	})
}

// Packing is how the elements of packed samples lie in words.
type Packing int

const (
	PackedUint8   Packing = iota // four a word, the first in the lowest bits
	PackedInt16                  // two a word
	PackedFloat16                // two a word, zeros and normal numbers
	PackedFloat32                // one a word, its bits
)

// PerWord is the number of elements of a word.
func (p Packing) PerWord() int { return [4]int{4, 2, 2, 1}[p] }

// Sample says where a sample lies among packed ones and where it comes to in a
// batch, whose axes it has: an image a first one of 1.
type Sample struct {
	Packing Packing
	First   int    // element that it begins with
	Voxels  int    // elements of a channel
	Size    [3]int // of what is made of it
	Row     int    // row of rescales that its first channel has
	Table   int    // element of weights that its tables begin with
	Out     int    // element of the batch that it begins with
}

// CropResize writes a sample of source (words) to its place in dst, the values of
// channel c rescaled by row s.Row+c of rescales (rows, 4): see Rescale. For the
// voxels t = 0, 1, … along the three axes of the output one after the other, from
// s.Table on, weights[t] is the share of the place neighbours[2t+1], the rest that
// of neighbours[2t]; the element of the source within its channel is the sum of
// the places of the three axes.
func (e *Encoder) CropResize(dst, source, rescales, neighbours, weights Tensor, s Sample, channels int) {
	to := s.Size[0] * s.Size[1] * s.Size[2]
	tables := s.Table + s.Size[0] + s.Size[1] + s.Size[2]
	if s.First+channels*s.Voxels > source.Len()*s.Packing.PerWord() || s.Out+channels*to > dst.Len() || 4*(s.Row+channels) > rescales.Len() || tables > weights.Len() || 2*tables > neighbours.Len() {
		panic(shapes("CropResize", "dst", dst, "source", source, "rescales", rescales, "neighbours", neighbours, "weights", weights, "sample", fmt.Sprintf("%+v", s)))
	}
	if s.First+channels*s.Voxels > math.MaxUint32 {
		panic("gpu: CropResize: more than 2³² elements")
	}
	u := func(v int) uint32 { return uint32(v) }
	launch(e, cropResize[s.Packing], [3]int{ceil(s.Size[2], 16), ceil(s.Size[1], 4), s.Size[0]}, ref.CropResizeParams{
		First: u(s.First), Voxels: u(s.Voxels), Channels: u(channels),
		Size0: u(s.Size[0]), Size1: u(s.Size[1]), Size2: u(s.Size[2]), Table: u(s.Table), Row: u(s.Row), Out: u(s.Out),
	}, source, rescales, neighbours, weights, dst)
}

func resident() Op {
	return Op{
		Name: "resident data",
		Cases: []Case{
			{"crop and resize", func(t *Trial) {
				for _, packing := range []Packing{PackedUint8, PackedInt16, PackedFloat16, PackedFloat32} {
					for _, s := range [][6]int{{1, 1, 1, 1, 1, 1}, {1, 5, 7, 1, 5, 7}, {6, 5, 7, 6, 5, 7}, {9, 8, 10, 4, 6, 5}, {3, 4, 5, 8, 9, 7}} {
						from, to := [3]int(s[:3]), [3]int(s[3:])
						for channels := range 3 {
							t.cropResize(packing, from, to, channels+1)
						}
					}
				}
			}},
		},
		Bench: []Bench{{Shape: []int{16, 64, 64, 64}, Bytes: 4 * 2 * 16 << 18, Record: func(d *Device) func(*Encoder) {
			size := [3]int{64, 64, 64}
			x, source := d.Tensor("x", 16, 1<<18), d.Indices("source", 1<<16)
			neighbours, weights, rescales := d.Indices("neighbours", 2*3*64), d.Tensor("weights", 3*64), d.Tensor("rescales", 1, 4)
			return func(e *Encoder) {
				for b := range 16 {
					e.CropResize(x, source, rescales, neighbours, weights, Sample{Voxels: 1 << 18, Size: size, Out: b << 18}, 1)
				}
			}
		}}},
	}
}

// cropResize brings the second of two samples into the second place of a batch,
// its axes turned.
func (t *Trial) cropResize(packing Packing, from, to [3]int, channels int) {
	n := channels * from[0] * from[1] * from[2]
	m := channels * to[0] * to[1] * to[2]
	source := t.Indices("source", func(i int) uint32 {
		switch packing {
		case PackedFloat16: // a zero and normal numbers of all exponents
			h := func() uint32 { return t.values.Uint32N(2)<<15 | (1+t.values.Uint32N(30))<<10 | t.values.Uint32N(1<<10) }
			if i == 0 {
				return h() << 16
			}
			return h() | h()<<16
		case PackedFloat32:
			return math.Float32bits(float32(t.values.NormFloat64()))
		}
		return t.values.Uint32()
	}, ceil(2*n, packing.PerWord()))
	largest := [4]float64{255, 1 << 15, 65504, 6}[packing]
	rescales := t.InFunc("rescales", func(i int) float64 {
		switch i % 4 {
		case 0:
			return -largest * t.values.Float64()
		case 1:
			return largest * (0.5 + t.values.Float64())
		case 2:
			return largest * t.values.NormFloat64() / 4
		}
		return largest / 4
	}, 1+channels, 4)
	// The output's axes are the source's axes 2, 0, 1.
	var low, high []uint32
	for a, of := range [3]int{2, 0, 1} {
		stride := [3]int{from[1] * from[2], from[2], 1}[of]
		for range to[a] {
			l := t.values.IntN(from[of])
			low, high = append(low, uint32(l*stride)), append(high, uint32(min(l+1, from[of]-1)*stride))
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
	s := Sample{Packing: packing, First: n, Voxels: from[0] * from[1] * from[2], Size: to, Row: 1, Table: table, Out: m}
	t.E.CropResize(dst, source, rescales, neighbours, weights, s, channels)
	t.Within(dst, func(i int) float64 {
		if i < m {
			return 0
		}
		return 32 * Epsilon * 9 // what is interpolated is at most (1.5 + 3/4)·4
	})
}
