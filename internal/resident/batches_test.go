package resident

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/data"
	"wgjepa/data/phantom"
	"wgjepa/data/transform"
	"wgjepa/gpu"
	"wgjepa/internal/testdata"
)

// array writes an array of samples, .npy, whose values are at(i) where an object is and 0
// around it.
func array(t *testing.T, at func(i int, r *rand.Rand) float64, shape ...int) string {
	n := 1
	for _, s := range shape {
		n *= s
	}
	r := rand.New(rand.NewPCG(3, 3))
	head := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': %s, }", "("+join(shape)+")")
	for (10+len(head)+1)%64 != 0 {
		head += " "
	}
	b := append([]byte("\x93NUMPY\x01\x00"), byte(len(head)+1), 0)
	b = append(append(b, head...), '\n')
	for i := range n {
		v := at(i, r)
		if i%shape[len(shape)-1] < 2 {
			v = 0
		}
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v)))
	}
	path := filepath.Join(t.TempDir(), "samples.npy")
	require.NoError(t, os.WriteFile(path, b, 0o600))
	return path
}

func join(shape []int) string {
	list := ""
	for _, n := range shape {
		list += fmt.Sprintf("%d, ", n)
	}
	return list
}

// source makes a data set for one normalisation.
type source struct {
	name    string
	real    bool
	element data.Element
	open    func(data.Normalization) (data.Dataset, error)
}

// sources are generated and, where they lie, real samples of every type, in two and three
// dimensions, of one channel and several, of equal and of unequal sides.
func sources(t *testing.T) []source {
	opened := func(path string, o data.Options) func(data.Normalization) (data.Dataset, error) {
		return func(n data.Normalization) (data.Dataset, error) {
			o.Normalize = n
			ds, _, err := data.Open([]string{path}, o)
			return ds, err
		}
	}
	wave := func(i int) float64 { return math.Sin(float64(i)/9) + math.Cos(float64(i)/31) }
	list := []source{
		{"torsos", false, data.Float32, func(n data.Normalization) (data.Dataset, error) {
			ds, _, err := data.Phantoms(phantom.Config{Size: 16, Noise: 0.05}, 5, 3, data.Options{Normalize: n})
			return ds, err
		}},
		{"bytes, 2 channels", false, data.Uint8, opened(array(t, func(i int, r *rand.Rand) float64 { return math.Round(120+50*wave(i)) + float64(r.IntN(20)) }, 5, 2, 9, 8, 7), data.Options{})},
		{"shorts", false, data.Int16, opened(array(t, func(i int, r *rand.Rand) float64 { return math.Round(1000*wave(i)) + float64(r.IntN(200)) }, 5, 12, 7, 12), data.Options{Dim: 3})},
		{"halves, 3 channels, pictures", false, data.Float16, opened(array(t, func(i int, r *rand.Rand) float64 { return math.Round(60*wave(i))/8 + float64(r.IntN(20))/16 }, 5, 3, 17, 17), data.Options{Dim: 2})},
		{"floats, pictures", false, data.Float32, opened(array(t, func(i int, r *rand.Rand) float64 { return 3e-9 * (wave(i) + 2 + 0.3*r.Float64()) }, 5, 33, 20), data.Options{Dim: 2})},
	}
	dir := testdata.Data.Path()
	if _, err := os.Stat(dir); err != nil {
		t.Logf("no real samples are used: %v", err)
		return list
	}
	return append(list,
		source{"hippocampus", true, data.Uint8, opened(filepath.Join(dir, "hippocampus", "images"), data.Options{Size: []int{24, 32, 24}, Reorient: true})},
		source{"hippocampus, resampled", true, data.Float32, opened(filepath.Join(dir, "hippocampus", "images"), data.Options{Size: []int{20, 24, 16}, Spacing: []float64{1.5, 1.5, 1.5}})},
		source{"adrenals", true, data.Uint8, opened(filepath.Join(dir, "medmnist3d", "adrenalmnist3d.npz"), data.Options{HeadersOnly: true})},
		source{"breasts", true, data.Uint8, opened(filepath.Join(dir, "medmnist2d", "breastmnist.npz"), data.Options{HeadersOnly: true})},
	)
}

