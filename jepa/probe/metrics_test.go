package probe

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// confusion counts pred against y.
func confusion(y, pred []int, classes int) Confusion {
	c := emptyConfusion(classes)
	for i := range y {
		c[y[i]][pred[i]]++
	}
	return c
}

func TestConfusionMetrics(t *testing.T) {
	y := []int{0, 0, 0, 0, 1, 1, 2, 2}
	pred := []int{0, 0, 0, 1, 1, 0, 2, 1}
	c := confusion(y, pred, 4)
	require.Equal(t, Confusion{{3, 1, 0, 0}, {1, 1, 0, 0}, {0, 1, 1, 0}, {0, 0, 0, 0}}, c)
	require.InDelta(t, 5./8, c.Accuracy(), 1e-15)
	require.InDelta(t, (3./4+1./2+1./2)/3, c.BalancedAccuracy(), 1e-15)
	dice := c.Dice()
	require.InDeltaSlice(t, []float64{6. / 8, 2. / 5, 2. / 3}, dice[:3], 1e-15)
	require.True(t, math.IsNaN(dice[3]), "a class that is nowhere has no Dice")
	require.Equal(t, dice[1], DiceOf(1)(c))
	require.Equal(t, 0.0, confusion([]int{0}, []int{1}, 2).Dice()[1], "predicted but never true")
	require.True(t, math.IsNaN(emptyConfusion(2).Accuracy()))
	require.True(t, math.IsNaN(emptyConfusion(2).BalancedAccuracy()))
}

// Against the definition: the share of pairs in the right order.
func TestAreaCountsPairs(t *testing.T) {
	g := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		n := 2 + g.IntN(40)
		positive, score := make([]bool, n), make([]float64, n)
		for i := range n {
			positive[i], score[i] = g.IntN(3) == 0, float64(g.IntN(6)) // many ties
		}
		positive[0], positive[1] = true, false
		right, pairs := 0.0, 0.0
		for i := range n {
			for j := range n {
				if positive[i] && !positive[j] {
					pairs++
					if score[i] > score[j] {
						right++
					} else if score[i] == score[j] {
						right += 0.5
					}
				}
			}
		}
		require.InDelta(t, right/pairs, Area(positive, score), 1e-12)
	}
	require.True(t, math.IsNaN(Area([]bool{true, true}, []float64{1, 2})))
	require.True(t, math.IsNaN(Area(nil, nil)))
	require.True(t, math.IsNaN(Area([]bool{true, false}, []float64{1, math.NaN()})))
}

func TestR2AndLogLoss(t *testing.T) {
	y := []float64{1, 2, 3, 4}
	require.Equal(t, 1.0, R2(y, y))
	require.Equal(t, 0.0, R2(y, []float64{2.5, 2.5, 2.5, 2.5}))
	require.InDelta(t, 1-4/5., R2(y, []float64{2, 3, 4, 5}), 1e-15)
	require.True(t, math.IsNaN(R2([]float64{2, 2}, []float64{2, 1})))
	require.InDelta(t, -(math.Log(0.9)+math.Log(0.2))/2, LogLoss([]int{3, 5}, []float64{0.9, 0.1, 0.8, 0.2}, []int{3, 5}), 1e-15)
	require.Greater(t, LogLoss([]int{4}, []float64{0.9, 0.1}, []int{3, 5}), 700.0)
	require.False(t, math.IsInf(LogLoss([]int{4}, []float64{0.9, 0.1}, []int{3, 5}), 1))
}

func TestBootstrapInterval(t *testing.T) {
	// 400 independent samples, of which 80 % are right: ± 1.96·√(0.8·0.2/400) = 0.0392.
	y, pred := make([]int, 400), make([]int, 400)
	for i := range pred {
		if i%5 == 0 {
			pred[i] = 1
		}
	}
	accuracy := OnSamples(y, pred, 2, Confusion.Accuracy)
	i := Bootstrap(400, y, 2000, 1, accuracy)
	require.Equal(t, 0.8, i.Value)
	require.InDelta(t, 0.8-0.0392, i.Low, 0.006)
	require.InDelta(t, 0.8+0.0392, i.High, 0.006)
	require.Equal(t, i, Bootstrap(400, nil, 2000, 1, accuracy))
	first := func(rows []int) float64 { return float64(rows[0]*400 + rows[1]) }
	require.NotEqual(t, Bootstrap(400, y, 100, 1, first), Bootstrap(400, y, 100, 2, first), "another seed, other resamples")
}

