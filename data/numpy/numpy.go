// Package numpy reads NumPy's .npy arrays and .npz archives, and begins .npy files.
//
// An .npy file is a short text header (type, order, shape) followed by the
// elements; an .npz file is a zip archive of .npy files. The format is NEP 1,
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
//
// Nothing that a file merely claims is allocated: the shape times the element
// size is held against the bytes that are really there (or, in an archive,
// against what the compressed bytes can at most inflate to, 1032:1) and
// against a limit before memory is reserved, and inflated data is collected in
// growing pieces. Arrays of Python objects are refused: reading them means
// running what the file says.
package numpy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Deflate's best ratio: no deflate stream inflates to more than 1032 times its length.
const maxInflation = 1032

// maxHeader bounds the text header; NumPy's own reader stops at 10000 characters.
const maxHeader = 1 << 16

// Header describes an array.
type Header struct {
	Type    string // NumPy's type string without byte order: u1, i2, f4, …
	Shape   []int
	Fortran bool // first axis fastest

	size  int // bytes an element
	order binary.ByteOrder
}

var names = map[string]string{"b1": "bool", "u1": "uint8", "i1": "int8", "u2": "uint16", "i2": "int16", "u4": "uint32", "i4": "int32", "u8": "uint64", "i8": "int64", "f2": "float16", "f4": "float32", "f8": "float64"}

// TypeName spells the type out: uint8, float32, …
func (h Header) TypeName() string { return names[h.Type] }

// Len returns the number of elements.
func (h Header) Len() int {
	n := 1
	for _, s := range h.Shape {
		n *= s
	}
	return n
}

// Bytes returns the length of the elements in bytes.
func (h Header) Bytes() int64 { return int64(h.Len()) * int64(h.size) }

