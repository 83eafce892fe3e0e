package ref

// ChunkSumsParams mirrors chunk_sums.wgsl.
type ChunkSumsParams struct {
	Rows, Cols uint32
	Chunk      uint32 // rows that one row of dst sums
	Add        uint32 // 1: dst += instead of dst =
}

// ChunkSums sums consecutive chunks of x's rows: dst (⌈rows/chunk⌉, cols).
func ChunkSums(p ChunkSumsParams, x, dst []float64) {
	rows, cols, chunk := int(p.Rows), int(p.Cols), int(p.Chunk)
	chunks := max(1, (rows+chunk-1)/chunk) // no rows sum to zero
	Parallel(chunks*cols, func(lo, hi int) {
		for at := lo; at < hi; at++ {
			c, j := at/cols, at%cols
			sum := 0.0
			for i := c * chunk; i < min(rows, (c+1)*chunk); i++ {
				sum += x[i*cols+j]
			}
			if p.Add != 0 {
				sum += dst[at]
			}
			dst[at] = sum
		}
	})
}
