package wgsl

import (
	"fmt"
	"io/fs"
	"maps"
	"strings"
)

// include is one line `//#include NAME X=v …` of a kernel.
type include struct {
	file    string // that has the line
	line    int
	name    string
	defines Defines // of the shared file alone
}

func readInclude(file string, line int, text string) (include, error) {
	i := include{file: file, line: line, defines: Defines{}}
	words := strings.Fields(text)[1:]
	for n, word := range words {
		name, value, pair := strings.Cut(word, "=")
		switch {
		case n == 0 && !pair:
			i.name = word
		case n > 0 && pair && isName(name):
			i.defines[name] = value
		default:
			return i, i.fail("write //#include NAME X=v …")
		}
	}
	if i.name == "" {
		return i, i.fail("write //#include NAME X=v …")
	}
	return i, nil
}

func (i include) fail(format string, args ...any) error {
	return fmt.Errorf("wgsl: %s:%d: %s", i.file, i.line, fmt.Sprintf(format, args...))
}

func (i include) path() string { return "shared/" + i.name + ".wgsl" }

// expand returns the shared file's text, and specialised by d and what the
// line defines.
func (i include) expand(files fs.FS, d Defines) (text, out string, err error) {
	data, err := fs.ReadFile(files, i.path())
	if err != nil {
		return "", "", i.fail("there is no %s", i.path())
	}
	for name := range i.defines {
		if !uses(string(data), name) {
			return "", "", i.fail("%s does not use %s", i.path(), name)
		}
	}
	all := Defines{}
	maps.Copy(all, d)
	maps.Copy(all, i.defines)
	out, nested, err := expand(i.path(), string(data), all)
	if err != nil {
		return "", "", err
	}
	if len(nested) > 0 {
		return "", "", nested[0].fail("a shared file includes no other")
	}
	return string(data), out, nil
}

// fileMark begins the line before the lines of a shared file.
const fileMark = "//#file "

// Place says where line n, from 1, of the specialised text of file was written:
// in file, or in a shared one, and at which line there.
func Place(file, source string, n int) (string, int) {
	lines := strings.Split(source, "\n")
	for i := min(n, len(lines)) - 1; i >= 0; i-- {
		if shared, ok := strings.CutPrefix(lines[i], fileMark); ok {
			return shared, n - i - 1
		}
	}
	return file, n
}