// ReadHeader reads the header of an .npy stream and returns it with its length in bytes.
func ReadHeader(r io.Reader) (Header, int64, error) {
	var pre [12]byte
	if _, err := io.ReadFull(r, pre[:10]); err != nil {
		return Header{}, 0, fmt.Errorf("numpy: no header: %w", noEOF(err))
	}
	if string(pre[:6]) != "\x93NUMPY" {
		return Header{}, 0, errors.New("numpy: not an .npy array")
	}
	n, used := int64(binary.LittleEndian.Uint16(pre[8:])), int64(10)
	switch pre[6] {
	case 1:
	case 2, 3:
		if _, err := io.ReadFull(r, pre[10:12]); err != nil {
			return Header{}, 0, fmt.Errorf("numpy: no header: %w", noEOF(err))
		}
		n, used = int64(binary.LittleEndian.Uint32(pre[8:])), 12
	default:
		return Header{}, 0, fmt.Errorf("numpy: .npy version %d is not known", pre[6])
	}
	if n > maxHeader {
		return Header{}, 0, fmt.Errorf("numpy: header of %d bytes is longer than %d", n, maxHeader)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return Header{}, 0, fmt.Errorf("numpy: header cut short: %w", noEOF(err))
	}
	h, err := parseHeader(string(text))
	return h, used + n, err
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// parseHeader reads the Python dictionary literal of a header: three known keys.
func parseHeader(s string) (Header, error) {
	h := Header{}
	descr, err := value(s, "descr")
	if err != nil {
		return h, err
	}
	if !strings.HasPrefix(descr, "'") {
		return h, fmt.Errorf("numpy: arrays of records (%.40s) are not read; save plain numbers", descr)
	}
	t := strings.Trim(descr, "'")
	if t == "" {
		return h, errors.New("numpy: header has an empty type")
	}
	h.order = binary.LittleEndian
	switch t[0] {
	case '>':
		h.order, t = binary.BigEndian, t[1:]
	case '<', '|', '=':
		t = t[1:]
	}
	if strings.HasPrefix(t, "O") {
		return h, errors.New("numpy: array of Python objects is refused; save it as numbers (one shape, one type)")
	}
	h.Type = t
	if names[t] == "" {
		return h, fmt.Errorf("numpy: type %.20q is not read; save bool, integers or floats", t)
	}
	h.size = int(t[1] - '0')
	fortran, err := value(s, "fortran_order")
	if err != nil {
		return h, err
	}
	switch fortran {
	case "True":
		h.Fortran = true
	case "False":
	default:
		return h, fmt.Errorf("numpy: fortran_order is %.20q", fortran)
	}
	shape, err := value(s, "shape")
	if err != nil {
		return h, err
	}
	shape = strings.TrimSpace(strings.Trim(shape, "()"))
	total := int64(h.size)
	for _, f := range strings.Split(shape, ",") {
		if f = strings.TrimSuffix(strings.TrimSpace(f), "L"); f == "" {
			continue
		}
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil || n < 0 {
			return h, fmt.Errorf("numpy: shape (%.60s) is not a tuple of sizes", shape)
		}
		if n > 0 && total > math.MaxInt64/8/n || n > math.MaxInt32 {
			return h, fmt.Errorf("numpy: shape (%.60s) is too large", shape)
		}
		total *= max(n, 1)
		h.Shape = append(h.Shape, int(n))
	}
	if len(h.Shape) > 32 {
		return h, fmt.Errorf("numpy: %d axes", len(h.Shape))
	}
	return h, nil
}

// value returns the literal after 'key': a quoted string, a tuple, a list or a word.
func value(s, key string) (string, error) {
	_, rest, ok := strings.Cut(s, "'"+key+"'")
	if ok {
		rest, ok = strings.CutPrefix(strings.TrimSpace(rest), ":")
	}
	rest = strings.TrimSpace(rest)
	if !ok || rest == "" {
		return "", fmt.Errorf("numpy: header has no %s", key)
	}
	end := -1
	switch rest[0] {
	case '\'':
		if end = strings.IndexByte(rest[1:], '\''); end >= 0 {
			end += 2
		}
	case '(':
		if end = strings.IndexByte(rest, ')'); end >= 0 {
			end++
		}
	default:
		end = strings.IndexAny(rest, ",}")
	}
	if end < 0 {
		return "", fmt.Errorf("numpy: header: %s is cut short", key)
	}
	return strings.TrimSpace(rest[:end]), nil
}

// Decode converts raw elements to float32, appending to dst.
func (h Header) Decode(dst []float32, raw []byte) []float32 {
	o := h.order
	switch h.Type {
	case "u1":
		return convert(dst, raw, 1, func(p []byte) float32 { return float32(p[0]) })
	case "b1":
		return convert(dst, raw, 1, func(p []byte) float32 { return float32(min(p[0], 1)) })
	case "i1":
		return convert(dst, raw, 1, func(p []byte) float32 { return float32(int8(p[0])) })
	case "u2":
		return convert(dst, raw, 2, func(p []byte) float32 { return float32(o.Uint16(p)) })
	case "i2":
		return convert(dst, raw, 2, func(p []byte) float32 { return float32(int16(o.Uint16(p))) })
	case "f2":
		return convert(dst, raw, 2, func(p []byte) float32 { return half(o.Uint16(p)) })
	case "u4":
		return convert(dst, raw, 4, func(p []byte) float32 { return float32(o.Uint32(p)) })
	case "i4":
		return convert(dst, raw, 4, func(p []byte) float32 { return float32(int32(o.Uint32(p))) })
	case "f4":
		return convert(dst, raw, 4, func(p []byte) float32 { return math.Float32frombits(o.Uint32(p)) })
	case "u8":
		return convert(dst, raw, 8, func(p []byte) float32 { return float32(o.Uint64(p)) })
	case "i8":
		return convert(dst, raw, 8, func(p []byte) float32 { return float32(int64(o.Uint64(p))) })
	case "f8":
		return convert(dst, raw, 8, func(p []byte) float32 { return float32(math.Float64frombits(o.Uint64(p))) })
	}
	panic("numpy: Decode: header of type " + h.Type)
}

func convert(dst []float32, raw []byte, size int, value func([]byte) float32) []float32 {
	dst = slices.Grow(dst, len(raw)/size)
	for ; len(raw) >= size; raw = raw[size:] {
		dst = append(dst, value(raw))
	}
	return dst
}

// half converts an IEEE 754 binary16.
func half(b uint16) float32 {
	sign, exp, frac := uint32(b>>15)<<31, uint32(b>>10&31), uint32(b&1023)
	switch exp {
	case 0: // zero or subnormal: frac · 2⁻²⁴
		v := float32(frac) / (1 << 24)
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 31:
		return math.Float32frombits(sign | 255<<23 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

// Read reads a whole .npy stream in row-major order (last axis fastest), appending to dst.
// available is the number of bytes of the stream where it is known, else −1;
// limit bounds the bytes of the elements.
func Read(r io.Reader, dst []float32, available, limit int64) (Header, []float32, error) {
	h, used, err := ReadHeader(r)
	if err != nil {
		return h, dst, err
	}
	if available >= 0 && h.Bytes() > available-used {
		return h, dst, fmt.Errorf("numpy: shape %v of %s needs %d bytes, the file has %d", h.Shape, h.Type, h.Bytes(), max(0, available-used))
	}
	if h.Bytes() > limit {
		return h, dst, fmt.Errorf("numpy: shape %v of %s needs %d bytes, above the limit of %d", h.Shape, h.Type, h.Bytes(), limit)
	}
	raw, err := collect(r, h.Bytes())
	if err != nil {
		return h, dst, err
	}
	if h.Fortran && len(h.Shape) > 1 {
		raw = rowMajor(raw, h.Shape, h.size)
	}
	return h, h.Decode(dst, raw), nil
}

// collect reads n bytes, reserving memory as they come: a header's claim alone costs nothing.
func collect(r io.Reader, n int64) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(int(min(n, 4<<20)))
	got, err := io.CopyN(&b, r, n)
	if err != nil {
		return nil, fmt.Errorf("numpy: data ends after %d of %d bytes: %w", got, n, noEOF(err))
	}
	return b.Bytes(), nil
}

// rowMajor reorders elements of size bytes from first-axis-fastest to last-axis-fastest.
func rowMajor(raw []byte, shape []int, size int) []byte {
	out := make([]byte, len(raw))
	index := make([]int, len(shape))
	stride := make([]int, len(shape))
	for a, s := 0, size; a < len(shape); a++ {
		stride[a] = s
		s *= shape[a]
	}
	from := 0
	for to := 0; to < len(out); to += size {
		copy(out[to:to+size], raw[from:])
		for a := len(shape) - 1; a >= 0; a-- {
			index[a]++
			from += stride[a]
			if index[a] < shape[a] {
				break
			}
			from -= shape[a] * stride[a]
			index[a] = 0
		}
	}
	return out
}
