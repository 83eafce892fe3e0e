package maskgen_test

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"wgjepa/maskgen"
)

// anyConfig draws configurations that validation accepts, small and odd ones
// among them.
func anyConfig(t *rapid.T) maskgen.Config {
	scale := func(label string, from, to float64) [2]float64 {
		a, b := rapid.Float64Range(from, to).Draw(t, label), rapid.Float64Range(from, to).Draw(t, label)
		return [2]float64{min(a, b), max(a, b)}
	}
	c := maskgen.Config{
		Grid:         rapid.SliceOfN(rapid.IntRange(2, 10), 2, 3).Draw(t, "grid"),
		ContextScale: scale("context scale", 0.3, 1),
		TargetScale:  scale("target scale", 0.05, 0.4),
		AspectRatio:  scale("aspect ratio", 0.3, 3),
		Targets:      rapid.IntRange(1, 5).Draw(t, "targets"),
		MinKeep:      rapid.IntRange(0, 10).Draw(t, "min keep"),
		AllowOverlap: rapid.Bool().Draw(t, "allow overlap"),
		Preset:       rapid.SampledFrom([]maskgen.Preset{maskgen.PresetDefault, maskgen.PresetNidl, maskgen.PresetPaper}).Draw(t, "preset"),
	}
	if c.Validate() != nil {
		t.Skip("refused")
	}
	return c
}

func newSampler(t require.TestingT, c maskgen.Config) *maskgen.Sampler {
	s, err := maskgen.New(c)
	require.NoError(t, err)
	return s
}

func sample(t require.TestingT, s *maskgen.Sampler, seed, step uint64, batch int) *maskgen.Masks {
	var m maskgen.Masks
	require.NoError(t, s.Sample(&m, seed, step, batch))
	return &m
}

func context(m *maskgen.Masks, b int) []uint32 { return m.Context[b*m.K:][:m.K] }

func target(m *maskgen.Masks, i, b int) []uint32 { return m.Target[(i*m.B+b)*m.L:][:m.L] }

// coordinates returns the position of patch p along each axis of the grid.
func coordinates(grid []int, p uint32) []int {
	at, rest := make([]int, len(grid)), int(p)
	for axis, side := range slices.Backward(grid) {
		at[axis], rest = rest%side, rest/side
	}
	return at
}

// isBox reports whether the ascending indices are all the patches of a box.
func isBox(grid []int, indices []uint32) bool {
	first, last := coordinates(grid, indices[0]), coordinates(grid, indices[len(indices)-1])
	size := 1
	for axis := range grid {
		size *= last[axis] - first[axis] + 1
	}
	for _, p := range indices {
		for axis, at := range coordinates(grid, p) {
			if at < first[axis] || at > last[axis] {
				return false
			}
		}
	}
	return size == len(indices)
}

// What holds of all masks of all configurations.
func TestMasksAreValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyConfig(t)
		s := newSampler(t, c)
		batch := rapid.IntRange(1, 6).Draw(t, "batch")
		m := sample(t, s, rapid.Uint64().Draw(t, "seed"), rapid.Uint64().Draw(t, "step"), batch)

		require.Equal(t, batch, m.B)
		require.Equal(t, c.Targets, m.M)
		require.Len(t, m.Context, m.B*m.K)
		require.Len(t, m.Target, m.M*m.B*m.L)
		require.Greater(t, m.K, c.MinKeep)
		require.Greater(t, m.L, c.MinKeep)
		require.LessOrEqual(t, m.K, s.MaxContext())
		require.LessOrEqual(t, m.L, s.MaxTarget())

		valid := func(indices []uint32) {
			for i, p := range indices {
				require.Less(t, int(p), product(c.Grid))
				if i > 0 {
					require.Less(t, indices[i-1], p, "indices ascend and none comes twice")
				}
				for axis, at := range coordinates(c.Grid, p) {
					if c.Preset == maskgen.PresetPaper {
						require.Less(t, at, c.Grid[axis]-1, "the paper's blocks avoid the last patches")
					}
				}
			}
		}
		overlapping := 0
		for b := range m.B {
			kept := context(m, b)
			valid(kept)
			meets := false
			for i := range m.M {
				block := target(m, i, b)
				valid(block)
				require.True(t, isBox(c.Grid, block))
				meets = meets || slices.ContainsFunc(block, func(p uint32) bool { return slices.Contains(kept, p) })
			}
			if meets {
				overlapping++
			}
		}
		if !c.AllowOverlap && c.Preset != maskgen.PresetNidl {
			require.LessOrEqual(t, overlapping, m.Relaxed, "contexts meet their targets only where that is counted")
		} else {
			require.Zero(t, m.Relaxed)
		}
	})
}

// The same (seed, step, batch) gives the same masks, whatever the slices held.
func TestSameSeedSameMasks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyConfig(t)
		seed, step := rapid.Uint64().Draw(t, "seed"), rapid.Uint64().Draw(t, "step")
		batch := rapid.IntRange(1, 6).Draw(t, "batch")
		want := sample(t, newSampler(t, c), seed, step, batch)

		s := newSampler(t, c)
		used := sample(t, s, seed+1, step+1, rapid.IntRange(1, 9).Draw(t, "batch before"))
		require.NoError(t, s.Sample(used, seed, step, batch))
		require.Equal(t, want, used)
	})
}

