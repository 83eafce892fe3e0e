package transform

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestGoldenBlur holds the blur to scipy's. Each of the three passes rounds to float32.
func TestGoldenBlur(t *testing.T) {
	g := golden(t)
	x := float32s(g["v1"])
	Blur(x, 1, []int{9, 10, 11}, []float64{1.2, 0.7, 0.4})
	near(t, "blur_1.2_0.7_0.4_v1", g["blur_1.2_0.7_0.4_v1"], x, 3e-7)
}

// TestBlur: axes and channels stay apart, a constant stays, a deviation longer than the
// image mirrors it again and again.
func TestBlur(t *testing.T) {
	x := []float32{5, 5, 5, 5, 0, 0, 8, 0} // 2 channels of 2×2
	Blur(x, 2, []int{2, 2}, []float64{0, 0.5})
	assert.InDeltaSlice(t, []float32{5, 5, 5, 5}, x[:4], 1e-6)
	assert.Equal(t, []float32{0, 0}, x[4:6], "rows stay apart")
	assert.InDelta(t, 8, x[6]+x[7], 1e-5)
	assert.Greater(t, x[6], x[7])
	y := []float32{1, 0, 0}
	Blur(y, 1, []int{1, 3}, []float64{20, 20})
	assert.InDeltaSlice(t, []float32{1. / 3, 1. / 3, 1. / 3}, y, 1e-3)
	for i, want := range map[int]int{-1: 0, -3: 2, -4: 2, 0: 0, 2: 2, 3: 2, 5: 0, 6: 0, -7: 0} {
		assert.Equal(t, want, mirror(i, 3), i)
	}
	assert.Panics(t, func() { Blur(y, 1, []int{1, 3}, []float64{1}) })
}

// rotations lists what a draw chooses from.
func rotations(size []int) []Orientation {
	var list []Orientation
	for {
		o, _ := rotation(size, len(list))
		if o == (Orientation{}) {
			return list
		}
		list = append(list, o)
	}
}

// TestRotations: as many as geometry says, each keeps handedness: the group of the cube,
// of the square, and half turns of a brick.
func TestRotations(t *testing.T) {
	for _, c := range []struct {
		size []int
		n    int
	}{{[]int{4, 4, 4}, 23}, {[]int{4, 4, 6}, 7}, {[]int{3, 4, 5}, 3}, {[]int{6, 4, 6}, 7}, {[]int{5, 5}, 3}, {[]int{5, 4}, 1}, {[]int{1, 1}, 3}} {
		list := rotations(c.size)
		_, n := rotation(c.size, -1)
		assert.Equal(t, c.n, n)
		assert.Len(t, list, c.n, "%v", c.size)
		for _, o := range list {
			m := [3][3]float64{}
			for i, a := range o.Axes {
				m[i][a] = 1
				if o.Flip[i] {
					m[i][a] = -1
				}
			}
			det := m[0][0]*(m[1][1]*m[2][2]-m[1][2]*m[2][1]) - m[0][1]*(m[1][0]*m[2][2]-m[1][2]*m[2][0]) + m[0][2]*(m[1][0]*m[2][1]-m[1][1]*m[2][0])
			assert.Equal(t, 1.0, det, "%v mirrors", o)
		}
	}
}

// TestTurn: a quarter turn of a picture, known by hand; four of them change nothing; labels
// follow; channels stay apart.
func TestTurn(t *testing.T) {
	quarter := Orientation{Axes: [3]int{0, 2, 1}, Flip: [3]bool{false, true, false}}
	require.Contains(t, rotations([]int{2, 2}), quarter)
	g := Geometry{Box: Whole([]int{2, 2}), Turn: quarter}
	x := []float32{1, 2, 3, 4, 5, 6, 7, 8}
	y := make([]float32, 8)
	g.Apply(y, x, 2, []int{2, 2})
	assert.Equal(t, []float32{2, 4, 1, 3, 6, 8, 5, 7}, y)
	l := make([]uint8, 4)
	g.ApplyLabels(l, []uint8{1, 2, 3, 4}, []int{2, 2})
	assert.Equal(t, []uint8{2, 4, 1, 3}, l)
	for range 3 {
		g.Apply(y, slices.Clone(y), 2, []int{2, 2})
	}
	assert.Equal(t, x, y)
}

