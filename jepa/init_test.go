package jepa

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/checkpoint"
	pretrained "wgjepa/checkpoint/weights"
	"wgjepa/gpu"
	"wgjepa/internal/testdata"
)

// values reads every tensor of the networks.
func values(t *testing.T, tr *Trainer) map[string][]float64 {
	all := map[string][]float64{}
	for _, n := range tr.tensors(false) {
		v := make([]float64, n.value.Len())
		require.NoError(t, tr.device.ReadFloat64(n.value, v))
		all[n.name] = v
	}
	return all
}

// losses trains and returns the loss of each update.
func losses(t *testing.T, tr *Trainer, n int) []float64 {
	var list []float64
	x := make([]float32, tr.x.Len())
	for i := range n {
		require.NoError(t, noise{9}.Batch(i, x))
		require.NoError(t, tr.Step(x))
		s, err := tr.Stats()
		require.NoError(t, err)
		list = append(list, s.Loss)
	}
	return list
}

// A trained run's weights begin a new one, with the same losses from its own
// file as from the layouts of other programs that hold three networks.
func TestSetWeights(t *testing.T) {
	d := cpu(t)
	c := tiny(t)
	c.Encoder.PosEmbed, c.Encoder.PosOrder = "sincos", "nidl"
	trained, err := New(d, c, 4)
	require.NoError(t, err)
	losses(t, trained, 2)
	dir := t.TempDir()
	own := filepath.Join(dir, WeightsFile)
	require.NoError(t, trained.Export(own))

	begin := func(path string, o pretrained.Options) *Trainer {
		w, err := pretrained.Load(path, o)
		require.NoError(t, err)
		tr, err := New(d, c, 4)
		require.NoError(t, err)
		before := values(t, tr)
		anew, err := tr.SetWeights(w)
		require.NoError(t, err)
		require.Empty(t, anew)
		require.NotEqual(t, before, values(t, tr))
		return tr
	}
	first := begin(own, pretrained.Options{})
	for name, v := range values(t, trained) {
		for i, x := range values(t, first)[name] {
			require.Equal(t, float64(float32(v[i])), x, name)
		}
	}
	want := losses(t, first, 3)
	w, err := pretrained.Load(own, pretrained.Options{})
	require.NoError(t, err)
	for name, l := range map[string]pretrained.Layout{"run.ckpt": pretrained.NIDLLayout, "run.pt": pretrained.NIDLLayout} {
		path := filepath.Join(dir, name)
		require.NoError(t, w.Save(path, l))
		require.Equal(t, want, losses(t, begin(path, pretrained.Options{NumHeads: c.Encoder.NumHeads, ImgSize: c.Encoder.ImgSize, PosEmbed: "sincos"}), 3), name)
	}

	// One encoder alone is both; the predictor is as drawn.
	w, err = pretrained.Load(own, pretrained.Options{Network: pretrained.TargetEncoder})
	require.NoError(t, err)
	tr, err := New(d, c, 4)
	require.NoError(t, err)
	drawn := values(t, tr)
	anew, err := tr.SetWeights(w)
	require.NoError(t, err)
	require.Equal(t, "the weights have none", anew)
	now, from := values(t, tr), values(t, first)
	for _, p := range tr.contextWeights.All() {
		require.Equal(t, now["context_encoder."+p.Name], now["target_encoder."+p.Name])
	}
	require.NotEqual(t, from["context_encoder.norm.weight"], now["context_encoder.norm.weight"])
	for _, p := range tr.predictorWeights.Params {
		require.Equal(t, drawn["predictor."+p.Name], now["predictor."+p.Name])
	}
}

