// Command sizes says what a wasm file built by Go consists of: its sections, and
// the code of each package by the file's own names of functions.
package main

import (
	"cmp"
	"fmt"
	"log"
	"maps"
	"os"
	"slices"
	"strings"

	"wgjepa/wasm/internal/module"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: sizes FILE.wasm")
	}
	if err := sizes(os.Args[1]); err != nil {
		log.Fatalf("%s: %v", os.Args[1], err)
	}
}

func sizes(path string) error {
	file, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	sections, err := module.Read(file)
	if err != nil {
		return err
	}
	var bodies []int          // bytes of each function
	names := map[int]string{} // of functions, imported ones first
	imported := 0
	for _, s := range sections {
		r := module.Reader{Rest: s.Content}
		switch s.ID {
		case module.Import:
			for range r.Number() {
				r.Bytes(r.Number())
				r.Bytes(r.Number())
				if r.Byte() == 0 { // a function, as all of Go's are
					r.Number()
					imported++
				}
			}
		case module.Code:
			fmt.Printf("%6d KiB  code\n", len(s.Content)>>10)
			for range r.Number() {
				n := r.Number()
				r.Bytes(n)
				bodies = append(bodies, n)
			}
		case module.Data:
			fmt.Printf("%6d KiB  data: types, strings, shaders, table of functions\n", len(s.Content)>>10)
		case module.Custom:
			if name := string(r.Bytes(r.Number())); name == "name" {
				readNames(&r, names)
			}
		}
		if r.Err != nil {
			return r.Err
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
	return nil
}

// readNames reads the functions' names out of the section "name".
func readNames(r *module.Reader, names map[int]string) {
	for len(r.Rest) > 0 {
		kind := r.Byte()
		part := module.Reader{Rest: r.Bytes(r.Number())}
		if kind != 1 {
			continue
		}
		for range part.Number() {
			i := part.Number()
			names[i] = string(part.Bytes(part.Number()))
		}
		r.Err = cmp.Or(r.Err, part.Err)
	}
}

// packageOf cuts the package off a function's name, in which slashes are
// underscores.
func packageOf(name string) string {
	name, _, _ = strings.Cut(name, "[")
	name, _, _ = strings.Cut(name, ".")
	return cmp.Or(name, "other")
}
