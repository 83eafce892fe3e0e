package jepa

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConfigRoundTrip(t *testing.T) {
	for _, preset := range []string{"default", "nidl", "paper"} {
		c, err := Default(preset)
		require.NoError(t, err)
		c.Encoder.ImgSize, c.Encoder.PatchSize = []int{224, 224}, []int{16}
		require.NoError(t, c.Encoder.SetSize("vit_small"))
		require.NoError(t, c.Validate())
		back, err := ParseConfig(c.TOML())
		require.NoError(t, err)
		require.Equal(t, c, back)
	}
	_, err := Default("papers")
	require.ErrorContains(t, err, "default, nidl or paper")
}

func TestConfigRefusals(t *testing.T) {
	base := "[encoder]\nimg_size = [32, 32, 32]\npatch_size = [4]\nembed_dim = 96\ndepth = 2\nnum_heads = 4\n"
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":                {"learning_rat = 1\n" + base, `line 1: there is no key "learning_rat": did you mean "learning_rate"?`},
		"unknown table key":          {base + "num_head = 1\n", `"encoder.num_heads"`},
		"type":                       {"seed = \"x\"\n" + base, "line 1"},
		"syntax":                     {"seed = = 1\n", "line 1, column"},
		"preset":                     {"preset = \"mine\"\n" + base, "default, nidl or paper"},
		"patch":                      {"[encoder]\nimg_size = [30, 32, 32]\npatch_size = [4]\nembed_dim = 96\ndepth = 2\nnum_heads = 4\n", "use 28 or 32"},
		"heads":                      {"predictor_num_heads = 5\n" + base, "multiple of its 5 heads"},
		"optimizer":                  {"optimizer = \"adamw\"\n" + base, "adamW, adam, sgd"},
		"nesterov":                   {"nesterov = true\n" + base, "momentum above 0"},
		"negative rate":              {"learning_rate = -1.0\n" + base, "learning_rate is -1"},
		"a large number":             {"batch_size = 100000000\n" + base, "batch_size is 100000000: it must lie between 1 and 1048576"},
		"beyond counts":              {"gradient_clip_val = 1e99\n" + base, "gradient_clip_val is 1e+99: it must lie between 0 and 1e+30"},
		"not a number":               {"learning_rate = nan\n" + base, "learning_rate is NaN"},
		"masks":                      {"min_keep = 400\n" + base, "min_keep"},
		"anti-collapse of one token": {"batch_size = 1\nmin_keep = 0\n" + base + "[regularize_tokens]\nvariance = 0.1\n", "needs two tokens"},
		"anti-collapse nidl":         {"preset = \"nidl\"\n" + base + "[regularize_pooled]\nsigreg = 0.1\n", "no anti-collapse terms"},
	} {
		t.Run(name, func(t *testing.T) {
			c2, err := ParseConfig([]byte(c.text))
			if err == nil {
				err = c2.Validate()
			}
			require.ErrorContains(t, err, c.want)
		})
	}
	good, err := ParseConfig([]byte(base))
	require.NoError(t, err)
	require.NoError(t, good.Validate())
	require.Equal(t, []int{4, 4, 4}, good.Encoder.PatchSize)
	good.Seed = 1 << 63
	require.ErrorContains(t, good.Validate(), "seed is 9223372036854775808")
}

func TestWeightDecayAloneIsConstant(t *testing.T) {
	c, err := ParseConfig([]byte("weight_decay = 0.05"))
	require.NoError(t, err)
	require.Equal(t, 0.05, c.WeightDecayEnd)
	c, err = ParseConfig([]byte("preset = \"paper\"\nweight_decay = 0.05"))
	require.NoError(t, err)
	require.Equal(t, 0.4, c.WeightDecayEnd)
}
