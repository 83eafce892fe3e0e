package jepa_test

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/checkpoint"
	"wgjepa/checkpoint/weights"
	"wgjepa/gpu"
	"wgjepa/internal/testdata"
	"wgjepa/model"
)

// encoderOf makes an encoder of imported weights.
func encoderOf(t *testing.T, d *gpu.Device, c weights.Config, list []weights.Tensor, batch int) *model.Encoder {
	t.Helper()
	require.Empty(t, c.Unknown)
	v := model.ViT{
		ImgSize: c.ImgSize, PatchSize: c.PatchSize, InChans: c.InChans, EmbedDim: c.EmbedDim, Depth: c.Depth, NumHeads: c.NumHeads, MLPRatio: c.MLPRatio,
		QKVBias: c.QKVBias, QKNorm: c.QKNorm, ClassToken: c.ClassToken, RegTokens: c.RegTokens, NoEmbedClass: c.NoEmbedClass,
		PosEmbed: c.PosEmbed, PosOrder: c.PosOrder, PreNorm: c.PreNorm, NormEps: c.NormEps,
	}
	require.NoError(t, v.Complete())
	w := model.NewEncoderWeights(d, "imported", v, false)
	set := map[string]bool{}
	for _, x := range list {
		values := make([]float64, len(x.Data))
		for i, f := range x.Data {
			values[i] = float64(f)
		}
		require.NoError(t, w.Set(x.Name, x.Shape, values))
		set[x.Name] = true
	}
	for _, p := range w.Params {
		require.True(t, set[p.Name], "%s is not in the file", p.Name)
	}
	return model.NewEncoder(w, "imported", batch, v.Patches(), false)
}

// features runs the encoder on x (B, C, …): patch features (B, P, D) and their
// mean (B, D).
func features(t *testing.T, d *gpu.Device, run *model.Encoder, x []float32) (tokens, embedding []float64) {
	t.Helper()
	B, P, D := run.Batch, run.Tokens, run.Config.EmbedDim
	in := d.Tensor("x", B, len(x)/B)
	d.Write(in, x)
	e := d.Begin()
	z := run.Forward(e, in, gpu.Tensor{})
	mean := d.Tensor("embedding", B, D)
	e.MeanPool(mean, z)
	require.NoError(t, e.Submit())
	tokens, embedding = make([]float64, B*P*D), make([]float64, B*D)
	require.NoError(t, d.ReadFloat64(z, tokens))
	require.NoError(t, d.ReadFloat64(mean, embedding))
	return tokens, embedding
}

// equal compares with a bound relative to the largest value.
func equal(t *testing.T, what string, got, want []float64, bound float64) {
	t.Helper()
	require.Len(t, got, len(want), what)
	largest, worst := 0.0, 0.0
	for i := range want {
		largest = math.Max(largest, math.Abs(want[i]))
		worst = math.Max(worst, math.Abs(got[i]-want[i]))
	}
	require.Positive(t, largest)
	require.LessOrEqual(t, worst/largest, bound, what)
	t.Logf("%s: %.2g", what, worst/largest)
}

