package probe

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// objective is C·Σ losses + ½‖w‖² and its gradient, written out without regard to speed.
func objective(x Matrix, y []int, c *Classifier) (value float64, dw, db []float64) {
	k, d := len(c.Intercept), x.Cols
	dw, db = make([]float64, k*d), make([]float64, k)
	for i := range x.Rows {
		z, o := make([]float64, d), make([]float64, len(c.Classes))
		for j, v := range x.Row(i) {
			z[j] = (float64(v) - c.Scale.Mean[j]) / c.Scale.Std[j]
		}
		for a := range k {
			at := a
			if k == 1 {
				at = 1 // the logit of the first class is 0
			}
			o[at] = c.Intercept[a]
			for j := range z {
				o[at] += c.Coef[a*d+j] * z[j]
			}
		}
		sum := 0.0
		for _, v := range o {
			sum += math.Exp(v)
		}
		for a, v := range o {
			p := math.Exp(v) / sum
			r := c.C * p
			if y[i] == c.Classes[a] {
				r -= c.C
				value -= c.C * math.Log(p)
			}
			if k == 1 {
				a--
			}
			if a >= 0 {
				db[a] += r
				for j := range z {
					dw[a*d+j] += r * z[j]
				}
			}
		}
	}
	for i, w := range c.Coef {
		value += w * w / 2
		dw[i] += w
	}
	return value, dw, db
}

func maxAbs(v ...[]float64) float64 {
	m := 0.0
	for _, s := range v {
		for _, x := range s {
			m = max(m, math.Abs(x))
		}
	}
	return m
}

// The gradient of the objective vanishes at the fit, and nowhere near it.
func TestFitIsTheMinimum(t *testing.T) {
	for _, classes := range []int{2, 3, 7} {
		for _, strength := range []float64{1e-3, 1, 1e3} {
			x, y := blobs(500, 12, classes, 1, uint64(classes))
			c, err := Logistic(x, y, strength)
			require.NoError(t, err)
			value, dw, db := objective(x, y, c)
			// The decrement bounds the gradient by the root of the largest curvature,
			// at most a quarter of the squared length of (z, 1), plus the penalty.
			nc := strength * float64(x.Rows)
			bound := nc * done * math.Sqrt(float64(x.Cols+1)/4+1/nc)
			require.Less(t, maxAbs(dw, db), bound, "%d classes, C %g, %d iterations", classes, strength, c.Iterations)
			c.Coef[3] += 0.01
			above, dw, _ := objective(x, y, c)
			require.Greater(t, above, value)
			require.Greater(t, maxAbs(dw), 100*bound)
		}
	}
}

func TestLossGradient(t *testing.T) {
	for _, classes := range []int{2, 4} {
		x, y := blobs(300, 5, classes, 1, 9)
		f, err := newFit(x, y)
		require.NoError(t, err)
		g, theta := make([]float64, len(f.theta)), make([]float64, len(f.theta))
		random := rand.New(rand.NewPCG(1, 1))
		for i := range theta {
			theta[i] = random.NormFloat64()
		}
		f.loss(theta, g)
		for i := range theta {
			const h = 1e-5
			ignore, keep := make([]float64, len(g)), theta[i]
			theta[i] = keep + h
			up := f.loss(theta, ignore)
			theta[i] = keep - h
			down := f.loss(theta, ignore)
			theta[i] = keep
			require.InDelta(t, (up-down)/(2*h), g[i], 1e-9)
		}
	}
}

