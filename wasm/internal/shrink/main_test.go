package main

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/wasm/internal/module"
)

// program is a module with two imports and one function that returns, and data
// in segments as Go's linker writes them.
func program(memory []byte) []byte {
	return module.Write([]module.Section{
		{ID: module.Type, Content: []byte{1, 0x60, 0, 0}},
		{ID: module.Import, Content: []byte("\x02\x01a\x01b\x00\x00\x01a\x01c\x00\x00")},
		{ID: module.Function, Content: []byte{1, 0}},
		{ID: 5, Content: []byte{1, 0, 1}},
		{ID: module.Code, Content: []byte{1, 2, 0, end}},
		{ID: module.Data, Content: writeData(memory)},
	})
}

func section(t *testing.T, file []byte, id byte) []byte {
	t.Helper()
	sections, err := module.Read(file)
	require.NoError(t, err)
	for _, s := range sections {
		if s.ID == id {
			return s.Content
		}
	}
	t.Fatalf("no section %d", id)
	return nil
}

// symbols is Go's table of n functions, which lies at a multiple of 8, with programs
// of eight bytes each: of nothing, of lines, of files, of live arguments, and of
// stack maps.
func symbols(n int) []byte {
	const names, units, files, programs, index = 72, 88, 96, 104, 144
	const size = 88
	table := []byte(magic)
	for _, v := range []uint64{uint64(n), 1, 0, names, units, files, programs, index} {
		table = binary.LittleEndian.AppendUint64(table, v)
	}
	table = append(table, "main.main\x00      units   files   "...)
	table = append(table, "\x00       lines---files---live----stackmap"...)
	records := 8*n + 8
	for i := range n {
		table = numbers(table, firstNumber+i, records+i*size)
	}
	table = numbers(table, firstNumber+n, 0)
	for i := range n {
		table = numbers(table, firstNumber+i, 1, 2, 3, 0, 16, 8, 4, 7, 7, 7<<24|1<<8|9)
		table = numbers(table, 32, 0, 0, 24)
		table = numbers(table, 5, none, 6, none, none, 7, 8)
	}
	return table
}

func numbers(to []byte, list ...int) []byte {
	for _, v := range list {
		to = binary.LittleEndian.AppendUint32(to, uint32(v))
	}
	return to
}

func TestShrinkLeavesTheTableOut(t *testing.T) {
	const at, buckets = 1012, 16*300 + 1
	memory := append(bytes.Repeat([]byte{0, 0, 7}, 300), make([]byte, at-900)...)
	for i := range buckets {
		memory = binary.LittleEndian.AppendUint32(memory, uint32(i/each))
		memory = append(memory, make([]byte, bucket-4)...)
	}
	memory = append(memory, "before"...)
	memory = append(append(memory, symbols(2)...), "behind"...)
	file := program(memory)
	small, err := shrink(file)
	require.NoError(t, err)
	require.Less(t, len(small), len(file)/10)

	_, err = shrink(small)
	require.ErrorContains(t, err, "shrunk before")

	clear(memory[at : at+buckets*bucket])
	list, err := stripFunctionTable(memory)
	require.NoError(t, err)
	left, err := readData(section(t, small, module.Data))
	require.NoError(t, err)
	require.Equal(t, memory, left)

	// Functions 3 and 4 follow two imports and the one that was there.
	require.Equal(t, []byte{4}, section(t, small, module.Start))
	require.Equal(t, []byte{3, 0, 1, 2}, section(t, small, module.Function))
	code := section(t, small, module.Code)
	require.Contains(t, string(code), string(fillBuckets(at, buckets)))
	require.Contains(t, string(code), string(list.fill()))
	require.Contains(t, string(code), string(pushReturn))
}

// runLoop runs a loop as shrink writes it.
func runLoop(t *testing.T, code, memory []byte) {
	t.Helper()
	var locals [5]int
	var stack []int
	pop := func() int {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		return v
	}
	r, top := module.Reader{Rest: code}, module.Reader{}
	for len(r.Rest) > 0 {
		require.NoError(t, r.Err)
		in := r.Instruction()
		arguments := module.Reader{Rest: in[1:]}
		switch in[0] {
		case loop:
			top = r
		case end:
		case branchIf:
			if pop() != 0 {
				r = top
			}
		case i32const, i64const:
			stack = append(stack, int(arguments.Signed()))
		case get:
			stack = append(stack, locals[in[1]])
		case set, tee:
			locals[in[1]] = pop()
			if in[0] == tee {
				stack = append(stack, locals[in[1]])
			}
		case add, multiply, shift, shiftLeft, less:
			b, a := pop(), pop()
			v := map[byte]int{add: a + b, multiply: a * b, shift: a >> (b & 31), shiftLeft: a << (b & 31)}[in[0]]
			if in[0] == less && a < b {
				v = 1
			}
			stack = append(stack, v)
		case load, load64, load8:
			arguments.Number()
			from := memory[pop()+arguments.Number():]
			switch in[0] {
			case load:
				stack = append(stack, int(binary.LittleEndian.Uint32(from)))
			case load64:
				stack = append(stack, int(binary.LittleEndian.Uint64(from)))
			case load8:
				stack = append(stack, int(from[0]))
			}
		case store, store64:
			arguments.Number()
			v := pop()
			to := memory[pop()+arguments.Number():]
			if in[0] == store {
				binary.LittleEndian.PutUint32(to, uint32(v))
			} else {
				binary.LittleEndian.PutUint64(to, uint64(v))
			}
		case bulk:
			n, from, to := pop(), pop(), pop()
			copy(memory[to:to+n], memory[from:from+n])
		default:
			t.Fatalf("%#x is not known here", in)
		}
	}
	require.Empty(t, stack)
}

