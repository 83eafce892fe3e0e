package transform

import (
	"math"
	"math/bits"
)

// addNoise adds standard normal numbers times amplitude to v, whose first element is
// element first of a sample. The number of an element is a function of (seed, element)
// alone, the same wherever it is computed: a processor of any kind may make any part of
// it. Element i takes number i mod 4 of [philox] at the counter ⌊i/4⌋; the tail ends at
// 5.77 deviations.
func addNoise(v []float32, first int, seed uint64, amplitude float64) {
	key := [2]uint32{uint32(seed), uint32(seed >> 32)}
	for len(v) > 0 {
		w := philox([4]uint32{uint32(first / 4)}, key)
		var four [4]float64
		four[0], four[1] = boxMuller(w[0], w[1])
		four[2], four[3] = boxMuller(w[2], w[3])
		part := four[first%4:]
		part = part[:min(len(part), len(v))]
		for i, z := range part {
			v[i] += float32(z * amplitude)
		}
		v, first = v[len(part):], first+len(part)
	}
}

// philox is Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy
// as 1, 2, 3, 2011): four random words of a counter and a key.
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

// boxMuller makes two independent standard normal numbers √(−2 ln u)·(cos φ, sin φ) of
// two random words (Box and Muller 1958). u and φ are exact in float32, and the series,
// good to 3e-8, are those of the kernel, whose own functions differ from device to device.
func boxMuller(a, b uint32) (x, y float64) {
	m := a>>8 + 1 // u = m·2⁻²⁴, above 0
	exponent := bits.Len32(m)
	f := math.Ldexp(float64(m), -exponent)
	if f < math.Sqrt2/2 {
		f *= 2
		exponent--
	}
	// ln f by the series of 2 artanh, f from √½ to √2.
	s := (f - 1) / (f + 1)
	q := s * s
	ln := 2*s*(1+q*(1./3+q*(1./5+q*(1./7+q*(1./9))))) + float64(exponent-24)*math.Ln2
	r := math.Sqrt(max(-2*ln, 0))
	// A quarter turn, then at most an eighth to either side.
	t := math.Pi / (1 << 25) * float64(int32(b<<2>>9<<1|1)-1<<23)
	q = t * t
	sin := r * t * (1 - q*(1./6)*(1-q*(1./20)*(1-q*(1./42)*(1-q*(1./72)))))
	cos := r * (1 - q*(1./2)*(1-q*(1./12)*(1-q*(1./30)*(1-q*(1./56)))))
	switch b >> 30 {
	case 0:
		return cos, sin
	case 1:
		return -sin, cos
	case 2:
		return -cos, -sin
	}
	return sin, -cos
}
