package data

import "math"

// Packable is a Dataset whose samples can be had as they are before normalisation, in few
// bytes, to stay on a device.
type Packable interface {
	Dataset
	// Packed returns sample i, (C, H, W[, D]) row-major, before normalisation, in the
	// smallest of uint8 (bits 8), int16 (16) and float32 (32) that holds it exactly: the
	// first element in the lowest bits of the first word.
	Packed(i int) (words []uint32, bits int, err error)
	// Normalization of the samples.
	Normalization() Normalization
}

func (d *dataset) Normalization() Normalization {
	if n := d.Options.Normalize; n != "" {
		return n
	}
	return NormalizeZ
}

func (d *dataset) Packed(i int) (words []uint32, bits int, err error) {
	p := d.cache.get(i)
	if p == nil {
		x := make([]float32, d.channels*d.voxelCount())
		if err := d.load(i, x); err != nil {
			return nil, 0, err
		}
		if p = d.cache.get(i); p == nil { // loading packs what it caches
			p = pack(x)
		}
	}
	switch {
	case p.u8 != nil:
		words = make([]uint32, (len(p.u8)+3)/4)
		for k, v := range p.u8 {
			words[k/4] |= uint32(v) << (8 * (k % 4))
		}
		return words, 8, nil
	case p.i16 != nil:
		words = make([]uint32, (len(p.i16)+1)/2)
		for k, v := range p.i16 {
			words[k/2] |= uint32(uint16(v)) << (16 * (k % 2))
		}
		return words, 16, nil
	}
	words = make([]uint32, len(p.f32))
	for k, v := range p.f32 {
		words[k] = math.Float32bits(v)
	}
	return words, 32, nil
}
