package ref

import "math"

// SoftmaxParams mirrors softmax.wgsl.
type SoftmaxParams struct {
	Rows, Cols uint32
	Stride     uint32 // elements from one row to the next
	OffsetLSE  uint32 // where lse begins
}

// Softmax replaces each row of scores by the exponentials of what lies below
// its largest score. Divided by their sum these are the row's softmax: inverse
// keeps one over the sum, lse the logarithm of the sum of the scores'
// exponentials.
func Softmax(p SoftmaxParams, scores, lse, inverse []float64) {
	Parallel(int(p.Rows), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			row := scores[i*int(p.Stride):][:p.Cols]
			top, sum := math.Inf(-1), 0.0
			for _, s := range row {
				top = max(top, s)
			}
			for j, s := range row {
				row[j] = math.Exp(s - top)
				sum += row[j]
			}
			lse[int(p.OffsetLSE)+i] = top + math.Log(sum)
			inverse[i] = 1 / sum
		}
	})
}
