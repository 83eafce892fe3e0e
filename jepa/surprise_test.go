package jepa

import (
	"context"
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/checkpoint"
	"wgjepa/maskgen"
)

// surprising is a trained trainer and a sample.
func surprising(t *testing.T) (*Trainer, []float32) {
	c := tiny(t)
	c.Encoder.DropPathRate = 0.3
	tr, err := New(cpu(t), c, 4)
	require.NoError(t, err)
	require.NoError(t, tr.Run(context.Background(), noise{5}, RunOptions{}))
	x := make([]float32, 8*8*12)
	require.NoError(t, noise{9}.Batch(0, x))
	return tr, x
}

// TestSurprise: the errors of patches are those that make up the loss.
func TestSurprise(t *testing.T) {
	tr, x := surprising(t)
	const draws = 5
	P := tr.Config.Encoder.Patches()
	errs := make([]float32, P)
	require.NoError(t, tr.Surprise().Patches(x, draws, errs))
	count := make([]int, P)
	loss, n := 0.0, 0
	for draw := range uint64(draws) {
		var m maskgen.Masks
		require.NoError(t, tr.masks.Sample(&m, tr.Config.Seed^surpriseSeed, draw, 1))
		tr.upload(x, &m)
		tr.context.SetTraining(false)
		e := tr.device.Begin()
		tr.forward(e, &m, slotValidation)
		require.NoError(t, e.Submit())
		tr.context.SetTraining(true)
		value := []float32{0}
		require.NoError(t, tr.device.Read(tr.scalar(slotValidation, 1), value))
		loss += float64(value[0]) * float64(len(m.Target))
		n += len(m.Target)
		for _, p := range m.Target {
			count[p]++
		}
	}
	sum := 0.0
	for p, e := range errs {
		if count[p] == 0 {
			require.True(t, math.IsNaN(float64(e)), "patch %d was never a target", p)
			continue
		}
		require.Greater(t, e, float32(0))
		sum += float64(e) * float64(count[p])
	}
	require.InEpsilon(t, loss/float64(n), sum/float64(n), 1e-6)

	require.NoError(t, tr.Surprise().Patches(x, 1, errs))
	never := 0
	for _, e := range errs {
		if math.IsNaN(float64(e)) {
			never++
		}
	}
	require.Positive(t, never, "one draw cannot cover every patch")
}

// TestLoadSurprise: a state gives the same errors as the trainer that wrote it,
// and needs no memory for training.
func TestLoadSurprise(t *testing.T) {
	tr, x := surprising(t)
	want := make([]float32, tr.Config.Encoder.Patches())
	require.NoError(t, tr.Surprise().Patches(x, 30, want))
	path := filepath.Join(t.TempDir(), StateFile)
	require.NoError(t, tr.Save(path, "noise"))
	f, err := checkpoint.Open(path)
	require.NoError(t, err)
	defer f.Close()
	d := cpu(t)
	s, err := LoadSurprise(d, f)
	require.NoError(t, err)
	m, err := EstimateMemory(d.Info(), tr.Config)
	require.NoError(t, err)
	require.Less(t, d.Allocated(), m.Weights+m.Activations/2)
	got := make([]float32, len(want))
	require.NoError(t, s.Patches(x, 30, got))
	require.Equal(t, want, got)
}

// TestLooksLeaveTraining: reading features and errors between updates changes
// nothing.
func TestLooksLeaveTraining(t *testing.T) {
	c := tiny(t)
	c.Encoder.DropPathRate, c.AccumulateGradBatches = 0.3, 2
	c.RegularizeTokens.SIGReg, c.RegularizePooled.Variance = 0.02, 0.02
	_, x := surprising(t)
	run := func(look func(tr *Trainer) error) []float32 {
		tr, err := New(cpu(t), c, 4)
		require.NoError(t, err)
		require.NoError(t, tr.Run(context.Background(), noise{5}, RunOptions{OnUpdate: func(int) error { return look(tr) }}))
		return weights(t, tr)
	}
	want := run(func(*Trainer) error { return nil })
	looks := 0
	got := run(func(tr *Trainer) error {
		looks++
		P, D := c.Encoder.Patches(), c.Encoder.EmbedDim
		z, before := make([]float32, P*D), tr.device.Allocated()
		untrained := make([]float32, P*D)
		require.NoError(t, tr.Features(false).Tokens(x, 1, z))
		require.NoError(t, tr.Untrained(func(f *Features) error { return f.Tokens(x, 1, untrained) }))
		require.NotEqual(t, z, untrained)
		if looks > 1 {
			require.Equal(t, before, tr.device.Allocated())
		}
		d := cpu(t)
		fresh, err := UntrainedFeatures(d, c, 1)
		require.NoError(t, err)
		require.NoError(t, fresh.Tokens(x, 1, z))
		require.Equal(t, z, untrained)
		return tr.Surprise().Patches(x, 2, z[:P])
	})
	require.Equal(t, c.MaxSteps, looks)
	require.Equal(t, want, got)
}
