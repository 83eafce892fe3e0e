// Package transform preprocesses and augments images and volumes on the CPU.
//
// Values are float32, row-major, channels first: (C, H, W) or (C, H, W, D), last
// axis fastest. A size has two or three axes and no channels. Labels are one
// uint8 a voxel, without channels, and follow the same geometry with the nearest
// voxel instead of interpolation.
//
// Resizing uses half-pixel centres as SimpleITK, torch (align_corners false) and
// nidl do: output voxel i of n′ lies at (i + ½)·n/n′ − ½ of n input voxels; beyond
// the outermost centres the border's value continues.
//
// Volumes with an affine (voxel index to mm, RAS) are brought to the axes of RAS without
// interpolation ([Reorient]) and to another spacing ([Resample]).
//
// Augmentation draws from a generator that the caller makes from (seed, step,
// sample) with [Rand]: the same arguments give the same bits whatever happened
// before.
package transform

import (
	"fmt"
	"math"
)

// three returns size as three axes, a 2-D size with a leading axis of length one.
func three(size []int) [3]int {
	switch len(size) {
	case 2:
		return [3]int{1, size[0], size[1]}
	case 3:
		return [3]int{size[0], size[1], size[2]}
	}
	panic(fmt.Sprintf("transform: size %v must have 2 or 3 axes", size))
}

func count(channels int, size []int) int {
	n := channels
	for _, s := range size {
		n *= s
	}
	return n
}

func check[T any](what string, v []T, channels int, size []int) {
	if len(v) != count(channels, size) {
		panic(fmt.Sprintf("transform: %s: %d values, but %d channels of %v", what, len(v), channels, size))
	}
}

// Epsilon keeps a constant image finite: nidl's ZNormalization adds it to σ.
const Epsilon = 1e-8

// Rescale changes the values of a channel to (min(max(v, Low), High) − Shift)/Divisor: the
// form of every normalisation.
type Rescale struct{ Low, High, Shift, Divisor float64 }

// Unscaled changes nothing.
var Unscaled = Rescale{math.Inf(-1), math.Inf(1), 0, 1}

// Apply rescales v.
func (r Rescale) Apply(v []float32) {
	scale := 1 / r.Divisor
	if r.Low == Unscaled.Low && r.High == Unscaled.High {
		for i, x := range v {
			v[i] = float32((float64(x) - r.Shift) * scale)
		}
		return
	}
	for i, x := range v {
		v[i] = float32((min(max(float64(x), r.Low), r.High) - r.Shift) * scale)
	}
}

// Standard is what gives the channel v mean 0 and population standard deviation
// σ/(σ + 1e-8). Where mask is not nil, mean and σ are those of the voxels whose mask is
// true, of all where none is.
func Standard(v []float32, mask []bool) Rescale {
	mean, std := moments(v, mask)
	return Rescale{Unscaled.Low, Unscaled.High, mean, std + Epsilon}
}

// Foreground is [Standard] of the voxels above the channel's mean.
func Foreground(v []float32) Rescale {
	mean, _ := moments(v, nil)
	mask := make([]bool, len(v))
	for i, x := range v {
		mask[i] = float64(x) > mean
	}
	return Standard(v, mask)
}

// Robust is what maps the range of the channel v between two percentiles (0 to 100, linear
// interpolation as NumPy) onto out; values outside are clipped. A channel whose
// percentiles coincide becomes out[0].
func Robust(v []float32, percentiles, out [2]float64) Rescale {
	if !(0 <= percentiles[0] && percentiles[0] < percentiles[1] && percentiles[1] <= 100) {
		panic(fmt.Sprintf("transform: Robust: percentiles %v must rise within 0 to 100", percentiles))
	}
	if len(v) == 0 {
		return Unscaled
	}
	work := append([]float32(nil), v...)
	lo, hi := percentile(work, percentiles[0]), percentile(work, percentiles[1])
	if !(hi > lo) {
		return Rescale{lo, lo, lo - out[0], 1}
	}
	divisor := (hi - lo) / (out[1] - out[0])
	return Rescale{lo, hi, lo - out[0]*divisor, divisor}
}

// ZNormalize replaces each channel of x by (x − μ)/(σ + 1e-8), as [Standard] says. The
// mask, one a voxel, is shared by the channels.
func ZNormalize(x []float32, channels int, mask []bool) {
	n := len(x) / channels
	if mask != nil && len(mask) != n {
		panic(fmt.Sprintf("transform: ZNormalize: mask of %d for %d voxels", len(mask), n))
	}
	for c := range channels {
		v := x[c*n : (c+1)*n]
		Standard(v, mask).Apply(v)
	}
}

