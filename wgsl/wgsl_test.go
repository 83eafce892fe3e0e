package wgsl

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// shader is a folder with the kernel x.wgsl.
func shader(text string) fstest.MapFS {
	return fstest.MapFS{"x.wgsl": &fstest.MapFile{Data: []byte(text)}}
}

// lines is the specialised text without the trailing empty line.
func lines(t *testing.T, text string, d Defines) []string {
	t.Helper()
	got, err := specialise(shader(text), "x.wgsl", d)
	require.NoError(t, err)
	return strings.Split(strings.TrimSuffix(got, "\n"), "\n")
}

func TestSubstitution(t *testing.T) {
	require.Equal(t, []string{"let a = 16u; let b = 16u + 8u;"},
		lines(t, "let a = {{TILE}}u; let b = {{TILE}}u + {{K2}}u;", Defines{"TILE": "16", "K2": "8"}))
}

// A definition's text may itself look like a name: it is put in as it is.
func TestSubstitutionIsNotRepeated(t *testing.T) {
	require.Equal(t, []string{"{{B}} 2"}, lines(t, "{{A}} {{B}}", Defines{"A": "{{B}}", "B": "2"}))
}

func TestBranches(t *testing.T) {
	text := strings.Join([]string{
		"first",
		"//#if A",
		"a",
		" //#if B",
		"  a and b",
		" //#else",
		"  a, not b",
		" //#end",
		"a again",
		"//#else",
		"not a",
		" //#if B",
		"  b, not a",
		" //#end",
		"//#end",
		"last",
	}, "\n")
	for _, c := range []struct {
		a, b string
		want []string
	}{
		{"1", "1", []string{"first", "", "a", "", "  a and b", "", "", "", "a again", "", "", "", "", "", "", "last"}},
		{"1", "0", []string{"first", "", "a", "", "", "", "  a, not b", "", "a again", "", "", "", "", "", "", "last"}},
		{"0", "1", []string{"first", "", "", "", "", "", "", "", "", "", "not a", "", "  b, not a", "", "", "last"}},
		{"0", "0", []string{"first", "", "", "", "", "", "", "", "", "", "not a", "", "", "", "", "last"}},
	} {
		// The number of lines is that of the file, so a compiler's line numbers are too.
		require.Equal(t, c.want, lines(t, text, Defines{"A": c.a, "B": c.b}), "A=%s B=%s", c.a, c.b)
	}
}

// A value in a branch that is off needs no definition; one that is defined counts as used.
func TestNamesInClosedBranches(t *testing.T) {
	text := "//#if A\n{{N}}\n//#end"
	require.Equal(t, []string{"", "", ""}, lines(t, text, Defines{"A": "0"}))
	require.Equal(t, []string{"", "", ""}, lines(t, text, Defines{"A": "0", "N": "4"}))

	nested := "//#if A\n//#if B\nb\n//#end\n//#end"
	require.Equal(t, []string{"", "", "", "", ""}, lines(t, nested, Defines{"A": "0", "B": "1"}))
}

func TestSpecialiseRefuses(t *testing.T) {
	for _, c := range []struct {
		name, text string
		d          Defines
		want       string
	}{
		{"undefined value", "a\n{{TILE}}", nil, "wgsl: x.wgsl:2: TILE is not defined"},
		{"undefined condition", "//#if GELU\n//#end", nil, "wgsl: x.wgsl:1: GELU is not defined"},
		{"unused", "a", Defines{"TILE": "4"}, "wgsl: x.wgsl does not use TILE"},
		{"else alone", "a\n//#else", nil, "wgsl: x.wgsl:2: //#else without //#if"},
		{"end alone", "//#end", nil, "wgsl: x.wgsl:1: //#end without //#if"},
		{"open at the end", "//#if A", Defines{"A": "1"}, "wgsl: x.wgsl: //#if without //#end"},
		{"two elses", "//#if A\n//#else\n//#else\n//#end", Defines{"A": "1"}, "wgsl: x.wgsl:3: second //#else of one //#if"},
		{"if without a name", "//#if\n//#end", Defines{}, "wgsl: x.wgsl:1: //#if without a name"},
		{"unknown directive", "//#elif A", nil, "wgsl: x.wgsl:1: //#elif is not //#if, //#else, //#end, //#for or //#include"},
		{"lower-case name", "{{tile}}", nil, "wgsl: x.wgsl:1: {{tile}} is not a {{NAME}} of capitals, digits and _"},
		{"open brace pair", "{{TILE", nil, "wgsl: x.wgsl:1: {{TILE is not a {{NAME}} of capitals, digits and _"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := specialise(shader(c.text), "x.wgsl", c.d)
			require.EqualError(t, err, c.want)
		})
	}
}

func TestSource(t *testing.T) {
	_, err := Source("absent.wgsl", nil)
	require.EqualError(t, err, "wgsl: no shader absent.wgsl")
	text, err := Source("fill.wgsl", nil)
	require.NoError(t, err)
	require.Contains(t, text, "fn main")
}

const copyText = `// copy: dst = scale · src.
struct Params {
  n: u32, // elements
  scale: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read_write> dst: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@compute @workgroup_size(8, 4)
fn main() {}
`

