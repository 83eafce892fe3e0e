// Command sizes says what a wasm file built by Go consists of: its sections, and
// the code of each package by the file's own names of functions.
package main

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"log"
	"maps"
	"os"
	"slices"
	"strings"
)

// Sections of the format that are looked into.
const (
	custom  = 0
	imports = 2
	code    = 10
	data    = 11
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: sizes FILE.wasm")
	}
	b, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	if len(b) < 8 || string(b[:4]) != "\x00asm" {
		log.Fatalf("%s is not a wasm file", os.Args[1])
	}
	var bodies []int          // bytes of each function
	names := map[int]string{} // of functions, imported ones first
	imported := 0
	for r := (reader{b[8:]}); len(r.b) > 0; {
		id := r.byte()
		section := reader{r.bytes(r.number())}
		size := len(section.b)
		switch id {
		case imports:
			for range section.number() {
				section.bytes(section.number())
				section.bytes(section.number())
				if section.byte() == 0 { // a function, as all of Go's are
					section.number()
					imported++
				}
			}
		case code:
			fmt.Printf("%6d KiB  code\n", size>>10)
			for range section.number() {
				n := section.number()
				section.bytes(n)
				bodies = append(bodies, n)
			}
		case data:
			fmt.Printf("%6d KiB  data: types, strings, shaders, tables of lines\n", size>>10)
		case custom:
			if name := string(section.bytes(section.number())); name == "name" {
				readNames(section, names)
			}
		}
	}
	total := map[string]int{}
	for i, n := range bodies {
		total[packageOf(names[imported+i])] += n
	}
	fmt.Println("code by package, the largest:")
	packages := slices.SortedFunc(maps.Keys(total), func(a, b string) int { return cmp.Compare(total[b], total[a]) })
	for _, p := range packages[:min(30, len(packages))] {
		fmt.Printf("%6d KiB  %s\n", total[p]>>10, p)
	}
}

// readNames reads the functions' names out of the section "name".
func readNames(r reader, names map[int]string) {
	for len(r.b) > 0 {
		kind := r.byte()
		part := reader{r.bytes(r.number())}
		if kind != 1 {
			continue
		}
		for range part.number() {
			i := part.number()
			names[i] = string(part.bytes(part.number()))
		}
	}
}

// packageOf cuts the package off a function's name, in which slashes are
// underscores.
func packageOf(name string) string {
	name, _, _ = strings.Cut(name, "[")
	name, _, _ = strings.Cut(name, ".")
	return cmp.Or(name, "other")
}

// reader takes bytes off a wasm file; a file that is cut off ends the program.
type reader struct{ b []byte }

func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.b) {
		log.Fatal("the file is cut off")
	}
	head := r.b[:n]
	r.b = r.b[n:]
	return head
}

func (r *reader) byte() byte { return r.bytes(1)[0] }

func (r *reader) number() int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		log.Fatal("the file is cut off")
	}
	r.b = r.b[n:]
	return int(v)
}
