package transform

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Augment draws random geometry: a resized crop (Inception's, in three dimensions
// as nidl.transforms.RandomResizedCrop has it), then flips. The zero value changes
// nothing.
type Augment struct {
	// Scale is the range of the crop's share of the volume, (0.5, 1) in nidl's
	// example; both zero: no crop.
	Scale [2]float64
	// Ratio is the range from which a factor for each axis is drawn, log-uniform, before
	// the factors are divided by their geometric mean; both zero: (0.75, 1.33).
	Ratio [2]float64
	// Flip is the probability of reversing each axis, in the order of the size;
	// empty: no flips.
	Flip []float64
}

// Validate says what is wrong for images of the given number of axes (2 or 3).
func (a Augment) Validate(axes int) error {
	if s := a.Scale; s != [2]float64{} && !(0 < s[0] && s[0] <= s[1] && s[1] <= 1) {
		return fmt.Errorf("transform: crop scale (%g, %g) must rise within 0 (excluded) to 1", s[0], s[1])
	}
	if r := a.Ratio; r != [2]float64{} && !(0 < r[0] && r[0] <= r[1] && !math.IsInf(r[1], 0)) {
		return fmt.Errorf("transform: crop ratio (%g, %g) must be positive and rise", r[0], r[1])
	}
	if len(a.Flip) != 0 && len(a.Flip) != axes {
		return fmt.Errorf("transform: %d flip probabilities for images of %d axes", len(a.Flip), axes)
	}
	for _, p := range a.Flip {
		if !(0 <= p && p <= 1) {
			return fmt.Errorf("transform: flip probability %g is not within 0 to 1", p)
		}
	}
	return nil
}

// Active reports whether the augmentation changes anything.
func (a Augment) Active() bool { return a.Scale != [2]float64{} || len(a.Flip) > 0 }

// Rand returns the generator of one sample at one step.
func Rand(seed, step, sample uint64) *rand.Rand {
	return rand.New(rand.NewPCG(mix(seed)^mix(step+0x9e3779b97f4a7c15), mix(seed+1)^mix(sample+0xbf58476d1ce4e5b9)))
}

// mix is the finalizer of splitmix64 (Steele, Lea, Flood 2014): near arguments give
// unrelated words.
func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Geometry is one draw of an [Augment].
type Geometry struct {
	Box  Box // cut out and resized to the whole
	Flip [3]bool
}

// Draw samples a geometry for images of the given size.
func (a Augment) Draw(r *rand.Rand, size []int) Geometry {
	g := Geometry{Box: Whole(size)}
	if a.Scale != [2]float64{} {
		g.Box = a.box(r, size)
	}
	for i, p := range a.Flip {
		g.Flip[i] = r.Float64() < p
	}
	return g
}

// box samples the crop: ten tries, then once with unit ratio, then the whole.
func (a Augment) box(r *rand.Rand, size []int) Box {
	ratio := a.Ratio
	if ratio == [2]float64{} {
		ratio = [2]float64{0.75, 1.33}
	}
	for range 10 {
		if b, ok := a.try(r, size, ratio); ok {
			return b
		}
	}
	if b, ok := a.try(r, size, [2]float64{1, 1}); ok {
		return b
	}
	return Whole(size)
}

// try samples one box; it fails where the box is longer than the image.
func (a Augment) try(r *rand.Rand, size []int, ratio [2]float64) (Box, bool) {
	axes := float64(len(size))
	volume := a.Scale[0] + r.Float64()*(a.Scale[1]-a.Scale[0])
	for _, s := range size {
		volume *= float64(s)
	}
	side := math.Pow(volume, 1/axes)
	var log [3]float64
	mean := 0.0
	l0, l1 := math.Log(ratio[0]), math.Log(ratio[1])
	for i := range size {
		log[i] = l0 + r.Float64()*(l1-l0)
		mean += log[i] / axes
	}
	b := Whole(size)
	shift := 3 - len(size) // 2-D sizes have a leading axis of length one
	for i, s := range size {
		n := max(1, int(math.RoundToEven(side*math.Exp(log[i]-mean))))
		if n > s {
			return b, false
		}
		b.Size[shift+i], b.At[shift+i] = n, r.IntN(s-n+1)
	}
	return b, true
}

// Apply writes the augmented src (C, size…) to dst of the same shape.
func (g Geometry) Apply(dst, src []float32, channels int, size []int) {
	if g.Box == Whole(size) {
		copy(dst, src)
	} else {
		CropResize(dst, src, channels, size, g.Box, size)
	}
	Flip(dst, channels, size, g.Flip[:len(size)])
}

// ApplyLabels writes the labels (size…) of the same image to dst.
func (g Geometry) ApplyLabels(dst, src []uint8, size []int) {
	CropResizeNearest(dst, src, 1, size, g.Box, size)
	Flip(dst, 1, size, g.Flip[:len(size)])
}
