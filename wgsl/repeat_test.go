package wgsl

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRepeat(t *testing.T) {
	text := strings.Join([]string{
		"before",
		"//#for I {{N}}",
		"  let a{{I}} = {{X}}; // why",
		"  //#for J 2",
		"  b{{I}}_{{J}};",
		"  //#end",
		"//#end",
		"after",
	}, "\n")
	require.Equal(t, []string{
		"before", "", "let a0 = 7; b0_0; b0_1; let a1 = 7; b1_0; b1_1;", "", "", "", "", "after",
	}, lines(t, text, Defines{"N": "2", "X": "7"}))
	require.Equal(t, []string{"before", "", "", "", "", "", "", "after"}, lines(t, text, Defines{"N": "0", "X": "7"}))
}

func TestRepeatInBranches(t *testing.T) {
	text := "//#if A\n//#for I 2\na{{I}};\n//#end\n//#else\nb\n//#end"
	require.Equal(t, []string{"", "", "a0; a1;", "", "", "", ""}, lines(t, text, Defines{"A": "1"}))
	require.Equal(t, []string{"", "", "", "", "", "b", ""}, lines(t, text, Defines{"A": "0"}))
}

func TestRepeatRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"//#for I 2\na":                          "x.wgsl:1: //#for without //#end",
		"//#for I\n//#end":                       "x.wgsl:1: write //#for NAME COUNT",
		"\n//#for i 2\n//#end":                   "x.wgsl:2: write //#for NAME COUNT",
		"//#for I {{N}}\n//#end":                 "x.wgsl:1: N is not defined",
		"//#for I x\n//#end":                     `"x" is not a count from 0 to 256`,
		"//#for I 257\n//#end":                   `"257" is not a count from 0 to 256`,
		"//#for I -1\n//#end":                    `"-1" is not a count from 0 to 256`,
		"//#for I 2\n//#if A\nb\n//#end\n//#end": "x.wgsl:1: //#for holds //#if A: write that outside of it",
		"//#for I 2\n//#include A\n//#end":       "x.wgsl:1: //#for holds //#include A: write that outside of it",
	} {
		_, err := specialise(shader(text), "x.wgsl", Defines{"A": "1"})
		require.ErrorContains(t, err, want, text)
	}
}
