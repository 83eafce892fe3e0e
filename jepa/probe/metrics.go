package probe

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Confusion counts samples by true class (rows) and predicted class (columns).
type Confusion [][]int

func emptyConfusion(classes int) Confusion {
	c := make(Confusion, classes)
	for i := range c {
		c[i] = make([]int, classes)
	}
	return c
}

// Add adds the counts of o.
func (c Confusion) Add(o Confusion) {
	for i := range c {
		for j := range c[i] {
			c[i][j] += o[i][j]
		}
	}
}

// of returns how often class k was predicted rightly, was true, and was predicted.
func (c Confusion) of(k int) (both, isTrue, isPredicted int) {
	for i := range c {
		isTrue += c[k][i]
		isPredicted += c[i][k]
	}
	return c[k][k], isTrue, isPredicted
}

// Accuracy is the share of samples predicted rightly, NaN without samples.
func (c Confusion) Accuracy() float64 {
	right, all := 0, 0
	for k := range c {
		both, isTrue, _ := c.of(k)
		right, all = right+both, all+isTrue
	}
	return float64(right) / float64(all)
}

// BalancedAccuracy is the mean recall of the classes that occur, NaN without samples.
func (c Confusion) BalancedAccuracy() float64 {
	sum, n := 0.0, 0
	for k := range c {
		if both, isTrue, _ := c.of(k); isTrue > 0 {
			sum, n = sum+float64(both)/float64(isTrue), n+1
		}
	}
	return sum / float64(n)
}

// Dice is, for each class, 2·both/(true + predicted): for one class the F1 score.
// It is NaN for a class that neither occurs nor is predicted.
func (c Confusion) Dice() []float64 {
	out := make([]float64, len(c))
	for k := range c {
		both, isTrue, isPredicted := c.of(k)
		out[k] = 2 * float64(both) / float64(isTrue+isPredicted)
	}
	return out
}

// DiceOf returns the metric that is the Dice of class k.
func DiceOf(k int) func(Confusion) float64 {
	return func(c Confusion) float64 { return c.Dice()[k] }
}

// Area is the area under the ROC curve of scores that should be high where
// positive holds: the probability that a positive scores above a negative, ties
// counting half. It is NaN unless both kinds occur.
func Area(positive []bool, score []float64) float64 {
	mustMatch("Area", len(positive), len(score))
	order := make([]int, len(score))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(score[a], score[b]) })
	ranks, p := 0.0, 0
	for from := 0; from < len(order); {
		to := from
		for to < len(order) && score[order[to]] == score[order[from]] {
			to++
		}
		if to == from {
			return math.NaN() // the score is NaN
		}
		for _, i := range order[from:to] {
			if positive[i] {
				ranks += float64(from+to+1) / 2 // mean of ranks from+1 … to
				p++
			}
		}
		from = to
	}
	n := len(score) - p
	return (ranks - float64(p)*float64(p+1)/2) / (float64(p) * float64(n))
}

// R2 is the coefficient of determination 1 − Σ(y−pred)²/Σ(y−ȳ)², NaN where y does not vary.
func R2(y, pred []float64) float64 {
	mustMatch("R2", len(y), len(pred))
	mean := 0.0
	for _, v := range y {
		mean += v / float64(len(y))
	}
	residual, total := 0.0, 0.0
	for i, v := range y {
		residual += (v - pred[i]) * (v - pred[i])
		total += (v - mean) * (v - mean)
	}
	if total == 0 {
		return math.NaN()
	}
	return 1 - residual/total
}

// LogLoss is the mean of −log p(y) for probabilities proba (N, K) of classes, bounded
// at the smallest normal number for labels that have none.
func LogLoss(y []int, proba []float64, classes []int) float64 {
	mustMatch("LogLoss", len(y)*len(classes), len(proba))
	sum := 0.0
	for i, v := range y {
		p := 0.0
		if c, ok := slices.BinarySearch(classes, v); ok {
			p = proba[i*len(classes)+c]
		}
		sum -= math.Log(max(p, 0x1p-1022))
	}
	return sum / float64(len(y))
}

func mustMatch(what string, a, b int) {
	if a != b {
		panic(fmt.Sprintf("probe: %s: lengths %d and %d differ", what, a, b))
	}
}
