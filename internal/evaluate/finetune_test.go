package evaluate

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/checkpoint"
	"wgjepa/data"
	"wgjepa/gpu"
	"wgjepa/jepa"
	"wgjepa/jepa/probe"
)

const quickFinetune = `
[finetune]
epochs = 4
batch_size = 8
warmup_epochs = 1
learning_rate = 2e-3
patience = 0
`

// TestFinetuneBeginsAsTheProbe asserts that finetuning begins as the frozen encoder's
// probe: the same loss and, before any step, the same predictions.
func TestFinetuneBeginsAsTheProbe(t *testing.T) {
	d, err := gpu.Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	ds, c := torsos(t, quickFinetune)
	s, err := collect(ds, c)
	require.NoError(t, err)
	require.Equal(t, [3]int{40, 16, 24}, [3]int{len(s.ids[train]), len(s.ids[val]), len(s.ids[test])})
	require.NoError(t, untrained(d, c, 3)(func(f *jepa.Features) error {
		tuner, err := jepa.NewFinetuner(d, c.Finetune, f, s.weights, 5, 1)
		require.NoError(t, err)
		compared, err := s.frozen(f, c)
		require.NoError(t, err)
		start := s.start(compared, c)
		require.NoError(t, tuner.SetHead(compared.weight, compared.bias))
		y, err := s.outputs(tuner, s.ids[test])
		require.NoError(t, err)
		x, err := Pooled(ds, f, s.ids[test])
		require.NoError(t, err)
		var sets [2]probe.Set
		for i, k := range []int{train, val} {
			x, err := Pooled(ds, f, s.ids[k])
			require.NoError(t, err)
			sets[i] = probe.Set{X: x, Y: s.class[k]}
		}
		choice, err := probe.Select(sets[0], sets[1], c.Probe.Cs, c.Seed)
		require.NoError(t, err)
		K := len(s.weights)
		require.Len(t, choice.Classes, K)
		proba := choice.Proba(x)
		require.InDeltaSlice(t, compared.of(x), y, 1e-3)
		require.Equal(t, compared.of(x), compared.test)
		require.LessOrEqual(t, s.loss(start.of(sets[1].X), val), s.loss(compared.of(sets[1].X), val))
		for i := range s.ids[test] {
			require.InDeltaSlice(t, proba[i*K:(i+1)*K], softmax(y[i*K:(i+1)*K]), 1e-4)
		}
		return nil
	}))
	r, err := Finetune(context.Background(), d, ds, c, untrained(d, c, 3), FinetuneOptions{})
	require.NoError(t, err)
	require.LessOrEqual(t, r.Loss[1], r.Loss[0], "the start is among what is kept")
	require.Equal(t, 4*5, r.Steps)
	require.Len(t, r.Predictions, 80)
	require.Len(t, r.Scores, 3)
	for _, p := range r.Predictions {
		sum := 0.0
		for _, v := range p.Output {
			sum += v
		}
		require.InDelta(t, 1, sum, 1e-9)
	}
}

// TestFinetuneResumes interrupts and goes on to the same weights.
func TestFinetuneResumes(t *testing.T) {
	d, err := gpu.Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	ds, c := torsos(t, quickFinetune)
	weights := func(dir string) []float64 {
		f, err := checkpoint.Open(filepath.Join(dir, jepa.WeightsFile))
		require.NoError(t, err)
		defer f.Close()
		require.Equal(t, "classification", f.Metadata()["task"])
		v, _, err := f.Float64s("context_encoder.blocks.0.mlp.fc1.weight")
		require.NoError(t, err)
		head, _, err := f.Float64s("head.weight")
		require.NoError(t, err)
		return append(v, head...)
	}
	whole, parts := t.TempDir(), t.TempDir()
	_, err = Finetune(context.Background(), d, ds, c, untrained(d, c, 3), FinetuneOptions{Dir: whole})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	_, err = Finetune(ctx, d, ds, c, untrained(d, c, 3), FinetuneOptions{Dir: parts, OnStep: func(step, total int) error {
		require.Equal(t, 20, total)
		if step == 7 {
			cancel()
		}
		return nil
	}})
	require.ErrorIs(t, err, jepa.ErrInterrupted)
	require.NoFileExists(t, filepath.Join(parts, jepa.WeightsFile))
	_, err = Finetune(context.Background(), d, ds, c, untrained(d, c, 3), FinetuneOptions{Dir: parts, Resume: true})
	require.NoError(t, err)
	require.Equal(t, weights(whole), weights(parts))
}

// numbers are volumes whose label is a number: how bright they are.
type numbers struct{ data.Dataset }

func (n numbers) Classes() []string { return nil }
func (n numbers) Target(i int) (float64, bool) {
	class, ok := n.Dataset.Label(i)
	return 100 + 10*float64(class), ok
}
func (n numbers) Label(int) (int, bool) { return 0, false }

func TestFinetuneRegression(t *testing.T) {
	d, err := gpu.Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	ds, c := torsos(t, quickFinetune)
	dir := t.TempDir()
	r, err := Finetune(context.Background(), d, numbers{ds}, c, untrained(d, c, 3), FinetuneOptions{Dir: dir, Untrained: untrained(d, c, 3)})
	require.NoError(t, err)
	for _, s := range r.Scores {
		require.Equal(t, s.Frozen, *s.Untrained, "the encoder is the untrained one")
	}
	require.Contains(t, r.Notes[len(r.Notes)-1], "training samples' mean, 11")
	require.True(t, r.Regression)
	require.Equal(t, "R²", r.Scores[0].Metric)
	mean := 0.0
	for _, p := range r.Predictions {
		mean += p.Output[0] / float64(len(r.Predictions))
	}
	require.InDelta(t, 120, mean, 20, "predictions are in the unit of the labels")
	_, err = os.Stat(filepath.Join(dir, jepa.WeightsFile))
	require.NoError(t, err)
}

// TestPredictionOfNaN: outputs that are no numbers are written as such.
func TestPredictionOfNaN(t *testing.T) {
	nan := math.NaN()
	require.Equal(t, []string{"x", "a", "NaN", "NaN"}, PredictionRow("x", []string{"a", "b"}, []float64{nan, nan}))
	require.Equal(t, []string{"x", "b", "NaN", "0.50000"}, PredictionRow("x", []string{"a", "b"}, []float64{nan, 0.5}))
	require.Equal(t, 1, argmax([]float32{1, 3, 2, 3}))
}

// TestFinetuneReturnsMemory: an encoder that lives on, as that of a training, leaves
// the device as it was.
func TestFinetuneReturnsMemory(t *testing.T) {
	d, err := gpu.Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	ds, c := torsos(t, quickFinetune)
	f, err := jepa.UntrainedFeatures(d, c.Config, 8)
	require.NoError(t, err)
	var after [2]uint64
	for i := range after {
		_, err = Finetune(context.Background(), d, ds, c, func(use func(*jepa.Features) error) error { return use(f) }, FinetuneOptions{})
		require.NoError(t, err)
		after[i] = d.Allocated() // scratch memory stays
	}
	require.Equal(t, after[0], after[1])
}

func TestFinetuneRefusesUnlabelledData(t *testing.T) {
	ds, c := torsos(t, "data.val = 0")
	_, err := collect(ds, c)
	require.ErrorContains(t, err, "no validation sample has a label")
}
