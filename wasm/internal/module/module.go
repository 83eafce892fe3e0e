// Package module takes files of WebAssembly apart into sections and puts them
// together again (WebAssembly core specification, §5).
package module

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// IDs of sections, in the order of their place in a file but for custom ones.
const (
	Custom   = 0
	Type     = 1
	Import   = 2
	Function = 3
	Export   = 7
	Start    = 8
	Element  = 9
	Code     = 10
	Data     = 11
)

// Section is one section with its content as it stands in the file.
type Section struct {
	ID      byte
	Content []byte
}

var errCut = errors.New("the file is cut off")

const header = "\x00asm\x01\x00\x00\x00"

// Read takes a file apart.
func Read(file []byte) ([]Section, error) {
	if len(file) < len(header) || string(file[:len(header)]) != header {
		return nil, errors.New("this is not a wasm file")
	}
	r := Reader{Rest: file[len(header):]}
	var list []Section
	for len(r.Rest) > 0 && r.Err == nil {
		list = append(list, Section{r.Byte(), r.Bytes(r.Number())})
	}
	return list, r.Err
}

// Write puts a file together.
func Write(sections []Section) []byte {
	file := []byte(header)
	for _, s := range sections {
		file = append(file, s.ID)
		file = binary.AppendUvarint(file, uint64(len(s.Content)))
		file = append(file, s.Content...)
	}
	return file
}

// Append adds an entry to a section that is a list, such as Function and Code,
// and returns the entry's index.
func (s *Section) Append(entry []byte) (index int, err error) {
	r := Reader{Rest: s.Content}
	index = r.Number()
	content := binary.AppendUvarint(nil, uint64(index+1))
	s.Content = slices.Concat(content, r.Rest, entry)
	return index, r.Err
}

// Reader takes numbers and bytes off its Rest. After the end it gives zeros and
// has an Err.
type Reader struct {
	Rest []byte
	Err  error
}

// Bytes takes n bytes.
func (r *Reader) Bytes(n int) []byte {
	if n < 0 || n > len(r.Rest) {
		r.Rest, r.Err = nil, errCut
		return nil
	}
	head := r.Rest[:n]
	r.Rest = r.Rest[n:]
	return head
}

// Byte takes one byte.
func (r *Reader) Byte() byte {
	if b := r.Bytes(1); b != nil {
		return b[0]
	}
	return 0
}

// Number takes an unsigned number in LEB128.
func (r *Reader) Number() int {
	v, n := binary.Uvarint(r.Rest)
	if n <= 0 || v > 1<<32 {
		r.Rest, r.Err = nil, errCut
		return 0
	}
	r.Rest = r.Rest[n:]
	return int(v)
}

// Signed takes a signed number in LEB128.
func (r *Reader) Signed() int64 {
	var v int64
	for shift := 0; shift < 64; {
		b := r.Byte()
		v |= int64(b&0x7f) << shift
		shift += 7
		if b < 0x80 {
			if shift < 64 && b&0x40 != 0 {
				v |= -1 << shift
			}
			return v
		}
	}
	r.Rest, r.Err = nil, errCut
	return 0
}

// AppendSigned adds a signed number in LEB128.
func AppendSigned(to []byte, v int64) []byte {
	for {
		b := byte(v & 0x7f)
		v >>= 7
		if v == 0 && b&0x40 == 0 || v == -1 && b&0x40 != 0 {
			return append(to, b)
		}
		to = append(to, b|0x80)
	}
}

// Instruction takes one instruction and returns its bytes, the operation's
// first. It knows those of WebAssembly 1.0 with saturating conversions and copies
// of memory, which Go writes; another has an Err.
func (r *Reader) Instruction() []byte {
	start := r.Rest
	switch op := r.Byte(); {
	case op <= 0x01, op == 0x05, op == 0x0b, op == 0x0f, // unreachable, nop, else, end, return
		op == 0x1a, op == 0x1b, // drop, select
		op >= 0x45 && op <= 0xc4: // of numbers
	case op >= 0x02 && op <= 0x04, // block, loop, if: a type
		op == 0x0c || op == 0x0d, op == 0x10, // br, br_if, call
		op >= 0x20 && op <= 0x24, // of variables
		op >= 0x3f && op <= 0x42: // memory.size, memory.grow, i32.const, i64.const
		r.Signed()
	case op == 0x0e: // br_table
		for range r.Number() + 1 {
			r.Number()
		}
	case op == 0x11, op >= 0x28 && op <= 0x3e: // call_indirect, loads and stores
		r.Number()
		r.Number()
	case op == 0x43: // f32.const
		r.Bytes(4)
	case op == 0x44: // f64.const
		r.Bytes(8)
	case op == 0xfc:
		switch n := r.Number(); {
		case n == 10: // memory.copy
			r.Bytes(2)
		case n == 11: // memory.fill
			r.Bytes(1)
		case n > 7: // the others are conversions
			r.unknown(start)
		}
	default:
		r.unknown(start)
	}
	return start[:len(start)-len(r.Rest)]
}

func (r *Reader) unknown(at []byte) {
	r.Rest, r.Err = nil, fmt.Errorf("an instruction of unknown form: % x", at[:min(2, len(at))])
}