// augmentations by name, for images of some axes.
func augmentations(axes int) map[string]transform.Augment {
	flips := []float64{0.5, 0.5, 0.5}[:axes]
	return map[string]transform.Augment{
		"nothing":    {},
		"crops":      {Scale: [2]float64{0.4, 1}},
		"turns":      {Flip: flips, Rotate: 0.8},
		"blur":       {Blur: [2]float64{0.3, 1.5}, Chance: 0.7},
		"noise":      {Noise: [2]float64{0.05, 0.5}, Chance: 0.7},
		"erasing":    {Erase: [2]float64{0.02, 0.3}, Chance: 0.7},
		"wide blur":  {Blur: [2]float64{6, 6}, Chance: 1},
		"everything": {Scale: [2]float64{0.4, 1}, Flip: flips, Rotate: 0.5, Blur: [2]float64{0.1, 1}, Noise: [2]float64{0.01, 0.3}, Erase: [2]float64{0.02, 0.2}, Chance: 0.6},
	}
}

// TestBatchesAreTheLoaders holds batches made on the device to those of the processor:
// every augmentation and normalisation, of every type of sample.
func TestBatchesAreTheLoaders(t *testing.T) {
	var bounds []float64
	for name, d := range devices(t) {
		for _, s := range sources(t) {
			for _, normalize := range []data.Normalization{data.NormalizeZ, data.NormalizeForeground, data.NormalizeRobust, data.NormalizeNone} {
				ds, err := s.open(normalize)
				require.NoError(t, err)
				_, size := ds.Shape()
				p, err := ds.(data.Packable).Packed(0)
				require.NoError(t, err)
				require.Equal(t, s.element, p.Element, s.name)
				for what, a := range augmentations(len(size)) {
					if (s.real || testing.Short()) && what != "nothing" && what != "everything" {
						continue
					}
					t.Run(fmt.Sprintf("%s/%s/%s/%s", name, s.name, normalize, what), func(t *testing.T) {
						bounds = append(bounds, compare(t, d, ds, a)...)
					})
				}
			}
		}
	}
	// Rounding can be much of what is left of a channel that a crop or a blur made nearly
	// constant: most must be held closely.
	slices.Sort(bounds)
	require.Less(t, bounds[len(bounds)/2], 1e-5)
	require.Less(t, bounds[len(bounds)*9/10], 1e-3)
	t.Logf("%d channels, half of them within %.2g, nine of ten within %.2g", len(bounds), bounds[len(bounds)/2], bounds[len(bounds)*9/10])
}

// compare returns the bounds that it held channels to.
func compare(t *testing.T, d *gpu.Device, ds data.Dataset, a transform.Augment) (bounds []float64) {
	const seed, batch, steps = 9, 3, 3
	ids := []int{0, 1, 2, 3, 4}
	loader, err := data.NewLoader(ds, data.LoaderOptions{Batch: batch, Seed: seed, Indices: ids, Augment: a})
	require.NoError(t, err)
	defer loader.Close()
	s, err := New(d, ds, loader, ids, a, seed, batch, 1<<30)
	require.NoError(t, err)
	defer s.release()
	sample := loader.Len() / batch
	x := d.Tensor("x", batch, sample)
	defer d.Release(x)
	want, got := make([]float32, x.Len()), make([]float32, x.Len())
	for step := range steps {
		require.NoError(t, loader.Batch(step, want))
		e := d.Begin()
		require.NoError(t, s.Record(e, step, x))
		require.NoError(t, e.Submit())
		require.NoError(t, d.Read(x, got))
		for b, id := range loader.Samples(nil, step) {
			bounds = append(bounds, withinRounding(t, ds, a, seed, step, id, want[b*sample:(b+1)*sample], got[b*sample:(b+1)*sample])...)
		}
	}
	return bounds
}

