package maskgen

import (
	"fmt"
	"math"
	"slices"
)

// tries is how many positions are drawn before the constraint by one more
// target block is dropped (nidl ijepa.py, _sample_block_mask).
const tries = 20

// maxTokens bounds each of Masks' slices.
const maxTokens = 1 << 30

// unitAspect is the aspect ratio of the context block.
var unitAspect = [2]float64{1, 1}

// axisOrders are the orders in which the three sides of a 3-D block can lie.
var axisOrders = [6][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}

// Sampler draws masks. It holds no state and may be used by several goroutines
// at once, each with its own [Masks].
type Sampler struct {
	config Config
	behaviour
	axes    int
	grid    [3]int // a 2-D grid (H, W) is held as (H, W, 1)
	patches int    // P

	smallestContext, largestContext [3]int
	smallestTarget, largestTarget   [3]int
}

// New returns a sampler, or says what is wrong with c as [Config.Validate]
// does.
func New(c Config) (*Sampler, error) {
	if err := c.checkFields(); err != nil {
		return nil, err
	}
	s := newSampler(c)
	if err := s.checkBlocks(); err != nil {
		return nil, err
	}
	return s, nil
}

func newSampler(c Config) *Sampler {
	c.Grid = slices.Clone(c.Grid)
	s := &Sampler{config: c, behaviour: behaviours[c.Preset], axes: len(c.Grid), grid: [3]int{1, 1, 1}}
	copy(s.grid[:], c.Grid)
	s.patches = volume(s.grid)
	s.smallestContext, s.largestContext = s.sizeRange(c.ContextScale, unitAspect)
	s.smallestTarget, s.largestTarget = s.sizeRange(c.TargetScale, c.AspectRatio)
	return s
}

// MaxContext returns an upper bound of K: the patches of the largest context
// block.
func (s *Sampler) MaxContext() int { return volume(s.largestContext) }

// MaxTarget returns the largest possible L.
func (s *Sampler) MaxTarget() int { return volume(s.largestTarget) }

// BlockSize returns the sides of the block that the draw r in [0, 1) gives.
// Side i lies along axis i of the grid and is the perm[i]-th of ∛(m·a), ∛(m/a),
// ∛m. On a 2-D grid perm is not used and the third side is 1.
func (s *Sampler) BlockSize(r float64, perm [3]int, scale, aspect [2]float64) [3]int {
	m, a := s.draw(r, scale, aspect)
	return s.clamp(s.sides(m*a, m/a, m), perm)
}

// draw returns the patches m that a block aims at and its aspect ratio a. The
// conversions keep the compiler from fusing multiplication and addition, which
// would round otherwise than the reference on some machines.
func (s *Sampler) draw(r float64, scale, aspect [2]float64) (m, a float64) {
	m = math.Floor(float64(s.patches) * (scale[0] + float64(r*(scale[1]-scale[0]))))
	a = aspect[0] + float64(r*(aspect[1]-aspect[0]))
	return m, a
}

// sides returns the rounded square roots of x and y, or the rounded cube roots
// of x, y and z.
func (s *Sampler) sides(x, y, z float64) [3]float64 {
	if s.axes == 2 {
		return [3]float64{math.RoundToEven(math.Sqrt(x)), math.RoundToEven(math.Sqrt(y)), 1}
	}
	return [3]float64{roundCbrt(x), roundCbrt(y), roundCbrt(z)}
}

// roundCbrt returns round(pow(x, 1/3)) as Python computes it, on every machine.
// It compares x with the cube of the half-integer, which is exact. On a tie the
// reference's power falls short of the half-integer, 1/3 being rounded down,
// and so it does after rounding to even in all cases but one: 1.5 gives 2.
func roundCbrt(x float64) float64 {
	n := math.Floor(math.Cbrt(x))
	half := n + 0.5
	if cube := half * half * half; x > cube || x == cube && n == 1 {
		n++
	}
	return n
}