// A sample's targets, and its context before the cut, do not depend on the
// batch it is in.
func TestSamplesAreIndependentOfTheBatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSampler(t, anyConfig(t))
		seed, step := rapid.Uint64().Draw(t, "seed"), rapid.Uint64().Draw(t, "step")
		small := sample(t, s, seed, step, 1)
		large := sample(t, s, seed, step, rapid.IntRange(2, 8).Draw(t, "batch"))
		require.Equal(t, small.L, large.L)
		for i := range small.M {
			require.Equal(t, target(small, i, 0), target(large, i, 0))
		}
		// A batch of one is not cut.
		require.GreaterOrEqual(t, small.K, large.K)
		for _, p := range context(large, 0) {
			require.Contains(t, context(small, 0), p)
		}
	})
}

// nidl and the paper cut contexts to their lowest indices, the default keeps a
// random subset.
func TestCut(t *testing.T) {
	for _, c := range []maskgen.Config{maskgen.Default(14, 14), maskgen.Paper(14, 14)} {
		s := newSampler(t, c)
		cut, lowest := 0, 0
		for step := range uint64(50) {
			uncut, m := sample(t, s, 5, step, 1), sample(t, s, 5, step, 8)
			if m.K < uncut.K {
				cut++
				if slices.Equal(context(uncut, 0)[:m.K], context(m, 0)) {
					lowest++
				}
			}
		}
		require.Greater(t, cut, 20, "batches whose first sample is cut")
		if c.Preset == maskgen.PresetPaper {
			assert.Equal(t, cut, lowest)
		} else {
			assert.Less(t, lowest, cut/4)
		}
	}
}

// Seeds, steps and samples each change the masks.
func TestMasksDiffer(t *testing.T) {
	s := newSampler(t, maskgen.Default(14, 14))
	seen := make(map[string]bool)
	for seed := range uint64(4) {
		for step := range uint64(4) {
			m := sample(t, s, seed, step, 4)
			for b := range m.B {
				var key []uint32
				for i := range m.M {
					key = append(key, target(m, i, b)...)
				}
				seen[fmt.Sprint(key)] = true
			}
		}
	}
	assert.Len(t, seen, 4*4*4)
}

// All that a seed gives is fixed: runs made with one version can be resumed
// with another, on any platform.
func TestMasksStayTheSame(t *testing.T) {
	m := sample(t, newSampler(t, maskgen.Default(4, 4, 4)), 7, 11, 2)
	assert.Equal(t, []uint32{3, 7, 9, 10, 11, 19, 23, 27}, context(m, 0))
	assert.Equal(t, []uint32{17, 19, 35, 51, 55, 57, 58, 59}, context(m, 1))
	assert.Equal(t, []uint32{0, 1, 2, 4, 5, 6, 16, 17, 18, 20, 21, 22}, target(m, 0, 0))
	assert.Equal(t, []uint32{32, 33, 34, 36, 37, 38, 48, 49, 50, 52, 53, 54}, target(m, 0, 1))
}

// The same of many masks by their hash.
func TestMasksStayTheSameAtLarge(t *testing.T) {
	for _, test := range []struct {
		config maskgen.Config
		hash   uint64
	}{
		{maskgen.Default(14, 14), 0x09ddb794cb260095},
		{maskgen.Default(8, 12, 8), 0x57111419f9fa7bce},
		{maskgen.Nidl(8, 8, 8), 0xa626876947e300fe},
		{maskgen.Paper(16, 16), 0x705a2edf588ea5d6},
	} {
		s, h := newSampler(t, test.config), fnv.New64a()
		var m maskgen.Masks
		for step := range uint64(200) {
			require.NoError(t, s.Sample(&m, 42, step, 4))
			require.NoError(t, binary.Write(h, binary.LittleEndian, m.Context))
			require.NoError(t, binary.Write(h, binary.LittleEndian, m.Target))
		}
		assert.Equalf(t, test.hash, h.Sum64(), "%s %v", test.config.Preset, test.config.Grid)
	}
}

func TestSampleRefusesBatch(t *testing.T) {
	s := newSampler(t, maskgen.Default(14, 14))
	for _, batch := range []int{-1, 0, math.MaxInt32} {
		err := s.Sample(new(maskgen.Masks), 0, 0, batch)
		require.ErrorContains(t, err, fmt.Sprintf("a batch of %d samples: choose a batch size from 1 to", batch))
	}
}

func TestSampleAllocatesOnce(t *testing.T) {
	for _, c := range []maskgen.Config{maskgen.Default(14, 14), maskgen.Default(8, 8, 8), maskgen.Nidl(8, 8, 8), maskgen.Paper(14, 14)} {
		s := newSampler(t, c)
		m, step := sample(t, s, 0, 0, 8), uint64(0)
		assert.Zero(t, testing.AllocsPerRun(200, func() {
			step++
			if err := s.Sample(m, 0, step, 1+int(step)%8); err != nil {
				panic(err)
			}
		}), "%s %v", c.Preset, c.Grid)
	}
}

func BenchmarkSample(b *testing.B) {
	for _, grid := range [][]int{{14, 14}, {8, 8, 8}, {16, 16, 16}} {
		b.Run(fmt.Sprint(grid), func(b *testing.B) {
			s := newSampler(b, maskgen.Default(grid...))
			var m maskgen.Masks
			b.ReportAllocs()
			for step := uint64(0); b.Loop(); step++ {
				if err := s.Sample(&m, 0, step, 64); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
