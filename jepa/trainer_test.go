package jepa

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"wgjepa/gpu"
)

// tiny is a small 3-D configuration with every part switched on.
func tiny(t testing.TB) Config {
	c, err := Default("default")
	require.NoError(t, err)
	e := &c.Encoder
	e.ImgSize, e.PatchSize, e.InChans = []int{8, 8, 12}, []int{2, 2, 3}, 1
	e.EmbedDim, e.Depth, e.NumHeads, e.RegTokens = 12, 2, 2, 1
	c.PredictorEmbedDim, c.PredictorDepth = 12, 1
	c.BatchSize, c.MaxEpochs, c.MaxSteps, c.WarmupEpochs, c.LearningRate = 3, 1, 12, 0.1, 1e-2
	c.Seed = 7
	return c
}

// noise is a source of normal batches, a function of the step.
type noise struct{ seed uint64 }

func (n noise) Batch(step int, x []float32) error {
	r := rand.New(rand.NewPCG(n.seed, uint64(step)))
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return nil
}

// source is a source from a function.
type source func(step int, x []float32) error

func (f source) Batch(step int, x []float32) error { return f(step, x) }

func cpu(t testing.TB) *gpu.Device {
	d, err := gpu.Open("cpu")
	require.NoError(t, err)
	t.Cleanup(d.Close)
	return d
}

// centralDifference is the derivative of loss in element i of x, which holds
// value.
func centralDifference(d *gpu.Device, x gpu.Tensor, value []float64, i int, loss func() float64) float64 {
	const h = 1e-5
	at := value[i]
	with := func(v float64) float64 {
		value[i] = v
		d.WriteFloat64(x, value)
		return loss()
	}
	up, down := with(at+h), with(at-h)
	value[i] = at
	d.WriteFloat64(x, value)
	return (up - down) / (2 * h)
}

// TestGradient holds the gradient of the whole loss, anti-collapse terms and
// stochastic depth included, to central differences.
func TestGradient(t *testing.T) {
	c := tiny(t)
	c.Encoder.DropPathRate, c.Encoder.QKNorm, c.Encoder.PreNorm = 0.4, true, true
	c.RegularizeTokens = Regularizer{Variance: 0.7, Covariance: 0.3, SIGReg: 0.05}
	c.RegularizePooled = Regularizer{Variance: 0.2, Covariance: 0.4, SIGReg: 0.06}
	d := cpu(t)
	tr, err := New(d, c, 4)
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range tr.networks() { // away from the initial point, where some gradients vanish
		for _, p := range n.arena.Params {
			v := make([]float64, p.Len())
			require.NoError(t, d.ReadFloat64(p.Value, v))
			for i := range v {
				v[i] += 0.1 * r.NormFloat64()
			}
			d.WriteFloat64(p.Value, v)
		}
	}
	x := make([]float32, tr.x.Len())
	require.NoError(t, noise{3}.Batch(0, x))
	require.NoError(t, tr.masks.Sample(&tr.m, c.Seed, 0, c.BatchSize))
	tr.context.DrawStochasticDepth(c.Seed, 0, c.BatchSize)

	loss := func() float64 {
		tr.upload(x, &tr.m)
		e := d.Begin()
		tr.forward(e, &tr.m, slotLoss)
		tr.backward(e)
		require.NoError(t, e.Submit())
		s := make([]float64, slots*gpu.Align)
		require.NoError(t, d.ReadFloat64(tr.scalars, s))
		sum := s[gpu.Align*slotLoss]
		for _, terms := range []struct {
			r    Regularizer
			slot int
		}{{c.RegularizeTokens, slotTokens}, {c.RegularizePooled, slotPooled}} {
			sum += terms.r.Variance*s[gpu.Align*terms.slot] + terms.r.Covariance*s[gpu.Align*terms.slot+1] + terms.r.SIGReg*s[gpu.Align*(terms.slot+1)]
		}
		return sum
	}
	zero := func() {
		e := d.Begin()
		e.Fill(tr.contextWeights.Grads, 0)
		e.Fill(tr.predictorWeights.Grads, 0)
		require.NoError(t, e.Submit())
	}
	loss()
	for _, n := range tr.networks() {
		for _, p := range n.arena.Params {
			if p.Grad.IsNil() {
				continue
			}
			zero()
			loss()
			grad, value := make([]float64, p.Len()), make([]float64, p.Len())
			require.NoError(t, d.ReadFloat64(p.Grad, grad))
			require.NoError(t, d.ReadFloat64(p.Value, value))
			scale := 1e-6
			for _, g := range grad {
				scale = math.Max(scale, math.Abs(g))
			}
			for range 2 {
				i := r.IntN(p.Len())
				// Central differences err by h²/6 of the third derivative and 1e-16/h.
				assert.InDelta(t, centralDifference(d, p.Value, value, i, loss), grad[i], 1e-6*math.Max(1, scale), "%s.%s[%d]", n.name, p.Name, i)
			}
		}
	}
}

