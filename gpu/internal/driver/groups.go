package driver

import "encoding/binary"

// mostGroups bounds the cache of bind groups between plans.
const mostGroups = 1 << 14

// Groups is a driver's cache of bind groups, G being its handle of one. A bind
// group is found by its program and the exact ranges of buffers that it names,
// and is dropped when one of these buffers is released.
type Groups[G any] struct {
	drop   func(G)
	all    map[string]*group[G]
	serial uint64 // of the last buffer

	// What is looked for since Begin.
	key     []byte
	buffers []*Bound[G]
}

type group[G any] struct {
	handle  G
	key     string
	buffers []*Bound[G]
}

// Bound is what the cache keeps with a buffer.
type Bound[G any] struct {
	serial uint64 // given once, where a driver's handle may be given again
	groups map[*group[G]]struct{}
}

// NewGroups returns an empty cache that gives bind groups back by drop.
func NewGroups[G any](drop func(G)) *Groups[G] {
	return &Groups[G]{drop: drop, all: map[string]*group[G]{}}
}

// Buffer is kept with a new buffer.
func (c *Groups[G]) Buffer() *Bound[G] {
	c.serial++
	return &Bound[G]{serial: c.serial, groups: map[*group[G]]struct{}{}}
}

// Begin looks for a bind group of program; Add names its ranges in order.
func (c *Groups[G]) Begin(program *Program) {
	c.key = binary.LittleEndian.AppendUint64(c.key[:0], uint64(program.ID))
	c.buffers = c.buffers[:0]
}

// Add names the n elements of b from off.
func (c *Groups[G]) Add(b *Bound[G], off, n int) {
	c.key = binary.LittleEndian.AppendUint64(c.key, b.serial)
	c.key = binary.LittleEndian.AppendUint64(c.key, uint64(off))
	c.key = binary.LittleEndian.AppendUint64(c.key, uint64(n))
	c.buffers = append(c.buffers, b)
}

// Find returns the bind group that was looked for, if there is one.
func (c *Groups[G]) Find() (handle G, found bool) {
	if g, ok := c.all[string(c.key)]; ok {
		return g.handle, true
	}
	return handle, false
}

// Trim empties a full cache. It is called before a plan: the plan's own bind
// groups must last until it is replayed.
func (c *Groups[G]) Trim() {
	if len(c.all) >= mostGroups {
		c.Clear()
	}
}

// Keep adds the bind group that was looked for and not found.
func (c *Groups[G]) Keep(handle G) {
	g := &group[G]{handle: handle, key: string(c.key), buffers: append([]*Bound[G](nil), c.buffers...)}
	c.all[g.key] = g
	for _, b := range g.buffers {
		b.groups[g] = struct{}{}
	}
}

// Forget drops the bind groups that name b.
func (c *Groups[G]) Forget(b *Bound[G]) {
	for g := range b.groups {
		c.forget(g)
	}
}

// Clear drops all bind groups.
func (c *Groups[G]) Clear() {
	for _, g := range c.all {
		c.forget(g)
	}
}

func (c *Groups[G]) forget(g *group[G]) {
	delete(c.all, g.key)
	for _, b := range g.buffers {
		delete(b.groups, g)
	}
	c.drop(g.handle)
}

// Len is the number of bind groups.
func (c *Groups[G]) Len() int { return len(c.all) }