// TestDrawAll: every part of a draw happens as often as it should, within its range, and
// depends on (seed, step, sample) only; what is off draws nothing.
func TestDrawAll(t *testing.T) {
	a := Augment{Rotate: 0.25, Blur: [2]float64{0.2, 0.6}, Noise: [2]float64{0.1, 0.3}, Erase: [2]float64{0.05, 0.2}, Chance: 0.5}
	size := []int{12, 12, 12}
	var turned, blurred, noisy, erased int
	seeds := map[uint64]bool{}
	const N = 4000
	for i := range uint64(N) {
		r := Rand(1, 2, i)
		g := a.Draw(r, size)
		n := a.DrawIntensity(r, size)
		r2 := Rand(1, 2, i)
		require.Equal(t, g, a.Draw(r2, size))
		require.Equal(t, n, a.DrawIntensity(r2, size))
		if g.Turn != (Orientation{}) {
			turned++
		}
		if n.Blur > 0 {
			blurred++
			assert.True(t, 0.2 <= n.Blur && n.Blur <= 0.6)
		}
		if n.Noise > 0 {
			noisy++
			seeds[n.Seed] = true
			assert.True(t, 0.1 <= n.Noise && n.Noise <= 0.3)
		}
		if n.Box != (Box{}) {
			erased++
			share := float64(n.Box.Size[0]*n.Box.Size[1]*n.Box.Size[2]) / 1728
			assert.True(t, 0.03 < share && share < 0.26, "%v", n.Box)
		}
	}
	// Binomial counts: five deviations.
	for got, p := range map[*int]float64{&turned: 0.25, &blurred: 0.5, &noisy: 0.5, &erased: 0.5} {
		assert.InDelta(t, p*N, *got, 5*math.Sqrt(N*p*(1-p)))
	}
	assert.Len(t, seeds, noisy)
	assert.Equal(t, Intensity{}, Augment{Chance: 1}.DrawIntensity(Rand(1, 1, 1), size))
}

// TestIntensity: noise has the deviation it is told, in the channel's; erasing changes the
// box and nothing else.
func TestIntensity(t *testing.T) {
	size := []int{20, 20, 20}
	x := make([]float32, 2*8000)
	for i := range x[:8000] {
		x[i], x[8000+i] = float32(i%2), 100*float32(i%2)
	}
	y := slices.Clone(x)
	Intensity{Noise: 0.3, Seed: 5}.Apply(y, 2, size)
	for c, std := range []float64{0.5, 50} {
		d := make([]float32, 8000)
		for i := range d {
			d[i] = y[c*8000+i] - x[c*8000+i]
		}
		m, s := moments(d, nil)
		assert.InDelta(t, 0, m, 5*0.3*std/math.Sqrt(8000))
		assert.InDelta(t, 0.3*std, s, 5*0.3*std/math.Sqrt(16000))
	}
	again := slices.Clone(x)
	Intensity{Noise: 0.3, Seed: 5}.Apply(again, 2, size)
	assert.Equal(t, y, again)
	b := Box{At: [3]int{1, 2, 3}, Size: [3]int{4, 5, 6}}
	y = slices.Clone(x)
	Intensity{Box: b}.Erase(y, 2, size)
	changed := 0
	for i := range y {
		v := i % 8000
		p := [3]int{v / 400, v / 20 % 20, v % 20}
		inside := true
		for a := range 3 {
			inside = inside && b.At[a] <= p[a] && p[a] < b.At[a]+b.Size[a]
		}
		if inside {
			assert.InDelta(t, []float32{0.5, 50}[i/8000], y[i], 1e-3)
			changed++
		} else {
			require.Equal(t, x[i], y[i])
		}
	}
	assert.Equal(t, 2*120, changed)
}

func BenchmarkBlur64(b *testing.B) {
	x := make([]float32, 64*64*64)
	for i := range x {
		x[i] = float32(i % 251)
	}
	for b.Loop() {
		Blur(x, 1, []int{64, 64, 64}, []float64{1, 1, 1})
	}
}

// TestDrawDoesNotAllocate: a step that makes its batch on a device draws only.
func TestDrawDoesNotAllocate(t *testing.T) {
	a := Augment{Scale: [2]float64{0.4, 1}, Flip: []float64{0.5, 0.5, 0.5}, Rotate: 1, Blur: [2]float64{0.2, 1}, Noise: [2]float64{0.1, 0.3}, Erase: [2]float64{0.05, 0.2}, Chance: 1}
	size := []int{12, 12, 12}
	source := rand.NewPCG(0, 0)
	r := rand.New(source)
	var table Tables
	var weights []float64
	sample := uint64(0)
	draw := func() {
		Reseed(source, 1, 2, sample%16)
		sample++
		g := a.Draw(r, size)
		g.Tables(&table, size)
		weights = Gaussian(weights[:0], a.DrawIntensity(r, size).Blur)
	}
	for range 16 {
		draw()
	}
	assert.Zero(t, testing.AllocsPerRun(100, draw))
}
