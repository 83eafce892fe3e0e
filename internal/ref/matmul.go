package ref

import "math"

// What a matrix product does with each of its sums before it writes it.
// Bias, and one of the others, may be combined.
const (
	EpilogueBias        = 1 << iota // add vector[j]
	EpilogueAdd                     // add what c holds
	EpilogueResidual                // add extra, shaped as c
	EpilogueGELU                    // keep the sum in extra, write its GELU
	EpilogueGELUGrad                // multiply by the derivative of GELU at extra
	EpilogueExp                     // write exp(sum − vector[i]): probabilities from scores and log-sum-exp
	EpilogueSoftmaxGrad             // multiply (sum − vector[i]) by what c holds and by Scale
	EpilogueRowScale                // multiply by vector[i]
)

// MatmulParams mirrors matmul.wgsl. Batch z is sample z / Heads, head
// z % Heads. Of that batch, element (i, l) of a lies at
//
//	OffsetA + sample·BatchA + head·HeadA + i·RowA + l·ColA
//
// and element (l, j) of b and (i, j) of c accordingly (columns of c are
// adjacent), so a transposed operand is one whose ColA is a stride.
type MatmulParams struct {
	M, N, K                            uint32
	LastK                              uint32 // K of the last batch: the rest of a sum that is split into batches
	Batches, Heads                     uint32
	OffsetA, RowA, ColA, BatchA, HeadA uint32
	OffsetB, RowB, ColB, BatchB, HeadB uint32
	OffsetC, RowC, BatchC, HeadC       uint32
	Epilogue                           uint32
	OffsetVector                       uint32  // where vector begins, if it has one value a row
	Scale                              float64 // of the sums, or of the softmax gradient
}

// Matmul computes c = epilogue(a·b) for every batch. vector is a bias, or has M
// elements a batch where the epilogue takes one value a row; extra lies as c does.
func Matmul(p MatmulParams, a, b, c, vector, extra []float64) {
	m, n := int(p.M), int(p.N)
	Parallel(int(p.Batches)*m, func(lo, hi int) {
		sums := make([]float64, n)
		for zi := lo; zi < hi; zi++ {
			z, i := uint32(zi/m), zi%m
			sample, head := z/p.Heads, z%p.Heads
			k := int(p.K)
			if z == p.Batches-1 {
				k = int(p.LastK)
			}
			atA := int(p.OffsetA+sample*p.BatchA+head*p.HeadA) + i*int(p.RowA)
			atB := int(p.OffsetB + sample*p.BatchB + head*p.HeadB)
			atC := int(p.OffsetC+sample*p.BatchC+head*p.HeadC) + i*int(p.RowC)
			rowProduct(sums, a[atA:], int(p.ColA), b[atB:], int(p.RowB), int(p.ColB), k)
			for j, v := range sums {
				at := atC + j
				if p.Epilogue&EpilogueSoftmaxGrad != 0 {
					c[at] *= (v - vector[int(p.OffsetVector)+zi]) * p.Scale
					continue
				}
				v *= p.Scale
				if p.Epilogue&EpilogueBias != 0 {
					v += vector[j]
				}
				switch {
				case p.Epilogue&EpilogueRowScale != 0:
					v *= vector[int(p.OffsetVector)+zi]
				case p.Epilogue&EpilogueAdd != 0:
					v += c[at]
				case p.Epilogue&EpilogueResidual != 0:
					v += extra[at]
				case p.Epilogue&EpilogueGELU != 0:
					extra[at] = v
					v = GELU(v)
				case p.Epilogue&EpilogueGELUGrad != 0:
					v *= GELUGrad(extra[at])
				case p.Epilogue&EpilogueExp != 0:
					v = math.Exp(v - vector[int(p.OffsetVector)+zi])
				}
				c[at] = v
			}
		}
	})
}

// rowProduct sets sums[j] = Σ over l < k of a[l·colA]·b[l·rowB + j·colB].
func rowProduct(sums, a []float64, colA int, b []float64, rowB, colB, k int) {
	if colB != 1 {
		for j := range sums {
			sum := 0.0
			for l := range k {
				sum += a[l*colA] * b[l*rowB+j*colB]
			}
			sums[j] = sum
		}
		return
	}
	clear(sums)
	for l := range k {
		v, row := a[l*colA], b[l*rowB:][:len(sums)]
		for j, w := range row {
			sums[j] += v * w
		}
	}
}

// GELU is x·Φ(x), Φ the distribution function of the standard normal.
func GELU(x float64) float64 { return x * normalCDF(x) }

// GELUGrad is the derivative of GELU: Φ(x) + x·φ(x).
func GELUGrad(x float64) float64 {
	return normalCDF(x) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
}

func normalCDF(x float64) float64 { return math.Erfc(-x/math.Sqrt2) / 2 }
