// Package wgsl holds the text of every compute shader and specialises it.
//
// One .wgsl file is one kernel. A file opens with a comment that says what it
// computes, what one workgroup does and where its twin is. Shapes travel in
// the uniform struct Params; tile sizes and variants are chosen by text, since
// no native binding exposes pipeline constants:
//
//	{{NAME}}              replaced by the definition of NAME
//	//#if NAME            the lines up to //#else or //#end stay
//	//#else               when NAME is defined and not "0"
//	//#end
//	//#for NAME COUNT     repeats the lines up to //#end, {{NAME}} being 0, 1, …
//
// A name that has no definition and a definition that no line uses are
// errors, so that a typing error cannot select the wrong kernel.
package wgsl

import (
	"embed"
	"fmt"
	"regexp"
	"sort"
	"strings"
)

//go:embed *.wgsl
var files embed.FS

// Defines maps the names of a kernel's textual parameters to their text.
// A variant that is off is defined as "0".
type Defines map[string]string

var nameRE = regexp.MustCompile(`^[A-Z0-9_]+$`)

// Source returns the text of file (such as "matmul.wgsl") specialised by d.
func Source(file string, d Defines) (string, error) {
	text, err := files.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("wgsl: no shader %s", file)
	}
	return specialise(file, string(text), d)
}

// Files lists the shaders.
func Files() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // an embedded folder can always be listed
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}

func specialise(file, text string, d Defines) (string, error) {
	used := map[string]bool{}
	lookup := func(line int, name string) (string, error) {
		v, ok := d[name]
		if !ok {
			return "", fmt.Errorf("wgsl: %s:%d: %s is not defined", file, line+1, name)
		}
		used[name] = true
		return v, nil
	}
	var out strings.Builder
	type branch struct{ outer, taken, second bool } // taken: the condition held; second: past //#else
	var open []branch
	keep := true
	repeated, err := repeat(file, text, d)
	if err != nil {
		return "", err
	}
	for i, line := range strings.Split(repeated, "\n") {
		directive, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case directive == "//#if":
			if name = strings.TrimSpace(name); name == "" {
				return "", fmt.Errorf("wgsl: %s:%d: //#if without a name", file, i+1)
			}
			v, err := lookup(i, name)
			if err != nil {
				return "", err
			}
			open = append(open, branch{outer: keep, taken: v != "0"})
			keep = keep && v != "0"
			line = ""
		case directive == "//#else", directive == "//#end":
			if len(open) == 0 {
				return "", fmt.Errorf("wgsl: %s:%d: %s without //#if", file, i+1, directive)
			}
			b := &open[len(open)-1]
			if directive == "//#end" {
				keep, open = b.outer, open[:len(open)-1]
			} else if b.second {
				return "", fmt.Errorf("wgsl: %s:%d: second //#else of one //#if", file, i+1)
			} else {
				keep, b.second = b.outer && !b.taken, true
			}
			line = ""
		case strings.HasPrefix(directive, "//#"):
			return "", fmt.Errorf("wgsl: %s:%d: %s is not //#if, //#else or //#end", file, i+1, directive)
		}
		if !keep {
			line = "" // an empty line keeps the compiler's line numbers those of the file
		}
		for {
			before, rest, found := strings.Cut(line, "{{")
			out.WriteString(before)
			if !found {
				break
			}
			name, after, closed := strings.Cut(rest, "}}")
			if !closed || !nameRE.MatchString(name) {
				return "", fmt.Errorf("wgsl: %s:%d: {{%s is not a {{NAME}} of capitals, digits and _", file, i+1, rest)
			}
			v, err := lookup(i, name)
			if err != nil {
				return "", err
			}
			out.WriteString(v)
			line = after
		}
		out.WriteByte('\n')
	}
	if len(open) > 0 {
		return "", fmt.Errorf("wgsl: %s: //#if without //#end", file)
	}
	for name := range d {
		// A name may stand in a branch that is off: it counts as used where the file has it at all.
		if !used[name] && !strings.Contains(text, "{{"+name+"}}") {
			return "", fmt.Errorf("wgsl: %s does not use %s", file, name)
		}
	}
	return out.String(), nil
}

// Field is one scalar of a shader's Params.
type Field struct {
	Name  string
	Float bool // f32, else u32
}

// Binding is one storage buffer of a shader, in binding order from 1.
type Binding struct {
	Name  string
	Float bool // elements are f32 or vectors of f32, else u32
	Write bool // read_write
}

// Layout is what a shader declares: binding 0 is the uniform Params.
type Layout struct {
	Params    []Field
	Bindings  []Binding
	Workgroup [3]int
}

var (
	paramsRE  = regexp.MustCompile(`(?s)struct Params \{(.*?)\}`)
	fieldRE   = regexp.MustCompile(`^(\w+): (f32|u32),?$`)
	uniformRE = regexp.MustCompile(`@group\(0\) @binding\(0\) var<uniform> \w+: Params;`)
	bindingRE = regexp.MustCompile(`@group\(0\) @binding\((\d+)\) var<storage, (read|read_write)> (\w+): array<(?:vec[234]<)?(f32|u32)>?>;`)
	anyRE     = regexp.MustCompile(`@group\(`)
	groupRE   = regexp.MustCompile(`@compute @workgroup_size\((\d+)(?:, (\d+))?(?:, (\d+))?\)`)
	commentRE = regexp.MustCompile(`//[^\n]*`)
)

// Reflect reads the layout out of a specialised shader.
func Reflect(source string) (Layout, error) {
	var l Layout
	source = commentRE.ReplaceAllString(source, "")
	m := paramsRE.FindStringSubmatch(source)
	if m == nil || !uniformRE.MatchString(source) {
		return l, fmt.Errorf("wgsl: no `@group(0) @binding(0) var<uniform> …: Params;`")
	}
	for _, line := range strings.Split(m[1], "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		f := fieldRE.FindStringSubmatch(line)
		if f == nil {
			return l, fmt.Errorf("wgsl: Params: %q is not one `name: u32|f32,` a line", line)
		}
		l.Params = append(l.Params, Field{f[1], f[2] == "f32"})
	}
	type numbered struct {
		n int
		b Binding
	}
	var found []numbered
	for _, b := range bindingRE.FindAllStringSubmatch(source, -1) {
		var n int
		fmt.Sscan(b[1], &n)
		found = append(found, numbered{n, Binding{b[3], b[4] == "f32", b[2] == "read_write"}})
	}
	if got := len(anyRE.FindAllString(source, -1)); got != len(found)+1 {
		return l, fmt.Errorf("wgsl: %d of %d bindings have an unknown form", got-1-len(found), got-1)
	}
	sort.Slice(found, func(i, j int) bool { return found[i].n < found[j].n })
	for i, f := range found {
		if f.n != i+1 {
			return l, fmt.Errorf("wgsl: storage bindings must count from 1 without gaps, %s has %d", f.b.Name, f.n)
		}
		l.Bindings = append(l.Bindings, f.b)
	}
	if n := strings.Count(source, "@compute"); n > 1 {
		return l, fmt.Errorf("wgsl: %d entry points, a file is one kernel", n)
	}
	g := groupRE.FindStringSubmatch(source)
	if g == nil {
		return l, fmt.Errorf("wgsl: no `@compute @workgroup_size(x[, y[, z]])` with literal sizes")
	}
	for i := range l.Workgroup {
		l.Workgroup[i] = 1
		if g[i+1] != "" {
			fmt.Sscan(g[i+1], &l.Workgroup[i])
		}
	}
	return l, nil
}