// Weights of other programs give the features that those programs compute, in
// float64 from the same float32 numbers; and still do after a way through each
// layout that holds them.
func TestImportedFeatures(t *testing.T) {
	dir := testdata.Golden.Find(t, "weights")
	d, err := gpu.Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	nidl := weights.Options{NumHeads: 3, ImgSize: []int{12, 8, 8}}
	for _, c := range []struct {
		file, expected string
		prefix         int // tokens in front among the expected features
		options        weights.Options
		again          map[weights.Layout]string
	}{
		{"timm.safetensors", "timm_expected.safetensors", 1, weights.Options{NumHeads: 3}, map[weights.Layout]string{weights.TimmLayout: "w.pth", weights.NIDLLayout: "w.safetensors"}},
		{"timm.pth", "timm_expected.safetensors", 1, weights.Options{NumHeads: 3}, nil},
		{"timm_legacy.pth", "timm_expected.safetensors", 1, weights.Options{NumHeads: 3}, nil},
		{"hf_ijepa", "hf_expected.safetensors", 0, weights.Options{}, map[weights.Layout]string{weights.HubLayout: "folder"}},
		{"nidl.pt", "nidl_expected.safetensors", 0, nidl, map[weights.Layout]string{weights.NIDLLayout: "w.ckpt"}},
		{"nidl.ckpt", "nidl_expected.safetensors", 0, nidl, map[weights.Layout]string{weights.NIDLLayout: "w.pt"}},
	} {
		t.Run(c.file, func(t *testing.T) {
			f, err := checkpoint.Open(filepath.Join(dir, c.expected))
			require.NoError(t, err)
			defer f.Close()
			x, shape, err := f.Float32s("x")
			require.NoError(t, err)
			all, dims, err := f.Float64s("features")
			require.NoError(t, err)
			embedding, _, err := f.Float64s("embedding")
			require.NoError(t, err)
			var tokens []float64
			B, D := dims[0], dims[2]
			for b := range B {
				tokens = append(tokens, all[(b*dims[1]+c.prefix)*D:(b+1)*dims[1]*D]...)
			}
			require.Equal(t, B, shape[0])
			check := func(path string) *weights.Weights {
				w, err := weights.Load(path, c.options)
				require.NoError(t, err)
				gotTokens, gotEmbedding := features(t, d, encoderOf(t, d, w.Config, w.Encoder, B), x)
				equal(t, path+" features", gotTokens, tokens, 1e-9)
				equal(t, path+" embedding", gotEmbedding, embedding, 1e-9)
				return w
			}
			w := check(filepath.Join(dir, c.file))
			for layout, name := range c.again {
				path := filepath.Join(t.TempDir(), name)
				require.NoError(t, w.Save(path, layout))
				check(path)
			}
		})
	}
}

// A 2-D encoder inflated to three axes gives for a volume whose slices are all
// alike, patch by patch, the same patch embedding as the image; so, with one
// patch along the depth, the same features.
func TestInflatedFeatures(t *testing.T) {
	d, err := gpu.Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	v := model.ViT{ImgSize: []int{16, 16}, PatchSize: []int{8, 8}, InChans: 3, EmbedDim: 24, Depth: 2, NumHeads: 3, MLPRatio: 4, QKVBias: true, ClassToken: true, PosEmbed: "learned", PosOrder: "hwd"}
	require.NoError(t, v.Complete())
	arena := model.NewEncoderWeights(d, "flat", v, false)
	arena.Initialize(7)
	w := &weights.Weights{Source: "test", Config: weights.Config{
		ImgSize: v.ImgSize, PatchSize: v.PatchSize, InChans: 3, EmbedDim: 24, Depth: 2, NumHeads: 3, MLPRatio: 4, QKVBias: true, ClassToken: true,
		PosEmbed: "learned", PosOrder: "hwd", NormEps: v.NormEps,
	}}
	for _, p := range arena.Params {
		data := make([]float32, p.Len())
		require.NoError(t, d.Read(p.Value, data))
		w.Encoder = append(w.Encoder, weights.Tensor{Name: p.Name, Shape: p.Shape, Data: data})
	}
	gray := make([]float32, 16*16)
	for i := range gray {
		gray[i] = float32(math.Sin(float64(i)))
	}
	// A third of the grey image in each channel sums to what the average sees.
	third := make([]float32, 0, 3*len(gray))
	volume := make([]float32, 0, 5*len(gray))
	for range 3 {
		third = append(third, gray...)
	}
	for i := range third {
		third[i] /= 3
	}
	for _, g := range gray {
		for range 5 {
			volume = append(volume, g)
		}
	}
	want, _ := features(t, d, encoderOf(t, d, w.Config, w.Encoder, 1), third)
	deep, err := w.Adapt([]int{16, 16, 5}, []int{8, 8, 5}, 1)
	require.NoError(t, err)
	got, _ := features(t, d, encoderOf(t, d, deep.Config, deep.Encoder, 1), volume)
	equal(t, "features", got, want, 1e-6)
}
