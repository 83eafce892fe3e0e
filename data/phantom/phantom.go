// Package phantom generates small 3-D "torsos" with known anatomy, data to train and test on anywhere.
//
// A body holds four organs that look alike (same brightness, same texture, nearly
// the same shape) and a brighter spine. What tells the organs apart is where they
// lie relative to the spine and to each other, so a model has to learn position in
// the body, while the body's pose, size, brightness and noise vary from sample to
// sample. In every torso exactly one of the four organs is shrunk: which one is the
// label of the volume; which organ a voxel belongs to is the label of the voxel.
//
// A torso is a pure function of (seed, index): the same arguments give the same bits.
package phantom

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"wgjepa/data/volume"
	"wgjepa/internal/atomicfile"
)

// Classes names the label of a volume: the organ that is shrunk.
var Classes = []string{"left-anterior", "left-posterior", "right-anterior", "right-posterior"}

// Tissues names the labels of voxels.
var Tissues = []string{"background", "left-anterior", "left-posterior", "right-anterior", "right-posterior", "spine"}

// organ is an ellipsoid in body coordinates, in which the volume spans −1 to 1 on
// each axis: x to the right, y to the front, z up.
type organ struct{ centre, radius [3]float64 }

var organs = [5]organ{
	{[3]float64{-0.35, 0.30, 0.05}, [3]float64{0.325, 0.25, 0.30}},
	{[3]float64{-0.35, -0.30, 0.05}, [3]float64{0.30, 0.25, 0.30}},
	{[3]float64{0.35, 0.30, 0.05}, [3]float64{0.325, 0.25, 0.30}},
	{[3]float64{0.35, -0.30, 0.05}, [3]float64{0.30, 0.25, 0.30}},
	{[3]float64{0, 0, -0.10}, [3]float64{0.20, 0.20, 0.70}}, // spine
}

// Brightness before the sample's own scale and offset.
const (
	bodyBrightness  = 0.30
	organBrightness = 0.75
	spineBrightness = 1.00
	shrunk          = 0.50 // radius of the abnormal organ, relative
)

var bodyRadius = [3]float64{0.85, 0.70, 0.95}

// Config describes the torsos; [Default] is what the demo uses.
type Config struct {
	Size  int     // voxels along each axis, at least 8
	Noise float64 // strength of noise and texture; organs stand out of the body by 0.45
}

// Default returns 32³ voxels with noise 0.35.
func Default() Config { return Config{Size: 32, Noise: 0.35} }

// Validate says what is wrong with a configuration.
func (c Config) Validate() error {
	if c.Size < 8 || c.Size > 512 {
		return fmt.Errorf("phantom: size %d must be 8 to 512", c.Size)
	}
	if !(c.Noise >= 0) || math.IsInf(c.Noise, 0) {
		return fmt.Errorf("phantom: noise %g must not be negative", c.Noise)
	}
	return nil
}

// Len returns the number of voxels of a torso.
func (c Config) Len() int { return c.Size * c.Size * c.Size }

// Class returns the volume label of torso index without drawing the torso.
func (c Config) Class(seed, index uint64) int {
	return rand.New(rand.NewPCG(seed, index)).IntN(len(Classes))
}

// Generate draws torso index of the series seed: image and labels are (S, S, S)
// row-major and have [Config.Len] elements. It returns the volume's class.
func (c Config) Generate(seed, index uint64, image []float32, labels []uint8) int {
	S := c.Size
	if len(image) != c.Len() || len(labels) != c.Len() {
		panic(fmt.Sprintf("phantom: Generate: %d voxels and %d labels for size %d", len(image), len(labels), S))
	}
	r := rand.New(rand.NewPCG(seed, index))
	uniform := func(low, high float64) float64 { return low + r.Float64()*(high-low) }
	class := r.IntN(len(Classes))

	R := rotation(uniform(-0.25, 0.25), uniform(-0.25, 0.25), uniform(-0.25, 0.25))
	// So far that a place in the volume says nothing: only the place in the body does.
	shift := [3]float64{uniform(-0.3, 0.3), uniform(-0.3, 0.3), uniform(-0.3, 0.3)}
	size := uniform(0.85, 1.10)
	body := organs
	for k := range body {
		f := 1.0
		if k == class {
			f = shrunk
		}
		for a := range 3 {
			body[k].centre[a] += uniform(-0.05, 0.05)
			body[k].radius[a] *= f * uniform(0.9, 1.1)
		}
	}
	gain, offset := uniform(0.6, 1.6), uniform(-0.3, 0.3)

	texture := smooth(r, S)
	axis := make([]float64, S)
	for i := range axis {
		axis[i] = (float64(i) - float64(S)/2 + 0.5) / (float64(S) / 2)
	}
	o := 0
	for x := range S {
		for y := range S {
			for z := range S {
				g := [3]float64{axis[x] - shift[0], axis[y] - shift[1], axis[z] - shift[2]}
				var q [3]float64 // in body coordinates
				for a := range 3 {
					q[a] = (g[0]*R[0][a] + g[1]*R[1][a] + g[2]*R[2][a]) / size
				}
				v, label := 0.0, uint8(0)
				if inside(q, organ{radius: bodyRadius}) {
					v = bodyBrightness
				}
				for k, b := range body {
					if inside(q, b) {
						v, label = organBrightness, uint8(k+1)
						if k == len(body)-1 {
							v = spineBrightness
						}
					}
				}
				v += c.Noise * (0.45*texture[o] + 0.35*r.NormFloat64())
				image[o], labels[o] = float32(v*gain+offset), label
				o++
			}
		}
	}
	return class
}

