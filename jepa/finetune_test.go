package jepa

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"wgjepa/gpu"
)

// bright is a source of noise whose classes differ in their mean.
type bright struct{ seed uint64 }

func (s bright) LabelledBatch(step int, b *Batch) error {
	r := rand.New(rand.NewPCG(s.seed, uint64(step)))
	n := len(b.X) / len(b.Class)
	for i := range b.Class {
		b.Class[i] = uint32(r.IntN(2))
		b.Target[i] = float32(b.Class[i]) - 0.5
		for j := range n {
			b.X[i*n+j] = float32(r.NormFloat64()) + 2*b.Target[i]
		}
	}
	return nil
}

// finetuner of the tiny encoder as it is before training.
func finetuner(t *testing.T, d *gpu.Device, c Finetune, weights []float64) *Finetuner {
	t.Helper()
	base := tiny(t)
	from, err := UntrainedFeatures(d, base, 1)
	require.NoError(t, err)
	f, err := NewFinetuner(d, c, from, weights, 4, 7)
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(1, 1))
	w, b := make([]float64, f.Outputs*f.Encoder.EmbedDim), make([]float64, f.Outputs)
	for i := range w {
		w[i] = 0.3 * r.NormFloat64()
	}
	require.NoError(t, f.SetHead(w, b))
	return f
}

func quick() Finetune {
	c := DefaultFinetune()
	c.Epochs, c.BatchSize, c.WarmupEpochs, c.Patience = 3, 4, 1, 0
	return c
}

// TestFinetuneGradients holds what Update gets against central differences of
// the loss, in float64.
func TestFinetuneGradients(t *testing.T) {
	for _, weights := range [][]float64{nil, {0.5, 2}} {
		t.Run(fmt.Sprint(len(weights), " classes"), func(t *testing.T) {
			d := cpu(t)
			c := quick()
			c.LabelSmoothing = 0.1
			f := finetuner(t, d, c, weights)
			b := &Batch{X: make([]float32, f.x.Len()), Class: make([]uint32, 4), Target: make([]float32, 4)}
			require.NoError(t, bright{3}.LabelledBatch(0, b))
			d.Write(f.x, b.X)
			d.WriteIndices(f.label, b.Class)
			d.Write(f.target, b.Target)
			loss := func() float64 {
				e := d.Begin()
				f.gradients(e, 5)
				require.NoError(t, e.Submit())
				v := []float64{0}
				require.NoError(t, d.ReadFloat64(f.scalar(finetuneLoss), v))
				return v[0]
			}
			zero := func() {
				e := d.Begin()
				e.Fill(f.weights.Grads, 0)
				e.Fill(f.head.Grads, 0)
				require.NoError(t, e.Submit())
			}
			for _, name := range []string{"head.weight", "head.bias", "norm.weight", "blocks.0.mlp.fc1.weight", "blocks.1.attn.qkv.bias", "patch_embed.proj.weight"} {
				p := f.head.Find(name)
				if p == nil {
					p = f.weights.Find(name)
				}
				require.NotNil(t, p, name)
				zero()
				loss()
				grad, value := make([]float64, p.Len()), make([]float64, p.Len())
				require.NoError(t, d.ReadFloat64(p.Grad, grad))
				require.NoError(t, d.ReadFloat64(p.Value, value))
				for _, i := range []int{0, p.Len() / 2, p.Len() - 1} {
					require.InDelta(t, centralDifference(d, p.Value, value, i, loss), grad[i], 1e-7+1e-5*math.Abs(grad[i]), "%s[%d]", name, i)
				}
			}
		})
	}
}