func TestBootstrapKeepsStrata(t *testing.T) {
	strata := []int{5, 5, 5, 1, 1, 9}
	Bootstrap(6, strata, 200, 1, func(rows []int) float64 {
		count := map[int]int{}
		for _, i := range rows {
			count[strata[i]]++
		}
		if count[5] != 3 || count[1] != 2 || count[9] != 1 {
			t.Errorf("resample has %v", count)
		}
		return 0
	})
}

func TestBootstrapLeavesOutUndefined(t *testing.T) {
	i := Bootstrap(3, nil, 100, 1, func(rows []int) float64 {
		if rows[0] == 0 {
			return math.NaN()
		}
		return 2
	})
	require.True(t, math.IsNaN(i.Value))
	require.Equal(t, 2.0, i.Low)
	i = Bootstrap(3, nil, 100, 1, func([]int) float64 { return math.NaN() })
	require.True(t, math.IsNaN(i.Low) && math.IsNaN(i.High))
}

// Pairing takes away what both share: a small but steady advantage shows although
// the intervals of the two overlap.
func TestDifference(t *testing.T) {
	g := rand.New(rand.NewPCG(3, 4))
	n := 300
	y, trained, untrained := make([]int, n), make([]int, n), make([]int, n)
	for i := range n {
		y[i] = i % 2
		trained[i] = y[i]
		if g.Float64() < 0.3 {
			trained[i] = 1 - y[i]
		}
		untrained[i] = trained[i]
		if trained[i] == y[i] && g.Float64() < 0.05 {
			untrained[i] = 1 - y[i]
		}
	}
	a, b := OnSamples(y, trained, 2, Confusion.Accuracy), OnSamples(y, untrained, 2, Confusion.Accuracy)
	require.Less(t, Bootstrap(n, y, 1000, 1, a).Low, Bootstrap(n, y, 1000, 1, b).High, "they overlap")
	d := Difference(n, y, 1000, 1, a, b)
	require.Greater(t, d.Low, 0.0)
	require.InDelta(t, a(all(n))-b(all(n)), d.Value, 1e-15)
	d = Difference(n, y, 1000, 1, b, a)
	require.Less(t, d.High, 0.0)
	d = Difference(n, y, 1000, 1, a, a)
	require.Equal(t, Interval{}, d)
}

// Patches of one volume share its difficulty, so volumes are what varies.
func TestVolumesAreTheUnits(t *testing.T) {
	g := rand.New(rand.NewPCG(5, 6))
	var y, pred, group []int
	for v := range 20 {
		skill := g.Float64()
		for range 200 {
			c := g.IntN(2)
			y, group = append(y, c), append(group, 100-v)
			if g.Float64() > skill {
				c = 1 - c
			}
			pred = append(pred, c)
		}
	}
	volumes := ByGroup(y, pred, group, 2)
	require.Len(t, volumes, 20)
	require.Equal(t, confusion(y[19*200:], pred[19*200:], 2), volumes[0], "groups ascending")
	byVolume := Bootstrap(20, nil, 500, 1, OnVolumes(volumes, DiceOf(1)))
	byPatch := Bootstrap(len(y), nil, 500, 1, OnSamples(y, pred, 2, DiceOf(1)))
	require.InDelta(t, byPatch.Value, byVolume.Value, 1e-15)
	require.Greater(t, byVolume.High-byVolume.Low, 4*(byPatch.High-byPatch.Low))
}

