package main

// This file is compiled natively and for GOOS=js: the same program on both.

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/checkpoint"
	"wgjepa/data"
	"wgjepa/data/phantom"
	"wgjepa/data/transform"
	"wgjepa/gpu"
	"wgjepa/jepa"
	"wgjepa/maskgen"
)

// small is a configuration of every kind of randomness there is.
func small(t testing.TB) jepa.Config {
	t.Helper()
	c, err := jepa.ParseConfig([]byte(`
seed = 7
batch_size = 4
max_epochs = 3
predictor_embed_dim = 24
predictor_depth = 1
[encoder]
img_size = [24, 24, 24]
patch_size = [4]
in_chans = 1
embed_dim = 48
depth = 2
num_heads = 2
drop_path_rate = 0.1
[regularize_tokens]
sigreg = 0.02
`))
	require.NoError(t, err)
	require.NoError(t, c.Validate())
	return c
}

// bits are hashes of what a run draws from its seed: masks, batches with their
// augmentation, and initial weights.
func bits(t testing.TB) map[string]string {
	t.Helper()
	c := small(t)
	hash := func(values ...any) string {
		h := sha256.New()
		for _, v := range values {
			require.NoError(t, binary.Write(h, binary.LittleEndian, v))
		}
		return fmt.Sprintf("%x", h.Sum(nil))
	}
	out := map[string]string{}

	sampler, err := maskgen.New(c.Masks())
	require.NoError(t, err)
	var all []any
	for step := range 50 {
		var m maskgen.Masks
		require.NoError(t, sampler.Sample(&m, c.Seed, uint64(step), c.BatchSize))
		all = append(all, m.Context, m.Target)
	}
	out["masks"] = hash(all...)

	ds, _, err := data.Phantoms(phantom.Config{Size: 24, Noise: 0.35}, 12, 3, data.Options{})
	require.NoError(t, err)
	augment := transform.Augment{Scale: [2]float64{0.5, 1}, Ratio: [2]float64{0.8, 1.25}, Flip: []float64{0.5, 0.5, 0.5}, Rotate: 0.5, Blur: [2]float64{0.2, 1}, Noise: [2]float64{0.01, 0.2}, Erase: [2]float64{0.02, 0.2}, Chance: 0.7}
	loader, err := data.NewLoader(ds, data.LoaderOptions{Batch: c.BatchSize, Seed: c.Seed, Augment: augment})
	require.NoError(t, err)
	defer loader.Close()
	all = nil
	for step := range 5 {
		x := make([]float32, loader.Len())
		require.NoError(t, loader.Batch(step, x))
		all = append(all, x)
	}
	out["batches"] = hash(all...)
	out["data"] = ds.Fingerprint()

	d, err := gpu.Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	trainer, err := jepa.New(d, c, loader.StepsPerEpoch())
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "weights.safetensors")
	require.NoError(t, trainer.Export(path))
	f, err := checkpoint.Open(path)
	require.NoError(t, err)
	defer f.Close()
	all = nil
	for _, name := range f.Names() {
		values, _, err := f.Float32s(name)
		require.NoError(t, err)
		all = append(all, values)
	}
	out["weights"] = hash(all...)
	return out
}

// TestPrintBits is what TestSameBits runs elsewhere.
func TestPrintBits(t *testing.T) {
	for name, h := range bits(t) {
		fmt.Fprintf(os.Stdout, "bits %s %s\n", name, h)
	}
}

// BenchmarkStep is a whole training step on the first adapter.
func BenchmarkStep(b *testing.B) {
	d, err := gpu.Open("")
	if err != nil {
		b.Skip("no adapter: ", err)
	}
	defer d.Close()
	c := small(b)
	c.BatchSize, c.Encoder.EmbedDim, c.Encoder.Depth, c.PredictorEmbedDim = 16, 64, 3, 32
	trainer, err := jepa.New(d, c, 1)
	require.NoError(b, err)
	x := make([]float32, 16*24*24*24)
	for i := range x {
		x[i] = float32(i%17)/8 - 1
	}
	for range 3 {
		require.NoError(b, trainer.Step(x))
	}
	require.NoError(b, d.Wait())
	for b.Loop() {
		if err := trainer.Step(x); err != nil {
			b.Fatal(err)
		}
	}
	require.NoError(b, d.Wait())
}
