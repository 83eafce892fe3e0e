package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheck(t *testing.T) {
	check := func(text string) (Config, error) {
		c, err := Parse(Text{"file", []byte(text)})
		require.NoError(t, err)
		return c.Check()
	}
	c, err := check("")
	require.NoError(t, err)
	require.Equal(t, 256, c.Encoder.EmbedDim)
	require.Empty(t, c.Encoder.ImgSize)
	require.Empty(t, c.Encoder.PatchSize)
	require.Zero(t, c.Encoder.InChans)
	// What it fills in says the same again.
	again, err := check(string(c.TOML()))
	require.NoError(t, err)
	require.Equal(t, c.TOML(), again.TOML())
	c, err = check("[encoder]\npatch_size = [4, 8]\nembed_dim = 64")
	require.NoError(t, err)
	require.Equal(t, 2, c.Encoder.NumHeads)
	c, err = check("[data]\nsize = [32, 32, 32]")
	require.NoError(t, err)
	require.Equal(t, []int{4}, c.Encoder.PatchSize[:1])

	for text, want := range map[string]string{
		"optimizer = 'adan'":                                   "optimizer",
		"[encoder]\nembed_dim = 64\nnum_heads = 7":             "num_heads",
		"[data]\nfit = 'squeeze'":                              "fit",
		"[probe]\nresamples = 3":                               "probe.resamples",
		"[data]\nsize = [30, 30]\n[encoder]\npatch_size = [8]": "data.size",
		"min_keep = 100000":                                    "min_keep",
	} {
		_, err := check(text)
		require.ErrorContains(t, err, want, text)
	}
}

func TestNote(t *testing.T) {
	c, err := Parse(Text{"file", []byte("[data]\npaths = ['/home/doe']\nlabels = '/home/doe.csv'\nsplits = '/home/doe2.csv'\nnormalize = 'robust'")})
	require.NoError(t, err)
	require.NotContains(t, c.Note(), "doe")
	require.Contains(t, c.Note(), "robust")
	require.Equal(t, []string{"/home/doe"}, c.Data.Paths)
}

func TestSuggestSize(t *testing.T) {
	for _, c := range []struct{ sizes, want [][]int }{
		{[][]int{{36, 50, 36}, {35, 49, 35}, {36, 52, 40}}, [][]int{{36, 48, 36}}},
		{[][]int{{224, 224}, {220, 230}}, [][]int{{224, 224}}},
		{[][]int{{31, 37, 29}}, [][]int{{32, 36, 28}}},
		{[][]int{{64, 64, 9}}, [][]int{{64, 64, 10}}},
		{[][]int{{3, 1}}, [][]int{{4, 4}}},
	} {
		size := SuggestSize(c.sizes)
		require.Equal(t, c.want[0], size, c.sizes)
		_, err := choosePatch(size)
		require.NoError(t, err)
	}
}

func TestChoosePatch(t *testing.T) {
	for _, c := range []struct{ size, want []int }{
		{[]int{64, 64, 64}, []int{8}},
		{[]int{28, 28}, []int{4}},
		{[]int{64, 64, 10}, []int{8, 8, 2}},
		{[]int{256, 256, 4}, []int{16, 16, 2}},
		{[]int{30, 33, 35}, []int{5, 3, 5}},
	} {
		p, err := choosePatch(c.size)
		require.NoError(t, err)
		require.Equal(t, c.want, p, c.size)
	}
	_, err := choosePatch([]int{64, 64, 9})
	var none *PatchError
	require.ErrorAs(t, err, &none)
	require.Equal(t, []int{64, 64, 10}, none.Suggest)
	require.ErrorContains(t, err, "data.size = [64, 64, 10]")
}
