package weights

import (
	"archive/zip"
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"slices"
	"strings"
)

// storageType says how a storage's numbers are stored.
type storageType struct {
	size   int64 // bytes each
	decode func([]byte) float32
}

// storageTypes are torch's; those without decode are no floating-point numbers.
var storageTypes = map[string]storageType{
	"FloatStorage":    {4, func(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) }},
	"DoubleStorage":   {8, func(b []byte) float32 { return float32(math.Float64frombits(binary.LittleEndian.Uint64(b))) }},
	"HalfStorage":     {2, func(b []byte) float32 { return half(binary.LittleEndian.Uint16(b)) }},
	"BFloat16Storage": {2, func(b []byte) float32 { return math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16) }},
	"LongStorage":     {8, nil},
	"IntStorage":      {4, nil},
	"ShortStorage":    {2, nil},
	"CharStorage":     {1, nil},
	"ByteStorage":     {1, nil},
	"BoolStorage":     {1, nil},
}

// dtypes are the names of torch's element types that checkpoints mention.
var dtypes = map[string]bool{"float32": true, "float64": true, "float16": true, "bfloat16": true, "int64": true, "int32": true, "int16": true, "int8": true, "uint8": true, "bool": true}

// half converts an IEEE 754 binary16 number.
func half(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, uint32(h>>10)&31, uint32(h)&1023
	switch exp {
	case 0: // zero or subnormal: frac · 2⁻²⁴ is exact
		return math.Float32frombits(sign | math.Float32bits(float32(frac)*0x1p-24))
	case 31:
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
}

// extent is a place in the file.
type extent struct{ offset, size int64 }

// torchFile is a file of torch.save: its pickle, and where its storages lie.
type torchFile struct {
	r        io.ReaderAt
	root     any
	storages map[string]extent
}

// openZip reads the format of PyTorch from 1.6 on: a zip archive of data.pkl
// and one entry a storage, none compressed.
func openZip(r io.ReaderAt, size int64) (*torchFile, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("it starts as a zip archive but cannot be read as one, it may be truncated: %w", err)
	}
	t := &torchFile{r: r, storages: map[string]extent{}}
	var pickle *extent
	prefix := ""
	place := func(f *zip.File) (*extent, error) {
		at, err := f.DataOffset()
		if err != nil {
			return nil, fmt.Errorf("entry %q: %w", f.Name, err)
		}
		n := int64(f.UncompressedSize64)
		if f.Method != zip.Store {
			return nil, fmt.Errorf("entry %q is compressed, which torch.save never does: load and save the file again with torch", f.Name)
		}
		if n < 0 || at > size || n > size-at {
			return nil, fmt.Errorf("entry %q should have %d bytes, which the file does not hold", f.Name, f.UncompressedSize64)
		}
		return &extent{at, n}, nil
	}
	for _, f := range z.File {
		if p, ok := strings.CutSuffix(f.Name, "data.pkl"); ok && (p == "" || strings.HasSuffix(p, "/")) {
			if pickle, err = place(f); err != nil {
				return nil, err
			}
			prefix = p
			break
		}
	}
	if pickle == nil {
		return nil, errors.New("it is a zip archive without data.pkl: not a file of torch.save")
	}
	for _, f := range z.File {
		switch name, ok := strings.CutPrefix(f.Name, prefix); {
		case !ok:
		case name == "constants.pkl":
			return nil, errors.New("it is a TorchScript program, not weights: save the model's state_dict() with torch.save")
		case name == "byteorder":
			e, err := place(f)
			if err != nil {
				return nil, err
			}
			b := make([]byte, min(e.size, 16))
			if _, err := r.ReadAt(b, e.offset); err != nil && err != io.EOF {
				return nil, err
			}
			if string(b) != "little" {
				return nil, fmt.Errorf("its numbers are in %q byte order: load and save it on a little-endian machine", b)
			}
		case strings.HasPrefix(name, "data/"):
			e, err := place(f)
			if err != nil {
				return nil, err
			}
			t.storages[strings.TrimPrefix(name, "data/")] = *e
		}
	}
	budget := pickleBudget
	t.root, _, err = unpickle(bufio.NewReader(io.NewSectionReader(r, pickle.offset, pickle.size)), &budget)
	return t, err
}

// legacyMagic is the first value of the format of PyTorch before 1.6.
const legacyMagic = long("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")

