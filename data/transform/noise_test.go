package transform

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPhilox: the known answers of Random123, the authors' library.
func TestPhilox(t *testing.T) {
	assert.Equal(t, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}, philox([4]uint32{}, [2]uint32{}))
	ones := uint32(math.MaxUint32)
	assert.Equal(t, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}, philox([4]uint32{ones, ones, ones, ones}, [2]uint32{ones, ones}))
	assert.Equal(t, [4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
		philox([4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0}))
}

// TestBoxMuller holds the series to the functions that they stand for, at the ends of every
// range too.
func TestBoxMuller(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	words := []uint32{0, 1, 255, 256, 1 << 30, 1<<30 - 1, 1 << 31, 3 << 30, 0x7fffffff, 0xb504f300, 0xb504f400, math.MaxUint32}
	for range 2000 {
		words = append(words, r.Uint32())
	}
	worst := 0.0
	for i, a := range words {
		for _, b := range []uint32{words[len(words)-1-i], words[i%12]} {
			u := float64(a>>8+1) / (1 << 24)
			turn := (float64(b>>30) + (float64(b<<2>>9)+0.5)/(1<<23) - 0.5) * math.Pi / 2
			x, y := boxMuller(a, b)
			radius := math.Sqrt(-2 * math.Log(u))
			worst = max(worst, math.Hypot(x-radius*math.Cos(turn), y-radius*math.Sin(turn))/max(radius, 1e-30))
		}
	}
	assert.Less(t, worst, 3e-8)
	x, y := boxMuller(math.MaxUint32, 0)
	assert.Zero(t, math.Hypot(x, y))
	x, y = boxMuller(0, 0)
	assert.InDelta(t, 5.77, math.Hypot(x, y), 0.01)
}

// TestNoiseIsNormal: moments, tails, neighbours, seeds and samples as independent standard
// normal numbers have them, within five deviations of each figure.
func TestNoiseIsNormal(t *testing.T) {
	const N = 1 << 20
	x, y := make([]float32, N), make([]float32, N)
	addNoise(x, 0, 42, 1)
	addNoise(y, 0, 43, 1)
	var m [5]float64
	var beyond [4]int
	lag, cross := 0.0, 0.0
	for i, v := range x {
		p := 1.0
		for k := range m {
			m[k] += p / N
			p *= float64(v)
		}
		for k := range beyond {
			if math.Abs(float64(v)) > float64(k+1) {
				beyond[k]++
			}
		}
		lag += float64(v) * float64(x[(i+1)%N]) / N
		cross += float64(v) * float64(y[i]) / N
	}
	sd := 1 / math.Sqrt(N)
	assert.InDelta(t, 0, m[1], 5*sd)
	assert.InDelta(t, 1, m[2], 5*sd*math.Sqrt(2))
	assert.InDelta(t, 0, m[3], 5*sd*math.Sqrt(15))
	assert.InDelta(t, 3, m[4], 5*sd*math.Sqrt(96))
	assert.InDelta(t, 0, lag, 5*sd)
	assert.InDelta(t, 0, cross, 5*sd)
	for k, n := range beyond {
		p := math.Erfc(float64(k+1) / math.Sqrt2)
		assert.InDelta(t, p*N, n, 5*math.Sqrt(N*p*(1-p)))
	}
	assert.Equal(t, N, len(slices.Compact(slices.Sorted(slices.Values(seedBlocks(N))))), "counters do not meet")
}

// seedBlocks are the first words of n counters.
func seedBlocks(n int) []uint64 {
	list := make([]uint64, n)
	for i := range list {
		w := philox([4]uint32{uint32(i)}, [2]uint32{42})
		list[i] = uint64(w[0])<<32 | uint64(w[1])
	}
	return list
}

// TestNoiseByParts: any part of a sample gets what it gets in the whole.
func TestNoiseByParts(t *testing.T) {
	whole := make([]float32, 1001)
	addNoise(whole, 0, 7<<33, 0.5)
	for _, cut := range []int{1, 2, 3, 4, 500, 1000} {
		parts := make([]float32, 1001)
		addNoise(parts[:cut], 0, 7<<33, 0.5)
		addNoise(parts[cut:], cut, 7<<33, 0.5)
		require.Equal(t, whole, parts, cut)
	}
	other := make([]float32, 1001)
	addNoise(other, 0, 7<<33+1<<32, 0.5)
	require.NotEqual(t, whole, other, "both words of the seed count")
}

func BenchmarkNoise64(b *testing.B) {
	x := make([]float32, 64*64*64)
	for b.Loop() {
		addNoise(x, 0, 1, 0.1)
	}
}
