package maskgen_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/nlpodyssey/safetensors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/stat"

	"wgjepa/internal/testdata"
	"wgjepa/maskgen"
)

// golden returns a file of the reference's figures.
func golden(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(testdata.Golden.Find(t, name))
	require.NoError(t, err)
	return content
}

// masksJSON is masks.json: what nidl's sampler gives.
type masksJSON struct {
	BlockSizes []struct {
		Grid          []int
		Scale, Aspect [2]float64
		R             float64
		Perm          []int
		Size          []int
	} `json:"block_sizes"`
	Statistics []struct {
		Grid       []int
		Batch      int
		Batches    float64
		Complement string
		Seen       float64 `json:"targets_seen_by_context"`
		KMean      float64 `json:"K_mean"`
		KStd       float64 `json:"K_std"`
		LMean      float64 `json:"L_mean"`
		LStd       float64 `json:"L_std"`
		FirstHalf  float64 `json:"context_hits_first_half"`
	}
}

func readMasks(t *testing.T) (m masksJSON) {
	t.Helper()
	require.NoError(t, json.Unmarshal(golden(t, "masks.json"), &m))
	require.NotEmpty(t, m.BlockSizes)
	require.NotEmpty(t, m.Statistics)
	return m
}

// Every draw of the reference gives the reference's block.
func TestBlockSizesAreTheReferences(t *testing.T) {
	for i, c := range readMasks(t).BlockSizes {
		s, err := maskgen.New(maskgen.Default(c.Grid...))
		require.NoError(t, err)
		var perm [3]int
		copy(perm[:], c.Perm)
		size := s.BlockSize(c.R, perm, c.Scale, c.Aspect)
		require.Equalf(t, c.Size, size[:len(c.Grid)], "draw %d: r %v on %v", i, c.R, c.Grid)
	}
}

// sum accumulates a figure of each batch.
type sum []float64

func (s *sum) add(x float64) { *s = append(*s, x) }

func (s sum) mean() float64 { return stat.Mean(s, nil) }

func (s sum) std() float64 { return stat.PopStdDev(s, nil) }

// stdSpread is the standard deviation that one batch contributes to the
// estimate of std: σ√((κ − 1)/4), of the kurtosis κ.
func (s sum) stdSpread() float64 {
	if s.std() == 0 {
		return 0
	}
	return s.std() * math.Sqrt((stat.ExKurtosis(s, nil)+2)/4)
}

// figures are the statistics of masks.json of one preset.
type figures struct {
	k, l, seen sum
	first      sum // context patches in the first half of the indices
	relaxed    int
}

// firstHalf returns the share of context patches in the first half and the
// standard deviation that one batch contributes to it, both as of a ratio of
// sums.
func (f *figures) firstHalf() (share, std float64) {
	share = f.first.mean() / f.k.mean()
	var residual sum
	for i := range f.k {
		residual.add(f.first[i] - share*f.k[i])
	}
	return share, residual.std() / f.k.mean()
}

func measure(t *testing.T, s *maskgen.Sampler, patches, batch, batches int) (f figures) {
	t.Helper()
	var m maskgen.Masks
	for step := range batches {
		require.NoError(t, s.Sample(&m, 1, uint64(step), batch))
		var seen, first float64
		for b := range m.B {
			context := make(map[uint32]bool)
			for _, p := range m.Context[b*m.K:][:m.K] {
				context[p] = true
				if int(p) < patches/2 {
					first++
				}
			}
			target, common := make(map[uint32]bool), 0.0
			for i := range m.M {
				for _, p := range m.Target[(i*m.B+b)*m.L:][:m.L] {
					if !target[p] && context[p] {
						common++
					}
					target[p] = true
				}
			}
			seen += common / float64(len(target))
		}
		f.k.add(float64(m.K))
		f.l.add(float64(m.L))
		f.seen.add(seen / float64(m.B))
		f.first.add(first / float64(m.B))
		f.relaxed += m.Relaxed
	}
	return f
}