func TestFillBuckets(t *testing.T) {
	memory := make([]byte, 1012+4801*bucket)
	runLoop(t, fillBuckets(1012, 4801), memory)
	at, buckets := findBuckets(memory)
	require.Equal(t, [2]int{1012, 4801}, [2]int{at, buckets})
}

// TestFunctionTable: unpacked, the table is as before but for what only traces need,
// and for the programs and data that a record says are not there at its end.
func TestFunctionTable(t *testing.T) {
	const n = 5
	memory := append(make([]byte, 16), symbols(n)...)
	f, err := stripFunctionTable(memory)
	require.NoError(t, err)
	const packed, filled = packedSize + 4 + 12, recordSize + 4 + 12
	require.Equal(t, functionTable{at: 16 + 144, first: 48, n: n, packed: 48 + n*(88-packed)}, f)
	require.Contains(t, string(memory), "main.main\x00")
	require.Contains(t, string(memory), "stackmap")
	for _, gone := range []string{"units", "lines", "files", "live"} {
		require.NotContains(t, string(memory), gone)
	}
	unfilled := make([]byte, f.packed)
	copy(unfilled[8*n:], numbers(nil, firstNumber+n, 0)) // the index's end stays
	require.Equal(t, unfilled, memory[f.at:][:f.packed])

	runLoop(t, f.fill(), memory)
	var want []byte
	for i := range n {
		want = numbers(want, firstNumber+i, f.first+i*filled)
	}
	want = numbers(want, firstNumber+n, 0)
	for i := range n {
		want = numbers(want, firstNumber+i, 1, 2, 3, 0, 0, 0, 1, 0, 0, 3<<24|1<<16|1<<8|9, 32, 5, none, 6)
	}
	require.Equal(t, want, memory[f.at:][:len(want)])

	// A table of another form is refused, and nothing is read beyond its end.
	for cut := range len(symbols(n)) {
		_, err := stripFunctionTable(symbols(n)[:cut:cut])
		require.ErrorIs(t, err, errFunctionTable, cut)
	}
	whole := symbols(n)
	binary.LittleEndian.PutUint32(whole[144+8+4:], 80)
	_, err = stripFunctionTable(whole)
	require.ErrorIs(t, err, errFunctionTable)
}

