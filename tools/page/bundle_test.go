package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// project is a small project with a page in it; changes are files that replace
// or add to it.
func project(t *testing.T, changes map[string]string) string {
	t.Helper()
	files := map[string]string{
		"go.mod":                  "module small\n\ngo 1.21\n",
		"LICENSE":                 "the project's own",
		"wasm/main.go":            "package main\n\nfunc main() {}\n",
		"wasm/worker.js":          `onmessage = () => postMessage("worker at work");`,
		"build/wasm/wasm_exec.js": `globalThis.Go = "half of the runtime";`,
		"build/wasm/wgjepa.wasm":  "\x00asm",
		"build/wasm/checks.wasm":  "\x00asm with more",
		"www/index.html":          `<!DOCTYPE html><link rel="stylesheet" href="style.css"><script type="module" src="app.js"></script>`,
		"www/app.js": `import { worker, wasm, checks, dcm2niix, version } from "./assets.js"; import recipe from "../recipe.toml"; import { small } from "small";
			document.title = [worker, wasm, checks, dcm2niix, version, recipe, small].join(); document.onclick = async () => (await import("./viewer.js")).view();`,
		"www/viewer.js":                      `import { small } from "small"; import { large } from "@a/large"; export const view = () => [small, large];`,
		"www/style.css":                      `body { color: red }`,
		"www/icon.svg":                       `<svg xmlns="http://www.w3.org/2000/svg"/>`,
		"www/page_test.go":                   "package www\n",
		"www/notes.md":                       "not of the page",
		"recipe.toml":                        "key = 'the recipe'\n",
		"www/node_modules/small/index.js":    `export const small = "the small package";`,
		"www/node_modules/small/LICENSE.md":  "licence of small",
		"www/node_modules/@a/large/index.js": `export const large = "the large package";`,
		"www/node_modules/@a/large/licence":  "licence of large",
		"www/node_modules/unused/LICENSE":    "licence of what is not used",
		"www/node_modules/@niivue/dcm2niix/dist/worker.jpeg.js":     `import program from "./dcm2niix.jpeg.js"; onmessage = program;`,
		"www/node_modules/@niivue/dcm2niix/dist/dcm2niix.jpeg.js":   `export default async () => typeof process === "object" ? import("module") : fetch(new URL("dcm2niix.jpeg.wasm", import.meta.url));`,
		"www/node_modules/@niivue/dcm2niix/dist/dcm2niix.jpeg.wasm": "\x00asm of another",
		"www/node_modules/@niivue/dcm2niix/package.json":            `{"name": "@niivue/dcm2niix", "version": "1.2.3"}`,
	}
	for _, name := range []string{"small", "@a/large"} {
		files["www/node_modules/"+name+"/package.json"] = `{"name": "` + name + `", "version": "1.2.3", "main": "index.js", "type": "module"}`
	}
	for _, name := range []string{"assets.js", "sw.js"} {
		content, err := os.ReadFile(filepath.Join("../../www", name))
		require.NoError(t, err)
		files["www/"+name] = string(content)
	}
	maps.Copy(files, changes)
	root := t.TempDir()
	for name, content := range files {
		if content == "" {
			continue
		}
		at := filepath.Join(root, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(at), 0o755))
		require.NoError(t, os.WriteFile(at, []byte(content), 0o644))
	}
	return root
}

// find returns the one file that starts and ends so.
func find(t *testing.T, p *page, prefix, suffix string) file {
	t.Helper()
	i := slices.IndexFunc(p.files, func(f file) bool { return strings.HasPrefix(f.name, prefix) && strings.HasSuffix(f.name, suffix) })
	require.GreaterOrEqual(t, i, 0, "%s…%s is not there", prefix, suffix)
	return p.files[i]
}

func names(p *page) []string {
	var list []string
	for _, f := range p.files {
		list = append(list, f.name)
	}
	slices.Sort(list)
	return list
}

