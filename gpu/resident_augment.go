package gpu

import (
	"fmt"
	"math"

	"wgjepa/internal/ref"
)

var (
	blur = register("blur", "blur.wgsl", nil, "src radii weights dst", func(p ref.BlurParams, b []ref.Buffer) {
		ref.Blur(p, b[0].F, b[1].U, b[2].F, b[3].F)
	})
	noise = register("noise", "noise.wgsl", nil, "rescales amplitudes keys x", func(p ref.NoiseParams, b []ref.Buffer) {
		ref.Noise(p, b[0].F, b[1].F, b[2].U, b[3].F)
	})
	erase = register("erase", "erase.wgsl", nil, "rescales x", func(p ref.EraseParams, b []ref.Buffer) {
		ref.Erase(p, b[0].F, b[1].F)
	})
)

// Blur writes src (samples, channels·size) to dst of the same shape, every line
// along an axis of the size convolved with weights[b, |k|], k from −radii[b] to
// radii[b], for sample b, the line mirrored at its ends as scipy.ndimage does.
func (e *Encoder) Blur(dst, src, radii, weights Tensor, size [3]int, axis int) {
	samples, plane := src.Dim(0), size[1]*size[2]
	if dst.Len() != src.Len() || radii.Len() < samples || weights.Rows() < samples || src.Len()%max(1, samples*size[0]*plane) != 0 || axis < 0 || axis > 2 {
		panic(shapes("Blur", "dst", dst, "src", src, "radii", radii, "weights", weights, "size", fmt.Sprint(size), "axis", fmt.Sprint(axis)))
	}
	planes := src.Len() / plane
	u := func(v int) uint32 { return uint32(v) }
	launch(e, blur, [3]int{ceil(size[2], 16), ceil(size[1], 4), min(planes, 1<<12)}, ref.BlurParams{
		Planes: u(planes), Sample: u(planes / samples), Size1: u(size[1]), Size2: u(size[2]),
		Axis: u(axis), Length: u(size[axis]), Stride: u([3]int{plane, size[2], 1}[axis]), Most: u(weights.Cols()),
	}, src, radii, weights, dst)
}

// Noise adds to x (samples, channels, voxels) white Gaussian noise of
// amplitudes[b] deviations of the channel, which r₃ of its row of rescales
// (samples·channels, 4) is: see RowMoments. keys (samples, 2) seeds it; the number
// of an element is a function of the key and its place in the sample alone. A
// sample whose amplitude is 0 is left alone.
func (e *Encoder) Noise(x, rescales, amplitudes, keys Tensor) {
	samples, channels, voxels := x.Dim(0), x.Dim(1), x.Dim(2)
	if rescales.Len() < 4*samples*channels || amplitudes.Len() < samples || keys.Len() < 2*samples {
		panic(shapes("Noise", "x", x, "rescales", rescales, "amplitudes", amplitudes, "keys", keys))
	}
	launch(e, noise, e.groups1(ceil(samples*ceil(channels*voxels, 4), 64)), ref.NoiseParams{
		Samples: uint32(samples), Sample: uint32(channels * voxels), Voxels: uint32(voxels),
	}, rescales, amplitudes, keys, x)
}

// Erase sets a box of the volumes (size) of a sample of x (samples, channels,
// voxels) to the mean of each channel, r₂ of its row of rescales: see RowMeans.
func (e *Encoder) Erase(x, rescales Tensor, sample int, size, at, box [3]int) {
	channels, voxels := x.Dim(1), x.Dim(2)
	if sample < 0 || sample >= x.Dim(0) || rescales.Len() < 4*x.Dim(0)*channels || size[0]*size[1]*size[2] != voxels {
		panic(shapes("Erase", "x", x, "rescales", rescales, "sample", fmt.Sprint(sample), "size", fmt.Sprint(size)))
	}
	for a := range 3 {
		if at[a] < 0 || box[a] < 1 || at[a]+box[a] > size[a] {
			panic(fmt.Sprintf("gpu: Erase: %v from %v is outside %v", box, at, size))
		}
	}
	u := func(v int) uint32 { return uint32(v) }
	launch(e, erase, e.groups1(ceil(channels*box[0]*box[1]*box[2], 64)), ref.EraseParams{
		Row: u(sample * channels), Channels: u(channels), Voxels: u(voxels), First: u((at[0]*size[1]+at[1])*size[2] + at[2]),
		Size0: u(box[0]), Size1: u(box[1]), Size2: u(box[2]), Stride0: u(size[1] * size[2]), Stride1: u(size[2]),
	}, rescales, x)
}

