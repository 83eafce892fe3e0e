package probe

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
)

// Metric measures how far two feature vectors are apart.
type Metric int

const (
	Euclidean Metric = iota
	Cosine           // 1 − cos of the angle; a zero vector is at distance 1 of everything
)

// KNN returns, for each row of test, the label that most of its k nearest rows of
// train have, the smallest label among equals. Features are taken as they are; see
// [Standardizer.Apply].
func KNN(train Matrix, y []int, test Matrix, k int, metric Metric) ([]int, error) {
	mustMatch("KNN", train.Rows, len(y))
	test.mustHaveCols(train.Cols, "KNN")
	for _, m := range []Matrix{train, test} {
		if err := m.check(); err != nil {
			return nil, err
		}
	}
	if k < 1 || k > train.Rows {
		return nil, fmt.Errorf("probe: k is %d; there are %d training samples, so it may be 1 to %d", k, train.Rows, train.Rows)
	}
	norm, normTest := norms(train), norms(test)
	out := make([]int, test.Rows)
	parallel(test.Rows, func(i int) {
		distance := make([]float64, train.Rows)
		order := make([]int, train.Rows)
		for j := range distance {
			order[j] = j
			if metric == Cosine {
				distance[j] = 1
				if l := norm[j] * normTest[i]; l > 0 {
					distance[j] = 1 - dot(train.Row(j), test.Row(i))/l
				}
			} else {
				distance[j] = squaredDistance(train.Row(j), test.Row(i))
			}
		}
		slices.SortFunc(order, func(a, b int) int {
			return cmp.Or(cmp.Compare(distance[a], distance[b]), a-b)
		})
		votes := map[int]int{}
		for _, j := range order[:k] {
			votes[y[j]]++
		}
		labels := slices.Sorted(keys(votes))
		out[i] = slices.MaxFunc(labels, func(a, b int) int { return votes[a] - votes[b] }) // the first of equals
	})
	return out, nil
}

func norms(m Matrix) []float64 {
	out := make([]float64, m.Rows)
	for i := range out {
		out[i] = math.Sqrt(dot(m.Row(i), m.Row(i)))
	}
	return out
}

func dot(a, b []float32) (sum float64) {
	for j, v := range a {
		sum += float64(v) * float64(b[j])
	}
	return sum
}

func squaredDistance(a, b []float32) (sum float64) {
	for j, v := range a {
		d := float64(v) - float64(b[j])
		sum += d * d
	}
	return sum
}

func keys[V any](m map[int]V) iter.Seq[int] { return maps.Keys(m) }
