package wgsl

import (
	"fmt"
	"strconv"
	"strings"
)

// mostRepeats bounds a //#for: a tile in registers has dozens of lines, not more.
const mostRepeats = 256

// repeat writes out every
//
//	//#for NAME COUNT
//	…{{NAME}}…
//	//#end
//
// COUNT times, with 0, 1, … for {{NAME}}; COUNT is a number or a {{DEFINED}}
// one. Loops nest; they hold no other directive. The repetitions stand in the first line
// of the body, without comments, so that the lines keep the file's numbers.
//
// Registers need it: an array in a loop is kept in memory by some compilers.
func repeat(file, text string, d Defines) (string, error) {
	lines := strings.Split(text, "\n")
	for i := range lines {
		if !isFor(lines[i]) {
			continue
		}
		body, end, err := unroll(file, lines, i, d)
		if err != nil {
			return "", err
		}
		for j := i; j <= end; j++ {
			lines[j] = ""
		}
		lines[min(i+1, end)] = strings.Join(body, " ")
	}
	return strings.Join(lines, "\n"), nil
}

func isFor(line string) bool {
	directive, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	return directive == "//#for"
}

// unroll returns the repeated statements of the loop at line first, and the
// line of its //#end.
func unroll(file string, lines []string, first int, d Defines) (statements []string, end int, err error) {
	fail := func(format string, args ...any) ([]string, int, error) {
		return nil, 0, fmt.Errorf("wgsl: %s:%d: %s", file, first+1, fmt.Sprintf(format, args...))
	}
	head := strings.Fields(lines[first])
	if len(head) != 3 || !isName(head[1]) {
		return fail("write //#for NAME COUNT")
	}
	count := head[2]
	if name, ok := strings.CutPrefix(count, "{{"); ok {
		name = strings.TrimSuffix(name, "}}")
		if count, ok = d[name]; !ok {
			return fail("%s is not defined", name)
		}
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > mostRepeats {
		return fail("//#for %s: %q is not a count from 0 to %d", head[1], count, mostRepeats)
	}
	var body []string
	for end = first + 1; ; end++ {
		if end == len(lines) {
			return fail("//#for without //#end")
		}
		line := strings.TrimSpace(lines[end])
		if isFor(line) {
			var inner []string
			if inner, end, err = unroll(file, lines, end, d); err != nil {
				return nil, 0, err
			}
			body = append(body, inner...)
			continue
		}
		if line == "//#end" {
			break
		}
		if strings.HasPrefix(line, "//#") {
			return fail("//#for holds %s: write that outside of it", line)
		}
		line, _, _ = strings.Cut(line, "//")
		if line = strings.TrimSpace(line); line != "" {
			body = append(body, line)
		}
	}
	for i := range n {
		for _, line := range body {
			statements = append(statements, strings.ReplaceAll(line, "{{"+head[1]+"}}", strconv.Itoa(i)))
		}
	}
	return statements, end, nil
}
