package data

import (
	"math"

	"wgjepa/data/transform"
)

// Element is how the elements of a packed sample lie in words, the first in the lowest
// bits.
type Element int

const (
	Uint8   Element = iota // four a word
	Int16                  // two a word
	Float16                // two a word: zeros and normal numbers
	Float32                // one a word
)

// Packable is a Dataset whose samples can be had as they are before normalisation, in few
// bytes, to stay on a device.
type Packable interface {
	Dataset
	Packed(i int) (Packed, error)
	// Normalization of the samples.
	Normalization() Normalization
}

// Packed is a sample (C, H, W[, D]) before normalisation, row-major, in the smallest type
// that holds it exactly. Float32 values that are no float16 stay what they are: rounded,
// they would differ from those that are read by 5e-4.
type Packed struct {
	Element Element
	Words   []uint32
	Rescale []transform.Rescale // what normalises each channel, as [Dataset.Read] does
}

func (d *dataset) Normalization() Normalization {
	if n := d.Options.Normalize; n != "" {
		return n
	}
	return NormalizeZ
}

func (d *dataset) Packed(i int) (Packed, error) {
	n := d.voxelCount()
	x := make([]float32, d.channels*n)
	p := d.cache.get(i)
	if p != nil {
		p.unpack(x)
	} else {
		if err := d.load(i, x); err != nil {
			return Packed{}, err
		}
		if p = d.cache.get(i); p == nil { // loading packs what it caches
			p = pack(x)
		}
	}
	s := Packed{Element: p.element, Words: p.words()}
	for c := range d.channels {
		s.Rescale = append(s.Rescale, d.rescale(x[c*n:(c+1)*n]))
	}
	return s, nil
}

// words are the elements, the first in the lowest bits.
func (p *packed) words() []uint32 {
	words := make([]uint32, (p.bytes()+3)/4)
	for k, v := range p.u8 {
		words[k/4] |= uint32(v) << (8 * (k % 4))
	}
	for k, v := range p.u16 {
		words[k/2] |= uint32(v) << (16 * (k % 2))
	}
	for k, v := range p.f32 {
		words[k] = math.Float32bits(v)
	}
	return words
}
