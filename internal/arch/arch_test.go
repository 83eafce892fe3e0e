// Package arch tests what no compiler checks: which package may import which,
// and what no file may contain.
package arch

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

const (
	module = "wgjepa"
	root   = "../.."
)

// mayImport lists for each package, and those below it, which packages of the
// project it may import besides those below itself. Packages not named here
// are not expected: a new one needs a place in the order.
var mayImport = map[string][]string{
	"wgsl":                {},
	"maskgen":             {},
	"checkpoint":          {"internal/toml", "internal/atomicfile"},
	"data":                {"internal/atomicfile"},
	"internal/ref":        {},
	"internal/toml":       {},
	"internal/arch":       {},
	"internal/atomicfile": {},
	"internal/picture":    {},
	"internal/testdata":   {},
	"gpu/internal/driver": {"wgsl", "internal/ref"},
	"gpu/internal":        {"gpu/internal/driver", "internal/ref"},
	"gpu":                 {"wgsl", "internal/ref"},
	"model":               {"gpu"},
	"jepa":                {"model", "maskgen", "checkpoint", "gpu", "internal/toml"},
	"internal/config":     {"jepa", "data", "internal/toml"},
	"internal/view":       {"jepa", "maskgen"},
	"internal/patchmap":   {"data"},
	"internal/embed":      {"model", "data", "internal/patchmap", "internal/atomicfile"},
	"internal/report":     {},
	"internal/resident":   {"jepa", "data", "gpu", "internal/config"},
	"internal/evaluate":   {"jepa", "checkpoint", "data", "gpu", "internal/config"},
	"internal/bench":      {"jepa", "model", "gpu", "internal/config"},
	"native":              append(slices.Clone(shared), "internal/atomicfile", "internal/picture", "internal/report", "internal/patchmap"),
	"wasm":                shared,
	"www":                 {}, // the page is not Go, its tests are
}

// shared is what the command and the browser's program are both made of.
var shared = []string{
	"jepa", "model", "maskgen", "checkpoint", "gpu", "data",
	"internal/config", "internal/view", "internal/resident", "internal/evaluate", "internal/bench", "internal/embed",
}

// onlyIn names what one part of the project alone may import; tests are free.
var onlyIn = map[string]string{
	"github.com/oliverbestmann/webgpu":    "gpu/internal",
	"github.com/cogentcore/webgpu":        "gpu/internal",
	"github.com/rajveermalviya/go-webgpu": "gpu/internal",
	"syscall/js":                          "gpu/internal",
	"unsafe":                              "gpu",
	"github.com/gofrs/flock":              "native",
	"github.com/spf13/cobra":              "native",
	"github.com/vbauerster/mpb":           "native",
	"github.com/parquet-go/parquet-go":    "native",
}

// walk calls f with the path from root of every file of the project.
func walk(t *testing.T, f func(name string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		require.NoError(t, err)
		rel, err := filepath.Rel(root, name)
		require.NoError(t, err)
		rel = filepath.ToSlash(rel)
		if entry.IsDir() {
			switch {
			case rel == ".git", rel == "build", rel == "bin", rel == "runs", entry.Name() == "node_modules":
				return filepath.SkipDir
			}
			return nil
		}
		if entry.Type().IsRegular() && rel != ".git" { // a file in a second working tree
			f(rel)
		}
		return nil
	})
	require.NoError(t, err)
}

// below reports whether pkg is parent or lies under it.
func below(pkg, parent string) bool { return pkg == parent || strings.HasPrefix(pkg, parent+"/") }

// rule finds the most special entry of mayImport for pkg.
func rule(pkg string) (string, bool) {
	for at := pkg; at != "."; at = path.Dir(at) {
		if _, ok := mayImport[at]; ok {
			return at, true
		}
	}
	return "", false
}

// allowed reports whether from may import to, both from the module's root.
func allowed(from, to string) bool {
	at, ok := rule(from)
	if !ok {
		return false
	}
	return below(to, at) || slices.ContainsFunc(mayImport[at], func(p string) bool { return below(to, p) })
}

