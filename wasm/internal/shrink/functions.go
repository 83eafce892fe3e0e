package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"wgjepa/wasm/internal/module"
)

// functionTable is the place of Go's table of functions: an index of pairs (number,
// offset), then a record for each function (runtime/symtab.go, pcHeader and
// functab; runtime/runtime2.go, _func).
type functionTable struct {
	at, first, n int // of the index in memory, of the first record from there
}

// The table's header, and a record's fields.
const (
	magic       = "\xf1\xff\xff\xff\x00\x00\x01\x08" // Go 1.20 to 1.26, 64 bits
	firstNumber = 4096                               // cmd/link/internal/wasm, funcValueOffset

	recordStack  = 16 // then programs for file and line
	recordFile   = 20
	recordLine   = 24
	recordPCData = 28 // how many numbers follow the record
	recordUnit   = 32 // then the line at which the function begins
	recordData   = 43 // how many more
	recordSize   = 44
)

var errFunctionTable = errors.New("the table of functions is not as this Go has it")

// stripFunctionTable clears, in memory, what can be computed of the table of
// functions, and what tells the lines of code: a trace of calls is left with the
// functions' names.
func stripFunctionTable(memory []byte) (functionTable, error) {
	header := bytes.Index(memory, []byte(magic))
	if header < 0 || header+72 > len(memory) {
		return functionTable{}, errFunctionTable
	}
	word := func(i int) int { return int(binary.LittleEndian.Uint64(memory[header+8+8*i:])) }
	n, units, names, programs, index := word(0), word(4), word(5), word(6), word(7)
	f := functionTable{at: header + index, first: 8*n + 8, n: n}
	if !(0 < units && units < names && names < programs && programs < index && 0 < n && f.at+f.first < len(memory)) {
		return f, errFunctionTable
	}
	clear(memory[header+units : header+programs]) // names of files

	table := memory[f.at:]
	number := func(at int) int { return int(binary.LittleEndian.Uint32(table[at:])) }
	wanted := map[int]bool{word(7) - word(6): true} // programs for values at each program counter, false for lines
	at := f.first
	for i := range n {
		if at+recordSize > len(table) || number(8*i) != firstNumber+i || number(8*i+4) != at || number(at) != firstNumber+i {
			return f, errFunctionTable
		}
		next := (at + recordSize + 4*(number(at+recordPCData)+int(table[at+recordData])) + 7) &^ 7
		if next > len(table) {
			return f, errFunctionTable
		}
		for _, field := range []int{recordFile, recordLine} {
			wanted[number(at+field)] = wanted[number(at+field)]
		}
		wanted[number(at+recordStack)] = true
		for k := range number(at + recordPCData) {
			wanted[number(at+recordSize+4*k)] = true
		}
		clear(table[at:][:4])
		clear(table[at+recordFile : at+recordPCData])
		clear(table[at+recordUnit:][:8])
		at = next
	}
	clear(table[:8*n])
	starts := slices.Sorted(maps.Keys(wanted))
	if header+programs+starts[len(starts)-1] > f.at {
		return f, errFunctionTable
	}
	for i, start := range starts[:len(starts)-1] {
		if !wanted[start] {
			clear(memory[header+programs+start : header+programs+starts[i+1]])
		}
	}
	return f, nil
}

// fill is a loop that writes the table's index and the numbers in its records.
func (f functionTable) fill() []byte {
	const i, at = 0, 1
	field := func(op byte, align byte, offset int) []byte {
		return binary.AppendUvarint([]byte{op, align}, uint64(f.at+offset))
	}
	constant := func(v int) []byte { return module.AppendSigned([]byte{i32const}, int64(v)) }
	scaled, numbered := []byte{get, i, i32const, 3, shiftLeft}, slices.Concat([]byte{get, i}, constant(firstNumber), []byte{add})
	return slices.Concat(
		[]byte{i32const, 0, set, i}, constant(f.first), []byte{set, at},
		[]byte{loop, void},
		scaled, numbered, field(store, 2, 0),
		scaled, []byte{get, at}, field(store, 2, 4),
		[]byte{get, at}, numbered, field(store, 2, 0),
		[]byte{get, at}, field(load, 2, recordPCData), []byte{get, at}, field(load8, 0, recordData), []byte{add, i32const, 2, shiftLeft},
		[]byte{get, at, i32const, recordSize + 7, add, add, i32const, 0x78, and, set, at}, // −8: to a multiple of 8
		[]byte{get, i, i32const, 1, add, tee, i}, constant(f.n), []byte{less, branchIf, 0, end})
}