// counter counts what passes through it.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// openLegacy reads the format of PyTorch before 1.6: five pickles in a row
// (magic number, protocol, machine, content, keys of the storages), then each
// storage after its count.
func openLegacy(r io.ReaderAt, size int64) (*torchFile, error) {
	c := &counter{r: io.NewSectionReader(r, 0, size)}
	b := bufio.NewReader(c)
	budget := pickleBudget
	magic, _, err := unpickle(b, &budget)
	if err != nil {
		return nil, err
	}
	if magic != any(legacyMagic) {
		return nil, errors.New("it is a Python pickle but not a file of torch.save")
	}
	var parts [4]any
	var refers [4]map[string]storage
	for i := range parts {
		if parts[i], refers[i], err = unpickle(b, &budget); err != nil {
			return nil, err
		}
	}
	if d, ok := parts[1].(*dict); ok {
		for i, k := range d.keys {
			if k == any("little_endian") && d.values[i] != any(true) {
				return nil, errors.New("its numbers are big-endian: load and save it on a little-endian machine")
			}
		}
	}
	t := &torchFile{r: r, root: parts[2], storages: map[string]extent{}}
	keys, ok := parts[3].(*list)
	if !ok {
		return nil, errors.New("the list of its storages is missing")
	}
	at := c.n - int64(b.Buffered())
	for _, k := range keys.items {
		key, ok := k.(string)
		s, known := refers[2][key]
		if !ok || !known {
			return nil, errors.New("it lists numbers that nothing refers to by a name: save the model's state_dict() alone")
		}
		var head [8]byte
		if n, err := r.ReadAt(head[:], at); n < len(head) {
			return nil, fmt.Errorf("it ends before its numbers do: %w", err)
		}
		if n := int64(binary.LittleEndian.Uint64(head[:])); n != s.count {
			return nil, fmt.Errorf("storage %s should have %d numbers, the file says %d", key, s.count, n)
		}
		at += int64(len(head))
		width := storageTypes[s.kind].size
		if s.count > (size-at)/width {
			return nil, fmt.Errorf("storage %s should have %d numbers, which the file does not hold: it is truncated", key, s.count)
		}
		t.storages[key] = extent{at, s.count * width}
		at += s.count * width
	}
	return t, nil
}

// Caps of a walk through nested dictionaries; shared ones count each time.
const (
	walkDepth = 12
	walkCap   = 1 << 18
)

// walk calls f for every value in nested dictionaries, named by the keys from
// the root, joined by dots.
func walk(root any, f func(name string, v any) error) error {
	visited := 0
	var visit func(prefix string, d *dict, depth int) error
	visit = func(prefix string, d *dict, depth int) error {
		if depth > walkDepth {
			return errors.New("its dictionaries are nested too deeply")
		}
		for i, k := range d.keys {
			if visited++; visited > walkCap {
				return errBudget
			}
			key, ok := k.(string)
			if !ok || len(prefix)+len(key) > 1000 {
				continue // the state of an optimizer is keyed by numbers
			}
			name := key
			if prefix != "" {
				name = prefix + "." + key
			}
			if inner, ok := d.values[i].(*dict); ok {
				if err := visit(name, inner, depth+1); err != nil {
					return err
				}
			} else if err := f(name, d.values[i]); err != nil {
				return err
			}
		}
		return nil
	}
	d, ok := root.(*dict)
	if !ok {
		if _, ok := root.(*opaque); ok {
			return errors.New("it holds a whole Python object, not weights: save the model's state_dict()")
		}
		return errors.New("it holds no dictionary of weights: save the model's state_dict()")
	}
	return visit("", d, 0)
}

// contents lists the tensors and plain values of the file.
func (t *torchFile) contents() (*contents, error) {
	c := &contents{values: map[string]any{}}
	err := walk(t.root, func(name string, v any) error {
		switch v := v.(type) {
		case *array:
			shape := make([]int, len(v.shape))
			for i, n := range v.shape {
				if n > math.MaxInt32 {
					return fmt.Errorf("tensor %s has shape %v", name, v.shape)
				}
				shape[i] = int(n)
			}
			c.add(entry{name, shape, storageTypes[v.storage.kind].decode != nil, func() ([]float32, error) { return t.read(v) }})
		case string, bool, int64, float64:
			c.values[name] = v
		}
		return nil
	})
	return c, err
}

// read gathers a tensor's numbers in row-major order.
func (t *torchFile) read(a *array) ([]float32, error) {
	e, ok := t.storages[a.storage.key]
	if !ok {
		return nil, fmt.Errorf("its numbers (storage %q) are missing from the file", a.storage.key)
	}
	kind := storageTypes[a.storage.kind]
	if kind.decode == nil {
		return nil, fmt.Errorf("it holds %s, not floating-point numbers", a.storage.kind)
	}
	held := e.size / kind.size
	count, last := int64(1), a.offset
	if slices.Contains(a.shape, 0) {
		return []float32{}, nil
	}
	if a.offset >= held {
		return nil, fmt.Errorf("it starts past the %d numbers stored", held)
	}
	for i, n := range a.shape {
		hi, lo := bits.Mul64(uint64(count), uint64(n))
		over, reach := bits.Mul64(uint64(n-1), uint64(a.stride[i]))
		if hi != 0 || over != 0 || lo > uint64(held) || reach > uint64(held) {
			return nil, fmt.Errorf("shape %v needs more than the %d numbers stored", a.shape, held)
		}
		if count, last = int64(lo), last+int64(reach); last >= held {
			return nil, fmt.Errorf("shape %v with strides %v reaches past the %d numbers stored", a.shape, a.stride, held)
		}
	}
	raw := make([]byte, (last-a.offset+1)*kind.size)
	if n, err := t.r.ReadAt(raw, e.offset+a.offset*kind.size); n < len(raw) {
		return nil, err
	}
	out := make([]float32, count)
	index := make([]int64, len(a.shape))
	at := int64(0)
	for i := range out {
		out[i] = kind.decode(raw[at*kind.size:])
		for axis := len(index) - 1; axis >= 0; axis-- { // count up, last axis fastest
			index[axis]++
			at += a.stride[axis]
			if index[axis] < a.shape[axis] {
				break
			}
			at -= index[axis] * a.stride[axis]
			index[axis] = 0
		}
	}
	return out, nil
}