// weights reads all trained and target weights.
func weights(t testing.TB, tr *Trainer) []float32 {
	var all []float32
	for _, n := range tr.networks() {
		v := make([]float32, n.arena.Values.Len())
		require.NoError(t, tr.device.Read(n.arena.Values, v))
		all = append(all, v...)
	}
	return all
}

func TestSameSeedSameBits(t *testing.T) {
	devices(t, func(t *testing.T, d *gpu.Device) {
		run := func(seed uint64) []float32 {
			c := tiny(t)
			c.Seed = seed
			tr, err := New(d, c, 4)
			require.NoError(t, err)
			require.NoError(t, tr.Run(context.Background(), noise{5}, RunOptions{}))
			return weights(t, tr)
		}
		a := run(1)
		assert.Equal(t, a, run(1))
		assert.NotEqual(t, a, run(2))
	})
}

// TestResume stops a run at every update and continues it in a new trainer.
func TestResume(t *testing.T) {
	for _, name := range []string{"adamW", "adam", "sgd", "nidl"} {
		t.Run(name, func(t *testing.T) {
			c := tiny(t)
			c.AccumulateGradBatches, c.MaxSteps, c.Encoder.DropPathRate = 2, 5, 0.3
			if name == "nidl" { // whose target encoder moves with every batch
				c.Preset, c.Encoder.PosOrder = name, name
			} else {
				c.Optimizer, c.RegularizePooled.SIGReg = name, 0.02
			}
			switch name {
			case "adam":
				c.AMSGrad = true
			case "sgd":
				c.Momentum = 0.9
			}
			d := cpu(t)
			whole, err := New(d, c, 3)
			require.NoError(t, err)
			require.NoError(t, whole.Run(context.Background(), noise{5}, RunOptions{}))
			want := weights(t, whole)

			dir := t.TempDir()
			o := RunOptions{Dir: dir, Fingerprint: "noise"}
			for stop := 1; stop < c.MaxSteps; stop++ {
				tr, err := New(d, c, 3)
				require.NoError(t, err)
				if stop > 1 {
					f, note, err := OpenState(filepath.Join(dir, StateFile))
					require.NoError(t, err)
					require.Empty(t, note)
					require.NoError(t, tr.Load(f, "noise"))
					f.Close()
				}
				// After the update it is told in the middle of the next one, which is
				// given up.
				ctx, cancel := context.WithCancel(context.Background())
				err = tr.Run(ctx, source(func(step int, x []float32) error {
					if step == 2*stop {
						cancel()
					}
					return noise{5}.Batch(step, x)
				}), o)
				require.ErrorIs(t, err, ErrInterrupted)
				require.Equal(t, stop, tr.Updates())
				require.Equal(t, 2*stop, tr.Steps())
			}
			tr, err := New(d, c, 3)
			require.NoError(t, err)
			f, _, err := OpenState(filepath.Join(dir, StateFile))
			require.NoError(t, err)
			defer f.Close()
			require.NoError(t, tr.Load(f, "noise"))
			require.NoError(t, tr.Run(context.Background(), noise{5}, o))
			require.Equal(t, want, weights(t, tr))
		})
	}
}

