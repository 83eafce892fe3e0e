package config

import (
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/jepa"
)

func layer(text string) Text { return Text{"test.toml", []byte(text)} }

func TestLayers(t *testing.T) {
	c, err := Parse(layer("preset = 'nidl'\nbatch_size = 4\n[encoder]\nembed_dim = 32\n[data]\nsize = [8, 8, 8]\n"), layer("batch_size = 2"))
	require.NoError(t, err)
	require.Equal(t, "nidl", c.Preset)
	require.Equal(t, "nidl", c.Encoder.PosOrder, "the preset's defaults come first")
	require.Equal(t, 2, c.BatchSize, "the last layer wins")
	require.Equal(t, 32, c.Encoder.EmbedDim)
	require.Equal(t, []int{8, 8, 8}, c.Data.Size)
}

func TestWeightDecayAloneIsConstant(t *testing.T) {
	c, err := Parse(layer("weight_decay = 0.1"))
	require.NoError(t, err)
	require.Equal(t, 0.1, c.WeightDecayEnd)
	c, err = Parse(layer("weight_decay = 0.1\nweight_decay_end = 0.2"))
	require.NoError(t, err)
	require.Equal(t, 0.2, c.WeightDecayEnd)
	c, err = Parse(layer("preset = 'paper'\nweight_decay = 0.1"))
	require.NoError(t, err)
	require.Equal(t, 0.4, c.WeightDecayEnd)
}

func TestUnknownKeys(t *testing.T) {
	for text, want := range map[string]string{
		"bach_size = 3":                  `test.toml: config: line 1: there is no key "bach_size": did you mean "batch_size"?`,
		"seed = 1\n[encoder]\ndepht = 3": `line 3: there is no key "encoder.depht": did you mean "encoder.depth"?`,
		"[data]\nnormalise = 'z'":        `did you mean "data.normalize"?`,
		"[data.phantoms]\nnumber = 1":    `there is no key "data.phantoms.number"`,
		"batch_size = 'many'":            "line 1, column 14",
		"preset = 'none'":                `preset is "none"`,
	} {
		_, err := Parse(layer(text))
		require.ErrorContains(t, err, want)
	}
}

// TestComments: every key has a comment, and every comment a key.
func TestComments(t *testing.T) {
	keys := map[string]bool{"encoder": true, "regularize_tokens": true, "regularize_pooled": true, "data": true, "data.phantoms": true, "probe": true, "finetune": true}
	for _, k := range jepa.TOMLKeys(new(Config)) {
		require.Contains(t, comments, k)
		keys[k] = true
	}
	require.NotEmpty(t, keys)
	for k := range comments {
		require.Contains(t, keys, k)
	}
}

func TestTOMLReadsBack(t *testing.T) {
	for _, preset := range []string{"default", "nidl", "paper"} {
		c, err := Default(preset)
		require.NoError(t, err)
		require.NoError(t, c.Complete(1, []int{16, 16, 16}))
		back, err := Parse(Text{"", c.TOML()})
		require.NoError(t, err, string(c.TOML()))
		require.Equal(t, c.TOML(), back.TOML())
		require.Contains(t, string(c.TOML()), "# samples a batch")
	}
}

func TestComplete(t *testing.T) {
	c, err := Parse(layer("[encoder]\nembed_dim = 64"))
	require.NoError(t, err)
	require.NoError(t, c.Complete(1, []int{28, 28, 28}))
	require.Equal(t, []int{28, 28, 28}, c.Encoder.ImgSize)
	require.Equal(t, []int{4, 4, 4}, c.Encoder.PatchSize)
	require.Equal(t, 1, c.Encoder.InChans)
	require.Equal(t, 2, c.Encoder.NumHeads)

	for text, want := range map[string]string{
		"[encoder]\npatch_size = [5]":          "data.size = [30, 30, 30] crops or pads",
		"[encoder]\nin_chans = 3":              "in_chans is 3 and the samples have 1",
		"[encoder]\nimg_size = [32, 32, 32]":   "img_size is [32 32 32] and the samples are brought to [28 28 28]",
		"[probe]\npooling = 'max'":             `probe.pooling is "max"`,
		"[data]\ncrop_scale = [0.9, 0.1]":      "crop scale",
		"[data]\nerase = [0.5, 0.1]":           "erasing (0.5, 0.1)",
		"[data]\nrotate = 2.0":                 "rotation",
		"[data]\nlabel_kind = 'ordinal'":       "label kind",
		"[data]\nsubject_from = 'dicom'":       "subjects by",
		"[data]\nflip = [0.5]":                 "1 flip probabilities for images of 3 axes",
		"[probe]\ncs = []":                     "probe.cs",
		"[data]\nnormalize = 'zz'":             "normalize",
		"[regularize_pooled]\nvariance = -1.0": "regularize_pooled.variance",
	} {
		c, err := Parse(layer(text))
		require.NoError(t, err)
		require.ErrorContains(t, c.Complete(1, []int{28, 28, 28}), want)
	}
	c, err = Default("default")
	require.NoError(t, err)
	require.ErrorContains(t, c.Complete(1, []int{31, 37, 29}), "no patch size divides [31 37 29] well")
}

func TestSetting(t *testing.T) {
	for assignment, want := range map[string]string{
		"seed=3":                "seed = 3\n",
		"optimizer=sgd":         "optimizer = 'sgd'\n",
		"data.labels=a\ab.csv":  "data.labels = \"a\\u0007b.csv\"\n",
		"data.size=[1,2]":       "data.size = [1,2]\n",
		"encoder.qk_norm=true":  "encoder.qk_norm = true\n",
		`data.normalize="none"`: "data.normalize = \"none\"\n",
	} {
		l, err := Setting(assignment)
		require.NoError(t, err)
		require.Equal(t, want, string(l.TOML))
	}
	for _, bad := range []string{"seed", "=3", "seed=", "a b c=3"} {
		_, err := Setting(bad)
		require.ErrorContains(t, err, "--set")
	}
}
