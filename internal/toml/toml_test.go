package toml

import (
	"fmt"
	"math"
	"strings"
	"testing"

	reference "github.com/pelletier/go-toml/v2"
	"github.com/stretchr/testify/require"
)

type base struct {
	Seed  uint64     `toml:"seed"`
	Rate  float64    `toml:"rate"`
	Betas [2]float64 `toml:"betas"`
	Inner inner      `toml:"inner"`
}

type inner struct {
	Size  []int    `toml:"size"`
	Paths []string `toml:"paths"`
	On    bool     `toml:"on"`
	Deep  struct {
		Count int `toml:"count"`
	} `toml:"deep"`
}

type config struct {
	base
	Name  string    `toml:"name"`
	Flips []float64 `toml:"flips"`
	Other inner     `toml:"other"`
}

// TestDecode: what go-toml accepts is read as it reads it, and what it refuses
// is refused.
func TestDecode(t *testing.T) {
	for _, text := range []string{
		"", "# only\n", "seed = 3\nrate = 1e-3", "seed = 0x1F", "seed = 0o17", "seed = 0b11", "seed = 1_000", "rate = 1", "rate = -1_0.5_0e+2", "rate = inf", "rate = -inf", "rate = nan",
		"rate = 0.0", "rate = 0e1", "rate = -0.0", "name = 'a\\b'", "name = \"a\\u00e9\\n\"", "name = \"\"\"\nab\\\n  c\"\"\"", "name = '''\nx'''", "name = ''",
		"betas = [0.5, 1]", "betas = [\n 1, # one\n 2,\n]", "flips = []", "[inner]\nsize = [1, 2]\npaths = ['a', \"b\"]\non = true",
		"[inner.deep]\ncount = -4\n[inner]\non = true", "inner.deep.count = 3\ninner.on = true", "[inner]\ndeep.count = 2\n[other]\ndeep = {count = 5}",
		"inner = {on = true, deep = {count = 1}}", "inner = {deep.count = 1, size = [3]}", "\"seed\" = 1", "[ inner . deep ]\ncount=1", "[inner]\n[inner.deep]\n[other]",
		"seed = +7", "seed = 9223372036854775807", "name = 'ü'", "\xef\xbb\xbfseed = 1", "seed = 1\r\nname = 'x'\r\n",
		// Refused.
		"seed", "seed =", "seed = = 1", "seed = 1\nseed = 2", "[inner]\n[inner]", "[inner]\non = true\n[inner.deep]\n[inner]", "inner.on = true\n[inner]", "seed = 1\nseed.a = 2",
		"inner = {on = true}\ninner.size = [1]", "inner = {on = true}\n[inner.deep]", "[inner.deep]\ncount = 1\n[inner]\ndeep.count = 2", "inner = {on = true, on = false}",
		"seed = 01", "seed = 1__0", "seed = _1", "seed = 1_", "rate = 01.5", "rate = 1.", "rate = .5", "rate = 1._5", "rate = 1e", "rate = 0_1.5", "seed = 9223372036854775808", "seed = 0x", "rate = 1e999",
		"seed = -1", "seed = 1.5", "seed = 'x'", "seed = true", "seed = [1]", "seed = {a = 1}", "seed = 2024-01-01", "name = 3", "rate = 'x'", "[seed]", "[name.x]", "inner = 3", "inner = [1]", "flips = 3", "flips = ['a']", "betas = [[1], 2]",
		"[inner]\non = 'true'", "[[inner]]\non = true", "[inner\non = true", "name = 'a", "name = \"\\q\"", "name = \"\xff\"", "unknown = 1", "[unknown]", "[inner]\nunknown = 1", "inner.deep.x = 1", "inner = {x = 1}", "name = 'a\x00'",
		strings.Repeat("[", 20000), "flips = " + strings.Repeat("[", 20000), "seed = " + strings.Repeat("9", 5000),
	} {
		var got, want config
		wantErr := reference.NewDecoder(strings.NewReader(text)).DisallowUnknownFields().Decode(&want)
		err := Decode([]byte(text), &got)
		if wantErr != nil {
			var bad *Error
			require.ErrorAs(t, err, &bad, text)
			require.Positive(t, bad.Line*bad.Column)
			continue
		}
		require.NoError(t, err, text)
		if math.IsNaN(want.Rate) {
			require.True(t, math.IsNaN(got.Rate))
			got.Rate, want.Rate = 0, 0
		}
		require.Equal(t, want, got, text)
	}
}

