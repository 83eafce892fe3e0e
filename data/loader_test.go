package data

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"wgjepa/data/phantom"
	"wgjepa/data/transform"
)

func torsos(t testing.TB, n int) Dataset {
	d, _, err := Phantoms(phantom.Config{Size: 12, Noise: 0.3}, n, 1, Options{})
	require.NoError(t, err)
	return d
}

var crops = transform.Augment{Scale: [2]float64{0.5, 1}, Flip: []float64{0.5, 0.5, 0.5}}

func batch(t testing.TB, l *Loader, step int) []float32 {
	x := make([]float32, l.Len())
	require.NoError(t, l.Batch(step, x))
	return x
}

// TestPure: the batch of a step does not depend on what was asked before, on how many
// workers there are or how far ahead they read.
func TestPure(t *testing.T) {
	d := torsos(t, 23)
	opt := LoaderOptions{Batch: 4, Seed: 9, Augment: crops}
	want := map[int][]float32{}
	l, err := NewLoader(d, opt)
	require.NoError(t, err)
	defer l.Close()
	assert.Equal(t, 5, l.StepsPerEpoch())
	assert.Equal(t, 4*12*12*12, l.Len())
	for step := range 15 {
		want[step] = batch(t, l, step)
	}
	for _, step := range []int{14, 0, 3, 3, 4, 11, 2} { // back and forth on the same loader
		assert.Equal(t, want[step], batch(t, l, step), "step %d", step)
	}
	for _, o := range []LoaderOptions{{Workers: 1, Ahead: 1}, {Workers: 5, Ahead: 7}} {
		o.Batch, o.Seed, o.Augment = 4, 9, crops
		m, err := NewLoader(d, o)
		require.NoError(t, err)
		m.Prepare(7)
		m.Prepare(3)                       // it prepares already
		for step := 7; step < 13; step++ { // resumed in the middle
			assert.Equal(t, want[step], batch(t, m, step), "step %d", step)
		}
		m.Close()
	}
	opt.Seed = 10
	m, err := NewLoader(d, opt)
	require.NoError(t, err)
	defer m.Close()
	m.Prepare(6) // in vain
	assert.NotEqual(t, want[0], batch(t, m, 0))
	for step := 1; step < 15; step++ {
		assert.NotEqual(t, want[0], want[step])
	}
}

// TestEpochs: an epoch takes no sample twice, the last incomplete batch is dropped,
// epochs differ in order and in what they drop.
func TestEpochs(t *testing.T) {
	d := torsos(t, 10)
	indices := []int{1, 2, 3, 5, 8, 9, 0}
	l, err := NewLoader(d, LoaderOptions{Batch: 3, Seed: 1, Indices: indices})
	require.NoError(t, err)
	defer l.Close()
	require.Equal(t, 2, l.StepsPerEpoch())
	used, orders := map[int]int{}, map[string]bool{}
	for e := range 30 {
		epoch := slices.Concat(l.Samples(nil, 2*e), l.Samples(nil, 2*e+1))
		orders[fmt.Sprint(epoch)] = true
		slices.Sort(epoch)
		assert.Len(t, slices.Compact(epoch), 6)
		for _, i := range epoch {
			assert.Contains(t, indices, i)
			used[i]++
		}
	}
	assert.Greater(t, len(orders), 28)
	assert.Len(t, used, 7)
	for _, n := range used {
		assert.Less(t, n, 30, "each is dropped at times")
	}
	o, err := NewLoader(d, LoaderOptions{Batch: 3, Indices: indices, Ordered: true})
	require.NoError(t, err)
	defer o.Close()
	assert.Equal(t, []int{1, 2, 3}, o.Samples(nil, 0))
	assert.Equal(t, []int{5, 8, 9}, o.Samples(nil, 5))
	x, y := batch(t, o, 1), make([]float32, 12*12*12)
	for k, i := range []int{5, 8, 9} {
		require.NoError(t, d.Read(i, y))
		assert.Equal(t, y, x[k*len(y):(k+1)*len(y)])
	}
}

// TestAugmented: a sample of a batch is its data set's sample, drawn with (seed, step,
// sample) and normalised again.
func TestAugmented(t *testing.T) {
	d := torsos(t, 6)
	l, err := NewLoader(d, LoaderOptions{Batch: 2, Seed: 4, Augment: crops})
	require.NoError(t, err)
	defer l.Close()
	for _, step := range []int{0, 4} {
		x := batch(t, l, step)
		raw, want := make([]float32, 12*12*12), make([]float32, 12*12*12)
		for k, i := range l.Samples(nil, step) {
			require.NoError(t, d.Read(i, raw))
			crops.Draw(transform.Rand(4, uint64(step), uint64(i)), []int{12, 12, 12}).Apply(want, raw, 1, []int{12, 12, 12})
			transform.ZNormalize(want, 1, nil)
			assert.Equal(t, want, x[k*len(want):(k+1)*len(want)])
		}
	}
}