func TestAUCAsStatistic(t *testing.T) {
	y := []int{7, 7, 9, 9}
	proba := []float64{0.9, 0.1, 0.4, 0.6, 0.5, 0.5, 0.2, 0.8}
	s := AUC(y, proba, []int{7, 9})
	require.Equal(t, 0.75, s(all(4)))
	require.Equal(t, 1.0, s([]int{0, 0, 2, 3}))
	require.True(t, math.IsNaN(s([]int{0, 1})))
	three := AUC([]int{0, 1, 1, 0}, []float64{.8, .1, .1, .1, .8, .1, .1, .2, .7, .7, .3, 0}, []int{0, 1, 2})
	require.InDelta(t, (1+0.75)/2, three(all(4)), 1e-15, "a class that does not occur is left out")
}

func TestQuantile(t *testing.T) {
	v := []float64{1, 2, 4, 8}
	require.Equal(t, 1.0, quantile(v, 0))
	require.Equal(t, 8.0, quantile(v, 1))
	require.InDelta(t, 3, quantile(v, 0.5), 1e-15)
	require.InDelta(t, 1.3, quantile(v, 0.1), 1e-15)
	require.Equal(t, 5.0, quantile([]float64{5}, 0.975))
}

func TestPatchLabels(t *testing.T) {
	g := rand.New(rand.NewPCG(7, 8))
	size, patch := []int{6, 4, 10}, []int{3, 2, 5}
	labels := make([]uint8, 6*4*10)
	for i := range labels {
		labels[i] = uint8(g.IntN(3))
	}
	got, err := PatchLabels(labels, size, patch, 3)
	require.NoError(t, err)
	require.Len(t, got, 8)
	for p := range got {
		ph, pw, pd := p/4, p/2%2, p%2
		var n [3]int
		for h := range 3 {
			for w := range 2 {
				for d := range 5 {
					n[labels[((ph*3+h)*4+pw*2+w)*10+pd*5+d]]++
				}
			}
		}
		want := 0
		for c := range n {
			if n[c] > n[want] {
				want = c
			}
		}
		require.Equal(t, want, got[p], "patch %d has %v", p, n)
	}

	two, err := PatchLabels([]int{0, 1, 1, 1, 2, 2, 0, 0}, []int{2, 4}, []int{2, 2}, 3)
	require.NoError(t, err)
	require.Equal(t, []int{2, 0}, two, "of [0 1 2 2] and, on a tie, of [1 1 0 0]")

	_, err = PatchLabels(labels, size, []int{4, 2, 5}, 3)
	require.ErrorContains(t, err, "do not tile")
	_, err = PatchLabels(labels, size, []int{0, 2, 5}, 3)
	require.ErrorContains(t, err, "do not tile")
	labels[11] = 3
	_, err = PatchLabels(labels, size, patch, 3)
	require.ErrorContains(t, err, "voxel [0 1 1] has label 3; labels go from 0 to 2")
	_, err = PatchLabels([]int16{-1}, []int{1}, []int{1}, 3)
	require.ErrorContains(t, err, "label -1")
}

func TestKNNTiesAndZeros(t *testing.T) {
	train := Matrix{4, 2, []float32{0, 1, 1, 0, 0, 0, -1, 0}}
	y := []int{3, 1, 2, 0}
	pred, err := KNN(train, y, Matrix{1, 2, []float32{2, 2}}, 2, Euclidean)
	require.NoError(t, err)
	require.Equal(t, []int{1}, pred, "one vote each: the smallest label")
	pred, err = KNN(train, y, Matrix{2, 2, []float32{0, 5, 0, 0}}, 1, Cosine)
	require.NoError(t, err)
	require.Equal(t, []int{3, 3}, pred, "a zero vector is equally far from all: the first")
}

func TestRankMe(t *testing.T) {
	identity := Matrix{5, 5, make([]float32, 25)}
	line := Matrix{50, 4, make([]float32, 200)}
	for i := range 5 {
		identity.Row(i)[i] = 2
	}
	for i := range line.Data {
		line.Data[i] = float32(i/4) * float32(i%4)
	}
	for _, c := range []struct {
		x    Matrix
		want float64
	}{{identity, 5}, {line, 1}, {Matrix{3, 4, make([]float32, 12)}, 1}} {
		got, err := RankMe(c.x)
		require.NoError(t, err)
		require.InDelta(t, c.want, got, 1e-4)
	}
}
