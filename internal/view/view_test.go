package view

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/jepa"
	"wgjepa/jepa/probe"
	"wgjepa/maskgen"
)

// TestDrawMasks: they are the sampler's, sample by sample.
func TestDrawMasks(t *testing.T) {
	c, err := jepa.Default("default")
	require.NoError(t, err)
	c.Encoder.ImgSize, c.Encoder.PatchSize, c.Encoder.EmbedDim, c.Encoder.Depth, c.Encoder.NumHeads = []int{32, 32}, []int{4}, 32, 1, 2
	c.BatchSize, c.Seed = 3, 5
	require.NoError(t, c.Validate())
	list, err := DrawMasks(&c, 7)
	require.NoError(t, err)
	require.Len(t, list, 3)
	sampler, err := maskgen.New(c.Masks())
	require.NoError(t, err)
	var m maskgen.Masks
	require.NoError(t, sampler.Sample(&m, 5, 7, 3))
	for b, s := range list {
		require.Equal(t, m.Context[b*m.K:(b+1)*m.K], s.Context)
		require.Len(t, s.Targets, 4)
		for i, target := range s.Targets {
			require.Equal(t, m.Target[(i*3+b)*m.L:(i*3+b+1)*m.L], target)
		}
		for _, p := range s.Context {
			for _, target := range s.Targets {
				require.NotContains(t, target, p)
			}
		}
	}
}

func TestBytes(t *testing.T) {
	x := make([]float32, 100_000)
	for i := range x {
		x[i] = float32(i)
	}
	b, low, high := Bytes(x)
	require.InDelta(t, 500, low, 3)
	require.InDelta(t, 99_500, high, 3)
	require.Equal(t, []byte{0, 0, 128, 255, 255}, []byte{b[0], b[400], b[50_000], b[99_600], b[99_999]})
	x = make([]float32, 1000)
	x[5] = 2
	b, low, high = Bytes(x)
	require.Equal(t, []any{float32(0), float32(2), uint8(0), uint8(255)}, []any{low, high, b[4], b[5]})
	b, _, _ = Bytes(x[6:])
	require.Equal(t, make([]byte, 994), b)
}

// cloud has three directions of variance 16, 4 and 1 in five dimensions.
func cloud(n int, axes [3]int) probe.Matrix {
	r := rand.New(rand.NewPCG(1, 2))
	x := probe.Matrix{Rows: n, Cols: 5, Data: make([]float32, 5*n)}
	for i := range n {
		for j, scale := range []float64{4, 2, 1} {
			x.Row(i)[axes[j]] = float32(scale * r.NormFloat64())
		}
	}
	return x
}

func TestColors(t *testing.T) {
	x := cloud(10_000, [3]int{3, 0, 4})
	c, err := NewColors(x)
	require.NoError(t, err)
	// The extremes of one axis are the extremes of one colour, the others in the middle.
	ends := probe.Matrix{Rows: 2, Cols: 5, Data: make([]float32, 10)}
	ends.Row(0)[3], ends.Row(1)[3] = 20, -20
	got := c.Of(ends)
	require.EqualValues(t, []uint8{255, 0}, []uint8{got[0][0], got[1][0]})
	require.InDelta(t, 127, got[0][1], 12)
	require.InDelta(t, 127, got[0][2], 12)
}

// TestFollow: where components trade places and signs, colours stay.
func TestFollow(t *testing.T) {
	x := cloud(2000, [3]int{0, 1, 2})
	before, err := NewColors(x)
	require.NoError(t, err)
	y := probe.Matrix{Rows: x.Rows, Cols: 5, Data: make([]float32, len(x.Data))}
	for i := range x.Rows {
		y.Row(i)[0], y.Row(i)[1], y.Row(i)[2] = x.Row(i)[0], -3*x.Row(i)[1], x.Row(i)[2]
	}
	after, err := NewColors(y)
	require.NoError(t, err)
	apart := func() int {
		worst := 0
		a, b := before.Of(x), after.Of(y)
		for i := range a {
			for j := range 3 {
				worst = max(worst, int(a[i][j])-int(b[i][j]), int(b[i][j])-int(a[i][j]))
			}
		}
		return worst
	}
	require.Greater(t, apart(), 200)
	after.Follow(before)
	require.LessOrEqual(t, apart(), 20) // the axes of a sample are not exactly those of its distribution
}

func TestNearest(t *testing.T) {
	x := probe.Matrix{Rows: 5, Cols: 2, Data: []float32{1, 0, 0, 0, 3, 3, -2, 0, 0.5, 0}}
	require.Equal(t, []Neighbour{{4, 1}, {2, math.Sqrt(0.5)}}, round(Nearest(x, 0, 2)))
	require.Equal(t, []Neighbour{{4, 1}, {2, math.Sqrt(0.5)}, {1, 0}, {3, -1}}, round(Nearest(x, 0, 9)))
	require.Equal(t, []Neighbour{{0, 0}, {2, 0}}, Nearest(x, 1, 2), "nothing is near to nothing")
	require.Empty(t, Nearest(probe.Matrix{Rows: 1, Cols: 2, Data: []float32{1, 2}}, 0, 3))
}

func round(list []Neighbour) []Neighbour {
	for i := range list {
		if math.Abs(list[i].Cosine-math.Sqrt(0.5)) < 1e-12 {
			list[i].Cosine = math.Sqrt(0.5)
		}
	}
	return list
}
