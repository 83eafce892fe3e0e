// Command shrink makes a wasm file that Go's linker wrote smaller without
// changing what it does.
//
//   - The tables by which Go finds the function that a program counter lies in are
//     left out as far as they can be computed, and a start function writes them
//     to memory. With them goes what says the lines of code: the traces of a panic
//     name the functions.
//   - Code is said shorter where Go's compiler always writes the same.
//
// The first of these tables has 16 buckets for every 64 KiB of code
// (runtime/symtab.go, findfuncbucket). In wasm each function counts as 64 KiB of
// code, so that the table holds every number 16 times among zeros, and is larger
// than most programs' data.
package main

import (
	"cmp"
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
	list, err := stripFunctionTable(memory)
	if err != nil {
		return nil, err
	}
	data.Content = writeData(memory)

	r := module.Reader{Rest: imports.Content}
	imported := r.Number()
	// add adds a function and returns its index.
	add := func(signature, body []byte) int {
		kind, err1 := types.Append(signature)
		index, err2 := functions.Append(binary.AppendUvarint(nil, uint64(kind)))
		_, err3 := code.Append(sized(body))
		err = cmp.Or(err, err1, err2, err3)
		return imported + index
	}
	push := add(pushType, pushReturn)
	fill := add([]byte{0x60, 0, 0}, slices.Concat([]byte{1, 5, i32}, fillBuckets(table, buckets), list.fill(), []byte{end}))
	if err != nil {
		return nil, err
	}
	resumable, err := findResumable(types.Content, functions.Content)
	if err != nil {
		return nil, err
	}
	if code.Content, err = compactAll(code.Content, resumable, push); err != nil {
		return nil, err
	}
	start := module.Section{ID: module.Start, Content: binary.AppendUvarint(nil, uint64(fill))}
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
	i32, i64, void                      = 0x7f, 0x7e, 0x40
	unreachable, block, loop, If, end   = 0x00, 0x02, 0x03, 0x04, 0x0b
	branch, branchIf, branchTable       = 0x0c, 0x0d, 0x0e
	leave, call, drop, choose           = 0x0f, 0x10, 0x1a, 0x1b
	get, set, tee, globalGet, globalSet = 0x20, 0x21, 0x22, 0x23, 0x24
	load, load64, load8                 = 0x28, 0x29, 0x2d
	store, store64, lastStore           = 0x36, 0x37, 0x3e
	i32const, i64const, lastConst       = 0x41, 0x42, 0x44
	less, add, subtract, multiply       = 0x49, 0x6a, 0x6b, 0x6c
	shiftLeft, shift                    = 0x74, 0x76
	add64, multiply32, multiply64       = 0x7c, 0x94, 0xa2
	wrap, extend                        = 0xa7, 0xad
	bulk, memoryCopy                    = 0xfc, 10 // in two bytes
)

// fillBuckets is a loop that writes i/16 at the beginning of every bucket i.
func fillBuckets(table, buckets int) []byte {
	const i = 0
	body := []byte{loop, void}
	body = append(body, get, i, i32const, bucket, multiply, get, i, i32const, 4, shift)
	body = append(body, store, 2)
	body = binary.AppendUvarint(body, uint64(table))
	body = append(body, get, i, i32const, 1, add, tee, i, i32const)
	body = module.AppendSigned(body, int64(buckets))
	return append(body, less, branchIf, 0, end)
}

// sized puts a body's length before it.
func sized(body []byte) []byte {
	return append(binary.AppendUvarint(nil, uint64(len(body))), body...)
}
