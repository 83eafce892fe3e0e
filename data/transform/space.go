package transform

import (
	"fmt"
	"math"
)

// Orientation says which voxel axis and direction becomes which axis of RAS.
type Orientation struct {
	Axes [3]int  // Axes[i]: the stored axis that becomes axis i
	Flip [3]bool // Flip[i]: reversed
}

// ToRAS returns the reordering of axes, without interpolation, after which the affine
// (voxel to mm, RAS) has x growing to the right, y to the front and z up, each as nearly
// as the axes allow: nibabel's as_closest_canonical.
func ToRAS(affine [4][4]float64) Orientation {
	var o Orientation
	var usedAxis, usedWorld [3]bool
	for range 3 { // the clearest pair of a voxel axis and a direction first
		best, axis, world := -1.0, 0, 0
		for j := range 3 {
			length := math.Sqrt(affine[0][j]*affine[0][j] + affine[1][j]*affine[1][j] + affine[2][j]*affine[2][j])
			if !(length > 0) {
				length = 1
			}
			for i := range 3 {
				if x := math.Abs(affine[i][j]) / length; !usedAxis[j] && !usedWorld[i] && x > best {
					best, axis, world = x, j, i
				}
			}
		}
		usedAxis[axis], usedWorld[world] = true, true
		o.Axes[world], o.Flip[world] = axis, affine[world][axis] < 0
	}
	return o
}

// String names the stored axes, such as LPS.
func (o Orientation) String() string {
	var code [3]byte
	for i, a := range o.Axes {
		if code[a] = "RAS"[i]; o.Flip[i] {
			code[a] = "LPI"[i]
		}
	}
	return string(code[:])
}

// Size returns the size after [Reorient].
func (o Orientation) Size(from []int) []int {
	return []int{from[o.Axes[0]], from[o.Axes[1]], from[o.Axes[2]]}
}

// Affine returns the affine after [Reorient] of a volume of size from.
func (o Orientation) Affine(affine [4][4]float64, from []int) [4][4]float64 {
	out := affine
	for i, a := range o.Axes {
		for r := range 3 {
			out[r][i] = affine[r][a]
			if o.Flip[i] {
				out[r][i] = -affine[r][a]
				out[r][3] += affine[r][a] * float64(from[a]-1)
			}
		}
	}
	return out
}

// Reorient copies src (C, from…) into dst (C, o.Size(from)…), axes in the order of o.
func Reorient[T any](dst, src []T, channels int, from []int, o Orientation) {
	check("Reorient: src", src, channels, from)
	check("Reorient: dst", dst, channels, from)
	to := o.Size(from)
	stride := [3]int{from[1] * from[2], from[2], 1}
	var first int
	var step [3]int
	for i, a := range o.Axes {
		if step[i] = stride[a]; o.Flip[i] {
			first += stride[a] * (from[a] - 1)
			step[i] = -stride[a]
		}
	}
	n := count(1, from)
	out := 0
	for c := range channels {
		v := src[c*n : (c+1)*n]
		for x := range to[0] {
			for y := range to[1] {
				at := first + x*step[0] + y*step[1]
				for range to[2] {
					dst[out] = v[at]
					at += step[2]
					out++
				}
			}
		}
	}
}

// ResampledSize returns the number of voxels of another spacing that cover the same
// length: n·spacing/wanted, rounded, at least 1.
func ResampledSize(from []int, spacing, wanted []float64) []int {
	if len(spacing) != len(from) || len(wanted) != len(from) {
		panic(fmt.Sprintf("transform: ResampledSize: spacings %v and %v for size %v", spacing, wanted, from))
	}
	to := make([]int, len(from))
	for a, n := range from {
		to[a] = int(max(1, min(math.Round(float64(n)*spacing[a]/wanted[a]), math.MaxInt32)))
	}
	return to
}

// Resample interpolates src (C, from…) of one spacing linearly at the voxels of another:
// output voxel i lies at (i + ½)·wanted/spacing − ½ of the input, so that both begin at
// the same edge. As in SimpleITK, voxels within the outermost half voxel take the border's
// value and those at or beyond its edge are 0.
func Resample(dst, src []float32, channels int, from, to []int, spacing, wanted []float64) {
	check("Resample: src", src, channels, from)
	check("Resample: dst", dst, channels, to)
	f, t := three(from), three(to)
	var low, high [3][]int // low −1: outside
	var weight [3][]float32
	for a := range 3 {
		low[a], high[a], weight[a] = make([]int, t[a]), make([]int, t[a]), make([]float32, t[a])
		for i := range t[a] {
			x := position(i, a, f, spacing, wanted)
			if x >= float64(f[a])-0.5 {
				low[a][i] = -1
				continue
			}
			x = min(max(x, 0), float64(f[a]-1))
			l := int(x)
			low[a][i], high[a][i], weight[a][i] = l, min(l+1, f[a]-1), float32(x-float64(l))
		}
	}
	n := f[0] * f[1] * f[2]
	row := make([]float32, f[2])
	o := 0
	for c := range channels {
		v := src[c*n:]
		at := func(x, y int) []float32 { return v[(x*f[1]+y)*f[2]:][:f[2]] }
		for i := range t[0] {
			for j := range t[1] {
				out := dst[o : o+t[2]]
				o += t[2]
				if low[0][i] < 0 || low[1][j] < 0 {
					clear(out)
					continue
				}
				wx, wy := weight[0][i], weight[1][j]
				a, b := at(low[0][i], low[1][j]), at(low[0][i], high[1][j])
				p, q := at(high[0][i], low[1][j]), at(high[0][i], high[1][j])
				for z := range row {
					s, u := a[z]+wy*(b[z]-a[z]), p[z]+wy*(q[z]-p[z])
					row[z] = s + wx*(u-s)
				}
				for k := range out {
					if l := low[2][k]; l < 0 {
						out[k] = 0
					} else {
						out[k] = row[l] + weight[2][k]*(row[high[2][k]]-row[l])
					}
				}
			}
		}
	}
}

// position of output voxel i on axis a of three, a 2-D size having a leading axis.
func position(i, a int, from [3]int, spacing, wanted []float64) float64 {
	if a -= 3 - len(spacing); a < 0 {
		return float64(i)
	}
	return (float64(i)+0.5)*wanted[a]/spacing[a] - 0.5
}

// ResampleNearest is [Resample] with the nearest voxel, ties to the higher index.
func ResampleNearest[T any](dst, src []T, channels int, from, to []int, spacing, wanted []float64) {
	check("ResampleNearest: src", src, channels, from)
	check("ResampleNearest: dst", dst, channels, to)
	f, t := three(from), three(to)
	var index [3][]int
	for a := range 3 {
		index[a] = make([]int, t[a])
		for i := range index[a] {
			x := position(i, a, f, spacing, wanted)
			if index[a][i] = max(int(math.Floor(x+0.5)), 0); index[a][i] >= f[a] {
				index[a][i] = -1
			}
		}
	}
	var none T
	gather(dst, src, channels, f, index, none)
}

// ResampledAffine returns the affine after [Resample].
func ResampledAffine(affine [4][4]float64, spacing, wanted []float64) [4][4]float64 {
	out := affine
	for a := range spacing {
		s := wanted[a] / spacing[a]
		for r := range 3 {
			out[r][a] = affine[r][a] * s
			out[r][3] += affine[r][a] * (s - 1) / 2
		}
	}
	return out
}
