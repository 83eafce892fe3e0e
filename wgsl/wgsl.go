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
//	//#include NAME X=v   adds shared/NAME.wgsl, {{X}} being v in it
//
// A name that has no definition and a definition that no line uses are
// errors, so that a typing error cannot select the wrong kernel.
//
// A specialised text keeps the lines of its file. What it includes, functions
// and variables, follows behind the last, where WGSL lets it stand as well;
// Place leads from a line of a compiler's message to the file it came from.
package wgsl

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

//go:embed *.wgsl shared/*.wgsl
var files embed.FS

// Defines maps the names of a kernel's textual parameters to their text.
// A variant that is off is defined as "0".
type Defines map[string]string

// isName reports whether s may be the name of a definition.
func isName(s string) bool {
	return s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

// Source returns the text of file (such as "matmul.wgsl") specialised by d.
func Source(file string, d Defines) (string, error) { return specialise(files, file, d) }

// Files lists the kernels' files.
func Files() []string {
	names, err := fs.Glob(files, "*.wgsl")
	if err != nil {
		panic(err) // the pattern is a good one
	}
	return names
}

// specialise returns file with what it includes.
func specialise(files fs.FS, file string, d Defines) (string, error) {
	text, err := fs.ReadFile(files, file)
	if err != nil {
		return "", fmt.Errorf("wgsl: no shader %s", file)
	}
	out, includes, err := expand(file, string(text), d)
	if err != nil {
		return "", err
	}
	all := string(text)
	for _, i := range includes {
		shared, added, err := i.expand(files, d)
		if err != nil {
			return "", err
		}
		out += fileMark + i.path() + "\n" + added
		all += shared
	}
	for name := range d {
		if !uses(all, name) {
			return "", fmt.Errorf("wgsl: %s does not use %s", file, name)
		}
	}
	return out, nil
}

// uses reports whether text has a place for name, in a branch that is off too.
func uses(text, name string) bool {
	return strings.Contains(text, "{{"+name+"}}") || strings.Contains(text, "//#if "+name+"\n")
}

// expand specialises the text of one file and lists what is to be included.
func expand(file, text string, d Defines) (string, []include, error) {
	fail := func(line int, format string, args ...any) (string, []include, error) {
		return "", nil, fmt.Errorf("wgsl: %s:%d: %s", file, line+1, fmt.Sprintf(format, args...))
	}
	repeated, err := repeat(file, text, d)
	if err != nil {
		return "", nil, err
	}
	var out strings.Builder
	var includes []include
	type branch struct{ outer, taken, second bool } // taken: the condition held; second: past //#else
	var open []branch
	keep := true
	for i, line := range strings.Split(repeated, "\n") {
		directive, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case directive == "//#if":
			if name = strings.TrimSpace(name); name == "" {
				return fail(i, "//#if without a name")
			}
			v, ok := d[name]
			if !ok {
				return fail(i, "%s is not defined", name)
			}
			open = append(open, branch{outer: keep, taken: v != "0"})
			keep = keep && v != "0"
			line = ""
		case directive == "//#else", directive == "//#end":
			if len(open) == 0 {
				return fail(i, "%s without //#if", directive)
			}
			b := &open[len(open)-1]
			if directive == "//#end" {
				keep, open = b.outer, open[:len(open)-1]
			} else if b.second {
				return fail(i, "second //#else of one //#if")
			} else {
				keep, b.second = b.outer && !b.taken, true
			}
			line = ""
		case directive == "//#include":
			include, err := readInclude(file, i+1, line)
			if err != nil {
				return "", nil, err
			}
			if keep {
				includes = append(includes, include)
			}
			line = ""
		case strings.HasPrefix(directive, "//#"):
			return fail(i, "%s is not //#if, //#else, //#end, //#for or //#include", directive)
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
			if !closed || !isName(name) {
				return fail(i, "{{%s is not a {{NAME}} of capitals, digits and _", rest)
			}
			v, ok := d[name]
			if !ok {
				return fail(i, "%s is not defined", name)
			}
			out.WriteString(v)
			line = after
		}
		out.WriteByte('\n')
	}
	if len(open) > 0 {
		return "", nil, fmt.Errorf("wgsl: %s: //#if without //#end", file)
	}
	return out.String(), includes, nil
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

// Reflect reads the layout out of a specialised shader, in which each of the
// declarations below has a line of its own.
func Reflect(source string) (Layout, error) {
	var l Layout
	uniform, params, inParams := false, false, false
	declared, entries := 0, 0
	var numbers []int // of l.Bindings
	for line := range strings.Lines(source) {
		line, _, _ = strings.Cut(line, "//")
		line = strings.TrimSpace(line)
		declared += strings.Count(line, "@group(")
		entries += strings.Count(line, "@compute")
		switch {
		case line == "struct Params {":
			params, inParams = true, true
		case line == "}":
			inParams = false
		case inParams && line != "":
			f := split(strings.TrimSuffix(line, ",")+",", "", ": ", ",")
			if f == nil || f[1] != "f32" && f[1] != "u32" {
				return l, fmt.Errorf("wgsl: Params: %q is not one `name: u32|f32,` a line", line)
			}
			l.Params = append(l.Params, Field{f[0], f[1] == "f32"})
		}
		if f := split(line, "@group(0) @binding(0) var<uniform> ", ": Params;"); f != nil {
			uniform = true
		}
		if b := split(line, "@group(0) @binding(", ") var<storage, ", "> ", ": array<", ">;"); b != nil {
			n, err := strconv.Atoi(b[0])
			element := scalar(b[3])
			if err != nil || b[1] != "read" && b[1] != "read_write" || element != "f32" && element != "u32" {
				continue // is missed below
			}
			at, _ := slices.BinarySearch(numbers, n)
			numbers = slices.Insert(numbers, at, n)
			l.Bindings = slices.Insert(l.Bindings, at, Binding{b[2], element == "f32", b[1] == "read_write"})
		}
		if g := split(line, "@compute @workgroup_size(", ")"); g != nil {
			sizes := strings.Split(g[0], ", ")
			l.Workgroup = [3]int{1, 1, 1}
			for i, size := range sizes[:min(3, len(sizes))] {
				l.Workgroup[i], _ = strconv.Atoi(size)
			}
		}
	}
	if !uniform || !params {
		return l, fmt.Errorf("wgsl: no `@group(0) @binding(0) var<uniform> …: Params;`")
	}
	if declared != len(numbers)+1 {
		return l, fmt.Errorf("wgsl: %d of %d bindings have an unknown form", declared-1-len(numbers), declared-1)
	}
	for i, n := range numbers {
		if n != i+1 {
			return l, fmt.Errorf("wgsl: storage bindings must count from 1 without gaps, %s has %d", l.Bindings[i].Name, n)
		}
	}
	if entries > 1 {
		return l, fmt.Errorf("wgsl: %d entry points, a file is one kernel", entries)
	}
	if slices.Min(l.Workgroup[:]) < 1 {
		return l, fmt.Errorf("wgsl: no `@compute @workgroup_size(x[, y[, z]])` with literal sizes")
	}
	return l, nil
}

// split returns the words of line between the given texts, which are its
// beginning, what stands between words, and its end; nil if line is of
// another form.
func split(line string, texts ...string) []string {
	line, ok := strings.CutPrefix(line, texts[0])
	var words []string
	for i := 1; i < len(texts) && ok; i++ {
		var word string
		word, line, ok = strings.Cut(line, texts[i])
		words = append(words, word)
	}
	if !ok || line != "" {
		return nil
	}
	return words
}

// scalar is the type of a vector's components, or the type itself.
func scalar(t string) string {
	if v, ok := strings.CutPrefix(t, "vec"); ok && len(v) > 2 && strings.Contains("234", v[:1]) && v[1] == '<' {
		return strings.TrimSuffix(v[2:], ">")
	}
	return t
}
