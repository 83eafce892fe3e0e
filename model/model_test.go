package model

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"wgjepa/gpu"
)

func cpu(t testing.TB) *gpu.Device {
	d, err := gpu.Open("cpu")
	require.NoError(t, err)
	t.Cleanup(d.Close)
	return d
}

func small() ViT {
	v := DefaultViT()
	v.ImgSize, v.PatchSize = []int{12, 8, 8}, []int{4}
	v.EmbedDim, v.Depth, v.NumHeads, v.RegTokens = 24, 2, 3, 2
	return v
}

// TestNamedSizes holds the named encoders to the parameter counts that timm
// prints for them, patch 16 at 224², without a head.
func TestNamedSizes(t *testing.T) {
	for name, want := range map[string]int{"vit_tiny": 5_524_416, "vit_small": 21_665_664, "vit_base": 85_798_656, "vit_large": 303_301_632} {
		v := DefaultViT()
		v.ImgSize, v.PatchSize, v.InChans = []int{224, 224}, []int{16}, 3
		require.NoError(t, v.SetSize(name))
		require.NoError(t, v.Complete())
		w := NewEncoderWeights(gpu.Estimate(cpu(t).Info()), name, v, false)
		n := 0
		for _, p := range w.Params {
			n += p.Len()
		}
		assert.Equal(t, want, n, name)
	}
	v := DefaultViT()
	require.ErrorContains(t, v.SetSize("vit_medium"), "vit_tiny, vit_small, vit_base, vit_large, vit_huge")
}

func TestInitialization(t *testing.T) {
	v := small()
	require.NoError(t, v.Complete())
	d := cpu(t)
	w := NewEncoderWeights(d, "a", v, true)
	w.Initialize(5)
	read := func(w *EncoderWeights) []float64 {
		x := make([]float64, w.Values.Len())
		require.NoError(t, d.ReadFloat64(w.Values, x))
		return x
	}
	first := read(w)
	w.Initialize(6)
	require.NotEqual(t, first, read(w))
	w.Initialize(5)
	require.Equal(t, first, read(w))

	// A parameter's draw depends on its name, not on its neighbours.
	v2 := v
	v2.RegTokens, v2.Depth = 0, 1
	w2 := NewEncoderWeights(d, "b", v2, false)
	w2.Initialize(5)
	at := func(w *EncoderWeights, name string) []float64 {
		p := w.Find(name)
		x := make([]float64, p.Len())
		require.NoError(t, d.ReadFloat64(p.Value, x))
		return x
	}
	require.Equal(t, at(w, "blocks.0.mlp.fc1.weight"), at(w2, "blocks.0.mlp.fc1.weight"))
	require.NotEqual(t, at(w, "blocks.0.mlp.fc1.weight"), at(w, "blocks.1.mlp.fc1.weight"))

	fc1 := at(w, "blocks.0.mlp.fc1.weight")
	var sum, squares float64
	for _, x := range fc1 {
		sum += x
		squares += x * x
	}
	n := float64(len(fc1))
	assert.InDelta(t, 0, sum/n, 4*initStd/math.Sqrt(n))
	assert.InDelta(t, initStd, math.Sqrt(squares/n), 4*initStd/math.Sqrt(2*n))
	for _, x := range at(w, "norm.weight") {
		require.Equal(t, 1.0, x)
	}
	for _, x := range at(w, "blocks.0.attn.qkv.bias") {
		require.Zero(t, x)
	}

	p := NewPredictorWeights(d, Predictor{Grid: []int{3, 2, 2}, InDim: 24, EmbedDim: 96, Depth: 3, NumHeads: 3, MLPRatio: 4, NormEps: 1e-5, PosOrder: "hwd", Rescale: true}, true)
	p.Initialize(5)
	fc2 := p.Find("predictor_blocks.2.mlp.fc2.weight")
	x := make([]float64, fc2.Len())
	require.NoError(t, d.ReadFloat64(fc2.Value, x))
	squares = 0
	for _, v := range x {
		squares += v * v
	}
	assert.InDelta(t, initStd/math.Sqrt(6), math.Sqrt(squares/float64(len(x))), 4*initStd/math.Sqrt(2*6*float64(len(x))))
}