// check holds for any page.
func check(t *testing.T, p *page) {
	t.Helper()
	digests := map[string]string{}
	for _, m := range regexp.MustCompile(`"([^"]+)":"(sha256-[^"]+)"`).FindAllStringSubmatch(string(find(t, p, "sw", ".js").content), -1) {
		digests[m[1]] = m[2]
	}
	hashedRE := regexp.MustCompile(`^[a-z0-9]+-[0-9A-Z]{8}\.(js|css|wasm)$`)
	for _, f := range p.files {
		switch f.name {
		case "sw.js":
			require.Contains(t, string(f.content), p.version)
		case "index.html":
			require.Equal(t, integrity(f.content), digests["./"])
			for _, tag := range regexp.MustCompile(`(?i)<script[^>]*>`).FindAllString(string(f.content), -1) {
				require.Regexp(t, ` src="app-[0-9A-Z]{8}\.js"`, tag, "an inline script")
			}
			require.NotRegexp(t, `(?i)<style|\sstyle\s*=|\son[a-z]+\s*=|javascript:`, string(f.content), "something inline")
			for _, m := range regexp.MustCompile(`(?i)\s(?:src|srcset|data|poster|action)="([^"]*)"|<link[^>]*\shref="([^"]*)"`).FindAllStringSubmatch(string(f.content), -1) {
				require.Contains(t, names(p), m[1]+m[2], "index.html names a file that is not there")
			}
		default:
			require.Equal(t, integrity(f.content), digests[f.name], f.name)
			if slices.Contains([]string{".js", ".css", ".wasm"}, filepath.Ext(f.name)) {
				require.Regexp(t, hashedRE, f.name)
			}
		}
		require.NotContains(t, string(f.content), "sourceMappingURL", f.name)
		z, err := gzip.NewReader(bytes.NewReader(f.packed))
		require.NoError(t, err)
		text, err := io.ReadAll(z)
		require.NoError(t, err)
		require.True(t, bytes.Equal(f.content, text), f.name)
	}
	require.Len(t, digests, len(p.files)-1, "the service worker's list and the files differ")
	require.Regexp(t, `^[0-9a-f]{12}$`, p.version)
}

func TestBundle(t *testing.T) {
	root := project(t, nil)
	p, err := bundle(root)
	require.NoError(t, err)
	check(t, p)
	app, worker := string(find(t, p, "app-", ".js").content), find(t, p, "worker-", ".js")
	for _, part := range []string{worker.name, find(t, p, "wgjepa-", ".wasm").name, find(t, p, "checks-", ".wasm").name, find(t, p, "dcm2niix-", ".js").name, p.version, "the recipe", `import("./viewer-`} {
		require.Contains(t, app, part)
	}
	require.NotContains(t, app, "ASSETS")
	require.Less(t, bytes.Index(worker.content, []byte("half of the runtime")), bytes.Index(worker.content, []byte("worker at work")))
	for _, f := range p.files {
		require.Equal(t, slices.Contains([]string{"viewer", "checks", "dcm2niix"}, strings.Split(f.name, "-")[0]), f.lazy, f.name)
	}
	require.Contains(t, string(find(t, p, "viewer-", ".js").content), "the large package")
	converter := string(find(t, p, "dcm2niix-", ".js").content)
	require.Contains(t, converter, find(t, p, "dcm2niix-", ".wasm").name)
	require.NotContains(t, converter, "jpeg.wasm")
	licences := string(find(t, p, "licences", ".txt").content)
	for _, part := range []string{"the project's own", "Go\n==\n", "small 1.2.3\n", "licence of small", "@a/large 1.2.3\n", "licence of large", "@niivue/dcm2niix 1.2.3\n", "Chris Rorden"} {
		require.Contains(t, licences, part)
	}
	require.NotContains(t, licences, "not used")
	for _, f := range p.files {
		require.NotContains(t, f.name, "test")
		require.NotContains(t, f.name, "notes")
	}

	// The same again is the same, in another place too.
	again, err := bundle(project(t, nil))
	require.NoError(t, err)
	require.Equal(t, p, again)

	// A change changes the version, and the names of what it reaches alone.
	for name, reached := range map[string]string{"www/style.css": "style-", "wasm/worker.js": "worker-", "build/wasm/wgjepa.wasm": "wgjepa-", "build/wasm/checks.wasm": "checks-", "www/node_modules/@niivue/dcm2niix/dist/dcm2niix.jpeg.wasm": "dcm2niix-", "www/viewer.js": "viewer-", "www/icon.svg": "icon", "www/index.html": "index"} {
		changed := strings.Replace(read(t, root, name), "red", "blue", 1) + " "
		if strings.HasSuffix(name, "viewer.js") {
			changed += "console.log(1)"
		}
		if strings.HasSuffix(name, "worker.js") {
			changed += "console.log(2)"
		}
		q, err := bundle(project(t, map[string]string{name: changed}))
		require.NoError(t, err)
		check(t, q)
		require.NotEqual(t, p.version, q.version, name)
		for _, f := range q.files {
			kept := slices.Contains(names(p), f.name)
			switch {
			case strings.HasPrefix(f.name, reached) && strings.Contains(f.name, "-"), strings.HasPrefix(f.name, "app-"):
				require.False(t, kept, "%s kept its name when %s changed", f.name, name) // app has the version in it
			default:
				require.True(t, kept, "%s got another name when %s changed", f.name, name)
			}
		}
	}
}

