package weights

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/internal/testdata"
)

// TestExportForPrograms writes what tools/weights/check.py loads into the
// programs themselves: encoders of many kinds in every layout that fits them,
// and their configurations.
func TestExportForPrograms(t *testing.T) {
	dir := os.Getenv("WGJEPA_EXPORT_DIR")
	if dir == "" {
		t.Skip("tools/weights/check.py runs this with WGJEPA_EXPORT_DIR set to a folder")
	}
	with := func(c Config, change func(*Config)) *Weights {
		change(&c)
		return sample(c)
	}
	cases := map[string]*Weights{
		"images":         sample(flat),
		"images_unequal": with(flat, func(c *Config) { c.ImgSize, c.PatchSize, c.InChans = []int{24, 40}, []int{8, 4}, 1 }),
		"images_class":   with(flat, func(c *Config) { c.ClassToken, c.MLPRatio = true, 4 }),
		"images_reg": with(flat, func(c *Config) {
			c.ClassToken, c.RegTokens, c.NoEmbedClass, c.QKNorm, c.MLPRatio = true, 3, true, true, 4
		}),
		"images_prenorm": with(flat, func(c *Config) { c.PreNorm, c.QKVBias = true, false }),
		"volumes":        sample(deep),
		"volumes_plain": with(deep, func(c *Config) {
			c.ClassToken, c.RegTokens, c.NoEmbedClass, c.QKNorm, c.InChans = false, 0, false, false, 1
		}),
		"volumes_reg":     with(deep, func(c *Config) { c.NoEmbedClass, c.QKNorm = false, false }),
		"volumes_sincos":  withTable(deep, "nidl"),
		"volumes_hwd":     withTable(deep, "hwd"),
		"volumes_prenorm": with(deep, func(c *Config) { c.PreNorm, c.QKVBias, c.ImgSize = true, false, []int{8, 8, 12} }),
	}
	for name, from := range map[string]struct {
		file    string
		options Options
	}{
		"golden_timm":  {"weights/timm.safetensors", Options{NumHeads: 3}},
		"golden_hf":    {"weights/hf_ijepa", Options{}},
		"golden_nidl":  {"weights/nidl.ckpt", Options{NumHeads: 3, ImgSize: []int{12, 8, 8}}},
		"golden_paper": {"paper2d_start.pth.tar", Options{NumHeads: 3}},
	} {
		w, err := Load(testdata.Golden.Find(t, from.file), from.options)
		require.NoError(t, err)
		cases[name] = w
	}
	inflated, err := cases["golden_timm"].Adapt([]int{48, 40, 18}, []int{8, 8, 6}, 1)
	require.NoError(t, err)
	cases["golden_inflated"] = inflated
	for name, w := range cases {
		into := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(into, 0o755))
		save := func(file string, l Layout) { require.NoError(t, w.Save(filepath.Join(into, file), l)) }
		save("timm.safetensors", TimmLayout)
		save("timm.pth", TimmLayout)
		save("nidl.pt", NIDLLayout)
		save("nidl.safetensors", NIDLLayout)
		save("encoder.onnx", ONNXLayout)
		c := w.Config
		if w.Predictor != nil && has(w.Predictor, "predictor_pos_embed") {
			save("nidl.ckpt", NIDLLayout)
		}
		if c.Dim() == 2 && c.Prefix() == 0 && !c.PreNorm && !c.QKNorm {
			save("original.pth.tar", OriginalLayout)
			save("original.safetensors", OriginalLayout)
			save("huggingface", HubLayout)
		}
		b, err := json.Marshal(c)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(into, "case.json"), b, 0o644))
	}
}