func TestHardFits(t *testing.T) {
	t.Run("separable, almost no penalty", func(t *testing.T) {
		x, y := blobs(400, 8, 3, 50, 3)
		c, err := Logistic(x, y, 1e6)
		require.NoError(t, err)
		require.Equal(t, y, c.Predict(x))
	})
	t.Run("more features than samples", func(t *testing.T) {
		x, y := blobs(30, 300, 2, 1, 3)
		c, err := Logistic(x, y, 10)
		require.NoError(t, err)
		require.Equal(t, y, c.Predict(x))
	})
	t.Run("a rare class", func(t *testing.T) {
		x, y := blobs(5000, 8, 2, 1, 3)
		for i := range y {
			if i > 3 {
				y[i] = 0
			}
		}
		y[0] = 1
		_, err := Logistic(x, y, 1)
		require.NoError(t, err)
	})
	t.Run("duplicate features, huge and tiny scales", func(t *testing.T) {
		x, y := blobs(400, 8, 3, 1, 3)
		for i := range x.Rows {
			r := x.Row(i)
			r[1] = r[0]
			r[2] *= 1e30
			r[3] *= 1e-30
		}
		c, err := Logistic(x, y, 1)
		require.NoError(t, err)
		require.InDelta(t, c.Coef[0], c.Coef[1], 1e-6)
	})
}

func TestLabelsOfAnyKind(t *testing.T) {
	x, y := blobs(300, 6, 3, 20, 4)
	names := []int{-7, 40, 1000}
	other := make([]int, len(y))
	for i, v := range y {
		other[i] = names[v]
	}
	a, err := Logistic(x, y, 1)
	require.NoError(t, err)
	b, err := Logistic(x, other, 1)
	require.NoError(t, err)
	require.Equal(t, names, b.Classes)
	require.Equal(t, a.Coef, b.Coef)
	for i, v := range a.Predict(x) {
		require.Equal(t, names[v], b.Predict(x)[i])
	}
}

// A collapsed encoder gives the same features for all: the class frequencies remain.
func TestConstantFeatures(t *testing.T) {
	x := Matrix{10, 3, make([]float32, 30)}
	for i := range x.Data {
		x.Data[i] = []float32{0, 0.1, -1e6}[i%3]
	}
	y := []int{0, 0, 0, 0, 0, 0, 1, 1, 1, 2}
	c, err := Logistic(x, y, 1)
	require.NoError(t, err)
	require.Equal(t, []int{0, 1, 2}, c.Scale.Constant)
	p := c.Proba(x)
	require.InDeltaSlice(t, []float64{0.6, 0.3, 0.1}, p[:3], 1e-9)
	require.Equal(t, make([]int, 10), c.Predict(x))

	x.Data[0] = 1 // one that varies
	s, err := Standardize(x)
	require.NoError(t, err)
	require.Equal(t, []int{1, 2}, s.Constant)
	z := s.Apply(x)
	require.InDelta(t, 3, z.Data[0], 1e-6) // (1 − 0.1)/0.3
	require.Zero(t, z.Data[1])
	g, err := Ridge(x, []float64{1, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 1)
	require.NoError(t, err)
	require.Zero(t, g.Coef[1])
	require.False(t, math.IsNaN(maxAbs(g.Predict(x))))
}

func TestErrors(t *testing.T) {
	x, y := blobs(20, 3, 2, 1, 1)
	nan, inf := x.Select(all(20)), x.Select(all(20))
	nan.Data[7] = float32(math.NaN())
	inf.Data[8] = float32(math.Inf(-1))
	one := make([]int, 20)
	values := make([]float64, 20)
	fails := func(say string, err error) { t.Helper(); require.ErrorContains(t, err, say) }

	_, err := Logistic(nan, y, 1)
	fails("feature 1 of sample 2 is NaN", err)
	_, err = Logistic(inf, y, 1)
	fails("feature 2 of sample 2 is -Inf", err)
	_, err = Ridge(nan, values, 1)
	fails("NaN", err)
	_, err = KNN(x, y, nan, 1, Cosine)
	fails("NaN", err)
	_, err = PCA(nan, 1)
	fails("NaN", err)
	_, err = RankMe(nan)
	fails("NaN", err)
	_, err = FeatureStd(inf)
	fails("-Inf", err)
	_, err = Select(Set{X: x, Y: y}, Set{X: nan, Y: y}, nil, 1)
	fails("validation", err)

	_, err = Logistic(x, one, 1)
	fails("all 20 training samples are of class 0", err)
	_, err = Logistic(Matrix{0, 3, nil}, nil, 1)
	fails("[0 3]", err)
	for _, c := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		_, err = Logistic(x, y, c)
		fails("positive", err)
		_, err = Ridge(x, values, c)
		fails("positive", err)
	}
	values[3] = math.NaN()
	_, err = Ridge(x, values, 1)
	fails("target of sample 3", err)
	_, err = KNN(x, y, x, 0, Euclidean)
	fails("1 to 20", err)
	_, err = KNN(x, y, x, 21, Euclidean)
	fails("1 to 20", err)
	_, err = PCA(x, 4)
	fails("1 to 3", err)
	_, err = PCA(x, 0)
	fails("1 to 3", err)

	_, err = Select(Set{X: x, Y: y}, Set{X: x, Y: one}, nil, 1)
	fails("not of both classes", err)
	_, err = Select(Set{X: x, Y: y}, Set{X: x, Y: y}, []float64{}, 1)
	fails("no C", err)
	tiny, of := blobs(3, 3, 3, 1, 1)
	for i := range of {
		of[i] = i
	}
	_, err = Select(Set{X: tiny, Y: of}, Set{}, nil, 1)
	fails("too few training samples", err)
	_, err = Select(Set{X: tiny, Y: []int{0, 1, 1}}, Set{}, nil, 1)
	fails("class 0 has one training sample", err)
	_, err = Select(Set{X: tiny, Y: []int{0, 1, 1}, Group: []int{4, 4, 4}}, Set{}, nil, 1)
	fails("of one group", err)

	require.PanicsWithValue(t, "probe: Logistic: 20 samples, 2 labels", func() { _, _ = Logistic(x, []int{0, 1}, 1) })
	require.PanicsWithValue(t, "probe: a matrix of [2 2] has 3 values", func() { _, _ = FeatureStd(Matrix{2, 2, make([]float32, 3)}) })
}