// moments returns mean and population standard deviation of the selected values.
func moments(v []float32, mask []bool) (mean, std float64) {
	if mask != nil {
		var selected []float32
		for i, x := range v {
			if mask[i] {
				selected = append(selected, x)
			}
		}
		if len(selected) > 0 {
			v = selected
		}
	}
	if len(v) == 0 {
		return 0, 0
	}
	// Four sums side by side: one would wait for each addition before the next.
	var s [4]float64
	whole := len(v) &^ 3
	for i := 0; i < whole; i += 4 {
		w := v[i : i+4 : i+4]
		s[0] += float64(w[0])
		s[1] += float64(w[1])
		s[2] += float64(w[2])
		s[3] += float64(w[3])
	}
	for _, x := range v[whole:] {
		s[0] += float64(x)
	}
	mean = (s[0] + s[1] + s[2] + s[3]) / float64(len(v))
	s = [4]float64{}
	for i := 0; i < whole; i += 4 {
		w := v[i : i+4 : i+4]
		a, b, c, d := float64(w[0])-mean, float64(w[1])-mean, float64(w[2])-mean, float64(w[3])-mean
		s[0] += a * a
		s[1] += b * b
		s[2] += c * c
		s[3] += d * d
	}
	for _, x := range v[whole:] {
		s[0] += (float64(x) - mean) * (float64(x) - mean)
	}
	return mean, math.Sqrt((s[0] + s[1] + s[2] + s[3]) / float64(len(v)))
}

// RobustRescale maps each channel of x as [Robust] says.
func RobustRescale(x []float32, channels int, percentiles, out [2]float64) {
	n := len(x) / channels
	for c := range channels {
		v := x[c*n : (c+1)*n]
		Robust(v, percentiles, out).Apply(v)
	}
}

// percentile reorders v and returns its q-th percentile.
func percentile(v []float32, q float64) float64 {
	at := q / 100 * float64(len(v)-1)
	k := int(at)
	low := nth(v, k)
	if k+1 == len(v) {
		return float64(low)
	}
	high := v[k+1]
	for _, x := range v[k+2:] {
		high = min(high, x)
	}
	return float64(low) + (at-float64(k))*(float64(high)-float64(low))
}

// nth partially sorts v so that the k-th smallest lies at k with nothing smaller
// behind it (Hoare's selection), and returns it.
func nth(v []float32, k int) float32 {
	lo, hi := 0, len(v)-1
	for lo < hi {
		pivot, i, j := v[lo+(hi-lo)/2], lo, hi
		for i <= j {
			for v[i] < pivot {
				i++
			}
			for pivot < v[j] {
				j--
			}
			if i <= j {
				v[i], v[j] = v[j], v[i]
				i++
				j--
			}
		}
		switch {
		case k <= j:
			hi = j
		case k >= i:
			lo = i
		default:
			return v[k]
		}
	}
	return v[k]
}

// Pad says what voxels outside an image hold.
type Pad int

const (
	Edge     Pad = iota // the nearest voxel's value
	Constant            // a given value
)

// CropOrPad copies the centre of src (C, from…) into dst (C, to…): an axis that is
// too long loses ⌊(n−n′)/2⌋ voxels in front, one that is too short gains
// ⌊(n′−n)/2⌋ in front, filled as pad says.
func CropOrPad[T any](dst, src []T, channels int, from, to []int, pad Pad, fill T) {
	check("CropOrPad: src", src, channels, from)
	check("CropOrPad: dst", dst, channels, to)
	f, t := three(from), three(to)
	var index [3][]int // of the source voxel, −1 for fill
	for a := range 3 {
		shift := (f[a] - t[a]) / 2
		if t[a] >= f[a] {
			shift = -((t[a] - f[a]) / 2)
		}
		index[a] = make([]int, t[a])
		for i := range index[a] {
			j := i + shift
			if j < 0 || j >= f[a] {
				if j = min(max(j, 0), f[a]-1); pad == Constant {
					j = -1
				}
			}
			index[a][i] = j
		}
	}
	gather(dst, src, channels, f, index, fill)
}

// gather copies voxels by per-axis source indices.
func gather[T any](dst, src []T, channels int, from [3]int, index [3][]int, fill T) {
	n := from[0] * from[1] * from[2]
	o := 0
	for c := range channels {
		for _, x := range index[0] {
			for _, y := range index[1] {
				row := src[c*n:]
				if x >= 0 && y >= 0 {
					row = row[(x*from[1]+y)*from[2]:]
				}
				for _, z := range index[2] {
					if x < 0 || y < 0 || z < 0 {
						dst[o] = fill
					} else {
						dst[o] = row[z]
					}
					o++
				}
			}
		}
	}
}

