package jepa

import (
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/checkpoint"
	"wgjepa/gpu"
)

func TestEstimateMemory(t *testing.T) {
	d := cpu(t)
	c := tiny(t)
	c.RegularizeTokens.SIGReg, c.RegularizePooled.Variance = 0.1, 0.1
	m, err := EstimateMemory(d.Info(), c)
	require.NoError(t, err)
	prepared, err := Prepare(d, c)
	require.NoError(t, err)
	require.Equal(t, m, prepared)
	before := d.Allocated()
	tr, err := New(d, c, 4)
	require.NoError(t, err)
	require.Equal(t, d.Allocated()-before, m.Total(), "%+v", m)
	require.Equal(t, uint64(8*(tr.contextWeights.Grads.Len()+tr.predictorWeights.Grads.Len())), m.Gradients)
	require.Equal(t, 2*m.Gradients, m.Optimizer, "two moments")

	twice := c
	twice.BatchSize *= 2
	m2, err := EstimateMemory(d.Info(), twice)
	require.NoError(t, err)
	require.Equal(t, m.Fixed(), m2.Fixed(), "does not depend on the batch")
	require.Greater(t, m2.Activations, m.Activations*3/2)
}

func TestEstimateMemoryRefuses(t *testing.T) {
	info := cpu(t).Info()
	info.Limits.BufferSize = 1 << 10
	_, err := EstimateMemory(info, tiny(t))
	require.ErrorIs(t, err, gpu.ErrMemory)
	require.ErrorContains(t, err, "needs")

	c := tiny(t)
	c.BatchSize = 1 << 20
	c.Encoder.EmbedDim, c.Encoder.NumHeads = 1<<14, 64
	c.PredictorNumHeads = 2
	_, err = EstimateMemory(cpu(t).Info(), c)
	require.ErrorIs(t, err, gpu.ErrMemory)
}

// TestEstimateMemoryIsCheap asks for what no machine has: the host makes none of
// it, not even the position tables, which alone would be gigabytes.
func TestEstimateMemoryIsCheap(t *testing.T) {
	c := tiny(t)
	c.Encoder.ImgSize, c.Encoder.PatchSize, c.Encoder.PosEmbed = []int{120, 120, 120}, []int{2}, "sincos"
	c.Encoder.EmbedDim, c.PredictorEmbedDim, c.BatchSize = 1<<10, 1<<10, 1<<5
	c.Encoder.NumHeads = 64
	info := cpu(t).Info()
	info.Memory = 1 << 36
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m, err := EstimateMemory(info, c)
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	require.Greater(t, m.Total(), uint64(1)<<42)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20))
}

// TestFilesPromiseTooMuch: a file whose configuration is larger than what it
// holds is refused before anything is allocated for it.
func TestFilesPromiseTooMuch(t *testing.T) {
	c := tiny(t)
	c.Encoder.EmbedDim, c.Encoder.Depth = 1<<14, 1000
	c.Encoder.NumHeads, c.PredictorNumHeads = 64, 2
	path := filepath.Join(t.TempDir(), WeightsFile)
	require.NoError(t, checkpoint.Write(path, []checkpoint.Entry{{Name: "x", Shape: []int{1}, Data: []float32{1}}},
		map[string]string{"format": weightsFormat, "config": string(c.TOML())}, false))
	f, err := checkpoint.Open(path)
	require.NoError(t, err)
	defer f.Close()
	d := cpu(t)
	_, err = LoadFeatures(d, f, ContextEncoder, 16)
	require.ErrorContains(t, err, "has no tensor context_encoder.")
	_, err = LoadSurprise(d, f)
	require.ErrorContains(t, err, "has no tensor context_encoder.")
	require.Zero(t, d.Allocated())
}

func TestDecodeTOML(t *testing.T) {
	var file struct {
		Config
		Extra struct {
			Size []int `toml:"size"`
		} `toml:"extra"`
	}
	require.NoError(t, DecodeTOML([]byte("seed = 3\n[extra]\nsize = [1]\n[encoder]\ndepth = 2"), &file))
	require.Equal(t, uint64(3), file.Seed)
	require.Equal(t, 2, file.Encoder.Depth)
	require.Equal(t, []int{1}, file.Extra.Size)
	require.ErrorContains(t, DecodeTOML([]byte("\n[extra]\nsizes = [1]"), &file), `line 3: there is no key "extra.sizes": did you mean "extra.size"?`)
	require.ErrorContains(t, DecodeTOML([]byte("sed = 1"), &file), `did you mean "seed"?`)
	require.Equal(t, len(TOMLKeys(&Config{}))+1, len(TOMLKeys(&file)))
}
