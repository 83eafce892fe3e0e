package transform

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Augment draws random changes of a sample: a resized crop (Inception's, in three
// dimensions as nidl.transforms.RandomResizedCrop has it), flips, a right-angle rotation,
// blur, noise and erasing, in this order. The zero value changes nothing.
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
	// Rotate is the probability of a rotation by right angles, one of those that keep the
	// size: of a cube 23, of a square 3, of unequal sides half turns only.
	Rotate float64
	// Blur is the range of the deviation of a Gaussian, in voxels; both zero: none.
	Blur [2]float64
	// Noise is the range of the deviation of Gaussian noise, in deviations of the channel;
	// both zero: none.
	Noise [2]float64
	// Erase is the range of a box's share of the volume that is set to the channel's mean
	// (random erasing, Zhong et al. 2020); both zero: none.
	Erase [2]float64
	// Chance is the probability of blur, of noise and of erasing, each by itself.
	Chance float64
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
	for _, p := range []struct {
		what string
		v    float64
	}{{"rotation", a.Rotate}, {"blur, noise and erasing", a.Chance}} {
		if !(0 <= p.v && p.v <= 1) {
			return fmt.Errorf("transform: probability %g of %s is not within 0 to 1", p.v, p.what)
		}
	}
	for _, p := range []struct {
		what string
		v    [2]float64
		most float64
	}{{"blur", a.Blur, 32}, {"noise", a.Noise, 100}, {"erasing", a.Erase, 1}} {
		if !(0 <= p.v[0] && p.v[0] <= p.v[1] && p.v[1] <= p.most) {
			return fmt.Errorf("transform: %s (%g, %g) must rise within 0 to %g", p.what, p.v[0], p.v[1], p.most)
		}
	}
	return nil
}

// Active reports whether the augmentation changes anything.
func (a Augment) Active() bool {
	return a.Scale != [2]float64{} || len(a.Flip) > 0 || a.Rotate > 0 || a.Chance > 0 && (a.Blur[1] > 0 || a.Noise[1] > 0 || a.Erase[1] > 0)
}

// Rand returns the generator of one sample at one step.
func Rand(seed, step, sample uint64) *rand.Rand {
	p := rand.NewPCG(0, 0)
	Reseed(p, seed, step, sample)
	return rand.New(p)
}

// Reseed makes p the source of [Rand] for these arguments.
func Reseed(p *rand.PCG, seed, step, sample uint64) {
	p.Seed(mix(seed)^mix(step+0x9e3779b97f4a7c15), mix(seed+1)^mix(sample+0xbf58476d1ce4e5b9))
}

// mix is the finalizer of splitmix64 (Steele, Lea, Flood 2014): near arguments give
// unrelated words.
func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Geometry is where the voxels of a sample go in one draw of an [Augment].
type Geometry struct {
	Box  Box // cut out and resized to the whole
	Flip [3]bool
	Turn Orientation // a rotation of three axes, as in [Whole]; the zero value is none
}

// Draw samples a geometry for images of the given size. [Augment.DrawIntensity] follows
// with the same generator.
func (a Augment) Draw(r *rand.Rand, size []int) Geometry {
	g := Geometry{Box: Whole(size)}
	if a.Scale != [2]float64{} {
		g.Box = a.box(r, size)
	}
	for i, p := range a.Flip {
		g.Flip[i] = r.Float64() < p
	}
	if a.Rotate > 0 && r.Float64() < a.Rotate {
		if _, n := rotation(size, -1); n > 0 {
			g.Turn, _ = rotation(size, r.IntN(n))
		}
	}
	return g
}

// rotation returns number k of the rotations by right angles that keep the size, without
// the one that changes nothing; n of them come before it, of all for a negative k.
func rotation(size []int, k int) (o Orientation, n int) {
	s := three(size)
	for _, axes := range [...][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		odd := axes == [3]int{0, 2, 1} || axes == [3]int{1, 0, 2} || axes == [3]int{2, 1, 0} // a swap mirrors
		for flips := range 8 {
			o = Orientation{Axes: axes, Flip: [3]bool{flips&4 != 0, flips&2 != 0, flips&1 != 0}}
			mirrored := odd
			keeps := true
			for i, f := range o.Flip {
				mirrored = mirrored != f
				keeps = keeps && s[axes[i]] == s[i]
			}
			flat := len(size) == 2 && (axes[0] != 0 || o.Flip[0])
			if keeps && !mirrored && !flat && o != (Orientation{Axes: [3]int{0, 1, 2}}) {
				if n == k {
					return o, n
				}
				n++
			}
		}
	}
	return Orientation{}, n
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
	turn(dst, channels, size, g.Turn)
}

// ApplyLabels writes the labels (size…) of the same image to dst.
func (g Geometry) ApplyLabels(dst, src []uint8, size []int) {
	CropResizeNearest(dst, src, 1, size, g.Box, size)
	Flip(dst, 1, size, g.Flip[:len(size)])
	turn(dst, 1, size, g.Turn)
}

func turn[T any](x []T, channels int, size []int, o Orientation) {
	if o != (Orientation{}) {
		from := three(size)
		Reorient(x, slices.Clone(x), channels, from[:], o)
	}
}