// A function of two resume points as the compiler writes it, and what becomes of
// each part. Labels count outwards: blocks, the loop, the exit.
func TestCompact(t *testing.T) {
	const push = "20 01 41 08 6b 22 01 24 00 20 01 42 85 80 04 37 03 00" // address 1<<16 and number 5
	parts := []struct{ name, from, to string }{
		{"one local; stack pointer, exit, loop, segments, table", "01 01 7f 23 00 21 01 02 40 03 40 02 40 02 40 02 40 20 00 0e 03 00 01 01 02 0b",
			"02 01 7f 01 7e 42 80 80 04 21 02 23 00 21 01 02 40 03 40 02 40 02 40 02 40 20 00 0e 03 00 01 01 02 0b"},
		{"the stack grows", "20 01 45 04 40 " + push + " 41 00 10 07 23 00 21 01 0d 04 0b", "20 01 45 04 40 20 02 41 05 10 63 10 07 0f 0b"},
		{"call", push + " 41 00 10 08 23 00 21 01 0d 03", "20 02 41 05 10 63 10 08 23 00 21 01 0d 03"},
		{"segment 1", "0b", ""},
		{"call of a closure", "20 01 " + push + " 42 10 88 a7 21 00 41 00 20 00 11 00 00 23 00 21 01 0d 02", "20 01 20 02 41 05 10 63 1a 42 10 88 a7 21 00 41 00 20 00 11 00 00 23 00 21 01 0d 02"},
		{"jump ahead", "20 00 04 40 41 03 21 00 0c 02 0b", "20 00 0d 00"},
		{"jump back", "20 00 04 40 41 01 21 00 0c 02 0b", "20 00 41 01 21 00 0d 01"},
		{"jump ahead in a block", "02 40 41 03 21 00 0c 02 0b", "02 40 0c 01 0b"},
		{"a branch elsewhere", "41 03 21 00 0c 02", ""},
		{"store in the frame", "20 01 ad 42 10 7c a7 42 05 37 03 08", "20 01 42 05 37 03 18"},
		{"load of the frame and store", "20 01 ad 42 10 7c a7 20 01 ad 42 08 7c a7 29 03 00 37 03 08", "20 01 20 01 29 03 08 37 03 18"},
		{"a place as a value", "20 01 ad 42 10 7c a7 1a", "20 01 41 10 6a 1a"},
		{"panic", push + " 41 00 10 09 23 00 21 01 0d 02 0b 00", "20 02 41 05 10 63 10 09 0f 0b 00"},
		{"return with a frame", "20 01 41 20 6a 22 01 24 00 20 01 41 08 6a 22 01 24 00 41 00 0f", "20 01 41 28 6a 24 00 41 00 0f"},
		{"return without", "20 01 41 08 6a 22 01 24 00 41 00 0f", "20 01 41 08 6a 24 00 41 00 0f"},
		{"the end", "0b 00 0b 41 01 0b", ""},
	}
	bytesOf := func(text string) []byte {
		list, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
		require.NoError(t, err)
		return list
	}
	var from, to, numeric []byte
	for _, p := range parts {
		from = append(from, bytesOf(p.from)...)
		to = append(to, bytesOf(cmp.Or(p.to, p.from))...)
	}
	body, err := compact(from, 1<<16, 99)
	require.NoError(t, err)
	require.Equal(t, hex.EncodeToString(to), hex.EncodeToString(body))

	// Where floating-point numbers are multiplied, jumps stay.
	product := bytesOf("44 0000000000000000 44 0000000000000000 a2 1a")
	at := len(bytesOf(parts[0].from))
	from = slices.Insert(from, at, product...)
	atSmall := len(bytesOf(parts[0].to))
	for _, p := range parts {
		if p.to == "" || strings.HasPrefix(p.name, "jump") {
			p.to = p.from
		}
		numeric = append(numeric, bytesOf(p.to)...)
	}
	body, err = compact(from, 1<<16, 99)
	require.NoError(t, err)
	require.Equal(t, hex.EncodeToString(slices.Insert(numeric, atSmall, product...)), hex.EncodeToString(body))

	// A single call needs no local variable.
	body, err = compact(bytesOf("01 01 7f 23 00 21 01"+push+"41 00 10 08 0b"), 1<<16, 99)
	require.NoError(t, err)
	require.Equal(t, bytesOf("01 01 7f 23 00 21 01 42 80 80 04 41 05 10 63 10 08 0b"), body)

	// Assembly with its own way of being called stays.
	assembly := bytesOf("00 20 00 20 01 6a 0b")
	body, err = compact(assembly, 1<<16, 99)
	require.NoError(t, err)
	require.Equal(t, assembly, body)

	// A call within a block may come back, and with an if it may not.
	for _, text := range []string{"01 01 7f 23 00 21 01 02 40" + push + "41 00 10 08 23 00 21 01 0d 01 0b 0b", "01 01 7f 23 00 21 01 41 01 04 40 03 40" + push + "41 00 10 08 23 00 21 01 0d 02 0b 0b 0b"} {
		body, err = compact(bytesOf(text), 1<<16, 99)
		require.NoError(t, err)
		require.Equal(t, strings.ReplaceAll(hex.EncodeToString(bytesOf(text)), hex.EncodeToString(bytesOf(push+"41 00")), "4280800441051063"), hex.EncodeToString(body))
	}

	// An instruction that Go does not write might be of any length.
	for _, text := range []string{"06 40", "12 05", "1c 01 7f", "25 00", "d2 01", "fc 08 00 00", "fd 0c", "fe 10 02 00"} {
		_, err = compact(bytesOf("00 23 00 21 01"+text+"0b"), 1<<16, 99)
		require.ErrorContains(t, err, "unknown form", text)
	}

	from = append(from, bulk, memoryCopy, 0, 0)
	for n := range len(from) {
		_, _ = compact(from[:n:n], 1<<16, 99) // does not panic
	}
}

// TestFindResumable: of imports nothing is said, other signatures are left alone.
func TestFindResumable(t *testing.T) {
	types := []byte{3, 0x60, 0, 0, 0x60, 1, i32, 1, i32, 0x60, 2, i32, i32, 1, i32}
	list, err := findResumable(types, []byte{4, 1, 0, 2, 1})
	require.NoError(t, err)
	require.Equal(t, []bool{true, false, false, true}, list)
	_, err = findResumable(types, []byte{1, 3})
	require.ErrorContains(t, err, "no type")
	body := []byte{0, globalGet, 0, set, 1, get, 1, i32const, 8, add, tee, 1, globalSet, 0, i32const, 0, leave, end}
	other := slices.Concat([]byte{1}, sized(body))
	same, err := compactAll(other, []bool{false}, 99)
	require.NoError(t, err)
	require.Equal(t, other, same)
	short, err := compactAll(other, []bool{true}, 99)
	require.NoError(t, err)
	require.Less(t, len(short), len(other))
}

func TestShrinkRefuses(t *testing.T) {
	_, err := shrink(program([]byte("no table")))
	require.ErrorContains(t, err, "table of functions")
	file := program(make([]byte, 10))
	for n := range len(file) {
		_, err := shrink(file[:n])
		require.Error(t, err, n)
	}
}
