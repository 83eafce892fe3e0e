package checkpoint

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"slices"
	"sort"
	"strconv"
)

// File is a safetensors file whose header has been read and checked. Tensors are
// read when asked for. Its methods may be called from several goroutines.
type File struct {
	r        io.ReaderAt
	closer   io.Closer // nil when the reader is the caller's
	path     string    // what errors call it
	data     int64     // offset of the data section
	size     int64     // bytes of the data section
	names    []string  // in the order of the header
	infos    map[string]Info
	metadata map[string]string
	checksum string // of the data section, "" when the file has none
}

// Open opens the file at path and checks its header.
func Open(path string) (*File, error) {
	osf, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	st, err := osf.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		osf.Close()
		return nil, fmt.Errorf("checkpoint: %s: %w", path, err)
	}
	f, err := newFile(osf, st.Size(), path)
	if err != nil {
		osf.Close()
		return nil, err
	}
	f.closer = osf
	return f, nil
}

// NewReader checks the header of the size bytes behind r, which stays the
// caller's to close.
func NewReader(r io.ReaderAt, size int64) (*File, error) {
	return newFile(r, size, "safetensors data")
}

// Close closes the file that [Open] opened.
func (f *File) Close() error {
	if f.closer == nil {
		return nil
	}
	return f.closer.Close()
}

// Path returns the path that was opened.
func (f *File) Path() string { return f.path }

// Names returns the tensors' names in the order of the header.
func (f *File) Names() []string { return slices.Clone(f.names) }

// Metadata returns the file's metadata, without the checksum that [Write] adds.
func (f *File) Metadata() map[string]string { return maps.Clone(f.metadata) }

// Info returns the type and shape of the tensor called name, and whether there is one.
func (f *File) Info(name string) (Info, bool) {
	i, ok := f.infos[name]
	i.Shape = slices.Clone(i.Shape)
	return i, ok
}

// Float64s returns a floating-point tensor's values and shape; every type converts exactly.
func (f *File) Float64s(name string) ([]float64, []int, error) { return floats[float64](f, name) }

// Float32s returns a floating-point tensor's values and shape; F64 is rounded to nearest.
func (f *File) Float32s(name string) ([]float32, []int, error) { return floats[float32](f, name) }

// Ints returns the values and shape of a tensor of type I64, I32, U32 or U8.
func (f *File) Ints(name string) ([]int64, []int, error) {
	var decode func(b []byte) int64
	info, err := f.find(name)
	if err != nil {
		return nil, nil, err
	}
	switch info.DType {
	case I64:
		decode = func(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) }
	case I32:
		decode = func(b []byte) int64 { return int64(int32(binary.LittleEndian.Uint32(b))) }
	case U32:
		decode = func(b []byte) int64 { return int64(binary.LittleEndian.Uint32(b)) }
	case U8:
		decode = func(b []byte) int64 { return int64(b[0]) }
	default:
		return nil, nil, fmt.Errorf("checkpoint: %s: tensor %q is %s, want integers (I64, I32, U32 or U8)", f.path, name, info.DType)
	}
	return values(f, name, info, decode)
}

// Checksum identifies the data: that which [Write] stored, empty in files of other programs.
func (f *File) Checksum() string { return f.checksum }

// Verify reads the whole data section and compares it with the checksum that
// [Write] stored. Files of other programs have none and pass.
func (f *File) Verify() error {
	if f.checksum == "" {
		return nil
	}
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	if _, err := io.Copy(h, io.NewSectionReader(f.r, f.data, f.size)); err != nil {
		return fmt.Errorf("checkpoint: %s: %w", f.path, err)
	}
	if got := fmt.Sprintf("%08x", h.Sum32()); got != f.checksum {
		return fmt.Errorf("checkpoint: %s: %w", f.path, damaged("checksum of the data is %s, the header says %s", got, f.checksum))
	}
	return nil
}

// Latest opens path, verified to its last byte, or the file kept before it when
// that one is missing or damaged; note then says so in a sentence for the user and
// is empty otherwise. [File.Path] tells which one it is. Where neither exists the
// error wraps [fs.ErrNotExist]. A file that may not be read is an error, not a
// reason to go back to an older one.
func Latest(path string) (f *File, note string, err error) {
	f, err = OpenVerified(path)
	if err == nil || errors.Is(err, fs.ErrPermission) {
		return f, "", err
	}
	f, errPrevious := OpenVerified(path + PreviousSuffix)
	switch {
	case errPrevious == nil:
		return f, fmt.Sprintf("%v; using the one before it, %s", err, f.path), nil
	case errors.Is(errPrevious, fs.ErrNotExist):
		return nil, "", err
	}
	return nil, "", fmt.Errorf("%w; and the one before it: %w", err, errPrevious)
}

