package probe

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Statistic computes a figure from the units listed in rows: the test samples or
// volumes, some listed more than once, others not. It may be called from several
// goroutines. NaN means that the figure is not defined for these rows.
type Statistic func(rows []int) float64

// OnSamples is the statistic of a metric of predictions, each sample a unit. Labels
// go from 0 to classes−1.
func OnSamples(y, pred []int, classes int, metric func(Confusion) float64) Statistic {
	mustMatch("OnSamples", len(y), len(pred))
	return func(rows []int) float64 {
		c := emptyConfusion(classes)
		for _, i := range rows {
			c[y[i]][pred[i]]++
		}
		return metric(c)
	}
}

// OnVolumes is the statistic of a metric of dense predictions, each volume a unit
// with the counts of its patches (see [ByGroup]).
func OnVolumes(volumes []Confusion, metric func(Confusion) float64) Statistic {
	return func(rows []int) float64 {
		c := emptyConfusion(len(volumes[0]))
		for _, i := range rows {
			c.Add(volumes[i])
		}
		return metric(c)
	}
}

// AUC is the area under the ROC curve as a statistic. proba (N, K) holds the
// probabilities of classes as [Classifier.Proba] gives them. For two classes it is
// the area of the second; for more, the mean over the classes that occur of one
// against the rest.
func AUC(y []int, proba []float64, classes []int) Statistic {
	k := len(classes)
	mustMatch("AUC", len(y)*k, len(proba))
	return func(rows []int) float64 {
		positive, score := make([]bool, len(rows)), make([]float64, len(rows))
		area := func(c int) float64 {
			for r, i := range rows {
				positive[r], score[r] = y[i] == classes[c], proba[i*k+c]
			}
			return Area(positive, score)
		}
		if k == 2 {
			return area(1)
		}
		sum, n := 0.0, 0
		for c := range classes {
			if a := area(c); !math.IsNaN(a) {
				sum, n = sum+a, n+1
			}
		}
		return sum / float64(n)
	}
}

// Determination is [R2] as a statistic.
func Determination(y, pred []float64) Statistic {
	mustMatch("Determination", len(y), len(pred))
	return func(rows []int) float64 {
		a, b := make([]float64, len(rows)), make([]float64, len(rows))
		for r, i := range rows {
			a[r], b[r] = y[i], pred[i]
		}
		return R2(a, b)
	}
}

// Interval is a figure with its 95 % bootstrap interval.
type Interval struct{ Value, Low, High float64 }

// Bootstrap computes the statistic of all n units and its percentile interval over
// resamples drawn with replacement. strata, if not nil, gives each unit a stratum
// (its class, as a rule) whose size every resample keeps. Resamples for which the
// statistic is NaN are left out; Low and High are NaN when none remains.
func Bootstrap(n int, strata []int, resamples int, seed uint64, statistic Statistic) Interval {
	groups := map[int][]int{}
	all := make([]int, n)
	for i := range n {
		all[i] = i
		if strata == nil {
			groups[0] = append(groups[0], i)
		} else {
			groups[strata[i]] = append(groups[strata[i]], i)
		}
	}
	var order []int
	for s := range groups {
		order = append(order, s)
	}
	slices.Sort(order)

	values := make([]float64, resamples)
	parallel(resamples, func(r int) {
		random := rand.New(rand.NewPCG(seed, uint64(r)))
		rows := make([]int, 0, n)
		for _, s := range order {
			for range groups[s] {
				rows = append(rows, groups[s][random.IntN(len(groups[s]))])
			}
		}
		values[r] = statistic(rows)
	})
	values = slices.DeleteFunc(values, math.IsNaN)
	slices.Sort(values)
	return Interval{statistic(all), quantile(values, 0.025), quantile(values, 0.975)}
}

// Difference is [Bootstrap] of a − b, both computed on the same resamples. Where a
// is a trained encoder's statistic and b the untrained one's, the trained encoder is
// better when Low > 0. For several training seeds, a and b may be means over them.
func Difference(n int, strata []int, resamples int, seed uint64, a, b Statistic) Interval {
	return Bootstrap(n, strata, resamples, seed, func(rows []int) float64 { return a(rows) - b(rows) })
}

// quantile interpolates linearly between the sorted values.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i == len(sorted)-1 {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}
