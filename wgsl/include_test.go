package wgsl

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// folder is a shader x.wgsl with the shared files given as name and text in turn.
func folder(text string, shared ...string) fstest.MapFS {
	files := shader(text)
	for i := 0; i < len(shared); i += 2 {
		files["shared/"+shared[i]+".wgsl"] = &fstest.MapFile{Data: []byte(shared[i+1])}
	}
	return files
}

func TestInclude(t *testing.T) {
	files := folder("a\n//#include load FROM=x\n//#include load FROM=y\nb {{N}}\n",
		"load", "// load_{{FROM}}\n//#if FOUR\nfour {{N}}\n//#else\n//#for I 2\n{{FROM}}{{I}}\n//#end\n//#end\n")
	got, err := specialise(files, "x.wgsl", Defines{"FOUR": "0", "N": "7"})
	require.NoError(t, err)
	require.Equal(t, []string{
		"a", "", "", "b 7", "",
		"//#file shared/load.wgsl", "// load_x", "", "", "", "", "x0 x1", "", "", "",
		"//#file shared/load.wgsl", "// load_y", "", "", "", "", "y0 y1", "", "", "", "",
	}, strings.Split(got, "\n"))
}

// What a kernel includes in a branch that is off is not there, and what it
// defines for it counts as used where it is.
func TestIncludeInBranches(t *testing.T) {
	files := folder("//#if A\n//#include load N=1\n//#end\n", "load", "{{N}} {{M}}\n")
	got, err := specialise(files, "x.wgsl", Defines{"A": "0"})
	require.NoError(t, err)
	require.Equal(t, "\n\n\n\n", got)
	got, err = specialise(files, "x.wgsl", Defines{"A": "1", "M": "2"})
	require.NoError(t, err)
	require.Equal(t, "\n\n\n\n//#file shared/load.wgsl\n1 2\n\n", got)
}

// A line's own definitions hold in the shared file alone, and before the kernel's.
func TestIncludeDefines(t *testing.T) {
	files := folder("{{N}}\n//#include load N=2\n", "load", "{{N}}\n")
	got, err := specialise(files, "x.wgsl", Defines{"N": "1"})
	require.NoError(t, err)
	require.Equal(t, "1\n\n\n//#file shared/load.wgsl\n2\n\n", got)
}

func TestIncludeRefuses(t *testing.T) {
	for _, c := range []struct {
		name, text, shared, want string
	}{
		{"unknown", "\n//#include lod\n", "", "wgsl: x.wgsl:2: there is no shared/lod.wgsl"},
		{"outside", "//#include ../x\n", "", "wgsl: x.wgsl:1: there is no shared/../x.wgsl"},
		{"no name", "//#include\n", "", "wgsl: x.wgsl:1: write //#include NAME X=v …"},
		{"two names", "//#include load store\n", "", "wgsl: x.wgsl:1: write //#include NAME X=v …"},
		{"definition first", "//#include N=1\n", "", "wgsl: x.wgsl:1: write //#include NAME X=v …"},
		{"lower-case definition", "//#include load n=1\n", "", "wgsl: x.wgsl:1: write //#include NAME X=v …"},
		{"unused definition", "//#include load N=1\n", "a\n", "wgsl: x.wgsl:1: shared/load.wgsl does not use N"},
		{"undefined value", "//#include load\n", "a\n{{N}}\n", "wgsl: shared/load.wgsl:2: N is not defined"},
		{"open condition", "//#include load\n", "//#if A\n", "wgsl: shared/load.wgsl: //#if without //#end"},
		{"itself", "//#include load\n", "a\n//#include load\n", "wgsl: shared/load.wgsl:2: a shared file includes no other"},
		{"another", "//#include load\n", "//#include other\n", "wgsl: shared/load.wgsl:1: a shared file includes no other"},
		{"loop", "//#for I 2\n//#include load\n//#end\n", "a\n", "wgsl: x.wgsl:1: //#for holds //#include load: write that outside of it"},
		{"mark", "//#file shared/load.wgsl\n", "", "wgsl: x.wgsl:1: //#file is not //#if, //#else, //#end, //#for or //#include"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := Defines{}
			if strings.Contains(c.shared, "//#if A") {
				d["A"] = "1"
			}
			_, err := specialise(folder(c.text, "load", c.shared), "x.wgsl", d)
			require.EqualError(t, err, c.want)
		})
	}
	_, err := specialise(folder("//#include load\n", "load", "{{N}}\n"), "x.wgsl", Defines{"N": "1", "M": "2"})
	require.EqualError(t, err, "wgsl: x.wgsl does not use M")
}

// Every line of a specialised text leads to where it was written.
func TestPlace(t *testing.T) {
	files := folder("a\n//#include load\n//#include store\nb\n", "load", "c\nd\n", "store", "e\n//#if A\nf\n//#end\ng\n")
	source, err := specialise(files, "x.wgsl", Defines{"A": "0"})
	require.NoError(t, err)
	seen := 0
	for i, line := range strings.Split(source, "\n") {
		if line == "" || strings.HasPrefix(line, fileMark) {
			continue
		}
		file, n := Place("x.wgsl", source, i+1)
		require.Equal(t, line, strings.Split(string(files[file].Data), "\n")[n-1], "line %d is said to be %s:%d", i+1, file, n)
		seen++
	}
	require.Equal(t, len("abcdeg"), seen)
}

// A kernel's layout is its own, whatever it includes.
func TestReflectIncluded(t *testing.T) {
	files := folder(copyText+"//#include load\n", "load", "struct Row {\n  sum: vec2<f32>,\n}\nvar<workgroup> part: array<f32, 64>;\n")
	source, err := specialise(files, "x.wgsl", nil)
	require.NoError(t, err)
	want, err := Reflect(copyText)
	require.NoError(t, err)
	got, err := Reflect(source)
	require.NoError(t, err)
	require.Equal(t, want, got)
}