// The statistics over the reference's 300 batches and over ours are two
// estimates of one figure: they may differ by their sampling errors, of which 4
// standard deviations are allowed. The reference's deviation is taken from ours
// where masks.json gives none.
func TestStatisticsAreTheReferences(t *testing.T) {
	const batches, sigmas = 2000, 4
	for _, want := range readMasks(t).Statistics {
		t.Run(fmt.Sprint(want.Grid, want.Complement), func(t *testing.T) {
			s, err := maskgen.New(maskgen.Nidl(want.Grid...))
			if want.Complement == "disjoint" {
				s, err = maskgen.NewNidlMended(maskgen.Nidl(want.Grid...))
			}
			require.NoError(t, err)
			got := measure(t, s, product(want.Grid), want.Batch, batches)
			near := func(name string, got, gotStd, want, wantStd, of float64) {
				bound := sigmas * math.Sqrt(gotStd*gotStd/batches+wantStd*wantStd/of)
				assert.InDeltaf(t, want, got, bound+1e-12, "%s", name)
				t.Logf("%-14s %8.4f, reference %8.4f, allowed ± %.4f", name, got, want, bound)
			}
			near("K mean", got.k.mean(), got.k.std(), want.KMean, want.KStd, want.Batches)
			near("K deviation", got.k.std(), got.k.stdSpread(), want.KStd, got.k.stdSpread(), want.Batches)
			near("L mean", got.l.mean(), got.l.std(), want.LMean, want.LStd, want.Batches)
			near("L deviation", got.l.std(), got.l.stdSpread(), want.LStd, got.l.stdSpread(), want.Batches)
			near("targets seen", got.seen.mean(), got.seen.std(), want.Seen, got.seen.std(), want.Batches)
			share, std := got.firstHalf()
			near("first half", share, std, want.FirstHalf, std, want.Batches)
		})
	}
}

// The default's contexts are disjoint from their targets, as long as those of
// the reference with its complement mended, and favour no half of the image.
func TestDefaultFavoursNoHalf(t *testing.T) {
	const batches, sigmas = 2000, 4
	for _, grid := range [][]int{{14, 14}, {8, 8, 8}, {4, 4, 4}} {
		s, err := maskgen.New(maskgen.Default(grid...))
		require.NoError(t, err)
		mended, err := maskgen.NewNidlMended(maskgen.Nidl(grid...))
		require.NoError(t, err)
		f, reference := measure(t, s, product(grid), 8, batches), measure(t, mended, product(grid), 8, batches)
		assert.Equal(t, reference.k, f.k)
		assert.Equal(t, reference.l, f.l)
		share, std := f.firstHalf()
		bound := sigmas * std / math.Sqrt(batches)
		assert.InDeltaf(t, 0.5, share, bound, "grid %v", grid)
		if f.relaxed == 0 {
			assert.Zerof(t, f.seen.mean(), "grid %v", grid)
		}
		t.Logf("grid %v: %.4f in the first half, allowed ± %.4f; %d of %d samples relaxed", grid, share, bound, f.relaxed, 8*batches)
	}
}

func product(sides []int) int {
	n := 1
	for _, side := range sides {
		n *= side
	}
	return n
}

// The masks that the paper's code drew are ones that the preset can draw:
// targets are boxes of a reachable size, no block reaches the last row or
// column, contexts are free of targets and hold the lowest of their indices.
func TestPaperGoldenMasksAreReachable(t *testing.T) {
	st, err := safetensors.Deserialize(golden(t, "paper2d.safetensors"))
	require.NoError(t, err)
	const side, samples, steps = 12, 2, 6
	s, err := maskgen.New(maskgen.Paper(side, side))
	require.NoError(t, err)
	reachable := make(map[[3]int]bool)
	for k := range 1 << 12 {
		reachable[s.BlockSize(float64(k)/(1<<12), [3]int{}, [2]float64{0.15, 0.2}, [2]float64{0.75, 1.5})] = true
	}
	for step := range steps {
		context := indices(t, st, fmt.Sprintf("context/%d", step))
		target := indices(t, st, fmt.Sprintf("target/%d", step))
		k, l := len(context)/samples, len(target)/samples/4
		assert.Greater(t, k, 10)
		assert.LessOrEqual(t, k, s.MaxContext())
		for b := range samples {
			targets := make(map[int]bool)
			for i := range 4 {
				box := target[(i*samples+b)*l:][:l]
				first, last := box[0], box[l-1]
				size := [3]int{last/side - first/side + 1, last%side - first%side + 1, 1}
				assert.Truef(t, reachable[size], "step %d: target block %v", step, size)
				assert.Equal(t, l, size[0]*size[1])
				for _, p := range box {
					targets[p] = true
				}
				assert.Less(t, last/side, side-1)
				assert.Less(t, last%side, side-1)
			}
			for n, p := range context[b*k:][:k] {
				assert.False(t, targets[p])
				assert.Less(t, p/side, side-1)
				assert.Less(t, p%side, side-1)
				if n > 0 {
					assert.Less(t, context[b*k+n-1], p)
				}
			}
		}
	}
}

func indices(t *testing.T, st safetensors.SafeTensors, name string) []int {
	t.Helper()
	v, ok := st.Tensor(name)
	require.Truef(t, ok, "no tensor %s", name)
	data := v.Data()
	out := make([]int, len(data)/4)
	for i := range out {
		out[i] = int(int32(binary.LittleEndian.Uint32(data[4*i:])))
	}
	return out
}
