package main

import (
	"bytes"
	"encoding/binary"
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

func TestShrinkLeavesTheTableOut(t *testing.T) {
	const at, buckets = 1012, 16*300 + 1
	memory := append(bytes.Repeat([]byte{0, 0, 7}, 300), make([]byte, at-900)...)
	for i := range buckets {
		memory = binary.LittleEndian.AppendUint32(memory, uint32(i/each))
		memory = append(memory, make([]byte, bucket-4)...)
	}
	memory = append(memory, "behind"...)
	file := program(memory)
	small, err := shrink(file)
	require.NoError(t, err)
	require.Less(t, len(small), len(file)/10)

	_, err = shrink(small)
	require.ErrorContains(t, err, "shrunk before")

	clear(memory[at : at+buckets*bucket])
	left, err := readData(section(t, small, module.Data))
	require.NoError(t, err)
	require.Equal(t, memory, left)

	// Function 3 follows two imports and the one that was there.
	require.Equal(t, []byte{3}, section(t, small, module.Start))
	require.Equal(t, []byte{2, 0, 1}, section(t, small, module.Function))
	require.True(t, bytes.HasSuffix(section(t, small, module.Code), fill(at, buckets)))
}

// The body in the text format:
//
//	(local i32) (loop
//	  (i32.store offset=1012 (i32.mul (local.get 0) (i32.const 20)) (i32.shr_u (local.get 0) (i32.const 4)))
//	  (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 4801))))
func TestFill(t *testing.T) {
	require.Equal(t, []byte{
		34, 1, 1, 0x7f, 0x03, 0x40,
		0x20, 0, 0x41, 20, 0x6c, 0x20, 0, 0x41, 4, 0x76, 0x36, 2, 0xf4, 0x07,
		0x20, 0, 0x41, 1, 0x6a, 0x22, 0, 0x41, 0xc1, 0x25, 0x49, 0x0d, 0, 0x0b, 0x0b,
	}, fill(1012, 4801))
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