// OpenVerified opens path and holds it to its checksum, to the last byte.
func OpenVerified(path string) (*File, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	if err := f.Verify(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (f *File) find(name string) (Info, error) {
	info, ok := f.infos[name]
	if !ok {
		return Info{}, fmt.Errorf("checkpoint: %s has no tensor %q", f.path, name)
	}
	return info, nil
}

func floats[T float32 | float64](f *File, name string) ([]T, []int, error) {
	info, err := f.find(name)
	if err != nil {
		return nil, nil, err
	}
	var decode func(b []byte) T
	switch info.DType {
	case F64:
		decode = func(b []byte) T { return T(math.Float64frombits(binary.LittleEndian.Uint64(b))) }
	case F32:
		decode = func(b []byte) T { return T(math.Float32frombits(binary.LittleEndian.Uint32(b))) }
	case F16:
		decode = func(b []byte) T { return T(float16(binary.LittleEndian.Uint16(b))) }
	case BF16:
		decode = func(b []byte) T {
			return T(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16))
		}
	default:
		return nil, nil, fmt.Errorf("checkpoint: %s: tensor %q is %s, want floating point (F64, F32, F16 or BF16)", f.path, name, info.DType)
	}
	return values(f, name, info, decode)
}

// values reads a tensor through a buffer of fixed size.
func values[T any](f *File, name string, info Info, decode func([]byte) T) ([]T, []int, error) {
	size := int(sizes[info.DType])
	out := make([]T, (info.end-info.begin)/int64(size))
	buf := make([]byte, min(chunkBytes, len(out)*size))
	for i, at := 0, f.data+info.begin; i < len(out); {
		n := min(len(buf)/size, len(out)-i)
		b := buf[:n*size]
		if k, err := f.r.ReadAt(b, at); k < len(b) { // a full read may come with io.EOF
			return nil, nil, fmt.Errorf("checkpoint: %s: tensor %q: %w", f.path, name, err)
		}
		for j := range n {
			out[i+j] = decode(b[j*size:])
		}
		i, at = i+n, at+int64(len(b))
	}
	return out, slices.Clone(info.Shape), nil
}

// float16 converts an IEEE 754 binary16 value, subnormals and NaN payloads included.
func float16(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, uint32(h>>10)&31, uint32(h)&1023
	switch exp {
	case 0: // zero or subnormal: frac · 2⁻²⁴ is exact in float32
		return math.Float32frombits(sign | math.Float32bits(float32(frac)*0x1p-24))
	case 31:
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
}

// newFile reads and checks the header.
func newFile(r io.ReaderAt, size int64, path string) (*File, error) {
	f := &File{r: r, path: path, infos: map[string]Info{}, metadata: map[string]string{}}
	if err := f.readHeader(size); err != nil {
		return nil, fmt.Errorf("checkpoint: %s: %w", path, err)
	}
	return f, nil
}

func (f *File) readHeader(size int64) error {
	var length [8]byte
	if size < int64(len(length)) {
		return damaged("%d bytes are too few for a header", size)
	}
	if k, err := f.r.ReadAt(length[:], 0); k < len(length) {
		return err
	}
	n := binary.LittleEndian.Uint64(length[:])
	switch {
	case n > headerCap:
		return damaged("a header of %d bytes is over the limit of %d", n, headerCap)
	case int64(n) > size-8:
		return damaged("the header should have %d bytes, the file has %d after its start", n, size-8)
	}
	f.data, f.size = 8+int64(n), size-8-int64(n)

	p := parser{json.NewDecoder(bufio.NewReader(io.NewSectionReader(f.r, 8, int64(n))))}
	p.d.UseNumber()
	err := p.object(func(key string) error {
		if key == metadataKey {
			return p.object(func(key string) error {
				s, err := p.string()
				f.metadata[key] = s
				return err
			})
		}
		info, err := p.info()
		if err != nil {
			return fmt.Errorf("tensor %q: %w", key, err)
		}
		f.names = append(f.names, key)
		f.infos[key] = info
		return nil
	})
	if err == nil {
		if _, tail := p.d.Token(); tail != io.EOF {
			err = errors.New("text after the closing brace")
		}
	}
	if err != nil {
		return damaged("header: %v", err)
	}
	f.checksum = f.metadata[checksumKey]
	delete(f.metadata, checksumKey)
	return f.checkLayout()
}

// checkLayout requires the tensors to fill the data section without overlap or hole.
func (f *File) checkLayout() error {
	order := slices.Clone(f.names)
	sort.SliceStable(order, func(a, b int) bool {
		x, y := f.infos[order[a]], f.infos[order[b]]
		return x.begin < y.begin || x.begin == y.begin && x.end < y.end
	})
	at := int64(0)
	for _, name := range order {
		switch info := f.infos[name]; {
		case info.end > f.size:
			return damaged("tensor %q ends at byte %d of the data, which has %d", name, info.end, f.size)
		case info.begin < at:
			return damaged("tensor %q overlaps the one before it", name)
		case info.begin > at:
			return damaged("no tensor fills the %d bytes before %q", info.begin-at, name)
		default:
			at = info.end
		}
	}
	if at != f.size {
		return damaged("%d bytes after the last tensor", f.size-at)
	}
	return nil
}

// parser walks the header token by token: encoding/json's own decoding would accept
// a key given twice and keys in another case.
type parser struct{ d *json.Decoder }

func (p parser) delim(want json.Delim) error {
	t, err := p.d.Token()
	if err != nil {
		return unexpectedEOF(err)
	}
	if t != want {
		return fmt.Errorf("%v where %v belongs", t, want)
	}
	return nil
}

// object calls value after each key; value consumes what follows it.
func (p parser) object(value func(key string) error) error {
	if err := p.delim('{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for p.d.More() {
		key, err := p.string()
		if err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("%q is given twice", key)
		}
		seen[key] = true
		if err := value(key); err != nil {
			return err
		}
	}
	return p.delim('}')
}

func (p parser) string() (string, error) {
	t, err := p.d.Token()
	if err != nil {
		return "", unexpectedEOF(err)
	}
	s, ok := t.(string)
	if !ok {
		return "", fmt.Errorf("%v where a string belongs", t)
	}
	return s, nil
}

// ints reads an array of at most limit integers that are not negative.
func (p parser) ints(limit int) ([]int64, error) {
	if err := p.delim('['); err != nil {
		return nil, err
	}
	var out []int64
	for p.d.More() {
		t, err := p.d.Token()
		if err != nil {
			return nil, unexpectedEOF(err)
		}
		n, ok := t.(json.Number)
		if !ok {
			return nil, fmt.Errorf("%v where an integer belongs", t)
		}
		v, err := strconv.ParseInt(n.String(), 10, 64)
		if err != nil || v < 0 {
			return nil, fmt.Errorf("%s where an integer from 0 to 2⁶³−1 belongs", n)
		}
		if len(out) == limit {
			return nil, fmt.Errorf("more than %d integers in an array", limit)
		}
		out = append(out, v)
	}
	return out, p.delim(']')
}

func (p parser) info() (Info, error) {
	var (
		dtype         string
		shape, offset []int64
		keys          int
	)
	err := p.object(func(key string) (err error) {
		keys++
		switch key {
		case "dtype":
			dtype, err = p.string()
		case "shape":
			shape, err = p.ints(axesCap)
		case "data_offsets":
			offset, err = p.ints(2)
		default:
			err = fmt.Errorf("unknown key %q", key)
		}
		return err
	})
	switch {
	case err != nil:
		return Info{}, err
	case keys != 3:
		return Info{}, errors.New("dtype, shape or data_offsets is missing")
	case len(offset) != 2 || offset[0] > offset[1]:
		return Info{}, fmt.Errorf("data_offsets %v are not a range", offset)
	}
	info := Info{DType: DType(dtype), Shape: make([]int, len(shape)), begin: offset[0], end: offset[1]}
	for i, s := range shape {
		if info.Shape[i] = int(s); int64(info.Shape[i]) != s {
			return Info{}, fmt.Errorf("shape %v is too large for this machine", shape)
		}
	}
	size, ok := sizes[info.DType]
	if !ok {
		return Info{}, fmt.Errorf("unknown dtype %q", dtype)
	}
	n, ok := count(info.Shape)
	if !ok || n > math.MaxInt64/size || n*size != info.end-info.begin {
		return Info{}, fmt.Errorf("shape %v of %s does not fit its %d bytes", shape, dtype, info.end-info.begin)
	}
	return info, nil
}

func unexpectedEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