// TestDecayedFirst asserts the arena's order: what weight decay applies to
// lies before Decayed, every parameter at a multiple of 64.
func TestDecayedFirst(t *testing.T) {
	v := small()
	require.NoError(t, v.Complete())
	w := NewEncoderWeights(cpu(t), "a", v, true)
	decaying := map[string]bool{"cls_token": true, "reg_token": true, "pos_embed": true, "patch_embed.proj.weight": true, "blocks.1.attn.proj.weight": true}
	for _, p := range w.Params {
		require.Zero(t, p.offset%gpu.Align)
		require.Equal(t, p.Decays(), p.offset < w.Decayed, p.Name)
		if decaying[p.Name] {
			require.True(t, p.Decays(), p.Name)
			delete(decaying, p.Name)
		}
	}
	require.Empty(t, decaying)
}

// TestSinCosOrder states what the two orders mean on unequal sides.
func TestSinCosOrder(t *testing.T) {
	const width = 12 // parts of 2: sin w, cos w, sin h, cos h, sin d, cos d
	grid := []int{2, 3, 4}
	right, nidl := sinCos(grid, width, "hwd"), sinCos(grid, width, "nidl")
	token := func(h, w, d int) int { return (h*3+w)*4 + d }
	for h := range 2 {
		for w := range 3 {
			for d := range 4 {
				row := right[token(h, w, d)*width:]
				assert.InDelta(t, math.Sin(float64(w)), row[0], 1e-7)
				assert.InDelta(t, math.Cos(float64(h)), row[6], 1e-7)
				assert.InDelta(t, math.Sin(float64(d)/100), row[9], 1e-7) // ω₁ = 10000^(−1/2)
				// nidl walks (w, h, d) while the tokens walk (h, w, d).
				i := token(h, w, d)
				assert.InDelta(t, math.Sin(float64(i/(2*4))), nidl[i*width], 1e-7)
				assert.InDelta(t, math.Sin(float64(i/4%2)), nidl[i*width+4], 1e-7)
			}
		}
	}
	require.Equal(t, len(sinCos([]int{2, 2, 2}, 20, "hwd")), 8*20, "a width that is not a multiple of 6 is cut")
}

func TestEncoderRefusals(t *testing.T) {
	for want, change := range map[string]func(*ViT){
		"two for images":      func(v *ViT) { v.ImgSize = []int{8} },
		"patch_size has 2":    func(v *ViT) { v.PatchSize = []int{4, 4} },
		"use 12 or 16":        func(v *ViT) { v.ImgSize = []int{13, 8, 8} },
		"multiple of num_hea": func(v *ViT) { v.NumHeads = 5 },
		"learned, sincos or":  func(v *ViT) { v.PosEmbed = "rope" },
		"drop_path_rate":      func(v *ViT) { v.DropPathRate = 1 },
		"wider than":          func(v *ViT) { v.EmbedDim, v.NumHeads = 600, 1 },
		"in_chans":            func(v *ViT) { v.InChans = 0 },
		"mlp_ratio":           func(v *ViT) { v.MLPRatio = math.NaN() },
		"depth":               func(v *ViT) { v.Depth = 0 },
		"at most 64":          func(v *ViT) { v.MLPRatio = 1e300 },
		"reg_tokens":          func(v *ViT) { v.RegTokens = math.MaxInt },
		"is 1125899906842624 numbers, above": func(v *ViT) {
			v.ImgSize, v.PatchSize, v.InChans = []int{1 << 16, 1 << 16, 1 << 16}, []int{1 << 15}, 4
		},
		"must be positive": func(v *ViT) { v.PatchSize = []int{-4} },
	} {
		v := small()
		change(&v)
		require.ErrorContains(t, v.Complete(), want)
	}
}