func TestReflect(t *testing.T) {
	l, err := Reflect(copyText)
	require.NoError(t, err)
	require.Equal(t, Layout{
		Params:    []Field{{"n", false}, {"scale", true}},
		Bindings:  []Binding{{"index", false, false}, {"dst", true, true}},
		Workgroup: [3]int{8, 4, 1},
	}, l)
}

func TestReflectRefuses(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"no uniform", "var<uniform> p: Params", "var<uniform> p: vec4<f32>", "var<uniform>"},
		{"no struct", "struct Params", "struct Parameters", "var<uniform>"},
		{"vector parameter", "scale: f32", "scale: vec2<f32>", `"scale: vec2<f32>," is not one`},
		{"two parameters a line", "n: u32, // elements", "n: u32, m: u32,", `"n: u32, m: u32," is not one`},
		{"signed parameter", "n: u32", "n: i32", `"n: i32," is not one`},
		{"other element", "index: array<u32>", "index: array<i32>", "1 of 2 bindings have an unknown form"},
		{"matrix element", "array<vec4<f32>>", "array<mat2x2<f32>>", "1 of 2 bindings have an unknown form"},
		{"fixed length", "array<u32>", "array<u32, 4>", "1 of 2 bindings have an unknown form"},
		{"other group", "@group(0) @binding(2)", "@group(1) @binding(2)", "1 of 2 bindings have an unknown form"},
		{"gap", "@binding(2)", "@binding(3)", "without gaps, dst has 3"},
		{"twice", "@binding(2)", "@binding(1)", "without gaps"},
		{"commented out", "@group(0) @binding(1)", "// @group(0) @binding(1)", "without gaps, dst has 2"},
		{"no entry point", "@compute @workgroup_size(8, 4)", "", "@workgroup_size"},
		{"size by name", "@workgroup_size(8, 4)", "@workgroup_size(TILE)", "@workgroup_size"},
		{"two entry points", "fn main() {}", "fn main() {}\n@compute @workgroup_size(1)\nfn other() {}", "2 entry points"},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Contains(t, copyText, c.old)
			_, err := Reflect(strings.Replace(copyText, c.old, c.new, 1))
			require.ErrorContains(t, err, c.want)
		})
	}
}

var (
	headerRE    = regexp.MustCompile(`^// (\w+): `)
	twinRE      = regexp.MustCompile(`(?m)^// Twin: (internal/ref/\w+\.go)`)
	valueRE     = regexp.MustCompile(`\{\{([A-Z0-9_]+)\}\}`)
	conditionRE = regexp.MustCompile(`(?m)^\s*//#if (\w+)`)
	includeRE   = regexp.MustCompile(`(?m)^//#include (\w+)`)
	commentRE   = regexp.MustCompile(`//[^\n]*`)
)

// TestFiles holds every shader to the form that the package describes: a
// header that names the kernel and its twin, directives in pairs, and nothing
// outside the dialect that all compilers share. What is shared is shared by
// two kernels at least.
func TestFiles(t *testing.T) {
	kernels, err := filepath.Glob("*.wgsl")
	require.NoError(t, err)
	require.NotEmpty(t, kernels)
	require.ElementsMatch(t, kernels, Files())
	included := map[string]map[string]bool{}
	for _, path := range kernels {
		t.Run(path, func(t *testing.T) {
			text := readShader(t, path)
			twin := twinRE.FindStringSubmatch(text)
			require.NotNil(t, twin, "no `// Twin: internal/ref/….go`")
			require.FileExists(t, filepath.Join("..", filepath.FromSlash(twin[1])))
			for _, m := range includeRE.FindAllStringSubmatch(text, -1) {
				if included[m[1]] == nil {
					included[m[1]] = map[string]bool{}
				}
				included[m[1]][path] = true
			}
		})
	}
	shared, err := filepath.Glob("shared/*.wgsl")
	require.NoError(t, err)
	for _, path := range shared {
		t.Run(path, func(t *testing.T) {
			text := readShader(t, path)
			require.NotContains(t, text, "@group", "bindings are the kernel's")
			require.NotContains(t, text, "@compute", "the entry point is the kernel's")
			users := included[strings.TrimSuffix(filepath.Base(path), ".wgsl")]
			require.GreaterOrEqual(t, len(users), 2, "included by %v", users)
		})
	}
}

// readShader reads a file and requires what holds for kernels and shared files.
func readShader(t *testing.T, path string) string {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	text := string(data)
	name := strings.TrimSuffix(filepath.Base(path), ".wgsl")
	header := headerRE.FindStringSubmatch(text)
	require.NotNil(t, header, "the first line must be `// %s: what it computes`", name)
	require.Equal(t, name, header[1])

	code := commentRE.ReplaceAllString(text, "")
	for _, word := range []string{"override ", "ptr<storage"} {
		require.NotContains(t, code, word)
	}

	// The directives pair, whatever is on. The layouts of the variants in use
	// are read where they are registered.
	for _, value := range []string{"1", "0"} {
		d := Defines{}
		for _, m := range valueRE.FindAllStringSubmatch(text, -1) {
			d[m[1]] = "1"
		}
		for _, m := range conditionRE.FindAllStringSubmatch(text, -1) {
			d[m[1]] = value
		}
		source, _, err := expand(path, text, d)
		require.NoError(t, err)
		require.Equal(t, strings.Count(text, "\n")+1, strings.Count(source, "\n"))
	}
	return text
}
