package ref

import (
	"math"
	"slices"
)

// rescale is (min(max(v, r₀), r₁) − r₂)/r₃, r row of rescales (…, 4).
func rescale(rescales []float64, row int, v float64) float64 {
	r := rescales[4*row : 4*row+4]
	return (min(max(v, r[0]), r[1]) - r[2]) / r[3]
}

// RowChunksParams mirrors row_chunks.wgsl.
type RowChunksParams struct{ Rows, Cols, Chunk, Square, Masked uint32 }

// RowChunks sums consecutive chunks of each row of x (rows, cols) and counts them,
// (Σ d, count), into partial (rows, chunks, 2): d is x − the row's first element,
// or with Square (x − about)², with Masked of elements greater than above alone.
func RowChunks(p RowChunksParams, x, above, about, partial []float64) {
	cols, chunk := int(p.Cols), int(p.Chunk)
	chunks := (cols + chunk - 1) / chunk
	Parallel(int(p.Rows)*chunks, func(lo, hi int) {
		for at := lo; at < hi; at++ {
			row, first := at/chunks, at%chunks*chunk
			sum, count := 0.0, 0.0
			for _, v := range x[row*cols+first : row*cols+min(cols, first+chunk)] {
				if p.Masked != 0 && v <= above[4*row+2] {
					continue
				}
				count++
				if p.Square == 0 {
					sum += v - x[row*cols]
				} else {
					sum += (v - about[4*row+2]) * (v - about[4*row+2])
				}
			}
			partial[2*at], partial[2*at+1] = sum, count
		}
	})
}

// RowMomentParams mirrors row_moment.wgsl.
type RowMomentParams struct {
	Rows, Chunks, Cols, Square uint32
	Eps                        float64
}

// RowMoment sets the mean of a row's rescaling, or with Square the rest of what
// standardises the row: no clipping, and its deviation + Eps to divide by.
func RowMoment(p RowMomentParams, x, partial, rescales []float64) {
	for row := range int(p.Rows) {
		sum, count := 0.0, 0.0
		for c := row * int(p.Chunks); c < (row+1)*int(p.Chunks); c++ {
			sum += partial[2*c]
			count += partial[2*c+1]
		}
		moment := sum / max(count, 1)
		r := rescales[4*row : 4*row+4]
		if p.Square == 0 {
			r[2] = x[row*int(p.Cols)] + moment
		} else {
			r[0], r[1], r[3] = -3.4e38, 3.4e38, math.Sqrt(moment)+p.Eps
		}
	}
}

// RowPercentilesParams mirrors row_percentiles.wgsl.
type RowPercentilesParams struct {
	Rows, Cols, LowRank, HighRank uint32
	LowPart, HighPart             float64
}

// RowPercentiles makes the rescaling of each row of x (rows, cols) the one that maps
// two percentiles to 0 and 1, and clips.
func RowPercentiles(p RowPercentilesParams, x, rescales []float64) {
	Parallel(int(p.Rows), func(lo, hi int) {
		for row := lo; row < hi; row++ {
			v := slices.Sorted(slices.Values(x[row*int(p.Cols) : (row+1)*int(p.Cols)]))
			percentile := func(rank uint32, part float64) float64 {
				next := min(int(rank)+1, len(v)-1)
				return v[rank] + part*(v[next]-v[rank])
			}
			low, high := percentile(p.LowRank, p.LowPart), percentile(p.HighRank, p.HighPart)
			divisor := high - low
			if divisor == 0 {
				divisor = 1
			}
			copy(rescales[4*row:], []float64{low, high, low, divisor})
		}
	})
}

// RescaleParams mirrors rescale.wgsl.
type RescaleParams struct{ Rows, Cols uint32 }

// Rescale rescales each row of x (rows, cols) in place.
func Rescale(p RescaleParams, rescales, x []float64) {
	Parallel(int(p.Rows*p.Cols), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			x[i] = rescale(rescales, i/int(p.Cols), x[i])
		}
	})
}
