package gpu

import (
	"math"

	"wgjepa/internal/ref"
)

// Long sums run in two stages, so that neither the order nor the result
// depends on the device: chunks, then the sum of the chunks.

var (
	columnChunks = register("column_chunks", "column_chunks.wgsl", nil, "x mean partial", func(p ref.ColumnChunksParams, b []ref.Buffer) {
		ref.ColumnChunks(p, b[0].F, b[1].F, b[2].F)
	})
	reduce = register("reduce", "reduce.wgsl", nil, "partial dst", func(p ref.ReduceParams, b []ref.Buffer) {
		ref.Reduce(p, b[0].F, b[1].F)
	})
	sum = register("sum", "sum.wgsl", nil, "x dst", func(p ref.SumParams, b []ref.Buffer) {
		ref.Sum(p, b[0].F, b[1].F)
	})
)

// chunk is the number of rows that the first stage adds up at once: about √rows
// in each of two stages is the shortest chain of additions.
func chunk(rows int) int { return max(16, int(math.Sqrt(float64(rows)))) }

// mostChunks is the most chunks that any number of rows up to this one has:
// fewer rows may have more, and scratch that was sized for the longest step
// serves all of them.
func mostChunks(rows int) int { return int(math.Sqrt(float64(rows))) + 3 }

// maxLanes bounds the partial sums of a sum over elements.
const maxLanes = 1 << 16

// lanes is the number of partial sums of a sum over n elements.
func lanes(n int) int { return min(maxLanes, ceil(n, 64)) }

// scaledColumnSums is dst (cols) = scale·Σ over the rows of x (…, cols), of (x −
// mean)² where mean is given.
func (e *Encoder) scaledColumnSums(dst, x, mean Tensor, scale float64) {
	p := ref.ColumnChunksParams{Rows: uint32(x.Rows()), Cols: uint32(x.Cols()), Take: uint32(x.Rows()), Square: flag(!mean.IsNil())}
	e.windowSums(dst, x, mean, p, false, scale)
}

// windowSums is scaledColumnSums over the window of rows that p says.
func (e *Encoder) windowSums(dst, x, mean Tensor, p ref.ColumnChunksParams, add bool, scale float64) {
	rows, cols := int(p.Rows), int(p.Cols)
	p.Chunk = uint32(chunk(rows))
	chunks := ceil(rows, chunk(rows))
	partial := e.d.scratch("column sums", mostChunks(x.cap/cols)*cols)
	launch(e, columnChunks, [3]int{ceil(cols, 64), chunks, 1}, p, x, e.orNone(mean, true), partial)
	e.reduce(dst, partial, 0, chunks, cols, add, scale)
}

// reduce is dst = scale·Σ of the chunks of partial from element first, or
// dst += with add.
func (e *Encoder) reduce(dst, partial Tensor, first, chunks, cols int, add bool, scale float64) {
	launch(e, reduce, e.groups1(ceil(cols, 64)), ref.ReduceParams{
		Chunks: uint32(chunks), Cols: uint32(cols), First: uint32(first), Add: flag(add), Scale: scale,
	}, partial, dst)
}

// sum is dst[at] = scale·Σ of the first n elements of x.
func (e *Encoder) sum(dst Tensor, at int, x Tensor, n int, scale float64) {
	launch(e, sum, [3]int{1, 1, 1}, ref.SumParams{N: uint32(n), At: uint32(at), Scale: scale}, x, dst)
}

// chain is the most additions that one element of a sum over the rows of a
// matrix goes through, for bounds.
func chain(rows int) float64 { return float64(chunk(rows) + ceil(rows, chunk(rows)) + 2) }

// lanesChain is that of a sum over n elements.
func lanesChain(n int) float64 { return float64(ceil(n, lanes(n)) + ceil(lanes(n), 256) + 8) }
