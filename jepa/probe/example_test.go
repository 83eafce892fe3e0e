package probe_test

import (
	"fmt"
	"math/rand/v2"

	"wgjepa/jepa/probe"
)

// Features of two encoders for the same 300 volumes of two classes: those of the
// second hold less of the class.
func Example() {
	random := rand.New(rand.NewPCG(1, 0))
	const n, d = 300, 8
	y := make([]int, n)
	trained := probe.Matrix{Rows: n, Cols: d, Data: make([]float32, n*d)}
	untrained := probe.Matrix{Rows: n, Cols: d, Data: make([]float32, n*d)}
	for i := range n {
		y[i] = i % 2
		for j := range d {
			noise := random.NormFloat64()
			trained.Row(i)[j] = float32(noise + 0.7*float64(y[i]))
			untrained.Row(i)[j] = float32(noise + 0.2*float64(y[i]))
		}
	}
	first, last := rows(0, 200), rows(200, n)

	accuracy := func(x probe.Matrix) probe.Statistic {
		choice, err := probe.Select(probe.Set{X: x.Select(first), Y: y[:200]}, probe.Set{}, nil, 1)
		if err != nil {
			panic(err)
		}
		return probe.OnSamples(y[200:], choice.Predict(x.Select(last)), 2, probe.Confusion.Accuracy)
	}
	a, b := accuracy(trained), accuracy(untrained)
	for _, i := range []probe.Interval{
		probe.Bootstrap(100, y[200:], 1000, 1, a),
		probe.Bootstrap(100, y[200:], 1000, 1, b),
		probe.Difference(100, y[200:], 1000, 1, a, b),
	} {
		fmt.Printf("%.2f (%.2f to %.2f)\n", i.Value, i.Low, i.High)
	}
	// Output:
	// 0.85 (0.78 to 0.92)
	// 0.59 (0.49 to 0.68)
	// 0.26 (0.18 to 0.35)
}

func rows(from, to int) []int {
	var out []int
	for i := from; i < to; i++ {
		out = append(out, i)
	}
	return out
}
