package ref

import "math"

// ColumnChunksParams mirrors column_chunks.wgsl.
type ColumnChunksParams struct {
	Rows, Cols, Chunk   uint32
	Take, Stride, First uint32
	Square              uint32
}

// ColumnChunks sums columns of x over chunks of rows into partial (chunks,
// cols). Row r of the sum is row r/Take·Stride + First + r%Take of x: a window
// of every sample. With Square it sums (x − mean)² instead, mean (cols).
func ColumnChunks(p ColumnChunksParams, x, mean, partial []float64) {
	rows, n, chunk := int(p.Rows), int(p.Cols), int(p.Chunk)
	take, stride, first := int(p.Take), int(p.Stride), int(p.First)
	Parallel((rows+chunk-1)/chunk, func(lo, hi int) {
		for c := lo; c < hi; c++ {
			sum := partial[c*n:][:n]
			clear(sum)
			for r := c * chunk; r < min(rows, (c+1)*chunk); r++ {
				for i, v := range x[(r/take*stride+first+r%take)*n:][:n] {
					if p.Square != 0 {
						v = (v - mean[i]) * (v - mean[i])
					}
					sum[i] += v
				}
			}
		}
	})
}

// ReduceParams mirrors reduce.wgsl.
type ReduceParams struct {
	Chunks, Cols, First, Add uint32
	Scale                    float64
}

// Reduce sums the chunks of partial (chunks, cols) from element First:
// dst = Scale·Σ, added to dst where Add is set.
func Reduce(p ReduceParams, partial, dst []float64) {
	n := int(p.Cols)
	for i := range n {
		sum := 0.0
		for c := range int(p.Chunks) {
			sum += partial[int(p.First)+c*n+i]
		}
		sum *= p.Scale
		if p.Add != 0 {
			sum += dst[i]
		}
		dst[i] = sum
	}
}

// SumParams mirrors sum.wgsl.
type SumParams struct {
	N, RootTerms, RootTotal, At uint32
	Scale                       float64
}

// Sum is dst[At] = Scale·Σ x, of the square roots of x with RootTerms; with
// RootTotal the square root of that.
func Sum(p SumParams, x, dst []float64) {
	sum := 0.0
	for _, v := range x[:p.N] {
		if p.RootTerms != 0 {
			v = math.Sqrt(v)
		}
		sum += v
	}
	sum *= p.Scale
	if p.RootTotal != 0 {
		sum = math.Sqrt(sum)
	}
	dst[p.At] = sum
}
