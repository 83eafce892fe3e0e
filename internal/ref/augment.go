package ref

import (
	"math"
	"math/bits"
)

// BlurParams mirrors blur.wgsl.
type BlurParams struct{ Planes, Sample, Size1, Size2, Axis, Length, Stride, Most uint32 }

// Blur convolves each line of src along an axis with the symmetric weights of its
// sample, the line mirrored at its ends, into dst.
func Blur(p BlurParams, src []float64, radii []uint32, weights, dst []float64) {
	length, stride := int(p.Length), int(p.Stride)
	mirror := func(i int) int {
		i = ((i % (2 * length)) + 2*length) % (2 * length)
		return min(i, 2*length-1-i)
	}
	plane := int(p.Size1 * p.Size2)
	Parallel(int(p.Planes)*plane, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			sample, at := i/plane/int(p.Sample), i/stride%length
			radius := int(radii[sample])
			sum := 0.0
			for k := -radius; k <= radius; k++ {
				sum += weights[sample*int(p.Most)+max(k, -k)] * src[i+(mirror(at+k)-at)*stride]
			}
			dst[i] = sum
		}
	})
}

// NoiseParams mirrors noise.wgsl.
type NoiseParams struct{ Samples, Sample, Voxels uint32 }

// Noise adds to each channel of each sample of x white Gaussian noise, its
// amplitude in deviations of the channel.
func Noise(p NoiseParams, rescales, amplitudes []float64, keys []uint32, x []float64) {
	counters := (int(p.Sample) + 3) / 4
	Parallel(int(p.Samples)*counters, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			sample, counter := i/counters, i%counters
			w := philox([4]uint32{uint32(counter)}, [2]uint32{keys[2*sample], keys[2*sample+1]})
			for k := 0; k < min(4, int(p.Sample)-4*counter); k++ {
				at := sample*int(p.Sample) + 4*counter + k
				x[at] += amplitudes[sample] * rescales[4*(at/int(p.Voxels))+3] * normal(w[k&2], w[k|1], k&1)
			}
		}
	})
}

// philox is Philox4x32-10 (Salmon et al. 2011).
func philox(c [4]uint32, key [2]uint32) [4]uint32 {
	for range 10 {
		high0, low0 := bits.Mul32(0xD2511F53, c[0])
		high1, low1 := bits.Mul32(0xCD9E8D57, c[2])
		c = [4]uint32{high1 ^ c[1] ^ key[0], low1, high0 ^ c[3] ^ key[1], low0}
		key[0] += 0x9E3779B9
		key[1] += 0xBB67AE85
	}
	return c
}

// normal is the first or the second of the two normal numbers that Box and Muller
// (1958) make of two words: √(−2 ln u)·cos φ or sin φ, u in (0, 1] of 24 bits, φ of
// 25, from an eighth turn before 0 on.
func normal(a, b uint32, which int) float64 {
	radius := math.Sqrt(-2 * math.Log(float64(a>>8+1)/(1<<24)))
	quarter, within := float64(b>>30), (float64(b<<2>>9)+0.5)/(1<<23)
	phi := math.Pi / 2 * (quarter + within - 0.5)
	if which == 0 {
		return radius * math.Cos(phi)
	}
	return radius * math.Sin(phi)
}

// EraseParams mirrors erase.wgsl.
type EraseParams struct{ Row, Channels, Voxels, First, Size0, Size1, Size2, Stride0, Stride1 uint32 }

// Erase sets a box of each channel of a sample of x to the channel's mean.
func Erase(p EraseParams, rescales, x []float64) {
	for row := p.Row; row < p.Row+p.Channels; row++ {
		for i := range p.Size0 {
			for j := range p.Size1 {
				for k := range p.Size2 {
					x[row*p.Voxels+p.First+i*p.Stride0+j*p.Stride1+k] = rescales[4*row+2]
				}
			}
		}
	}
}
