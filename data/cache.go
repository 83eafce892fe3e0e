package data

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// packed holds a sample's values in the smallest type that holds them exactly.
type packed struct {
	element Element
	u8      []uint8
	u16     []uint16 // bits of int16 and float16
	f32     []float32
}

// pack copies x.
func pack(x []float32) *packed {
	p := &packed{element: smallest(x)}
	switch p.element {
	case Uint8:
		p.u8 = make([]uint8, len(x))
		for i, v := range x {
			p.u8[i] = uint8(v)
		}
	case Int16:
		p.u16 = make([]uint16, len(x))
		for i, v := range x {
			p.u16[i] = uint16(int16(v))
		}
	case Float16:
		p.u16 = make([]uint16, len(x))
		for i, v := range x {
			p.u16[i] = half(v)
		}
	default:
		p.f32 = append([]float32(nil), x...)
	}
	return p
}

// smallest is the smallest type that holds x exactly.
func smallest(x []float32) Element {
	least, most := int32(0), int32(0)
	for _, v := range x {
		n := int32(v)
		if least, most = min(least, n), max(most, n); math.Float32bits(float32(n)) != math.Float32bits(v) || least < -1<<15 || most >= 1<<15 {
			if slices.ContainsFunc(x, func(v float32) bool { return !isHalf(v) }) {
				return Float32
			}
			return Float16
		}
	}
	if least < 0 || most > 255 {
		return Int16
	}
	return Uint8
}

func (p *packed) bytes() int64 { return int64(len(p.u8) + 2*len(p.u16) + 4*len(p.f32)) }

func (p *packed) unpack(dst []float32) {
	copy(dst, p.f32)
	for i, v := range p.u8 {
		dst[i] = float32(v)
	}
	if p.element == Float16 {
		for i, v := range p.u16 {
			dst[i] = fromHalf(v)
		}
		return
	}
	for i, v := range p.u16 {
		dst[i] = float32(int16(v))
	}
}

// isHalf reports whether v is a float16: zero, or normal, for some devices take the
// numbers below 2⁻¹⁴ for zeros.
func isHalf(v float32) bool {
	b := math.Float32bits(v)
	exponent := b >> 23 & 0xff
	return b<<1 == 0 || b&0x1fff == 0 && 127-14 <= exponent && exponent <= 127+15
}

// half is the bits of v, which is a float16.
func half(v float32) uint16 {
	b := math.Float32bits(v)
	if b<<1 == 0 {
		return uint16(b >> 16)
	}
	return uint16(b>>16&0x8000 | (b>>13-(127-15)<<10)&0x7fff)
}

// fromHalf is the inverse of half.
func fromHalf(h uint16) float32 {
	b := uint32(h)
	if b<<17 == 0 {
		return math.Float32frombits(b << 16)
	}
	return math.Float32frombits(b&0x8000<<16 | (b&0x7fff+(127-15)<<10)<<13)
}

// budget is memory that may still be used.
type budget struct{ left atomic.Int64 }

// take reserves n bytes if they are left.
func (b *budget) take(n int64) bool {
	if b.left.Add(-n) >= 0 {
		return true
	}
	b.left.Add(n)
	return false
}

// cache keeps samples while its budget lasts. Nothing is evicted: every epoch asks
// for every sample once, so those that are in are as good as any.
type cache struct {
	budget
	mu      sync.RWMutex
	samples []*packed
	full    atomic.Bool
}

func (c *cache) get(i int) *packed {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.samples[i]
}

func (c *cache) put(i int, x []float32) {
	if c.full.Load() {
		return
	}
	p := pack(x)
	if !c.take(p.bytes()) {
		c.full.Store(true)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.samples[i] != nil { // another goroutine was first
		c.left.Add(p.bytes())
		return
	}
	c.samples[i] = p
}