// TestAugmentedWhole: with every augmentation on, a batch is what Augmented gives, a second
// loader gives the same bits, steps differ, and values stay finite.
func TestAugmentedWhole(t *testing.T) {
	d := torsos(t, 6)
	all := transform.Augment{Scale: [2]float64{0.5, 1}, Flip: []float64{0.5, 0.5, 0.5}, Rotate: 0.5, Blur: [2]float64{0, 1}, Noise: [2]float64{0, 0.2}, Erase: [2]float64{0.02, 0.2}, Chance: 0.7}
	opt := LoaderOptions{Batch: 2, Seed: 4, Augment: all}
	l, err := NewLoader(d, opt)
	require.NoError(t, err)
	defer l.Close()
	opt.Workers = 1
	again, err := NewLoader(d, opt)
	require.NoError(t, err)
	defer again.Close()
	want := make([]float32, 12*12*12)
	for step := range 6 {
		x := batch(t, l, step)
		assert.Equal(t, x, batch(t, again, step))
		for k, i := range l.Samples(nil, step) {
			require.NoError(t, Augmented(d, all, 4, step, i, want))
			assert.Equal(t, want, x[k*len(want):(k+1)*len(want)])
			for _, v := range want {
				require.False(t, math.IsNaN(float64(v)) || math.IsInf(float64(v), 0))
			}
		}
	}
	a, b := slices.Clone(want), slices.Clone(want)
	require.NoError(t, Augmented(d, all, 4, 0, 1, a))
	require.NoError(t, Augmented(d, all, 4, 1, 1, b))
	assert.NotEqual(t, a, b)
}

// slow is a set that takes time, counts how many samples are being read, and fails on request.
type slow struct {
	Dataset
	delay time.Duration
	bad   int
}

func (s slow) Read(i int, dst []float32) error {
	time.Sleep(s.delay)
	if i == s.bad {
		return errors.New("data: scan_7.nii: cut short")
	}
	return s.Dataset.Read(i, dst)
}

// TestErrors: a sample that cannot be read names itself at its step, and only there.
func TestErrors(t *testing.T) {
	d := slow{torsos(t, 8), 0, 5}
	l, err := NewLoader(d, LoaderOptions{Batch: 2, Ordered: true})
	require.NoError(t, err)
	x := make([]float32, l.Len())
	require.NoError(t, l.Batch(1, x))
	assert.EqualError(t, l.Batch(2, x), "data: step 2: data: scan_7.nii: cut short")
	require.NoError(t, l.Batch(3, x))
	assert.Panics(t, func() { l.Batch(0, x[1:]) })
	assert.Panics(t, func() { l.Batch(-1, x) })
	l.Close()
	l.Close()
	assert.ErrorContains(t, l.Batch(0, x), "closed")
	for want, o := range map[string]LoaderOptions{
		"batch of 0":   {},
		"lower the":    {Batch: 9},
		"sample 8 of":  {Batch: 1, Indices: []int{8}},
		"-1 batches":   {Batch: 1, Ahead: -1},
		"-1 workers":   {Batch: 1, Workers: -1},
		"crop scale":   {Batch: 1, Augment: transform.Augment{Scale: [2]float64{2, 3}}},
		"probabilitie": {Batch: 1, Augment: transform.Augment{Flip: []float64{1}}},
	} {
		_, err := NewLoader(d, o)
		assert.ErrorContains(t, err, want)
	}
}

// TestOverlap: while the caller computes, the next batches are read; waiting is reported.
func TestOverlap(t *testing.T) {
	d := slow{torsos(t, 8), 4 * time.Millisecond, -1}
	l, err := NewLoader(d, LoaderOptions{Batch: 2, Workers: 2, Ahead: 2})
	require.NoError(t, err)
	defer l.Close()
	x := make([]float32, l.Len())
	require.NoError(t, l.Batch(0, x))
	first := l.Waited()
	assert.GreaterOrEqual(t, first, 3*time.Millisecond)
	for step := 1; step < 6; step++ {
		time.Sleep(60 * time.Millisecond) // computing, far longer than reading takes
		require.NoError(t, l.Batch(step, x))
	}
	assert.Less(t, l.Waited()-first, 30*time.Millisecond, "batches were ready")
}

// TestBounded: memory stays flat over 2000 steps, goroutines end with Close.
func TestBounded(t *testing.T) {
	before := runtime.NumGoroutine()
	l, err := NewLoader(torsos(t, 64), LoaderOptions{Batch: 8, Augment: crops})
	require.NoError(t, err)
	x := make([]float32, l.Len())
	var early, late runtime.MemStats
	for step := range 2000 {
		require.NoError(t, l.Batch(step, x))
		if step == 100 {
			runtime.GC()
			runtime.ReadMemStats(&early)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&late)
	assert.Less(t, int64(late.HeapAlloc)-int64(early.HeapAlloc), int64(256<<10))
	assert.LessOrEqual(t, len(l.free)+len(l.queue), l.opt.Ahead+1)
	l.Close()
	for i := 0; runtime.NumGoroutine() > before && i < 1000; i++ {
		time.Sleep(time.Millisecond)
	}
	assert.LessOrEqual(t, runtime.NumGoroutine(), before)
}

func BenchmarkLoader(b *testing.B) {
	d, _, err := Phantoms(phantom.Default(), 64, 1, Options{})
	require.NoError(b, err)
	l, err := NewLoader(d, LoaderOptions{Batch: 16, Augment: transform.Augment{Scale: [2]float64{0.5, 1}}})
	require.NoError(b, err)
	defer l.Close()
	x := make([]float32, l.Len())
	step := 0
	for b.Loop() {
		require.NoError(b, l.Batch(step, x))
		step++
	}
	b.ReportMetric(float64(16*step)/b.Elapsed().Seconds(), "volumes/s")
}