func TestLoadRefusesAnotherRun(t *testing.T) {
	d := cpu(t)
	tr, err := New(d, tiny(t), 4)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), StateFile)
	require.NoError(t, tr.Save(path, "data A"))
	open := func(c Config, stepsPerEpoch int, data string) error {
		f, _, err := OpenState(path)
		require.NoError(t, err)
		defer f.Close()
		other, err := New(d, c, stepsPerEpoch)
		require.NoError(t, err)
		before := weights(t, other)
		err = other.Load(f, data)
		require.Equal(t, before, weights(t, other), "a refused checkpoint changes nothing")
		return err
	}
	c := tiny(t)
	c.LearningRate *= 2
	err = open(c, 4, "data A")
	require.ErrorIs(t, err, ErrOtherRun)
	require.ErrorContains(t, err, "learning_rate = 0.01")
	require.ErrorIs(t, open(tiny(t), 4, "data B"), ErrOtherRun)
	require.ErrorIs(t, open(tiny(t), 5, "data A"), ErrOtherRun)
	_, _, err = OpenState(filepath.Join(t.TempDir(), StateFile))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestFeatures(t *testing.T) {
	d := cpu(t)
	c := tiny(t)
	tr, err := New(d, c, 4)
	require.NoError(t, err)
	require.NoError(t, tr.Run(context.Background(), noise{5}, RunOptions{}))
	dir := t.TempDir()
	require.NoError(t, tr.Export(filepath.Join(dir, WeightsFile)))
	f, _, err := OpenState(filepath.Join(dir, WeightsFile))
	require.NoError(t, err)
	defer f.Close()
	x := make([]float32, tr.x.Len())
	require.NoError(t, noise{9}.Batch(0, x))
	D, P := c.Encoder.EmbedDim, c.Encoder.Patches()
	for i, name := range []string{ContextEncoder, TargetEncoder} {
		loaded, err := LoadFeatures(d, f, name, 2)
		require.NoError(t, err)
		own, other := make([]float32, 2*P*D), make([]float32, 2*P*D)
		require.NoError(t, tr.Features(i == 1).Tokens(x, 2, own))
		require.NoError(t, loaded.Tokens(x, 2, other))
		require.InDeltaSlice(t, own, other, 1e-5) // the file holds float32, the trainer float64
		pooled := make([]float32, D)
		require.NoError(t, loaded.Pooled(x, 1, pooled))
		for j := range D {
			sum := 0.0
			for p := range P {
				sum += float64(other[p*D+j])
			}
			require.InDelta(t, sum/float64(P), pooled[j], 1e-5)
		}
	}
	untrained, err := UntrainedFeatures(d, c, 2)
	require.NoError(t, err)
	fresh, err := New(d, c, 4)
	require.NoError(t, err)
	a, b := make([]float32, 2*D), make([]float32, 2*D)
	require.NoError(t, untrained.Pooled(x, 2, a))
	require.NoError(t, fresh.Features(false).Pooled(x, 2, b))
	require.Equal(t, b, a)
}

// TestValidateLeavesTrainingAlone trains with and without validation between.
func TestValidateLeavesTrainingAlone(t *testing.T) {
	d := cpu(t)
	run := func(validate bool) []float32 {
		c := tiny(t)
		c.Encoder.DropPathRate = 0.3
		tr, err := New(d, c, 4)
		require.NoError(t, err)
		x := make([]float32, tr.x.Len())
		require.NoError(t, noise{1}.Batch(0, x))
		require.NoError(t, tr.Run(context.Background(), noise{5}, RunOptions{OnUpdate: func(int) error {
			if !validate {
				return nil
			}
			before, err := tr.Stats()
			require.NoError(t, err)
			a, err := tr.Validate(x, 3)
			require.NoError(t, err)
			b, err := tr.Validate(x, 3)
			require.NoError(t, err)
			require.Equal(t, a, b)
			require.NotZero(t, a)
			after, err := tr.Stats()
			require.Equal(t, before, after)
			return err
		}}))
		return weights(t, tr)
	}
	require.Equal(t, run(false), run(true))
}

// bad is a source that gives one NaN from step 3 on.
type bad struct{ noise }

func (b bad) Batch(step int, x []float32) error {
	if step >= 3 {
		x[5] = float32(math.NaN())
		return nil
	}
	return b.noise.Batch(step, x)
}