// inside reports whether point q lies in the ellipsoid.
func inside(q [3]float64, e organ) bool {
	s := 0.0
	for a := range 3 {
		d := (q[a] - e.centre[a]) / e.radius[a]
		s += d * d
	}
	return s < 1
}

// rotation is Rz(a)·Ry(b)·Rx(c).
func rotation(a, b, c float64) [3][3]float64 {
	sa, ca := math.Sincos(a)
	sb, cb := math.Sincos(b)
	sc, cc := math.Sincos(c)
	return [3][3]float64{
		{ca * cb, -sa*cc + ca*sb*sc, sa*sc + ca*sb*cc},
		{sa * cb, ca*cc + sa*sb*sc, -ca*sc + sa*sb*cc},
		{-sb, cb * sc, cb * cc},
	}
}

// smooth returns S³ normal noise blurred by a Gaussian of one voxel, edges reflected.
func smooth(r *rand.Rand, S int) []float64 {
	const radius = 4
	var kernel [2*radius + 1]float64
	sum := 0.0
	for k := -radius; k <= radius; k++ {
		w := 1.0
		for range k * k { // exp(−k²/2) by products, the same bits on every machine
			w *= 0.6065306597126334
		}
		kernel[k+radius] = w
		sum += w
	}
	v, out := make([]float64, S*S*S), make([]float64, S*S*S)
	for i := range v {
		v[i] = r.NormFloat64()
	}
	reflect := func(i int) int {
		if i < 0 {
			i = -1 - i
		}
		if i >= S {
			i = 2*S - 1 - i
		}
		return i
	}
	for _, stride := range []int{1, S, S * S} {
		for i := range v {
			p := i / stride % S
			line := i - p*stride
			s := 0.0
			for k, w := range kernel {
				s += w * v[line+reflect(p+k-radius)*stride]
			}
			out[i] = s / sum
		}
		v, out = out, v
	}
	return v
}

// Affine is 1 mm a voxel with the origin in the centre.
func (c Config) Affine() [4][4]float64 {
	o := -float64(c.Size-1) / 2
	return [4][4]float64{{1, 0, 0, o}, {0, 1, 0, o}, {0, 0, 1, o}, {0, 0, 0, 1}}
}

// Name is the file name of torso index.
func Name(index int) string { return fmt.Sprintf("phantom_%04d.nii.gz", index) }

// Write writes torsos 0 to count−1 of the series seed as NIfTI files:
// dir/images/*.nii.gz (float32), dir/labels/*.nii.gz (uint8, see [Tissues]) and
// dir/labels.csv (file, label: one of [Classes]).
func (c Config) Write(dir string, count int, seed uint64) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if count < 1 {
		return fmt.Errorf("phantom: %d torsos; at least one is needed", count)
	}
	images, labels := filepath.Join(dir, "images"), filepath.Join(dir, "labels")
	for _, d := range []string{images, labels} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("phantom: %w", err)
		}
	}
	classes, errs := make([]int, count), make([]error, count)
	var todo sync.WaitGroup
	var failed atomic.Bool
	next := make(chan int)
	for range min(count, runtime.GOMAXPROCS(0)) {
		todo.Go(func() {
			image, tissue := make([]float32, c.Len()), make([]uint8, c.Len())
			size := [3]int{c.Size, c.Size, c.Size}
			for i := range next {
				if failed.Load() {
					continue
				}
				classes[i] = c.Generate(seed, uint64(i), image, tissue)
				errs[i] = errors.Join(
					volume.WriteFile(filepath.Join(images, Name(i)), size, c.Affine(), image),
					volume.WriteFile(filepath.Join(labels, Name(i)), size, c.Affine(), tissue))
				if errs[i] != nil {
					failed.Store(true) // a full disk stays full
				}
			}
		})
	}
	for i := range count {
		next <- i
	}
	close(next)
	todo.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return writeTable(filepath.Join(dir, "labels.csv"), classes)
}

func writeTable(name string, classes []int) error {
	rows := [][]string{{"file", "label"}}
	for i, class := range classes {
		rows = append(rows, []string{Name(i), Classes[class]})
	}
	err := atomicfile.Write(name, func(w io.Writer) error { return csv.NewWriter(w).WriteAll(rows) })
	if err != nil {
		return fmt.Errorf("phantom: writing %s: %w", name, err)
	}
	return nil
}