// clamp puts the sides in their order and holds each to one less than the
// grid's axis.
func (s *Sampler) clamp(sides [3]float64, perm [3]int) [3]int {
	size := [3]int{1, 1, 1}
	for axis := range s.axes {
		side := sides[axis]
		if s.axes == 3 {
			side = sides[perm[axis]]
		}
		size[axis] = int(min(side, float64(s.grid[axis]-1)))
	}
	return size
}

// sizeRange returns a smallest and a largest block of all that some draw gives.
//
// It halves the interval of draws until the bounds of a part show nothing new.
// Over an interval m and a grow, so m·a and m lie between their values at its
// ends, and m/a between the least m over the greatest a and the reverse.
func (s *Sampler) sizeRange(scale, aspect [2]float64) (smallest, largest [3]int) {
	orders := axisOrders[:]
	if s.axes == 2 {
		orders = axisOrders[:1]
	}
	smallest, largest = s.grid, [3]int{}
	visit := func(k int) {
		for _, perm := range orders {
			size := s.BlockSize(float64(k)/draws, perm, scale, aspect)
			if volume(size) < volume(smallest) {
				smallest = size
			}
			if volume(size) > volume(largest) {
				largest = size
			}
		}
	}
	bounded := func(lo, hi [3]float64) bool {
		for _, perm := range orders {
			if volume(s.clamp(lo, perm)) < volume(smallest) || volume(s.clamp(hi, perm)) > volume(largest) {
				return false
			}
		}
		return true
	}
	var search func(i, j int)
	search = func(i, j int) {
		m0, a0 := s.draw(float64(i)/draws, scale, aspect)
		m1, a1 := s.draw(float64(j)/draws, scale, aspect)
		if j-i < 2 || bounded(s.sides(m0*a0, m0/a1, m0), s.sides(m1*a1, m1/a0, m1)) {
			return
		}
		k := (i + j) / 2
		visit(k)
		search(i, k)
		search(k, j)
	}
	visit(0)
	visit(draws - 1)
	search(0, draws-1)
	return smallest, largest
}

// Sample draws the masks of a batch into m. The same (seed, step, batch) gives
// the same masks, and target blocks and uncut contexts do not depend on batch.
// It reuses m's slices: calls after the first with m and a batch no larger
// allocate nothing. It fails only where a block cannot keep more than MinKeep
// patches, which [New] has ruled out, or where batch is out of range; m is then
// not to be used.
func (s *Sampler) Sample(m *Masks, seed, step uint64, batch int) error {
	maxK := s.MaxContext()
	if most := maxTokens / max(maxK, s.config.Targets*s.MaxTarget()); batch < 1 || batch > most {
		return fmt.Errorf("maskgen: a batch of %d samples: choose a batch size from 1 to %d", batch, most)
	}
	target, context := s.sizes(seed, step)
	if volume(target) <= s.config.MinKeep {
		return fmt.Errorf("maskgen: step %d: %w", step, s.tooSmall("target", target))
	}
	m.B, m.K, m.M, m.L, m.Relaxed = batch, maxK, s.config.Targets, volume(target), 0
	m.Target = resize(m.Target, m.M*batch*m.L, m.M*batch*s.MaxTarget())
	m.Context = resize(m.Context, batch*maxK, batch*maxK)
	m.blocks = resize(m.blocks, m.M, m.M)
	m.kept = resize(m.kept, batch, batch)

	for b := range batch {
		g := newStream(seed, step, forPositions, uint64(b))
		s.placeTargets(&g, m.blocks, target)
		for i, t := range m.blocks {
			s.indices(m.Target[(i*batch+b)*m.L:], t, nil)
		}
		k, dropped, err := s.placeContext(&g, m.Context[b*maxK:][:maxK], context, m.blocks)
		if err != nil {
			return fmt.Errorf("maskgen: step %d: sample %d: %w", step, b, err)
		}
		if dropped > 0 {
			m.Relaxed++
		}
		m.kept[b] = k
		m.K = min(m.K, k)
	}

	for b, n := range m.kept {
		row, uncut := m.Context[b*m.K:][:m.K], m.Context[b*maxK:][:n]
		if s.cutsHighest {
			copy(row, uncut)
			continue
		}
		g := newStream(seed, step, forCut, uint64(b))
		keepRandom(&g, row, uncut)
	}
	m.Context = m.Context[:batch*m.K]
	return nil
}