func TestSelect(t *testing.T) {
	x, y := blobs(400, 30, 2, 0.5, 6)
	train := Set{X: x.Select(all(200)), Y: y[:200]}
	rest := make([]int, 200)
	for i := range rest {
		rest[i] = 200 + i
	}
	validation := Set{X: x.Select(rest), Y: y[200:]}
	best, bestC := 0.0, 0.0
	cs := []float64{10, 0.001, 1, 0.1}
	for _, c := range []float64{0.001, 0.1, 1, 10} {
		m, err := Logistic(train.X, train.Y, c)
		require.NoError(t, err)
		if a := AUC(validation.Y, m.Proba(validation.X), m.Classes)(all(200)); a > best {
			best, bestC = a, c
		}
	}
	got, err := Select(train, validation, cs, 1)
	require.NoError(t, err)
	require.Equal(t, bestC, got.C)
	require.InDelta(t, best, got.Score, 1e-3)
	require.Zero(t, got.HeldOut)
	m, err := Logistic(train.X, train.Y, bestC)
	require.NoError(t, err)
	require.InDeltaSlice(t, m.Coef, got.Coef, 1e-5)
	require.Equal(t, []float64{10, 0.001, 1, 0.1}, cs, "the caller's list stays as it was")

	got, err = Select(train, Set{}, nil, 1)
	require.NoError(t, err)
	require.Equal(t, 40, got.HeldOut)
	again, err := Logistic(train.X, train.Y, got.C)
	require.NoError(t, err)
	require.InDeltaSlice(t, again.Coef, got.Coef, 1e-5, "fitted on all of train")
}

func TestSplit(t *testing.T) {
	y := make([]int, 103)
	for i := range y {
		if i%10 == 0 {
			y[i] = 1
		}
	}
	y[5] = 2 // a class of one sample can only be fitted to
	s := Set{X: Matrix{103, 1, make([]float32, 103)}, Y: y}
	keep, out, err := split(s, 1)
	require.NoError(t, err)
	count := map[int]int{}
	for _, i := range out {
		count[y[i]]++
	}
	require.Equal(t, map[int]int{0: 18, 1: 2}, count)
	require.ElementsMatch(t, all(103), append(keep, out...))
	_, other, err := split(s, 2)
	require.NoError(t, err)
	require.NotEqual(t, out, other, "another seed, another part")

	s.Group = make([]int, 103)
	for i := range s.Group {
		s.Group[i] = i % 11
	}
	keep, out, err = split(s, 1)
	require.NoError(t, err)
	side := map[int]bool{}
	for _, i := range out {
		side[i%11] = true
	}
	// Of the 8 groups that begin with class 0 and of the 2 that begin with class 1.
	require.Len(t, side, 3)
	classes := map[int]bool{}
	for g := range side {
		classes[y[g]] = true
	}
	require.Equal(t, map[int]bool{0: true, 1: true}, classes)
	for _, i := range keep {
		require.False(t, side[i%11], "a group on both sides")
	}
}

