package ref

import "math"

// CropResizeParams mirrors crop_resize.wgsl.
type CropResizeParams struct {
	First, Voxels, Channels uint32
	Size0, Size1, Size2     uint32
	Table, Row, Out         uint32
}

// CropResize writes one sample out of packed ones to dst, rescaled, cropped,
// resized, flipped and turned as the tables say: see crop_resize.wgsl. Elements
// are UINT8, INT16, FLOAT16 or FLOAT32.
func CropResize(elements string, p CropResizeParams, source []uint32, rescales []float64, neighbours []uint32, weights, dst []float64) {
	stored := func(i uint32) float64 {
		switch elements {
		case "UINT8":
			return float64(uint8(source[i>>2] >> (8 * (i & 3))))
		case "INT16":
			return float64(int16(source[i>>1] >> (16 * (i & 1))))
		case "FLOAT16":
			return float16(uint16(source[i>>1] >> (16 * (i & 1))))
		}
		return float64(math.Float32frombits(source[i]))
	}
	between := func(a, b, w float64) float64 { return a + w*(b-a) }
	voxels := p.Size0 * p.Size1 * p.Size2
	Parallel(int(p.Channels*voxels), func(lo, hi int) {
		for i := uint32(lo); i < uint32(hi); i++ {
			channel, voxel := i/voxels, i%voxels
			t := [3]uint32{
				p.Table + voxel/(p.Size1*p.Size2),
				p.Table + p.Size0 + voxel/p.Size2%p.Size1,
				p.Table + p.Size0 + p.Size1 + voxel%p.Size2,
			}
			at := func(x, y, z uint32) float64 {
				element := p.First + channel*p.Voxels + neighbours[2*t[0]+x] + neighbours[2*t[1]+y] + neighbours[2*t[2]+z]
				return rescale(rescales, int(p.Row+channel), stored(element))
			}
			along := func(z uint32) float64 {
				return between(between(at(0, 0, z), at(0, 1, z), weights[t[1]]), between(at(1, 0, z), at(1, 1, z), weights[t[1]]), weights[t[0]])
			}
			dst[p.Out+i] = between(along(0), along(1), weights[t[2]])
		}
	})
}

// float16 is the value of a zero or a normal float16.
func float16(h uint16) float64 {
	v := math.Ldexp(float64(1<<10|h&0x3ff), int(h>>10&31)-25)
	if h&0x7fff == 0 {
		v = 0
	}
	if h>>15 != 0 {
		return -v
	}
	return v
}