// withinRounding holds got to want, which the loader made: at most as far apart as values
// rounded to float32 on the way make them, each by a few units of the largest of its
// channel, that the second normalisation then divides.
func withinRounding(t *testing.T, ds data.Dataset, a transform.Augment, seed uint64, step, id int, want, got []float32) (bounds []float64) {
	channels, size := ds.Shape()
	raw, before := make([]float32, len(want)), make([]float32, len(want))
	p, err := ds.(data.Packable).Packed(id)
	require.NoError(t, err)
	stored, err := ds.ReadRaw(id, nil)
	require.NoError(t, err)
	largest := 0.0 // of what is stored
	for _, v := range stored {
		largest = max(largest, math.Abs(float64(v)))
	}
	require.NoError(t, ds.Read(id, raw))
	copy(before, raw)
	erased := false
	if a.Active() {
		r := transform.Rand(seed, uint64(step), uint64(id))
		geometry := a.Draw(r, size)
		intensity := a.DrawIntensity(r, size)
		erased = intensity.Box != transform.Box{}
		geometry.Apply(before, raw, channels, size)
		intensity.Apply(before, channels, size)
	}
	n := len(want) / channels
	for c := range channels {
		v := before[c*n : (c+1)*n]
		bound := 2 * gpu.Epsilon * largest / p.Rescale[c].Divisor // the first mean, rounded
		most := 0.0
		for _, x := range v {
			most = max(most, math.Abs(float64(x)))
		}
		bound += 24 * gpu.Epsilon * most
		near := 0.0 // what voxels move that count as foreground on one side alone
		if constant := slices.Max(v) == slices.Min(v); a.Active() && !constant {
			second := transform.Unscaled
			switch ds.(data.Packable).Normalization() {
			case data.NormalizeZ:
				second = transform.Standard(v, nil)
			case data.NormalizeForeground:
				second = transform.Foreground(v)
				near = foreground(v, bound, second)
			case data.NormalizeRobust:
				second = transform.Robust(v, data.RobustPercentiles, [2]float64{0, 1})
			}
			bound /= second.Divisor
		}
		worst, at := 0.0, 0
		for i := range n {
			w, g := float64(want[c*n+i]), float64(got[c*n+i])
			if diff := math.Abs(w-g) / (1 + math.Abs(w)); !(diff <= worst) {
				worst, at = diff, i
			}
		}
		require.LessOrEqual(t, worst, bound+near, "step %d, sample %d, channel %d, voxel %d is %g, the loader's %g (erased: %t)", step, id, c, at, got[c*n+at], want[c*n+at], erased)
		bounds = append(bounds, bound+near)
	}
	return bounds
}

// foreground bounds what the voxels within rounding of a channel's mean, which may count
// as foreground on one side alone, move the result.
func foreground(v []float32, rounding float64, r transform.Rescale) float64 {
	mean := transform.Standard(v, nil).Shift
	near, above := 0, 0
	for _, x := range v {
		if math.Abs(float64(x)-mean) <= rounding {
			near++
		}
		if float64(x) > mean {
			above++
		}
	}
	z := (mean - r.Shift) / r.Divisor
	return 2 * float64(near) * (1 + z*z) / float64(max(above, 1))
}

// BenchmarkBatch prepares batches of 16 with every augmentation, on the processor by the
// loader's goroutines and on the device.
func BenchmarkBatch(b *testing.B) {
	const batch = 16
	d, err := gpu.Open("")
	if err != nil {
		b.Skip("no adapter: ", err)
	}
	defer d.Close()
	for _, side := range []int{32, 64} {
		for _, normalize := range []data.Normalization{data.NormalizeZ, data.NormalizeForeground, data.NormalizeRobust} {
			a := augmentations(3)["everything"]
			ds, _, err := data.Phantoms(phantom.Config{Size: side, Noise: 0.35}, 2*batch, 1, data.Options{Normalize: normalize, Split: &data.SplitPlan{}})
			require.NoError(b, err)
			ids := ds.Split("train")
			loader, err := data.NewLoader(ds, data.LoaderOptions{Batch: batch, Indices: ids, Augment: a})
			require.NoError(b, err)
			defer loader.Close()
			x := make([]float32, loader.Len())
			require.NoError(b, loader.Batch(0, x)) // reads the samples
			require.NoError(b, loader.Batch(1, x))
			b.Run(fmt.Sprintf("%d/%s/loader", side, normalize), func(b *testing.B) {
				for step := 0; b.Loop(); step++ {
					require.NoError(b, loader.Batch(step, x))
				}
			})
			s, err := New(d, ds, loader, ids, a, 0, batch, 1<<30)
			require.NoError(b, err)
			defer s.release()
			t := d.Tensor("x", batch, len(x)/batch)
			defer d.Release(t)
			b.Run(fmt.Sprintf("%d/%s/device", side, normalize), func(b *testing.B) {
				for step := 0; b.Loop(); step++ {
					e := d.Begin()
					require.NoError(b, s.Record(e, step, t))
					require.NoError(b, e.Submit())
					require.NoError(b, d.Wait())
				}
			})
		}
	}
}