// disjoint reports whether the context drops the patches of its targets.
func (s *Sampler) disjoint() bool { return !s.config.AllowOverlap && !s.keepsTargets }

// sizes draws the block sizes of a step.
func (s *Sampler) sizes(seed, step uint64) (target, context [3]int) {
	g := newStream(seed, step, forSizes, 0)
	target = s.BlockSize(g.uniform(), axisOrders[g.below(6)], s.config.TargetScale, s.config.AspectRatio)
	context = s.BlockSize(g.uniform(), axisOrders[g.below(6)], s.config.ContextScale, unitAspect)
	return target, context
}

// placeTargets draws the positions of a sample's target blocks.
func (s *Sampler) placeTargets(g *stream, targets []block, size [3]int) {
	for i := range targets {
		targets[i] = s.place(g, size)
	}
}

// placeContext draws the position of a sample's context block until it keeps
// more than MinKeep patches, and writes these to dst. It returns how many they
// are and how many of the targets, from the last, it had to leave in.
func (s *Sampler) placeContext(g *stream, dst []uint32, size [3]int, targets []block) (kept, dropped int, err error) {
	if !s.disjoint() {
		targets = nil
	}
	for dropped := range len(targets) + 1 {
		for range tries {
			kept := s.indices(dst, s.place(g, size), targets[:len(targets)-dropped])
			if kept > s.config.MinKeep {
				return kept, dropped, nil
			}
		}
	}
	return 0, len(targets), s.tooSmall("context", size)
}

// place draws a position for a block, uniform over all that fit; the paper's
// code leaves out those that reach the last patch of an axis.
func (s *Sampler) place(g *stream, size [3]int) block {
	last := 1
	if s.avoidsLast {
		last = 0
	}
	b := block{end: size}
	for axis := range s.axes {
		b.start[axis] = g.below(s.grid[axis] - size[axis] + last)
		b.end[axis] += b.start[axis]
	}
	return b
}

// indices writes the patches of b that lie in none of the others to dst, in
// ascending order, and returns how many they are.
func (s *Sampler) indices(dst []uint32, b block, others []block) int {
	n := 0
	for i := b.start[0]; i < b.end[0]; i++ {
		for j := b.start[1]; j < b.end[1]; j++ {
			row := (i*s.grid[1] + j) * s.grid[2]
			for k := b.start[2]; k < b.end[2]; k++ {
				if !covered(others, i, j, k) {
					dst[n] = uint32(row + k)
					n++
				}
			}
		}
	}
	return n
}

// keepRandom keeps a random subset of src in dst, in order (Knuth, algorithm
// 3.4.2 S). dst may be the beginning of src.
func keepRandom(g *stream, dst, src []uint32) {
	n := 0
	for i, index := range src {
		if g.below(len(src)-i) < len(dst)-n {
			dst[n] = index
			n++
		}
	}
}

// block is a box of patches, from start up to but without end.
type block struct {
	start, end [3]int
}

func (b *block) contains(i, j, k int) bool {
	return b.start[0] <= i && i < b.end[0] &&
		b.start[1] <= j && j < b.end[1] &&
		b.start[2] <= k && k < b.end[2]
}

func covered(blocks []block, i, j, k int) bool {
	for n := range blocks {
		if blocks[n].contains(i, j, k) {
			return true
		}
	}
	return false
}

// volume returns the patches in a block of the given size.
func volume(size [3]int) int { return size[0] * size[1] * size[2] }

// resize returns a slice of length n, s itself where it is large enough and
// otherwise a new one of the given capacity.
func resize[T any](s []T, n, capacity int) []T {
	if cap(s) < n {
		s = make([]T, capacity)
	}
	return s[:n]
}
