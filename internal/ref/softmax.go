package ref

import "math"

// SoftmaxParams mirrors softmax.wgsl.
type SoftmaxParams struct {
	Rows, Cols uint32
	Stride     uint32 // elements from one row to the next
	OffsetLSE  uint32 // where lse begins
}

// Softmax replaces each row of scores by its softmax and keeps the logarithm
// of the sum of its exponentials.
func Softmax(p SoftmaxParams, scores, lse []float64) {
	Parallel(int(p.Rows), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			row := scores[i*int(p.Stride):][:p.Cols]
			l := logSumExp(row)
			for j, s := range row {
				row[j] = math.Exp(s - l)
			}
			lse[int(p.OffsetLSE)+i] = l
		}
	})
}

func logSumExp(row []float64) float64 {
	top := math.Inf(-1)
	for _, s := range row {
		top = max(top, s)
	}
	sum := 0.0
	for _, s := range row {
		sum += math.Exp(s - top)
	}
	return top + math.Log(sum)
}
