package jepa

import (
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/gpu"
)

func TestEstimateMemory(t *testing.T) {
	d := cpu(t)
	c := tiny(t)
	c.RegularizeTokens.SIGReg, c.RegularizePooled.Variance = 0.1, 0.1
	m, err := EstimateMemory(d.Info(), c)
	require.NoError(t, err)
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
	require.ErrorIs(t, err, gpu.ErrMemory, "before anything is made on the host")
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
	require.Equal(t, len(ConfigKeys())+1, len(TOMLKeys(&file)))
}
