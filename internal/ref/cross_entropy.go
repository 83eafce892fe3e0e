package ref

import "math"

// CrossEntropyParams mirrors cross_entropy.wgsl.
type CrossEntropyParams struct {
	Rows, Classes, Grad uint32
	Smoothing           float64 // ε, label smoothing
	Scale               float64 // of the gradient
}

// CrossEntropy is, for each row of logits z (rows, classes) with class y of
// label (rows), the loss
//
//	(1 − ε)·w_y·(lse − z_y) + ε/classes·Σ_k w_k·(lse − z_k),  lse = log Σ_k exp z_k,
//
// into partial (rows), and with Grad Scale times its gradient into dz. It is
// the sum that torch's cross_entropy divides by Σ w_y.
func CrossEntropy(p CrossEntropyParams, z []float64, label []uint32, weight, dz, partial []float64) {
	n := int(p.Classes)
	for r := range int(p.Rows) {
		x := z[r*n : (r+1)*n]
		top := math.Inf(-1)
		for _, v := range x {
			top = math.Max(top, v) // a NaN stays
		}
		sum := 0.0
		for _, v := range x {
			sum += math.Exp(v - top)
		}
		lse := math.Log(sum)
		share := func(k int) float64 {
			s := p.Smoothing / float64(n) * weight[k]
			if k == int(label[r]) {
				s += (1 - p.Smoothing) * weight[k]
			}
			return s
		}
		total := 0.0
		partial[r] = 0
		for k, v := range x {
			partial[r] += share(k) * (lse - (v - top))
			total += share(k)
		}
		if p.Grad != 0 {
			for k, v := range x {
				dz[r*n+k] = p.Scale * (total*math.Exp(v-top)/sum - share(k))
			}
		}
	}
}