func TestDecodeSays(t *testing.T) {
	for text, want := range map[string]string{
		"seed = 1\n  rate = 'x'":           "line 2, column 10: rate must be a number, not a string",
		"[inner]\nsize = 3":                "line 2, column 8: inner.size must be a list, not an integer",
		"[inner]\nsize = [1, 2.5]":         "line 2, column 12: inner.size must be an integer, not a fraction",
		"seed = 2024-01-01":                "line 1, column 8: seed must be an integer, not a date",
		"betas = [1]":                      "line 1, column 1: betas must have 2 values, not 1",
		"seed = -1":                        "line 1, column 8: seed is -1: it must not be negative",
		"name = 'a'\nname = 'b'":           "line 2, column 1: name is defined already",
		"[inner]\n[inner]":                 "line 2, column 2: inner is defined already",
		"[inner]\nunknown = 1":             `line 2, column 1: there is no key "inner.unknown"`,
		"[[inner]]":                        "line 1, column 3: [[…]] is a list of tables, and there are none here: write [inner]",
		"[name]":                           "line 1, column 2: name is no table: write it as a key = value",
		"inner = {on = 1}":                 "line 1, column 15: inner.on must be true or false, not an integer",
		"seed = 99999999999999999999":      "line 1, column 8: seed: 99999999999999999999 does not fit in 64 bits",
		"seed = 1\nrate = = 2":             "line 2, column 8: unexpected character U+003D '=' at start of value",
		"name.x = 1":                       "line 1, column 6: name is no table",
		"seed = 3\nother = {deep = true }": "line 2, column 17: other.deep must be a table, not true or false",
	} {
		var c config
		require.EqualError(t, Decode([]byte(text), &c), want)
	}
}

func TestDecodeKnown(t *testing.T) {
	var c config
	require.NoError(t, DecodeKnown([]byte("x = [1, {a = 2024-01-01}]\nseed = 2\n[y.z]\na.b = 'c'\n[inner]\nw = {on = 1}\non = true"), &c))
	require.Equal(t, uint64(2), c.Seed)
	require.True(t, c.Inner.On)
	require.ErrorContains(t, DecodeKnown([]byte("x = 1\nx = 2"), &c), "x is defined already")
	require.ErrorContains(t, DecodeKnown([]byte("x = 01"), &c), "leading zeroes")
	require.NoError(t, DecodeKnown([]byte("x = [{a = 1}, {a = 2}]"), &c), "tables of a list have the same keys")
}

// TestDecodeHostile: what is passed over costs no more than its length.
func TestDecodeHostile(t *testing.T) {
	var c config
	require.EqualError(t, DecodeKnown([]byte(strings.Repeat("x.", 1<<18)+"x = 1"), &c), "line 1, column 129: a key has more than 64 parts")
	var text strings.Builder
	text.WriteString("[" + strings.Repeat("x", 1<<19) + "]\n")
	for i := range 1 << 16 {
		fmt.Fprintf(&text, "k%d = 1\n", i)
	}
	d := decoder{lenient: true, defined: map[string]definition{}}
	require.NoError(t, d.decode([]byte(text.String()), &c))
	require.Len(t, d.defined, 1)
}

// TestEncode: the text is that of go-toml.
func TestEncode(t *testing.T) {
	c := config{Name: "it's\ta \"b\" \\ ü\n\x7f", Flips: []float64{0, -0.5, 1e21, 1e-9, math.Inf(1), math.Inf(-1)}}
	c.Seed, c.Rate, c.Betas = 7, math.NaN(), [2]float64{0.9, 1}
	c.Inner.Size, c.Inner.Paths, c.Inner.On, c.Inner.Deep.Count = []int{1, -2}, []string{"", "a\\b", `"`, "it's"}, true, 3
	for _, name := range []string{c.Name, "plain"} {
		c.Name = name
		var back config
		require.NoError(t, Decode(Encode(c), &back))
		require.True(t, math.IsNaN(back.Rate))
		require.Equal(t, Encode(c), Encode(back))
		require.Equal(t, c.Inner, back.Inner)
		require.Equal(t, c.Name, back.Name)
	}
	c.Name = "plain"
	want, err := reference.Marshal(c)
	require.NoError(t, err)
	require.Equal(t, string(want), string(Encode(c)))
}

func FuzzDecode(f *testing.F) {
	f.Add("seed = 3\n[inner]\nsize = [1, 2]\n[inner.deep]\ncount = 1")
	f.Add("betas = [1.5, 2]\nother = {on = true, deep.count = 3}")
	f.Fuzz(func(t *testing.T, text string) {
		var c, again config
		if err := Decode([]byte(text), &c); err != nil {
			return
		}
		require.NoError(t, Decode(Encode(c), &again))
		require.Equal(t, Encode(c), Encode(again))
		var want config
		if err := reference.Unmarshal([]byte(text), &want); err == nil {
			require.Equal(t, Encode(want), Encode(c))
		}
	})
}
