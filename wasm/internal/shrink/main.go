// Command shrink makes a wasm file that Go's linker wrote smaller without
// changing what it does.
//
// Go looks up the function that a program counter lies in by a table with 16
// buckets for every 64 KiB of code (runtime/symtab.go, findfuncbucket). In wasm
// each function counts as 64 KiB of code, so that the table holds every number
// 16 times among zeros, and is larger than most programs' data. The table is
// left out, and a start function writes it to memory.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"os"
	"slices"

	"wgjepa/wasm/internal/module"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: shrink FILE.wasm")
	}
	if err := rewrite(os.Args[1]); err != nil {
		log.Fatalf("%s: %v", os.Args[1], err)
	}
}

func rewrite(path string) error {
	file, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if file, err = shrink(file); err != nil {
		return err
	}
	return os.WriteFile(path, file, 0o644)
}

func shrink(file []byte) ([]byte, error) {
	sections, err := module.Read(file)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(sections, func(s module.Section) bool { return s.ID == module.Start }) {
		return nil, errors.New("the file has a start function, which Go writes none: it was shrunk before")
	}
	find := func(id byte) *module.Section {
		i := slices.IndexFunc(sections, func(s module.Section) bool { return s.ID == id })
		if i < 0 {
			err = fmt.Errorf("the file has no section %d", id)
			return &module.Section{}
		}
		return &sections[i]
	}
	types, imports, functions, code, data := find(module.Type), find(module.Import), find(module.Function), find(module.Code), find(module.Data)
	if err != nil {
		return nil, err
	}
	memory, err := readData(data.Content)
	if err != nil {
		return nil, err
	}
	table, buckets := findBuckets(memory)
	if buckets == 0 {
		return nil, errors.New("the table of functions by program counter is not where this Go keeps it")
	}
	clear(memory[table:][:buckets*bucket])
	data.Content = writeData(memory)

	kind, err := types.Append([]byte{0x60, 0, 0}) // no parameters, no results
	if err != nil {
		return nil, err
	}
	index, err := functions.Append(binary.AppendUvarint(nil, uint64(kind)))
	if err != nil {
		return nil, err
	}
	if _, err := code.Append(fill(table, buckets)); err != nil {
		return nil, err
	}
	r := module.Reader{Rest: imports.Content}
	start := module.Section{ID: module.Start, Content: binary.AppendUvarint(nil, uint64(r.Number()+index))}
	after := slices.IndexFunc(sections, func(s module.Section) bool { return s.ID >= module.Element })
	return module.Write(slices.Insert(sections, after, start)), nil
}

// readData returns the memory that the data section describes.
func readData(content []byte) ([]byte, error) {
	var memory []byte
	r := module.Reader{Rest: content}
	for range r.Number() {
		kind, op, at, stop := r.Number(), r.Byte(), r.Signed(), r.Byte()
		segment := r.Bytes(r.Number())
		if kind != 0 || op != i32const || stop != end || at < 0 || at > 1<<30 {
			return nil, errors.New("a segment of data is not of the form that Go writes")
		}
		if more := int(at) + len(segment) - len(memory); more > 0 {
			memory = append(memory, make([]byte, more)...)
		}
		copy(memory[at:], segment)
	}
	return memory, r.Err
}

// gap is the number of zeros from which on a new segment is begun. From 9 on it
// is the shorter; packed by gzip, as most receive the file, more is better.
const gap = 24

// writeData describes memory by segments between runs of zeros.
func writeData(memory []byte) []byte {
	var segments []byte
	count := 0
	for at := 0; at < len(memory); {
		if memory[at] == 0 {
			at++
			continue
		}
		stop := at
		for i := at; i < len(memory) && i < stop+gap; i++ {
			if memory[i] != 0 {
				stop = i + 1
			}
		}
		segments = append(segments, 0, i32const)
		segments = append(module.AppendSigned(segments, int64(at)), end)
		segments = binary.AppendUvarint(segments, uint64(stop-at))
		segments = append(segments, memory[at:stop]...)
		count++
		at = stop
	}
	return append(binary.AppendUvarint(nil, uint64(count)), segments...)
}

const (
	bucket = 20 // bytes: the number of a function, then 16 that stay zero
	each   = 16 // buckets to a function
)

// findBuckets returns the place and length of the longest table in which bucket
// i begins with i/16 and is zero otherwise.
func findBuckets(memory []byte) (at, buckets int) {
	want := make([]byte, bucket)
	is := func(at, i int) bool {
		binary.LittleEndian.PutUint32(want, uint32(i/each))
		return at+bucket <= len(memory) && string(memory[at:at+bucket]) == string(want)
	}
	for start := 0; start < len(memory); start += 4 {
		// Zeros are everywhere; the first 1 is looked for, 16 buckets on.
		if first := start + each*bucket; !is(first, each) || !is(start, 0) {
			continue
		}
		n := 0
		for is(start+n*bucket, n) {
			n++
		}
		if n > buckets {
			at, buckets = start, n
		}
	}
	return at, buckets
}

// Instructions and types (WebAssembly core specification, §5.4).
const (
	i32, void                  = 0x7f, 0x40
	loop, branchIf, end        = 0x03, 0x0d, 0x0b
	get, tee                   = 0x20, 0x22
	store, i32const            = 0x36, 0x41
	less, add, multiply, shift = 0x49, 0x6a, 0x6c, 0x76
)

// fill is the body of a function that writes the table: i/16 at the beginning
// of every bucket i.
func fill(table, buckets int) []byte {
	const i = 0
	body := []byte{1, 1, i32, loop, void} // one local
	body = append(body, get, i, i32const, bucket, multiply, get, i, i32const, 4, shift)
	body = append(body, store, 2)
	body = binary.AppendUvarint(body, uint64(table))
	body = append(body, get, i, i32const, 1, add, tee, i, i32const)
	body = module.AppendSigned(body, int64(buckets))
	body = append(body, less, branchIf, 0, end, end)
	return append(binary.AppendUvarint(nil, uint64(len(body))), body...)
}
