package data

import (
	"math"
	"sync"
	"sync/atomic"
)

// packed holds a sample's values in the smallest type that holds them exactly.
type packed struct {
	u8  []uint8
	i16 []int16
	f32 []float32
}

// pack copies x.
func pack(x []float32) *packed {
	u8, i16 := true, true
	for _, v := range x {
		n := int32(v)
		if math.Float32bits(float32(n)) != math.Float32bits(v) || n < -1<<15 || n >= 1<<15 {
			u8, i16 = false, false
			break
		}
		if n < 0 || n > 255 {
			u8 = false
		}
	}
	switch {
	case u8:
		p := make([]uint8, len(x))
		for i, v := range x {
			p[i] = uint8(v)
		}
		return &packed{u8: p}
	case i16:
		p := make([]int16, len(x))
		for i, v := range x {
			p[i] = int16(v)
		}
		return &packed{i16: p}
	}
	return &packed{f32: append([]float32(nil), x...)}
}

func (p *packed) bytes() int64 { return int64(len(p.u8) + 2*len(p.i16) + 4*len(p.f32)) }

func (p *packed) unpack(dst []float32) {
	copy(dst, p.f32)
	for i, v := range p.u8 {
		dst[i] = float32(v)
	}
	for i, v := range p.i16 {
		dst[i] = float32(v)
	}
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
