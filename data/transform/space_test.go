package transform

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestReorient: each voxel keeps its place in space, for all 48 orders and directions of
// the axes, and lies where RAS has it.
func TestReorient(t *testing.T) {
	from := []int{2, 3, 4}
	seen := map[string]bool{}
	for _, axes := range [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		for flips := range 8 {
			// Stored axis j grows along world axis axes[j], forward or back.
			affine := [4][4]float64{{0, 0, 0, 5}, {0, 0, 0, -7}, {0, 0, 0, 11}, {0, 0, 0, 1}}
			for j, w := range axes {
				affine[w][j] = float64(j) + 1.5
				if flips>>j&1 == 1 {
					affine[w][j] *= -1
				}
				affine[(w+1)%3][j] = 0.1 // somewhat oblique
			}
			place := func(a [4][4]float64, i, j, k int) (p [3]float64) {
				for r := range 3 {
					p[r] = a[r][0]*float64(i) + a[r][1]*float64(j) + a[r][2]*float64(k) + a[r][3]
				}
				return p
			}
			src := make([][3]float64, 24)
			for i := range src {
				src[i] = place(affine, i/12, i/4%3, i%4)
			}
			o := ToRAS(affine)
			seen[o.String()] = true
			to, after := o.Size(from), o.Affine(affine, from)
			assert.Equal(t, "RAS", ToRAS(after).String())
			dst := make([][3]float64, 24)
			Reorient(dst, src, 1, from, o)
			for n := range dst {
				want := place(after, n/(to[1]*to[2]), n/to[2]%to[1], n%to[2])
				assert.InDeltaSlice(t, want[:], dst[n][:], 1e-12, "%s voxel %d", o, n)
			}
		}
	}
	assert.Len(t, seen, 48)
	two := []uint8{1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16}
	dst := make([]uint8, 12)
	Reorient(dst, two, 2, []int{1, 2, 3}, Orientation{Axes: [3]int{2, 1, 0}, Flip: [3]bool{true, false, false}})
	assert.Equal(t, []uint8{3, 6, 2, 5, 1, 4, 13, 16, 12, 15, 11, 14}, dst)
}

// TestResample: a ramp stays the ramp of the places in space, in 2-D and 3-D, and labels
// keep their values.
func TestResample(t *testing.T) {
	from, spacing, wanted := []int{6, 8}, []float64{2, 0.5}, []float64{1, 2}
	to := ResampledSize(from, spacing, wanted)
	assert.Equal(t, []int{12, 2}, to)
	affine := [4][4]float64{{2, 0, 0, 3}, {0, 0.5, 0, -1}, {0, 0, 1, 0}, {0, 0, 0, 1}}
	after := ResampledAffine(affine, spacing, wanted)
	src, labels := make([]float32, 48), make([]uint8, 48)
	for i := range src {
		src[i] = float32(2*float64(i/8) + 3 + 10*(0.5*float64(i%8)-1))
		labels[i] = uint8(i / 8)
	}
	dst := make([]float32, 24)
	Resample(dst, src, 1, from, to, spacing, wanted)
	for i := 1; i < 11; i++ { // the outermost take the border's value
		for j := range 2 {
			x, y := after[0][0]*float64(i)+after[0][3], after[1][1]*float64(j)+after[1][3]
			assert.InDelta(t, x+10*y, dst[2*i+j], 1e-5)
		}
	}
	out := make([]uint8, 24)
	ResampleNearest(out, labels, 1, from, to, spacing, wanted)
	for i, l := range out {
		assert.Equal(t, uint8(i/4), l)
	}
	assert.Equal(t, []int{1, 3, 1}, ResampledSize([]int{1, 1, 1}, []float64{0.1, 3, 1}, []float64{1, 1, 1}))
}