// Weights of another encoder are refused and change nothing; another predictor
// is left out.
func TestSetWeightsRefuses(t *testing.T) {
	d := cpu(t)
	c := tiny(t)
	source, err := New(d, c, 4)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), WeightsFile)
	require.NoError(t, source.Export(path))
	for _, o := range []struct {
		change func(*Config)
		says   string
	}{
		{func(c *Config) { c.Encoder.Depth = 3 }, "its configuration has \"depth = 2\", this one \"depth = 3\""},
		{func(c *Config) { c.Encoder.NumHeads, c.PredictorNumHeads = 3, 2 }, "num_heads = 3"},
		{func(c *Config) { c.Encoder.ImgSize = []int{12, 12, 12} }, "img_size"},
		{func(c *Config) { c.Encoder.PosEmbed = "sincos" }, "pos_embed"},
	} {
		w, err := pretrained.Load(path, pretrained.Options{})
		require.NoError(t, err)
		other := c
		other.Seed = 8
		o.change(&other)
		tr, err := New(d, other, 4)
		require.NoError(t, err)
		before := values(t, tr)
		_, err = tr.SetWeights(w)
		require.ErrorContains(t, err, o.says)
		require.Equal(t, before, values(t, tr))
	}
	w, err := pretrained.Load(path, pretrained.Options{})
	require.NoError(t, err)
	for _, o := range []struct {
		change func(*Config)
		says   string
	}{
		{func(c *Config) { c.PredictorDepth = 2 }, "predictor_depth is 1 in the weights, 2 in this configuration"},
		{func(c *Config) { c.PredictorNumHeads = 1 }, "predictor_num_heads is 2 in the weights, 1"},
	} {
		other := c
		o.change(&other)
		tr, err := New(d, other, 4)
		require.NoError(t, err)
		anew, err := tr.SetWeights(w)
		require.NoError(t, err)
		require.Contains(t, anew, o.says)
	}
	// A tensor that is missing, or of another shape.
	w.Encoder = w.Encoder[1:]
	_, err = source.SetWeights(w)
	require.ErrorContains(t, err, "have no tensor patch_embed.proj.weight")
	w.Config.Unknown = []string{"num_heads"}
	_, err = source.SetWeights(w)
	require.ErrorContains(t, err, "do not tell their num_heads")
}

// The starting point of the paper's code is what its golden run began from.
func TestSetWeightsOriginal(t *testing.T) {
	w, err := pretrained.Load(testdata.Golden.Find(t, "paper2d_start.pth.tar"), pretrained.Options{NumHeads: 3})
	require.NoError(t, err)
	f, err := checkpoint.Open(testdata.Golden.Find(t, "paper2d.safetensors"))
	require.NoError(t, err)
	defer f.Close()
	c, err := Default("paper")
	require.NoError(t, err)
	c.Encoder.ImgSize, c.Encoder.PatchSize, c.Encoder.InChans = []int{48, 48}, []int{4, 4}, 3
	c.Encoder.EmbedDim, c.Encoder.Depth, c.Encoder.NumHeads = 24, 2, 3
	c.PredictorEmbedDim, c.PredictorDepth, c.PredictorNumHeads = 16, 2, 2
	c.BatchSize = 2
	w.Config.Predictor.NumHeads = 2 // neither told by the file nor the encoder's
	tr, err := New(cpu(t), c, 4)
	require.NoError(t, err)
	anew, err := tr.SetWeights(w)
	require.NoError(t, err)
	require.Empty(t, anew)
	compared := 0
	for name, got := range values(t, tr) {
		if _, ok := f.Info("weights/" + name); !ok {
			require.Contains(t, name, "pos_embed")
			continue
		}
		want, _, err := f.Float64s("weights/" + name)
		require.NoError(t, err)
		require.Equal(t, want, got, name)
		compared++
	}
	require.Greater(t, compared, 70)
}

// Features of imported weights are those of the same weights in our own file.
func TestImportedWeightsFeatures(t *testing.T) {
	d := cpu(t)
	c := tiny(t)
	tr, err := New(d, c, 4)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), WeightsFile)
	require.NoError(t, tr.Export(path))
	f, err := checkpoint.Open(path)
	require.NoError(t, err)
	defer f.Close()
	own, err := LoadFeatures(d, f, TargetEncoder, 2)
	require.NoError(t, err)
	w, err := pretrained.Load(path, pretrained.Options{Network: pretrained.TargetEncoder})
	require.NoError(t, err)
	imported, err := ImportedFeatures(d, w, 2)
	require.NoError(t, err)
	x := make([]float32, 2*8*8*12)
	require.NoError(t, noise{4}.Batch(0, x))
	a, b := make([]float32, 2*12), make([]float32, 2*12)
	require.NoError(t, own.Pooled(x, 2, a))
	require.NoError(t, imported.Pooled(x, 2, b))
	require.Equal(t, a, b)

	w.Config.Depth = 500 // more than the file holds
	_, err = ImportedFeatures(gpu.Estimate(d.Info()), w, 2)
	require.ErrorContains(t, err, "have no tensor blocks.2.")
}
