package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"wgjepa/wasm/internal/module"
)

// functionTable is the place in memory of Go's table of functions: an index of pairs
// (number, offset), then a record for each function (runtime/symtab.go, pcHeader and
// functab; runtime/runtime2.go, _func).
type functionTable struct {
	at, first, n int // of the index, of the first record from there
	packed       int // of the records as shrink leaves them
}

// The table's header.
const (
	magic       = "\xf1\xff\xff\xff\x00\x00\x01\x08" // Go 1.20 to 1.26, 64 bits
	firstNumber = 4096                               // cmd/link/internal/wasm, funcValueOffset
)

// A record is followed by as many offsets of programs, which give values for each
// program counter, and of data as it says.
const (
	recordStack       = 16 // a program of its own; then those of file and line
	recordFile        = 20
	recordLine        = 24
	recordPrograms    = 28 // their number
	recordUnit        = 32 // then the line at which the function begins
	recordFlags       = 40 // then a byte that is not used
	recordData        = 43 // their number
	recordSize        = 44
	programLive       = 3 // arguments that are live, for traces (internal/abi/symtab.go)
	dataArguments     = 5 // of what kind they are, for traces
	dataArgumentsLive = 6
	none              = 0xffffffff // no data; no program is 0
)

// Of a packed record the number and the lines are left out, and the number of
// programs is in the byte that is not used.
const (
	packedFlags    = 16 // after the fields from the second to that at recordStack
	packedPrograms = packedFlags + 2
	packedData     = packedFlags + 3
	packedSize     = packedFlags + 4
)

var errFunctionTable = errors.New("the table of functions is not as this Go has it")

// stripFunctionTable packs, in memory, the table of functions, and clears what tells
// the lines of code and the kinds of arguments: traces of calls are left with the
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
	table := memory[f.at:]
	number := func(at int) int { return int(binary.LittleEndian.Uint32(table[at:])) }
	wanted := map[int]bool{index - programs: true} // programs by offset, false for lines
	var packed []byte
	at, filled := f.first, f.first
	for i := range n {
		if at+recordSize > len(table) || number(8*i) != firstNumber+i || number(8*i+4) != at || number(at) != firstNumber+i {
			return f, errFunctionTable
		}
		behind := at + recordSize + 4*number(at+recordPrograms)
		next := (behind + 4*int(table[at+recordData]) + 7) &^ 7
		if next > len(table) || behind > next {
			return f, errFunctionTable
		}
		offsets := func(from, n, empty int, dropped ...int) (list []byte) {
			for k := range n {
				v := number(from + 4*k)
				if slices.Contains(dropped, k) {
					v = empty
				}
				list = binary.LittleEndian.AppendUint32(list, uint32(v))
			}
			for len(list) > 0 && int(binary.LittleEndian.Uint32(list[len(list)-4:])) == empty {
				list = list[:len(list)-4]
			}
			return list
		}
		values := offsets(at+recordSize, number(at+recordPrograms), 0, programLive)
		data := offsets(behind, int(table[at+recordData]), none, dataArguments, dataArgumentsLive)
		wanted[number(at+recordStack)] = true
		for k := 0; k < len(values); k += 4 {
			wanted[int(binary.LittleEndian.Uint32(values[k:]))] = true
		}
		for _, field := range []int{recordFile, recordLine} {
			wanted[number(at+field)] = wanted[number(at+field)]
		}
		for k := range number(at + recordPrograms) {
			wanted[number(at+recordSize+4*k)] = wanted[number(at+recordSize+4*k)]
		}
		packed = append(packed, table[at+4:at+recordFile]...)
		packed = append(packed, table[at+recordFlags], table[at+recordFlags+1], byte(len(values)/4), byte(len(data)/4))
		packed = append(append(packed, values...), data...)
		filled += recordSize + len(values) + len(data)
		at = next
	}
	starts := slices.Sorted(maps.Keys(wanted))
	if header+programs+starts[len(starts)-1] > f.at || at-filled < recordSize {
		return f, errFunctionTable
	}
	for i, start := range starts[:len(starts)-1] {
		if !wanted[start] {
			clear(memory[header+programs+start : header+programs+starts[i+1]])
		}
	}
	clear(memory[header+units : header+programs]) // names of files
	clear(table[:8*n])
	clear(table[f.first:at])
	f.packed = at - len(packed) // filled from the front, the table never reaches what is still packed
	copy(table[f.packed:], packed)
	return f, nil
}

// fill is a loop that writes the table's index and unpacks its records.
func (f functionTable) fill() []byte {
	const i, at, from, programs, both = 0, 1, 2, 3, 4
	field := func(op, align byte, offset int) []byte {
		return binary.AppendUvarint([]byte{op, align}, uint64(f.at+offset))
	}
	constant := func(v int) []byte { return module.AppendSigned([]byte{i32const}, int64(v)) }
	move := func(to, from int) []byte { // eight bytes of a record
		return slices.Concat([]byte{get, at, get, 2}, field(load64, 3, from), field(store64, 3, to))
	}
	zero := func(to int) []byte { return slices.Concat([]byte{get, at, i64const, 0}, field(store64, 3, to)) }
	scaled, numbered := []byte{get, i, i32const, 3, shiftLeft}, slices.Concat([]byte{get, i}, constant(firstNumber), []byte{add})
	return slices.Concat(
		[]byte{i32const, 0, set, i}, constant(f.first), []byte{set, at}, constant(f.packed), []byte{set, from},
		[]byte{loop, void},
		scaled, numbered, field(store, 2, 0),
		scaled, []byte{get, at}, field(store, 2, 4),

		[]byte{get, at}, numbered, field(store, 2, 0),
		move(4, 0), move(12, 8), zero(recordFile),
		[]byte{get, at, get, from}, field(load8, 0, packedPrograms), []byte{tee, programs}, field(store, 2, recordPrograms),
		zero(recordUnit),
		[]byte{get, at, get, from}, field(load, 2, packedFlags), field(store, 2, recordFlags),

		[]byte{get, at, i32const, recordSize, add}, constant(f.at), []byte{add},
		[]byte{get, from, i32const, packedSize, add}, constant(f.at), []byte{add},
		[]byte{get, programs, get, from}, field(load8, 0, packedData), []byte{add, i32const, 2, shiftLeft, tee, both},
		[]byte{bulk, memoryCopy, 0, 0},
		[]byte{get, at, i32const, recordSize, add, get, both, add, set, at},
		[]byte{get, from, i32const, packedSize, add, get, both, add, set, from},

		[]byte{get, i, i32const, 1, add, tee, i}, constant(f.n), []byte{less, branchIf, 0, end})
}