func TestFinetuneLearns(t *testing.T) {
	for _, headOnly := range []bool{false, true} {
		d := cpu(t)
		c := quick()
		c.HeadOnly, c.Epochs, c.LearningRate = headOnly, 15, 5e-3
		if headOnly {
			c.LearningRate = 0.1
		}
		f := finetuner(t, d, c, []float64{1, 1})
		before := make([]float64, f.weights.Values.Len())
		require.NoError(t, d.ReadFloat64(f.weights.Values, before))
		accuracy := func() float64 {
			right := 0
			b := &Batch{X: make([]float32, f.x.Len()), Class: make([]uint32, 4), Target: make([]float32, 4)}
			y := make([]float32, 8)
			for step := range 10 {
				require.NoError(t, bright{99}.LabelledBatch(step, b))
				require.NoError(t, f.Predict(b.X, 4, y))
				for i, k := range b.Class {
					if (y[2*i+1] > y[2*i]) == (k == 1) {
						right++
					}
				}
			}
			return float64(right) / 40
		}
		var losses []float64
		require.NoError(t, f.Run(context.Background(), bright{5}, FinetuneOptions{
			Validate: func() (float64, error) { return 1 - accuracy(), nil },
			OnEpoch:  func(s FinetuneStats, v float64, best bool) { losses = append(losses, v) },
		}))
		require.Len(t, losses, 16)
		require.Equal(t, f.Best(), 1-accuracy(), "the best weights are what remains")
		require.Greater(t, accuracy(), 0.85)
		after := make([]float64, len(before))
		require.NoError(t, d.ReadFloat64(f.weights.Values, after))
		if headOnly {
			require.Equal(t, before, after)
		} else {
			require.NotEqual(t, before, after)
		}
	}
}

// TestFinetuneResumes stops a training in the middle of an epoch.
func TestFinetuneResumes(t *testing.T) {
	d := cpu(t)
	values := func(f *Finetuner) []float64 {
		v := make([]float64, f.weights.Values.Len())
		require.NoError(t, d.ReadFloat64(f.weights.Values, v))
		w := make([]float64, f.head.Values.Len())
		require.NoError(t, d.ReadFloat64(f.head.Values, w))
		return append(v, w...)
	}
	c := quick()
	c.DropPathRate = 0.2
	dir := t.TempDir()
	options := func() FinetuneOptions {
		n := 0.0
		return FinetuneOptions{Dir: dir, Data: "noise", Validate: func() (float64, error) { n++; return -n, nil }}
	}
	whole := finetuner(t, d, c, []float64{1, 2})
	require.NoError(t, whole.Run(context.Background(), bright{5}, options()))

	ctx, cancel := context.WithCancel(context.Background())
	first := finetuner(t, d, c, []float64{1, 2})
	o := options()
	o.OnStep = func(step int) error {
		if step == 6 {
			cancel()
		}
		return nil
	}
	require.ErrorIs(t, first.Run(ctx, bright{5}, o), ErrInterrupted)
	f, _, err := OpenState(filepath.Join(dir, StateFile))
	require.NoError(t, err)
	defer f.Close()
	second := finetuner(t, d, c, []float64{1, 2})
	require.ErrorIs(t, second.Load(f, "other"), ErrOtherRun)
	require.NoError(t, second.Load(f, "noise"))
	require.Equal(t, 6, second.Steps())
	o = options()
	n := 10.0 // as far as the whole run was: later is better
	o.Validate = func() (float64, error) { n++; return -n, nil }
	require.NoError(t, second.Run(context.Background(), bright{5}, o))
	require.Equal(t, values(whole), values(second))
}

// TestFinetuneHeadAlone: a frozen encoder is that of the probe, whatever depth is to
// be dropped in training.
func TestFinetuneHeadAlone(t *testing.T) {
	run := func(drop float64) (losses []float64) {
		c := quick()
		c.HeadOnly, c.DropPathRate, c.Epochs = true, drop, 2
		f := finetuner(t, cpu(t), c, nil)
		y := make([]float32, 1)
		require.NoError(t, f.Run(context.Background(), bright{5}, FinetuneOptions{Validate: func() (float64, error) {
			b := &Batch{X: make([]float32, f.x.Len()), Class: make([]uint32, c.BatchSize), Target: make([]float32, c.BatchSize)}
			require.NoError(t, bright{5}.LabelledBatch(99, b))
			require.NoError(t, f.Predict(b.X[:len(b.X)/c.BatchSize], 1, y))
			losses = append(losses, math.Abs(float64(y[0]-b.Target[0])))
			return losses[len(losses)-1], nil
		}}))
		return losses
	}
	require.Equal(t, run(0), run(0.5))
}