func TestNaNEndsTheRunWithAName(t *testing.T) {
	d := cpu(t)
	tr, err := New(d, tiny(t), 4)
	require.NoError(t, err)
	dir := t.TempDir()
	err = tr.Run(context.Background(), bad{noise{1}}, RunOptions{Dir: dir, CheckpointEvery: 1})
	require.ErrorContains(t, err, "the input batch")
	require.ErrorContains(t, err, "the checkpoint of update 3")
	f, _, err := OpenState(filepath.Join(dir, StateFile))
	require.NoError(t, err)
	defer f.Close()
	v, _, err := f.Float64s("context_encoder.norm.weight")
	require.NoError(t, err)
	for _, x := range v {
		require.False(t, math.IsNaN(x))
	}
}

func TestAlarm(t *testing.T) {
	var a Alarm
	require.Empty(t, a.Watch(Stats{Loss: 0.4, FeatureStd: 1}))
	require.Empty(t, a.Watch(Stats{Loss: 0.2, FeatureStd: 0.5}))
	require.Contains(t, a.Watch(Stats{Loss: 0.01, FeatureStd: 0.01}), "collapsing")
	require.Empty(t, a.Watch(Stats{Loss: 0.01, FeatureStd: 0.01}), "told once")
	require.Contains(t, a.Watch(Stats{Loss: 3, FeatureStd: 1}), "diverging")
}

// TestStepLoopIsFlat asserts that nothing is allocated once the first steps
// have sized everything: neither device memory nor the heap.
func TestStepLoopIsFlat(t *testing.T) {
	d, err := gpu.Open("")
	if err != nil {
		t.Skip("no adapter: ", err)
	}
	defer d.Close()
	c := tiny(t)
	c.MaxSteps = 1 << 20
	c.Encoder.Depth = 1 // one block of each kind says all
	c.RegularizePooled.SIGReg = 0.02
	tr, err := New(d, c, 4)
	require.NoError(t, err)
	x := make([]float32, tr.x.Len())
	require.NoError(t, noise{1}.Batch(0, x))
	step := func(n int) {
		for i := range n {
			require.NoError(t, tr.Step(x))
			if i%10 == 9 {
				_, err := tr.Stats()
				require.NoError(t, err)
			}
		}
	}
	step(10)
	memory := func() (heap uint64, device uint64) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc, d.Allocated()
	}
	heap, device := memory()
	steps := 2000
	if testing.Short() {
		steps = 200
	}
	step(steps)
	heapAfter, deviceAfter := memory()
	require.Equal(t, device, deviceAfter)
	require.Less(t, float64(heapAfter)-float64(heap), 256e3, "bytes of heap after %d steps", steps)
}

func TestEstimateIsWhatIsAllocated(t *testing.T) {
	d := cpu(t)
	before := d.Allocated()
	tr, err := New(d, tiny(t), 4)
	require.NoError(t, err)
	x := make([]float32, tr.x.Len())
	require.NoError(t, tr.Step(x))
	dry := gpu.Estimate(d.Info())
	guess, err := New(dry, tiny(t), 4)
	require.NoError(t, err)
	require.NoError(t, guess.Step(x))
	require.Equal(t, d.Allocated()-before, dry.Allocated())
}

// TestUnsaved: a run whose files cannot be written goes on where that is wanted.
func TestUnsaved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "no folder")
	tr, err := New(cpu(t), tiny(t), 4)
	require.NoError(t, err)
	require.ErrorIs(t, tr.Run(context.Background(), noise{5}, RunOptions{Dir: dir, CheckpointEvery: 5}), fs.ErrNotExist)
	require.Equal(t, 5, tr.Updates())
	told := 0
	require.NoError(t, tr.Run(context.Background(), noise{5}, RunOptions{Dir: dir, CheckpointEvery: 5, OnUnsaved: func(err error) error {
		require.ErrorIs(t, err, fs.ErrNotExist)
		told++
		return nil
	}}))
	require.Equal(t, 12, tr.Updates())
	require.Equal(t, 3, told) // after updates 10 and 12, and the weights
}

func TestInterruptedWithoutFolder(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	tr, err := New(cpu(t), tiny(t), 4)
	require.NoError(t, err)
	require.True(t, errors.Is(tr.Run(ctx, noise{1}, RunOptions{}), ErrInterrupted))
}