func TestSelectRidge(t *testing.T) {
	x, _ := blobs(120, 60, 2, 0, 8)
	random := rand.New(rand.NewPCG(2, 2))
	y := make([]float64, 120)
	for i := range y {
		y[i] = float64(x.Row(i)[0]) + 2*random.NormFloat64()
	}
	first := all(120)[:70]
	train := Targets{X: x, Y: y}.rows(first)
	validation := Targets{X: x, Y: y}.rows(all(120)[70:])
	best, bestAlpha := math.Inf(-1), 0.0
	for _, alpha := range []float64{0.1, 10, 1000} {
		g, err := Ridge(train.X, train.Y, alpha)
		require.NoError(t, err)
		if r := R2(validation.Y, g.Predict(validation.X)); r > best {
			best, bestAlpha = r, alpha
		}
	}
	g, err := SelectRidge(train, validation, []float64{0.1, 10, 1000}, 1)
	require.NoError(t, err)
	require.Equal(t, bestAlpha, g.Alpha)
	a, err := SelectRidge(Targets{X: x, Y: y}, Targets{}, nil, 1)
	require.NoError(t, err)
	b, err := Ridge(x, y, a.Alpha)
	require.NoError(t, err)
	require.Equal(t, b, a, "fitted on all of train")

	_, err = SelectRidge(train.rows(first[:2]), Targets{}, nil, 1)
	require.ErrorContains(t, err, "too few")
	_, err = SelectRidge(train, validation, []float64{}, 1)
	require.ErrorContains(t, err, "no penalty")
	validation.Y = make([]float64, 50)
	_, err = SelectRidge(train, validation, nil, 1)
	require.ErrorContains(t, err, "that vary")
}

// TestGroupsAreNotDivided: rows that are there twice choose a penalty that suits new
// ones only where both are on one side. The features are noise, so that the strongest
// penalty is best, and there are enough of them to know every row again.
func TestGroupsAreNotDivided(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	const people, scans, d = 40, 3, 120
	x := Matrix{people * scans, d, make([]float32, people*scans*d)}
	group, number, class := make([]int, x.Rows), make([]float64, x.Rows), make([]int, x.Rows)
	for p := range people {
		row := make([]float32, d)
		for j := range row {
			row[j] = float32(random.NormFloat64())
		}
		y := random.NormFloat64()
		for s := range scans {
			i := s*people + p
			copy(x.Row(i), row)
			group[i], number[i], class[i] = p, y, p%2
		}
	}
	alphas, cs := []float64{1e-3, 1e6}, []float64{1e-6, 1e3}
	mean := 0.0
	for seed := range uint64(3) {
		alone, err := SelectRidge(Targets{X: x, Y: number}, Targets{}, alphas, seed)
		require.NoError(t, err)
		require.Equal(t, 1e-3, alone.Alpha)
		grouped, err := SelectRidge(Targets{X: x, Y: number, Group: group}, Targets{}, alphas, seed)
		require.NoError(t, err)
		require.Equal(t, 1e6, grouped.Alpha)

		choice, err := Select(Set{X: x, Y: class}, Set{}, cs, seed)
		require.NoError(t, err)
		require.Equal(t, 1.0, choice.Score)
		choice, err = Select(Set{X: x, Y: class, Group: group}, Set{}, cs, seed)
		require.NoError(t, err)
		mean += choice.Score / 3
	}
	require.Less(t, mean, 0.9)
	_, err := SelectRidge(Targets{X: x, Y: number, Group: make([]int, x.Rows)}, Targets{}, nil, 1)
	require.ErrorContains(t, err, "of one group")
}