func residentAugment() Op {
	return Op{
		Name: "augmentation of resident data",
		Cases: []Case{
			{"blur", func(t *Trial) {
				for _, s := range [][4]int{{1, 1, 1, 1}, {3, 1, 7, 5}, {3, 6, 5, 7}, {2, 2, 9, 16}, {3, 4099, 1, 1}} { // samples, axes
					for axis := range 3 {
						src := t.In("src", s[0], 2*s[1]*s[2]*s[3])
						const most = 41
						radii := t.Indices("radii", func(i int) uint32 { return []uint32{3, 0, most - 1}[i%3] }, s[0])
						weights := t.InFunc("weights", func(i int) float64 { return 1 / float64(1+i%most) }, s[0], most)
						dst := t.Out("dst", src.Dims()...)
						t.E.Blur(dst, src, radii, weights, [3]int(s[1:]), axis)
						t.Within(dst, func(int) float64 { return 2 * most * Epsilon * 10 * 5 }) // Σ |w| < 10, |x| < 5
					}
				}
			}},
			{"noise", func(t *Trial) {
				for _, s := range [][3]int{{1, 1, 1}, {1, 1, 4}, {3, 1, 5}, {4, 3, 333}, {2, 2, 70001}} {
					x := t.In("x", s[:]...)
					rescales := t.InFunc("rescales", func(i int) float64 { return float64(i%4+i/4) + 0.5 }, s[0]*s[1], 4)
					amplitudes := t.InFunc("amplitudes", func(i int) float64 { return []float64{0.3, 0, 2, 1e-3}[i] }, s[0])
					keys := t.Indices("keys", func(int) uint32 { return t.values.Uint32() }, s[0], 2)
					t.E.Noise(x, rescales, amplitudes, keys)
					t.Within(x, func(i int) float64 {
						sample, row := i/(s[1]*s[2]), i/s[2]
						if sample == 1 {
							return 0
						}
						return Epsilon * (32*6*[]float64{0.3, 0, 2, 1e-3}[sample]*(float64(row)+3.5) + 6)
					})
				}
			}},
			{"erase", func(t *Trial) {
				for _, s := range [][3]int{{1, 7, 5}, {6, 5, 7}} {
					x := t.In("x", 3, 2, s[0]*s[1]*s[2])
					rescales := t.In("rescales", 6, 4)
					t.E.Erase(x, rescales, 1, s, [3]int{s[0] / 3, 2, 1}, [3]int{1 + s[0]/2, 3, 4})
					t.E.Erase(x, rescales, 2, s, [3]int{}, [3]int{1, 1, 1})
					t.Exact(x)
				}
			}},
		},
		Bench: []Bench{
			{Shape: []int{16, 64, 64, 64, 9}, FLOP: 3 * 3 * 5 * 16 << 18, Bytes: 3 * 4 * 2 * 16 << 18, Record: func(d *Device) func(*Encoder) {
				x, y := d.Tensor("x", 16, 1<<18), d.Tensor("y", 16, 1<<18)
				radii, weights := d.Indices("radii", 16), d.Tensor("weights", 16, 5)
				r := make([]uint32, 16)
				for i := range r {
					r[i] = 4
				}
				d.WriteIndices(radii, r)
				return func(e *Encoder) {
					size := [3]int{64, 64, 64}
					e.Blur(y, x, radii, weights, size, 0)
					e.Blur(x, y, radii, weights, size, 1)
					e.Blur(y, x, radii, weights, size, 2)
				}
			}},
			{Shape: []int{16, 64, 64, 64}, Bytes: 4 * 2 * 16 << 18, Record: func(d *Device) func(*Encoder) {
				x, rescales := d.Tensor("x", 16, 1, 1<<18), d.Tensor("rescales", 16, 4)
				amplitudes, keys := d.Tensor("amplitudes", 16), d.Indices("keys", 16, 2)
				a := make([]float32, 16)
				for i := range a {
					a[i] = math.Pi
				}
				d.Write(amplitudes, a)
				return func(e *Encoder) { e.Noise(x, rescales, amplitudes, keys) }
			}},
		},
	}
}
