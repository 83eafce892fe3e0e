package data

import (
	"bytes"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/data/volume"
)

// TestSpace: a volume whose voxels hold a linear function of their place in space holds it
// after every preparation too, at the places that the affine of its Space tells.
func TestSpace(t *testing.T) {
	size := [3]int{9, 7, 11}
	affines := map[string][4][4]float64{
		"straight": {{2, 0, 0, -7}, {0, 1.5, 0, 3}, {0, 0, 1, 20}, {0, 0, 0, 1}},
		"turned":   {{0, -2, 0, 10}, {0, 0, 1.25, -4}, {-1.5, 0, 0, 9}, {0, 0, 0, 1}},
		"oblique":  {{-1.9, 0.2, 0.1, 10}, {0.3, 1.4, -0.2, -4}, {0.1, 0.25, 1.1, 9}, {0, 0, 0, 1}},
	}
	at := func(a [4][4]float64, i, j, k int) float64 {
		v := 0.0
		for r, c := range [3]float64{1, -0.5, 0.25} {
			v += c * (a[r][0]*float64(i) + a[r][1]*float64(j) + a[r][2]*float64(k) + a[r][3])
		}
		return v
	}
	for name, affine := range affines {
		values := make([]float32, size[0]*size[1]*size[2])
		for i := range values {
			values[i] = float32(at(affine, i/(size[1]*size[2]), i/size[2]%size[1], i%size[2]))
		}
		var b bytes.Buffer
		require.NoError(t, volume.WriteNIfTI(&b, size, affine, values))
		fsys := mem(map[string][]byte{"a.nii": b.Bytes()})
		for what, opt := range map[string]Options{
			"as stored":               {},
			"reoriented":              {Reorient: true},
			"resampled":               {Spacing: []float64{1, 2, 0.75}},
			"cropped and padded":      {Size: []int{6, 10, 12}, Pad: PadZero},
			"padded by an odd number": {Size: []int{10, 7, 14}},
			"resized":                 {Size: []int{5, 14, 11}, Fit: FitResize},
			"all":                     {Reorient: true, Spacing: []float64{1.5, 1, 2}, Size: []int{8, 9, 6}},
			"all, resized":            {Reorient: true, Spacing: []float64{1.5, 1, 2}, Size: []int{8, 9, 6}, Fit: FitResize},
		} {
			opt.Normalize = NormalizeNone
			d, _, err := OpenFS(fsys, []string{"a.nii"}, opt)
			require.NoError(t, err)
			s := d.(Spaced).Space(0)
			require.Equal(t, size[:], s.Stored)
			margin := 0.0 // in voxels: where what is mixed lies within the volume
			if what == "all, resized" {
				margin = 2
			}
			whole, err := d.(Spaced).ReadWhole(0, nil)
			require.NoError(t, err)
			for _, c := range []struct {
				x      []float32
				size   []int
				affine [4][4]float64
			}{{samples(t, d)[0], s.Size, s.Affine}, {whole, s.Whole, s.WholeAffine}} {
				require.Len(t, c.x, volumeOf(c.size))
				inverse := inverseOf(s.StoredAffine)
				inside := 0
				for i, v := range c.x {
					x, y, z := i/(c.size[1]*c.size[2]), i/c.size[2]%c.size[1], i%c.size[2]
					if !within(inverse, c.affine, [3]int{x, y, z}, size, margin) {
						continue
					}
					inside++
					require.InDelta(t, at(c.affine, x, y, z), float64(v), 1e-4, "%s, %s: voxel %d %d %d", name, what, x, y, z)
				}
				require.Greater(t, inside, 15, "%s, %s", name, what)
			}
		}
	}
}

// TestReadWhole: whole samples of several sizes come from a set that is brought to one, and
// are normalised over themselves.
func TestReadWhole(t *testing.T) {
	fsys := mem(map[string][]byte{"d/a.nii": nii([3]int{4, 5, 6}, 1), "d/b.nii": nii([3]int{8, 3, 7}, 2)})
	d, _, err := OpenFS(fsys, []string{"d"}, Options{Size: []int{4, 4, 4}})
	require.NoError(t, err)
	buffer := make([]float32, 0, 200)
	for i, n := range []int{120, 168} {
		x, err := d.(Spaced).ReadWhole(i, buffer)
		require.NoError(t, err)
		require.Len(t, x, n)
		sum, squares := 0.0, 0.0
		for _, v := range x {
			sum += float64(v)
			squares += float64(v) * float64(v)
		}
		require.InDelta(t, 0, sum/float64(n), 1e-5)
		require.InDelta(t, 1, squares/float64(n), 1e-5)
	}
	before := samples(t, d)
	_, err = d.(Spaced).ReadWhole(1, nil)
	require.NoError(t, err)
	require.Equal(t, before, samples(t, d), "reading whole leaves the samples alone")
}

// within says whether a prepared voxel lies between the centres of stored voxels, margin of
// them away from the outermost.
func within(inverse, affine [4][4]float64, at, size [3]int, margin float64) bool {
	for a := range 3 {
		x := inverse[a][3]
		for r := range 3 {
			p := affine[r][3]
			for c := range 3 {
				p += affine[r][c] * float64(at[c])
			}
			x += inverse[a][r] * p
		}
		if x < margin-1e-6 || x > float64(size[a]-1)-margin+1e-6 {
			return false
		}
	}
	return true
}

// inverseOf an affine by Gauss-Jordan elimination.
func inverseOf(a [4][4]float64) [4][4]float64 {
	b := volume.Identity()
	for c := range 4 {
		p := c
		for r := c; r < 4; r++ {
			if math.Abs(a[r][c]) > math.Abs(a[p][c]) {
				p = r
			}
		}
		a[c], a[p], b[c], b[p] = a[p], a[c], b[p], b[c]
		f := a[c][c]
		for k := range 4 {
			a[c][k] /= f
			b[c][k] /= f
		}
		for r := range 4 {
			if r != c {
				f := a[r][c]
				for k := range 4 {
					a[r][k] -= f * a[c][k]
					b[r][k] -= f * b[c][k]
				}
			}
		}
	}
	return b
}