// Box is a part of an image: per axis the first voxel and the length.
type Box struct{ At, Size [3]int }

// Whole returns the box that holds all of size. Axes are three; a 2-D size has a
// leading axis of length one.
func Whole(size []int) Box { return Box{Size: three(size)} }

// Resize interpolates src (C, from…) linearly into dst (C, to…).
func Resize(dst, src []float32, channels int, from, to []int) {
	CropResize(dst, src, channels, from, Whole(from), to)
}

// ResizeNearest takes the nearest voxel of src (C, from…), ties to the higher index.
func ResizeNearest[T any](dst, src []T, channels int, from, to []int) {
	CropResizeNearest(dst, src, channels, from, Whole(from), to)
}

func checkBox(what string, b Box, from []int) {
	for a, f := range three(from) {
		if b.At[a] < 0 || b.Size[a] < 1 || b.At[a]+b.Size[a] > f {
			panic(fmt.Sprintf("transform: %s: box %v outside %v", what, b, from))
		}
	}
}

// CropResize interpolates the box of src (C, from…) linearly into dst (C, to…).
func CropResize(dst, src []float32, channels int, from []int, box Box, to []int) {
	check("CropResize: src", src, channels, from)
	check("CropResize: dst", dst, channels, to)
	checkBox("CropResize", box, from)
	f, t := three(from), three(to)
	var low, high [3][]int
	var weight [3][]float32
	for a := range 3 {
		low[a], high[a], weight[a] = linear(nil, nil, nil, box.At[a], box.Size[a], t[a])
	}
	n := f[0] * f[1] * f[2]
	z0, z1 := box.At[2], box.At[2]+box.Size[2]
	row := make([]float32, f[2])
	o := 0
	for c := range channels {
		v := src[c*n:]
		at := func(x, y int) []float32 { return v[(x*f[1]+y)*f[2]:][:f[2]] }
		for i := range t[0] {
			for j := range t[1] {
				// Blend four rows along z into one, then interpolate along it.
				wx, wy := weight[0][i], weight[1][j]
				a, b := at(low[0][i], low[1][j]), at(low[0][i], high[1][j])
				p, q := at(high[0][i], low[1][j]), at(high[0][i], high[1][j])
				for z := z0; z < z1; z++ {
					s, u := a[z]+wy*(b[z]-a[z]), p[z]+wy*(q[z]-p[z])
					row[z] = s + wx*(u-s)
				}
				for k := range t[2] {
					s := row[low[2][k]]
					dst[o] = s + weight[2][k]*(row[high[2][k]]-s)
					o++
				}
			}
		}
	}
}

// linear appends, for each of n′ outputs over n inputs that begin at first, the two
// neighbours and the second one's weight.
func linear(low, high []int, weight []float32, first, n, out int) ([]int, []int, []float32) {
	for i := range out {
		x := min(max((float64(i)+0.5)*float64(n)/float64(out)-0.5, 0), float64(n-1))
		l := int(x)
		low, high, weight = append(low, first+l), append(high, first+min(l+1, n-1)), append(weight, float32(x-float64(l)))
	}
	return low, high, weight
}

// CropResizeNearest is CropResize with the nearest voxel instead of interpolation.
func CropResizeNearest[T any](dst, src []T, channels int, from []int, box Box, to []int) {
	check("CropResizeNearest: src", src, channels, from)
	check("CropResizeNearest: dst", dst, channels, to)
	checkBox("CropResizeNearest", box, from)
	t := three(to)
	var index [3][]int
	for a := range 3 {
		n := box.Size[a]
		index[a] = make([]int, t[a])
		for i := range index[a] {
			x := math.Floor((float64(i)+0.5)*float64(n)/float64(t[a]) - 0.5 + 0.5)
			index[a][i] = box.At[a] + min(max(int(x), 0), n-1)
		}
	}
	var none T
	gather(dst, src, channels, three(from), index, none)
}

// Flip reverses x (C, size…) in place along the axes whose flag is set.
func Flip[T any](x []T, channels int, size []int, axes []bool) {
	check("Flip", x, channels, size)
	if len(axes) != len(size) {
		panic(fmt.Sprintf("transform: Flip: %d flags for %d axes", len(axes), len(size)))
	}
	outer, inner := channels, count(1, size)
	for a, n := range size {
		inner /= n
		if axes[a] {
			for o := range outer {
				v := x[o*n*inner : (o+1)*n*inner]
				for i, j := 0, n-1; i < j; i, j = i+1, j-1 {
					p, q := v[i*inner:(i+1)*inner], v[j*inner:(j+1)*inner]
					for k := range p {
						p[k], q[k] = q[k], p[k]
					}
				}
			}
		}
		outer *= n
	}
}
