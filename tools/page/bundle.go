package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// file is one file of the page.
type file struct {
	name    string
	content []byte
	packed  []byte // gzipped
	lazy    bool   // loaded when it is needed, not with the page
}

// page is the whole.
type page struct {
	files   []file
	version string
}

// static are the kinds of files in www/ that are copied as they are.
var static = []string{".svg", ".png", ".ico", ".webmanifest", ".txt"}

// bundle makes the page out of the project's folder.
func bundle(root string) (*page, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	training, err := program(root, "wgjepa.wasm")
	if err != nil {
		return nil, err
	}
	checks, err := program(root, "checks.wasm")
	if err != nil {
		return nil, err
	}
	checks.lazy = true
	worker, inputs, err := bundleWorker(root)
	if err != nil {
		return nil, err
	}
	converter, converterInputs, err := bundleConverter(root)
	if err != nil {
		return nil, err
	}
	inputs = append(inputs, converterInputs...)
	var rest []file
	entries, err := os.ReadDir(filepath.Join(root, "www"))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !slices.Contains(static, path.Ext(e.Name())) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(root, "www", e.Name()))
		if err != nil {
			return nil, err
		}
		rest = append(rest, file{name: e.Name(), content: content})
	}

	// The page knows its version, which depends on the page: so it is bundled
	// without one first.
	p := &page{version: "0"}
	for range 2 {
		app, appInputs, err := bundleApp(root, map[string]string{"worker": worker.name, "wasm": training.name, "checks": checks.name, "dcm2niix": converter[0].name, "version": p.version})
		if err != nil {
			return nil, err
		}
		index, err := index(root, app)
		if err != nil {
			return nil, err
		}
		licences, err := licences(root, append(appInputs, inputs...))
		if err != nil {
			return nil, err
		}
		p.files = slices.Concat([]file{index, training, checks, worker}, converter, app, rest, []file{{name: "licences.txt", content: licences}})
		if p.version == "0" {
			p.version = version(p.files)
		}
	}
	sw, err := serviceWorker(root, p)
	if err != nil {
		return nil, err
	}
	p.files = append(p.files, sw)
	for i := range p.files {
		if p.files[i].packed, err = pack(p.files[i].content); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// program reads a file that scripts/wasm.sh made.
func program(root, name string) (file, error) {
	content, err := os.ReadFile(filepath.Join(root, "build/wasm", name))
	if err != nil {
		return file{}, fmt.Errorf("there is no program to bundle, scripts/wasm.sh builds it: %w", err)
	}
	return file{name: hashed(name, content), content: content}, nil
}

// hashed puts a digest of content into name.
func hashed(name string, content []byte) string {
	sum := sha256.Sum256(content)
	ext := path.Ext(name)
	return strings.TrimSuffix(name, ext) + "-" + strings.ToUpper(hex.EncodeToString(sum[:4])) + ext
}

// version is a digest of all files, in 12 characters.
func version(files []file) string {
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%s %x\n", f.name, sha256.Sum256(f.content))
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}

// integrity is the digest of content as browsers check it.
func integrity(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

func pack(content []byte) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(content); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// options are what all bundles have in common. Browsers with WebGPU are newer
// than the target.
func options(root string) api.BuildOptions {
	return api.BuildOptions{
		AbsWorkingDir: root, Outdir: filepath.Join(root, "build", "bundle"), // of names only: nothing is written
		Bundle: true, Format: api.FormatESModule, Platform: api.PlatformBrowser, Target: api.ES2022,
		MinifyWhitespace: true, MinifyIdentifiers: true, MinifySyntax: true,
		Charset: api.CharsetUTF8, LegalComments: api.LegalCommentsNone, Metafile: true,
		Loader: map[string]api.Loader{".toml": api.LoaderText},
	}
}

// metafile is what esbuild tells of a build, as far as it is read here.
type metafile struct {
	Inputs  map[string]any
	Outputs map[string]struct {
		EntryPoint string
		Imports    []struct{ Path, Kind string }
	}
}

// build runs esbuild. A warning is a failure: there are none in a page that is
// right.
func build(o api.BuildOptions) ([]api.OutputFile, metafile, error) {
	r := api.Build(o)
	var errs []error
	say := func(m api.Message) {
		where := ""
		if l := m.Location; l != nil {
			where = fmt.Sprintf("%s:%d: ", l.File, l.Line)
		}
		errs = append(errs, errors.New(where+m.Text))
	}
	for _, m := range r.Errors {
		say(m)
	}
	for _, m := range r.Warnings {
		if m.Location == nil || !strings.Contains(m.Location.File, "node_modules/") { // those are not mended here
			say(m)
		}
	}
	if err := errors.Join(errs...); err != nil {
		if strings.Contains(err.Error(), "Could not resolve") {
			err = fmt.Errorf("%w\nscripts/page.sh installs the npm packages", err)
		}
		return nil, metafile{}, err
	}
	var m metafile
	if err := json.Unmarshal([]byte(r.Metafile), &m); err != nil {
		return nil, m, fmt.Errorf("esbuild's metafile: %w", err)
	}
	return r.OutputFiles, m, nil
}

// bundleWorker makes the worker's script. Its inputs are paths from root.
func bundleWorker(root string) (file, []string, error) {
	o := options(root)
	o.Stdin = &api.StdinOptions{ResolveDir: root, Contents: `import "./build/wasm/wasm_exec.js"; import "./wasm/worker.js";`}
	outputs, m, err := build(o)
	if err != nil {
		return file{}, nil, fmt.Errorf("the worker: %w", err)
	}
	content := outputs[0].Contents
	return file{name: hashed("worker.js", content), content: content}, slices.Sorted(maps.Keys(m.Inputs)), nil
}

// bundleConverter makes the script of dcm2niix's worker and its program.
func bundleConverter(root string) ([]file, []string, error) {
	const dist, name = "www/node_modules/@niivue/dcm2niix/dist", "dcm2niix.jpeg.wasm"
	o := options(root)
	o.EntryPoints = []string{dist + "/worker.jpeg.js"}
	o.External = []string{"module"} // of Node
	outputs, m, err := build(o)
	if err != nil {
		return nil, nil, fmt.Errorf("dcm2niix: %w", err)
	}
	content, err := os.ReadFile(filepath.Join(root, dist, name))
	if err != nil {
		return nil, nil, fmt.Errorf("dcm2niix: %w", err)
	}
	program := file{name: hashed("dcm2niix.wasm", content), content: content, lazy: true}
	script := bytes.ReplaceAll(outputs[0].Contents, []byte(name), []byte(program.name))
	if bytes.Equal(script, outputs[0].Contents) {
		return nil, nil, fmt.Errorf("dcm2niix: its script does not name %s", name)
	}
	return []file{{name: hashed("dcm2niix.js", script), content: script, lazy: true}, program}, slices.Sorted(maps.Keys(m.Inputs)), nil
}

// bundleApp makes the page's script with its chunks, and its style. assets are
// the constants ASSETS.name of www/assets.js.
func bundleApp(root string, assets map[string]string) ([]file, []string, error) {
	o := options(root)
	o.EntryPoints = []string{"www/app.js", "www/style.css"}
	o.EntryNames, o.ChunkNames, o.AssetNames = "[name]-[hash]", "[name]-[hash]", "[name]-[hash]"
	o.Splitting = true
	o.Define = map[string]string{}
	for name, value := range assets {
		o.Define["ASSETS."+name] = fmt.Sprintf("%q", value)
	}
	outputs, m, err := build(o)
	if err != nil {
		return nil, nil, fmt.Errorf("the page: %w", err)
	}
	// What the entries import as they start comes with the page.
	eager := map[string]bool{}
	var follow func(name string)
	follow = func(name string) {
		if eager[name] {
			return
		}
		eager[name] = true
		for _, i := range m.Outputs[name].Imports {
			if i.Kind != "dynamic-import" {
				follow(i.Path)
			}
		}
	}
	for name, out := range m.Outputs {
		if slices.Contains(o.EntryPoints, out.EntryPoint) {
			follow(name)
		}
	}
	var files []file
	for _, out := range outputs {
		rel, err := filepath.Rel(root, out.Path)
		if err != nil {
			return nil, nil, err
		}
		files = append(files, file{name: filepath.Base(out.Path), content: out.Contents, lazy: !eager[filepath.ToSlash(rel)]})
	}
	return files, slices.Sorted(maps.Keys(m.Inputs)), nil
}

// index is the page's document with the names of its parts put in.
func index(root string, app []file) (file, error) {
	content, err := os.ReadFile(filepath.Join(root, "www/index.html"))
	if err != nil {
		return file{}, err
	}
	text := string(content)
	for _, f := range app {
		for entry, attribute := range map[string]string{"app": "src", "style": "href"} {
			if f.lazy || !strings.HasPrefix(f.name, entry+"-") {
				continue
			}
			old := fmt.Sprintf("%s=%q", attribute, entry+path.Ext(f.name))
			if n := strings.Count(text, old); n != 1 {
				return file{}, fmt.Errorf("www/index.html: %s is there %d times, not once", old, n)
			}
			text = strings.Replace(text, old, fmt.Sprintf("%s=%q", attribute, f.name), 1)
		}
	}
	return file{name: "index.html", content: []byte(text)}, nil
}

// serviceWorker is sw.js with the list of files and the version.
func serviceWorker(root string, p *page) (file, error) {
	lists := map[bool]map[string]string{false: {}, true: {}}
	for _, f := range p.files {
		name := f.name
		if name == "index.html" {
			name = "./" // what browsers ask for; hosts may redirect the full name
		}
		lists[f.lazy][name] = integrity(f.content)
	}
	o := options(root)
	o.EntryPoints = []string{"www/sw.js"}
	o.Format = api.FormatIIFE
	o.Define = map[string]string{"VERSION": fmt.Sprintf("%q", p.version)}
	for name, list := range map[string]map[string]string{"FILES": lists[false], "LAZY": lists[true]} {
		text, err := json.Marshal(list)
		if err != nil {
			return file{}, err
		}
		o.Define[name] = string(text)
	}
	outputs, _, err := build(o)
	if err != nil {
		return file{}, fmt.Errorf("the service worker: %w", err)
	}
	return file{name: "sw.js", content: outputs[0].Contents}, nil
}

// write puts the page into folder out, in place of what is there.
func (p *page) write(out string) error {
	fresh := out + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	if err := os.MkdirAll(fresh, 0o755); err != nil {
		return err
	}
	for _, f := range p.files {
		if err := os.WriteFile(filepath.Join(fresh, f.name), f.content, 0o644); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(fresh, f.name+".gz"), f.packed, 0o644); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	return os.Rename(fresh, out)
}