// TestFinetuneResumesFromTheStart: what was ended in the first epoch does not judge
// the start again, which would cost it patience.
func TestFinetuneResumesFromTheStart(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	judged := 0
	o := FinetuneOptions{Dir: dir, Data: "noise", Validate: func() (float64, error) {
		if judged++; judged == 1 {
			cancel()
		}
		return 1, nil // never better than the start
	}}
	c := quick()
	c.Patience = 2
	require.ErrorIs(t, finetuner(t, cpu(t), c, nil).Run(ctx, bright{5}, o), ErrInterrupted)
	file, _, err := OpenState(filepath.Join(dir, StateFile))
	require.NoError(t, err)
	defer file.Close()
	f := finetuner(t, cpu(t), c, nil)
	require.NoError(t, f.Load(file, "noise"))
	require.Zero(t, f.Steps())
	require.NoError(t, f.Run(context.Background(), bright{5}, o))
	require.Equal(t, 2*4, f.Steps())
	require.Equal(t, 3, judged)
}

func TestFinetuneNotFinite(t *testing.T) {
	for _, loss := range []float64{math.NaN(), math.Inf(1)} {
		err := finetuner(t, cpu(t), quick(), nil).Run(context.Background(), bright{5}, FinetuneOptions{Validate: func() (float64, error) { return loss, nil }})
		require.ErrorContains(t, err, "the validation loss is not finite at step 0")
	}
}

// TestFinetunedWeightsAreAnEncoder opens what Export wrote as any encoder.
func TestFinetunedWeightsAreAnEncoder(t *testing.T) {
	d := cpu(t)
	f := finetuner(t, d, quick(), []float64{1, 1})
	path := filepath.Join(t.TempDir(), WeightsFile)
	require.NoError(t, f.Export(path, tiny(t), map[string]string{"classes": "a\nb"}))
	file, _, err := OpenState(path)
	require.NoError(t, err)
	defer file.Close()
	require.Equal(t, "a\nb", file.Metadata()["classes"])
	loaded, err := LoadFeatures(d, file, ContextEncoder, 4)
	require.NoError(t, err)
	b := &Batch{X: make([]float32, f.x.Len()), Class: make([]uint32, 4), Target: make([]float32, 4)}
	require.NoError(t, bright{1}.LabelledBatch(0, b))
	D := f.Encoder.EmbedDim
	own, other := make([]float32, 4*D), make([]float32, 4*D)
	require.NoError(t, f.Features().Pooled(b.X, 4, own))
	require.NoError(t, loaded.Pooled(b.X, 4, other))
	require.InDeltaSlice(t, own, other, 1e-5)
}

func TestFinetunePatience(t *testing.T) {
	c := quick()
	c.Epochs, c.Patience = 50, 2
	f := finetuner(t, cpu(t), c, nil)
	losses := []float64{5, 4, 6, 6, 6, 6}
	n := -1
	require.NoError(t, f.Run(context.Background(), bright{5}, FinetuneOptions{Validate: func() (float64, error) { n++; return losses[n], nil }}))
	require.Equal(t, 3*4, f.Steps())
	require.Equal(t, 4.0, f.Best())
}

func TestFinetuneRefuses(t *testing.T) {
	for want, change := range map[string]func(*Finetune){
		"finetune.epochs":        func(c *Finetune) { c.Epochs = 0 },
		"finetune.learning_rate": func(c *Finetune) { c.LearningRate = math.NaN() },
		"balanced or none":       func(c *Finetune) { c.ClassWeights = "x" },
		"finetune.layer_decay":   func(c *Finetune) { c.LayerDecay = 2 },
	} {
		c := quick()
		change(&c)
		assert.ErrorContains(t, c.Validate(), want)
	}
	c := quick()
	from, err := UntrainedFeatures(cpu(t), tiny(t), 1)
	require.NoError(t, err)
	_, err = NewFinetuner(cpu(t), c, from, nil, 0, 1)
	require.ErrorContains(t, err, "lower finetune.batch_size")
}
