package volume

import (
	"fmt"
	"math"
)

// SameGrid reports, as an error, where the voxels of two volumes are not the same places
// in another order of axes, within a twentieth of a voxel.
func SameGrid(to, from Header) error {
	_, err := gridSteps(to, from)
	return err
}

// gridSteps returns for each axis of from, by how much its index grows along each axis of
// to, and where it begins.
func gridSteps(to, from Header) (step [3][4]int, err error) {
	inverse, ok := Invert(from.Affine)
	if !ok {
		return step, fmt.Errorf("an affine that cannot be inverted: %v", from.Affine)
	}
	m := Multiply(inverse, to.Affine)
	size, want := [3]int{1, 1, 1}, [3]int{1, 1, 1}
	copy(size[:], from.Size)
	copy(want[:], to.Size)
	for i := range 3 {
		for j := range 4 {
			step[i][j] = int(math.Round(max(-1e9, min(m[i][j], 1e9))))
			if j < 3 && want[j] == 1 {
				step[i][j] = 0 // a single slice has no direction to compare
			} else if !(math.Abs(m[i][j]-float64(step[i][j])) < 0.05) {
				return step, fmt.Errorf("its voxels lie elsewhere: %.3g of a voxel apart", math.Abs(m[i][j]-float64(step[i][j])))
			}
		}
		least, most := step[i][3], step[i][3]
		for j, n := range want {
			least += min(0, (n-1)*step[i][j])
			most += max(0, (n-1)*step[i][j])
		}
		if least != 0 || most != size[i]-1 {
			return step, fmt.Errorf("its voxels lie elsewhere: %v where %v are meant, %d of them outside along axis %d", from.Size, to.Size, max(-least, most-size[i]+1), i+1)
		}
	}
	return step, nil
}

// Regrid copies src (C, …) onto the voxels of dst, which must be the same places in another
// order of axes.
func Regrid(dst, src []float32, to, from Header) error {
	step, err := gridSteps(to, from)
	if err != nil {
		return err
	}
	if len(src) != len(dst) || from.Channels != to.Channels {
		return fmt.Errorf("%d channels of %v voxels where %d of %v are meant", from.Channels, from.Size, to.Channels, to.Size)
	}
	size, want := [3]int{1, 1, 1}, [3]int{1, 1, 1}
	copy(size[:], from.Size)
	copy(want[:], to.Size)
	stride := [3]int{size[1] * size[2], size[2], 1}
	var along [4]int
	for j := range along {
		for a := range 3 {
			along[j] += step[a][j] * stride[a]
		}
	}
	n, o := len(dst)/to.Channels, 0
	for c := range to.Channels {
		v := src[c*n : (c+1)*n]
		for i := range want[0] {
			for j := range want[1] {
				at := along[3] + i*along[0] + j*along[1]
				for range want[2] {
					dst[o] = v[at]
					at += along[2]
					o++
				}
			}
		}
	}
	return nil
}

// Multiply returns the affine that applies b, then a.
func Multiply(a, b [4][4]float64) (c [4][4]float64) {
	for i := range 4 {
		for j := range 4 {
			for k := range 4 {
				c[i][j] += a[i][k] * b[k][j]
			}
		}
	}
	return c
}

// Invert returns the inverse of an affine, by cofactors; false where its axes do not span
// space.
func Invert(a [4][4]float64) ([4][4]float64, bool) {
	column := func(j int) [3]float64 { return [3]float64{a[0][j], a[1][j], a[2][j]} }
	x, y, z := column(0), column(1), column(2)
	rows := [3][3]float64{cross(y, z), cross(z, x), cross(x, y)}
	det, lengths := dot(x, rows[0]), math.Sqrt(dot(x, x)*dot(y, y)*dot(z, z))
	if !(math.Abs(det) > 1e-9*lengths) || math.IsInf(lengths, 0) {
		return a, false
	}
	inverse := Identity()
	for i, r := range rows {
		for j := range 3 {
			inverse[i][j] = r[j] / det
		}
		inverse[i][3] = -dot(r, column(3)) / det
	}
	return inverse, true
}