func read(t *testing.T, root, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, name))
	require.NoError(t, err)
	return string(content)
}

func TestBundleRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		changes map[string]string
		says    string
	}{
		"no program":           {map[string]string{"build/wasm/wgjepa.wasm": ""}, "scripts/wasm.sh builds it"},
		"no packages":          {map[string]string{"www/node_modules/small/index.js": ""}, "scripts/page.sh installs the npm packages"},
		"a package's licence":  {map[string]string{"www/node_modules/small/LICENSE.md": ""}, "needs its notice"},
		"an error":             {map[string]string{"www/app.js": "let a = ;"}, "www/app.js:1: "},
		"a warning":            {map[string]string{"www/app.js": "console.log({ a: 1, a: 2 });"}, "www/app.js:1: Duplicate key"},
		"no script in index":   {map[string]string{"www/index.html": `<link href="style.css">`}, `src="app.js" is there 0 times`},
		"two styles in index":  {map[string]string{"www/index.html": `<link href="style.css"><link href="style.css"><script src="app.js">`}, `href="style.css" is there 2 times`},
		"the worker's error":   {map[string]string{"wasm/worker.js": "import './none.js';"}, "the worker: "},
		"no dcm2niix":          {map[string]string{"www/node_modules/@niivue/dcm2niix/dist/worker.jpeg.js": ""}, "dcm2niix: "},
		"another dcm2niix":     {map[string]string{"www/node_modules/@niivue/dcm2niix/dist/dcm2niix.jpeg.js": "export default () => {};"}, "does not name dcm2niix.jpeg.wasm"},
		"service worker error": {map[string]string{"www/sw.js": "("}, "the service worker: "},
	} {
		_, err := bundle(project(t, c.changes))
		require.ErrorContains(t, err, c.says, name)
	}
}

func TestWrite(t *testing.T) {
	p, err := bundle(project(t, nil))
	require.NoError(t, err)
	out := filepath.Join(t.TempDir(), "www")
	require.NoError(t, os.MkdirAll(out, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(out, "old-0000.js"), nil, 0o644))
	for range 2 {
		require.NoError(t, p.write(out))
	}
	entries, err := os.ReadDir(out)
	require.NoError(t, err)
	require.Len(t, entries, 2*len(p.files))
	for _, f := range p.files {
		content, err := os.ReadFile(filepath.Join(out, f.name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(f.content, content), f.name)
	}
}

// TestPage bundles the page itself: nothing in it speaks of another origin but
// what NiiVue has in its comments and names.
func TestPage(t *testing.T) {
	for _, needed := range []string{"../../build/wasm/wgjepa.wasm", "../../build/wasm/wasm_exec.js", "../../www/node_modules/uplot", "../../www/node_modules/@niivue/dcm2niix"} {
		if _, err := os.Stat(needed); err != nil {
			t.Skipf("the page is not built here, scripts/page.sh does that: %v", err)
		}
	}
	p, err := bundle("../..")
	require.NoError(t, err)
	check(t, p)
	addressRE := regexp.MustCompile(`(?:https?:)?//[a-z0-9-]+(?:\.[a-z0-9-]+)+`)
	for _, f := range p.files {
		if f.lazy || f.name == "licences.txt" || strings.HasSuffix(f.name, ".wasm") {
			continue
		}
		for _, address := range addressRE.FindAllString(string(f.content), -1) {
			require.Equal(t, "http://www.w3.org", address, "%s: an address that is not a name of SVG", f.name)
		}
	}
	require.True(t, slices.ContainsFunc(p.files, func(f file) bool { return f.lazy && bytes.Contains(f.content, []byte("niivue")) }), "NiiVue is not loaded lazily")
	for _, f := range p.files {
		if !f.lazy {
			require.NotContains(t, string(f.content), "webgl2", "%s: NiiVue comes with the page", f.name)
		}
	}
	licences := string(find(t, p, "licences", ".txt").content)
	for _, title := range []string{"wgjepa\n", "Go\n", "github.com/pelletier/go-toml/v2 ", "@niivue/niivue 0.69.0\n", "@niivue/dcm2niix 1.2.0\n", "uplot 1.6.32\n"} {
		require.Contains(t, licences, title)
	}
}
