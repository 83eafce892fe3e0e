package ref

import "math"

// CropResizeParams mirrors crop_resize.wgsl.
type CropResizeParams struct {
	Kind                                           uint32 // 0 uint8, 1 int16, 2 float32
	First, From1, From2, FromVoxels                uint32
	Size0, Size1, Size2, Stride0, Stride1, Stride2 uint32
	Voxels, Channels, Table, Out                   uint32
}

// CropResize writes one sample out of packed ones to dst, cropped, resized,
// flipped and turned as the tables say: see crop_resize.wgsl.
func CropResize(p CropResizeParams, source, neighbours []uint32, weights, dst []float64) {
	element := func(at int) float64 {
		i := uint32(at) + p.First
		switch p.Kind {
		case 0:
			return float64(uint8(source[i>>2] >> (8 * (i & 3))))
		case 1:
			return float64(int16(source[i>>1] >> (16 * (i & 1))))
		}
		return float64(math.Float32frombits(source[i]))
	}
	between := func(a, b, w float64) float64 { return a + w*(b-a) }
	n := int(p.Channels * p.Voxels)
	Parallel(n, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			voxel := uint32(i) % p.Voxels
			base := i / int(p.Voxels) * int(p.FromVoxels)
			t := [3]uint32{
				p.Table + voxel/p.Stride0%p.Size0,
				p.Table + p.Size0 + voxel/p.Stride1%p.Size1,
				p.Table + p.Size0 + p.Size1 + voxel/p.Stride2%p.Size2,
			}
			at := func(x, y, z uint32) float64 {
				return element(base + int(neighbours[2*t[0]+x]*p.From1*p.From2+neighbours[2*t[1]+y]*p.From2+neighbours[2*t[2]+z]))
			}
			along := func(z uint32) float64 {
				return between(between(at(0, 0, z), at(0, 1, z), weights[t[1]]), between(at(1, 0, z), at(1, 1, z), weights[t[1]]), weights[t[0]])
			}
			dst[int(p.Out)+i] = between(along(0), along(1), weights[t[2]])
		}
	})
}

// RowChunksParams mirrors row_chunks.wgsl.
type RowChunksParams struct{ Rows, Cols, Chunk, Square uint32 }

// RowChunks sums consecutive chunks of each row of x (rows, cols), of x or with
// Square of (x − mean)², into partial (rows, chunks).
func RowChunks(p RowChunksParams, x, mean, partial []float64) {
	cols, chunk := int(p.Cols), int(p.Chunk)
	chunks := (cols + chunk - 1) / chunk
	Parallel(int(p.Rows)*chunks, func(lo, hi int) {
		for at := lo; at < hi; at++ {
			row, first := at/chunks, at%chunks*chunk
			sum := 0.0
			for _, v := range x[row*cols+first : row*cols+min(cols, first+chunk)] {
				if p.Square != 0 {
					v = (v - mean[row]) * (v - mean[row])
				}
				sum += v
			}
			partial[at] = sum
		}
	})
}

// RowMomentParams mirrors row_moment.wgsl.
type RowMomentParams struct {
	Rows, Chunks, Cols, Square uint32
	Eps                        float64
}

// RowMoment is each row's mean, or with Square the factor 1/(σ + Eps) that
// standardises it, 0 for a constant row.
func RowMoment(p RowMomentParams, partial, mean, moment []float64) {
	for row := range int(p.Rows) {
		sum := 0.0
		for _, v := range partial[row*int(p.Chunks) : (row+1)*int(p.Chunks)] {
			sum += v
		}
		sum /= float64(p.Cols)
		if p.Square == 0 {
			moment[row] = sum
			continue
		}
		moment[row] = 0
		if deviation := math.Sqrt(sum); deviation > 4e-6*math.Abs(mean[row]) {
			moment[row] = 1 / (deviation + p.Eps)
		}
	}
}

// StandardizeParams mirrors standardize.wgsl.
type StandardizeParams struct{ N, Cols uint32 }

// Standardize is x = (x − mean)·scale of each row, in place.
func Standardize(p StandardizeParams, mean, scale, x []float64) {
	for i := range int(p.N) {
		row := i / int(p.Cols)
		x[i] = (x[i] - mean[row]) * scale[row]
	}
}
