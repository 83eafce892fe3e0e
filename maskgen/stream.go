package maskgen

import (
	"math/bits"
	"math/rand/v2"
)

// stream is a random sequence. It holds its generator by value and draws
// integers itself because a rand.Rand over it would be allocated anew for
// every sample.
type stream struct {
	pcg rand.PCG
}

// What a stream is drawn for.
const (
	forSizes uint64 = iota
	forPositions
	forCut
)

// newStream returns the sequence of one sample of one step for one purpose.
func newStream(seed, step, purpose, sample uint64) stream {
	hi := mix(mix(mix(seed)+step) + purpose)
	var s stream
	s.pcg.Seed(hi, mix(hi+sample))
	return s
}

// mix is the output function of SplitMix64 (Steele, Lea, Flood 2014): it makes
// unrelated generator states of neighbouring numbers.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// draws is the number of values that uniform can take: those of torch.rand.
const draws = 1 << 24

// uniform returns a number in [0, 1), a multiple of 2⁻²⁴.
func (s *stream) uniform() float64 {
	return float64(s.pcg.Uint64()>>40) / draws
}

// below returns an integer in [0, n), each equally likely (Lemire 2019).
func (s *stream) below(n int) int {
	bound := uint64(n)
	for {
		hi, lo := bits.Mul64(s.pcg.Uint64(), bound)
		if lo >= -bound%bound {
			return int(hi)
		}
	}
}