func TestRules(t *testing.T) {
	for _, good := range [][2]string{
		{"gpu", "wgsl"}, {"gpu", "gpu/internal/cpu"}, {"gpu/internal/wgpu", "gpu/internal/driver"},
		{"data/volume", "data/numpy"}, {"jepa/probe", "jepa"}, {"native/wgjepa", "data/phantom"},
	} {
		require.True(t, allowed(good[0], good[1]), "%v", good)
	}
	for _, bad := range [][2]string{
		{"wgsl", "gpu"}, {"internal/ref", "wgsl"}, {"gpu", "model"}, {"gpu/internal/cpu", "gpu"}, {"model", "jepa"},
		{"model", "wgsl"}, {"jepa", "data"}, {"jepa/probe", "data/volume"}, {"data", "jepa"}, {"maskgen", "model"},
		{"checkpoint", "jepa"}, {"jepa", "native/wgjepa"}, {"wasm", "native/wgjepa"}, {"unknown", "wgsl"},
	} {
		require.False(t, allowed(bad[0], bad[1]), "%v", bad)
	}
}

// TestImports reads the imports of every file, whatever it is built for.
func TestImports(t *testing.T) {
	files := 0
	walk(t, func(name string) {
		if path.Ext(name) != ".go" || strings.HasPrefix(name, "tools/") || strings.Contains(name, "/testdata/") {
			return
		}
		files++
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil, parser.ImportsOnly)
		require.NoError(t, err)
		from := path.Dir(name)
		_, known := rule(from)
		if !known {
			t.Errorf("%s: package %s has no place in the order of imports", name, from)
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			to, ours := strings.CutPrefix(imported, module+"/")
			test := strings.HasSuffix(name, "_test.go")
			switch {
			case !ours || from == to:
			case test && below(from, "jepa") && below(to, "data"):
				t.Errorf("%s: jepa's tests make their batches themselves, not through %s", name, to)
			case !test && !allowed(from, to):
				t.Errorf("%s: %s may not import %s", name, from, to)
			}
			for what, place := range onlyIn {
				if !test && below(imported, what) && !below(from, place) && !(what == "syscall/js" && (below(from, "wasm") || below(from, "native"))) {
					t.Errorf("%s: %s belongs in %s alone", name, what, place)
				}
			}
		}
	})
	require.Greater(t, files, 10, "the project's files were not found")
}

// dotted joins the parts of a host's name, so that this file does not name it.
func dotted(parts ...string) string { return strings.Join(parts, ".") }

var (
	// registries are hosts that clients know by themselves: a file that names
	// one breaks behind a mirror.
	registries = []string{
		dotted("proxy", "golang", "org"), dotted("sum", "golang", "org"), dotted("registry", "npmjs", "org"),
		dotted("pypi", "org"), dotted("pythonhosted", "org"), dotted("deb", "debian", "org"),
		dotted("security", "debian", "org"), dotted("archive", "ubuntu", "com"), dotted("static", "crates", "io"),
		dotted("repo", "maven", "apache", "org"), dotted("download", "pytorch", "org"),
	}
	// absolute paths of one machine say nothing on another.
	absoluteRE = regexp.MustCompile(`(^|[\s"'` + "`" + `(=:,])/(work|tmp|root|home/\w+)/\w`)
)

func TestAbsolutePaths(t *testing.T) {
	for _, bad := range []string{"cd /" + "work/main", `"/` + `tmp/x"`, "--out=/" + "root/x", "/" + "tmp/x"} {
		require.Regexp(t, absoluteRE, bad)
	}
	for _, good := range []string{"frame/" + "work/x", "../" + "work/x", "a /work", "os.TempDir()", "./" + "tmp/x"} {
		require.NotRegexp(t, absoluteRE, good)
	}
}

// TestText: no text of the project names a package registry or a path of the
// machine it was written on.
func TestText(t *testing.T) {
	texts := 0
	walk(t, func(name string) {
		info, err := os.Stat(filepath.Join(root, name))
		require.NoError(t, err)
		if info.Size() > 4<<20 {
			return
		}
		data, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		if !utf8.Valid(data) {
			return // not text
		}
		texts++
		for i, line := range strings.Split(string(data), "\n") {
			for _, host := range registries {
				if strings.Contains(line, host) {
					t.Errorf("%s:%d names the registry %s", name, i+1, host)
				}
			}
			if at := absoluteRE.FindString(line); at != "" {
				t.Errorf("%s:%d names a path of one machine: %q", name, i+1, at)
			}
		}
	})
	require.Greater(t, texts, 20, "the project's files were not found")
}
