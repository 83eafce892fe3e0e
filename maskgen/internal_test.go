package maskgen

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"
)

// No draw gives a smaller or a larger block than the smallest and the largest.
func TestSizeRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ascending := func(label string, from, to float64) [2]float64 {
			a, b := rapid.Float64Range(from, to).Draw(t, label), rapid.Float64Range(from, to).Draw(t, label)
			return [2]float64{min(a, b), max(a, b)}
		}
		s := newSampler(Default(rapid.SliceOfN(rapid.IntRange(2, 20), 2, 3).Draw(t, "grid")...))
		scale, aspect := ascending("scale", 0.01, 1), ascending("aspect", 0.1, 10)
		smallest, largest := s.sizeRange(scale, aspect)
		for k := range 300 {
			for _, perm := range axisOrders {
				n := volume(s.BlockSize(float64(k)/300, perm, scale, aspect))
				require.GreaterOrEqual(t, n, volume(smallest))
				require.LessOrEqual(t, n, volume(largest))
			}
		}
	})
}

// They are what trying each of the 2²⁴ draws finds.
func TestSizeRangeIsExact(t *testing.T) {
	if testing.Short() {
		t.Skip("2²⁴ draws are not tried with -short")
	}
	for _, test := range []struct {
		grid          []int
		scale, aspect [2]float64
	}{
		{[]int{14, 14}, [2]float64{0.15, 0.2}, [2]float64{0.75, 1.5}},
		{[]int{40, 40}, [2]float64{0.15, 0.3}, [2]float64{0.75, 1.5}}, // m/a hardly moves
		{[]int{8, 8, 8}, [2]float64{0.15, 0.2}, [2]float64{0.75, 1.5}},
	} {
		s := newSampler(Default(test.grid...))
		least, most := s.patches, 0
		for k := range draws {
			n := volume(s.BlockSize(float64(k)/draws, axisOrders[0], test.scale, test.aspect))
			least, most = min(least, n), max(most, n)
		}
		smallest, largest := s.sizeRange(test.scale, test.aspect)
		assert.Equal(t, least, volume(smallest), "%v", test.grid)
		assert.Equal(t, most, volume(largest), "%v", test.grid)
	}
}

// On ties the reference's power decides; all else is rounding.
func TestRoundCbrt(t *testing.T) {
	for n := 1; n < 60; n++ {
		x := float64(n)
		cube := (x + 0.5) * (x + 0.5) * (x + 0.5)
		assert.Equal(t, x, roundCbrt(x*x*x))
		assert.Equal(t, x, roundCbrt(cube*(1-1e-9)))
		assert.Equal(t, x+1, roundCbrt(cube*(1+1e-9)))
	}
	// round(math.pow((n + 0.5)**3, 1/3)) in Python 3.
	for n, want := range []float64{0, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10} {
		x := float64(n) + 0.5
		assert.Equal(t, want, roundCbrt(x*x*x))
	}
}

// uniform fails where counts of a million draws are not those of equally likely
// cells, at a significance of one in a million.
func uniform(t *testing.T, counts []float64, name string) {
	t.Helper()
	var n, chi2 float64
	for _, count := range counts {
		n += count
	}
	for _, count := range counts {
		expected := n / float64(len(counts))
		chi2 += (count - expected) * (count - expected) / expected
	}
	bound := distuv.ChiSquared{K: float64(len(counts) - 1)}.Quantile(1 - 1e-6)
	assert.Lessf(t, chi2, bound, "%s: χ² of %d cells", name, len(counts))
}

// Every position that fits is equally likely; in the paper's preset those that
// reach the last patch of an axis are none.
func TestPositionsAreUniform(t *testing.T) {
	for preset, ends := range map[Preset]int{PresetDefault: 1, PresetNidl: 1, PresetPaper: 0} {
		for _, grid := range [][]int{{9, 6}, {5, 6, 4}} {
			c := Default(grid...)
			c.Preset, c.MinKeep = preset, 0
			s, err := New(c)
			require.NoError(t, err)
			size := [3]int{3, 2, 1}
			cells, strides := 1, [3]int{}
			for axis := range grid {
				strides[axis] = cells
				cells *= grid[axis] - size[axis] + ends
			}
			counts := make([]float64, cells)
			for step := range uint64(20000) {
				g := newStream(3, step, forPositions, 0)
				b := s.place(&g, size)
				counts[b.start[0]*strides[0]+b.start[1]*strides[1]+b.start[2]*strides[2]]++
			}
			uniform(t, counts, string(preset))
		}
	}
}

// r is uniform, and each axis order as likely as the others.
func TestSizesAreUniform(t *testing.T) {
	var r, orders [6]float64
	for step := range uint64(20000) {
		g := newStream(3, step, forSizes, 0)
		r[int(6*g.uniform())]++
		orders[g.below(6)]++
	}
	uniform(t, r[:], "r")
	uniform(t, orders[:], "axis order")
}

// Each index is as likely to be kept as the others.
func TestKeepRandomIsUniform(t *testing.T) {
	src := []uint32{2, 3, 5, 7, 11, 13, 17, 19, 23, 29}
	pairs := make(map[[2]uint32]float64)
	for sample := range uint64(20000) {
		g := newStream(3, 0, forCut, sample)
		var dst [2]uint32
		keepRandom(&g, dst[:], src)
		require.Less(t, dst[0], dst[1])
		pairs[dst]++
	}
	require.Len(t, pairs, 45)
	var counts []float64
	for _, count := range pairs {
		counts = append(counts, count)
	}
	uniform(t, counts, "pairs")
}

// A sampler of blocks that cannot keep enough, as validation lets none through,
// gives up and names the block.
func TestSampleGivesUp(t *testing.T) {
	c := Default(4, 4)
	var m Masks
	c.MinKeep = 3
	require.EqualError(t, newSampler(c).Sample(&m, 0, 0, 2),
		"maskgen: step 0: the target block can be 1×2 = 2 patches, and a mask keeps more than min_keep = 3: lower min_keep to 1, raise target_block_scale (0.15, 0.2) or use smaller patches (the grid is 4×4)")
	c.TargetScale = [2]float64{0.9, 0.9}
	c.ContextScale = [2]float64{0.1, 0.1}
	require.EqualError(t, newSampler(c).Sample(&m, 0, 0, 2),
		"maskgen: step 0: sample 0: the context block can be 1×1 = 1 patches, and a mask keeps more than min_keep = 3: lower min_keep to 0, raise context_block_scale (0.1, 0.1) or use smaller patches (the grid is 4×4)")
}

// Where no context is free of all targets, constraints are dropped from the
// last target on, and only as many as need be.
func TestRelaxation(t *testing.T) {
	c := Default(8, 8)
	c.MinKeep = 20
	s := newSampler(c)
	full := block{end: [3]int{8, 8, 1}}
	row := block{end: [3]int{1, 8, 1}}
	for _, test := range []struct {
		targets []block
		dropped int
	}{
		{[]block{row, row, row}, 0},
		{[]block{row, row, full}, 1},
		{[]block{row, full, row}, 2},
		{[]block{full, row, row}, 3},
	} {
		g := newStream(0, 0, forPositions, 0)
		dst := make([]uint32, 49)
		kept, dropped, err := s.placeContext(&g, dst, [3]int{7, 7, 1}, test.targets)
		require.NoError(t, err)
		assert.Equal(t, test.dropped, dropped)
		for _, p := range dst[:kept] {
			if dropped < 3 {
				assert.GreaterOrEqual(t, p, uint32(8), "the first row is a target's")
			}
		}
	}
}