// Intensity is what happens to the values of a sample in one draw of an [Augment].
type Intensity struct {
	Blur  float64 // deviation in voxels, 0 without
	Noise float64 // deviation in deviations of the channel, 0 without
	Seed  uint64  // of the noise
	Box   Box     // that is erased; the zero value is none
}

// DrawIntensity samples what follows the geometry.
func (a Augment) DrawIntensity(r *rand.Rand, size []int) Intensity {
	var n Intensity
	happens := func(v [2]float64) bool { return v[1] > 0 && a.Chance > 0 && r.Float64() < a.Chance }
	between := func(v [2]float64) float64 { return v[0] + r.Float64()*(v[1]-v[0]) }
	if happens(a.Blur) {
		n.Blur = between(a.Blur)
	}
	if happens(a.Noise) {
		n.Noise, n.Seed = between(a.Noise), r.Uint64()
	}
	if happens(a.Erase) {
		n.Box = Augment{Scale: a.Erase, Ratio: [2]float64{0.3, 1 / 0.3}}.box(r, size) // Zhong et al.'s aspects
	}
	return n
}

// Apply blurs x (C, size…) and adds noise, before it is normalised.
func (n Intensity) Apply(x []float32, channels int, size []int) {
	check("Intensity", x, channels, size)
	if n.Blur > 0 {
		sigma := make([]float64, len(size))
		for i := range sigma {
			sigma[i] = n.Blur
		}
		Blur(x, channels, size, sigma)
	}
	if n.Noise > 0 {
		voxels := len(x) / channels
		for c := range channels {
			v := x[c*voxels : (c+1)*voxels]
			_, std := moments(v, nil)
			addNoise(v, c*voxels, n.Seed, n.Noise*std)
		}
	}
}

// Erase sets the box of x (C, size…) to the channel's mean, after x is normalised.
func (n Intensity) Erase(x []float32, channels int, size []int) {
	check("Erase", x, channels, size)
	if n.Box == (Box{}) {
		return
	}
	s, b, voxels := three(size), n.Box, len(x)/channels
	for c := range channels {
		v := x[c*voxels : (c+1)*voxels]
		mean, _ := moments(v, nil)
		for i := range b.Size[0] {
			for j := range b.Size[1] {
				row := v[((b.At[0]+i)*s[1]+b.At[1]+j)*s[2]+b.At[2]:]
				for k := range b.Size[2] {
					row[k] = float32(mean)
				}
			}
		}
	}
}

// Blur convolves x (C, size…) in place with a Gaussian of the given deviation, in voxels,
// along each axis: cut off at four deviations, the image mirrored at its borders, as
// scipy.ndimage.gaussian_filter does.
func Blur(x []float32, channels int, size []int, sigma []float64) {
	check("Blur", x, channels, size)
	if len(sigma) != len(size) {
		panic(fmt.Sprintf("transform: Blur: %d deviations for %d axes", len(sigma), len(size)))
	}
	outer, inner := channels, count(1, size)
	for a, n := range size {
		inner /= n
		if sigma[a] > 0 {
			weights := Gaussian(nil, sigma[a])
			radius := len(weights) / 2
			// n lines of inner voxels side by side, mirrored at both ends.
			line, sum := make([]float32, (n+2*radius)*inner), make([]float64, inner)
			for o := range outer {
				v := x[o*n*inner : (o+1)*n*inner]
				for i := range n + 2*radius {
					at := mirror(i-radius, n) * inner
					copy(line[i*inner:(i+1)*inner], v[at:at+inner])
				}
				if inner == 1 {
					for i := range v {
						s := 0.0
						for k, y := range line[i : i+len(weights)] {
							s += weights[k] * float64(y)
						}
						v[i] = float32(s)
					}
					continue
				}
				for i := range n {
					clear(sum)
					for k, w := range weights {
						for j, y := range line[(i+k)*inner : (i+k+1)*inner] {
							sum[j] += w * float64(y)
						}
					}
					for j, s := range sum {
						v[i*inner+j] = float32(s)
					}
				}
			}
		}
		outer *= n
	}
}

// Gaussian appends the weights of a Gaussian from −4σ to 4σ, which sum to 1: of as many
// voxels on each side as [Radius] says.
func Gaussian(w []float64, sigma float64) []float64 {
	first, radius := len(w), Radius(sigma)
	sum := 0.0
	for i := -radius; i <= radius; i++ {
		z := float64(i) / sigma
		w = append(w, math.Exp(-z*z/2))
		sum += w[len(w)-1]
	}
	for i := first; i < len(w); i++ {
		w[i] /= sum
	}
	return w
}

// Radius is the number of voxels in four deviations.
func Radius(sigma float64) int { return int(4*sigma + 0.5) }

// mirror returns the voxel that index i of n means where the image is mirrored at its
// borders again and again: … 1 0 | 0 1 … n−1 | n−1 n−2 …
func mirror(i, n int) int {
	if i %= 2 * n; i < 0 {
		i += 2 * n
	}
	return min(i, 2*n-1-i)
}
