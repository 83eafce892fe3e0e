package numpy

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

// Archive is an open .npz file: named arrays of which nothing but headers has been read.
type Archive struct {
	files map[string]*zip.File
	names []string
	r     io.ReaderAt
	limit int64
}

// OpenArchive reads the directory of an .npz file of size bytes. No array may
// be larger than limit bytes.
func OpenArchive(r io.ReaderAt, size, limit int64) (*Archive, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("numpy: not an .npz archive: %w", err)
	}
	a := &Archive{files: map[string]*zip.File{}, r: r, limit: limit}
	for _, f := range z.File {
		name, ok := strings.CutSuffix(f.Name, ".npy")
		if !ok {
			continue
		}
		if a.files[name] != nil {
			return nil, fmt.Errorf("numpy: the archive holds %.60q twice", f.Name)
		}
		a.files[name] = f
		a.names = append(a.names, name)
	}
	if len(a.names) == 0 {
		return nil, fmt.Errorf("numpy: a zip archive without .npy arrays (%d other entries)", len(z.File))
	}
	return a, nil
}

// Names returns the arrays in the order of the archive.
func (a *Archive) Names() []string { return a.names }

// Header returns the header of a named array, checked against what its entry can hold.
func (a *Archive) Header(name string) (Header, error) {
	h, _, err := a.header(name)
	return h, err
}

func (a *Archive) header(name string) (Header, int64, error) {
	f := a.files[name]
	if f == nil {
		return Header{}, 0, fmt.Errorf("numpy: the archive has no array %q", name)
	}
	r, err := f.Open()
	if err != nil {
		return Header{}, 0, fmt.Errorf("numpy: %s: %w", name, err)
	}
	defer r.Close()
	h, used, err := ReadHeader(r)
	if err != nil {
		return h, used, fmt.Errorf("%s: %w", name, err)
	}
	need, most := h.Bytes()+used, f.UncompressedSize64
	if f.Method == zip.Store {
		most = min(most, f.CompressedSize64)
	} else {
		most = min(most, f.CompressedSize64*maxInflation+maxInflation)
	}
	switch {
	case uint64(need) > most:
		return h, used, fmt.Errorf("numpy: %s: shape %v of %s needs %d bytes, its entry holds at most %d", name, h.Shape, h.Type, need, most)
	case h.Bytes() > a.limit:
		return h, used, fmt.Errorf("numpy: %s: shape %v of %s needs %d bytes, above the limit of %d", name, h.Shape, h.Type, h.Bytes(), a.limit)
	}
	return h, used, nil
}

// Read reads a whole named array in row-major order, appending to dst.
func (a *Archive) Read(name string, dst []float32) (Header, []float32, error) {
	if h, err := a.Header(name); err != nil {
		return h, dst, err
	}
	r, err := a.files[name].Open()
	if err != nil {
		return Header{}, dst, fmt.Errorf("numpy: %s: %w", name, err)
	}
	defer r.Close()
	h, dst, err := Read(r, dst, -1, a.limit)
	if err != nil {
		return h, dst, fmt.Errorf("%s: %w", name, err)
	}
	return h, dst, drained(r, name)
}

// drained reads to the end of an entry, where the zip reader compares checksums.
func drained(r io.Reader, name string) error {
	n, err := io.Copy(io.Discard, io.LimitReader(r, 1))
	if err != nil {
		return fmt.Errorf("numpy: %s: %w", name, err)
	}
	if n > 0 {
		return fmt.Errorf("numpy: %s: more bytes than its shape needs", name)
	}
	return nil
}

// Rows gives the samples along the first axis of a named array, one at a time
// and in any order. An entry that is stored is read where it lies. A compressed
// one is inflated at the first Read: into memory (in its own type) when it
// takes at most memory bytes, else into a temporary file.
func (a *Archive) Rows(name string, memory int64) (*Rows, error) {
	h, used, err := a.header(name)
	if err != nil {
		return nil, err
	}
	rows, err := newRows(h, name)
	if err != nil {
		return nil, err
	}
	f := a.files[name]
	if f.Method == zip.Store {
		at, err := f.DataOffset()
		if err != nil {
			return nil, fmt.Errorf("numpy: %s: %w", name, err)
		}
		rows.open = sync.OnceValues(func() (io.ReaderAt, error) {
			return io.NewSectionReader(a.r, at+used, h.Bytes()), nil
		})
		return rows, nil
	}
	rows.open = sync.OnceValues(func() (io.ReaderAt, error) {
		r, err := f.Open()
		if err != nil {
			return nil, fmt.Errorf("numpy: %s: %w", name, err)
		}
		defer r.Close()
		if _, err := io.CopyN(io.Discard, r, used); err != nil {
			return nil, fmt.Errorf("numpy: %s: %w", name, err)
		}
		if h.Bytes() <= memory {
			raw, err := collect(r, h.Bytes())
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			return bytes.NewReader(raw), drained(r, name)
		}
		return spill(r, h.Bytes(), name)
	})
	return rows, nil
}

// spill inflates n bytes into a temporary file that vanishes with the process.
func spill(r io.Reader, n int64, name string) (io.ReaderAt, error) {
	t, err := os.CreateTemp("", "wgjepa-*.raw")
	if err != nil {
		return nil, fmt.Errorf("numpy: %s takes %d bytes inflated, more than the memory allowed, and there is no place for a temporary file: %w", name, n, err)
	}
	os.Remove(t.Name()) // the open file stays readable; nothing is left behind on any exit
	if _, err := io.CopyN(t, r, n); err != nil {
		t.Close()
		return nil, fmt.Errorf("numpy: %s: inflating %d bytes to a temporary file: %w", name, n, noEOF(err))
	}
	if err := drained(r, name); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// Rows reads samples of an array; safe for concurrent use.
type Rows struct {
	Header
	name string
	row  int64 // bytes a sample
	open func() (io.ReaderAt, error)
	raw  sync.Pool
}

// Read appends sample i, row-major, to dst.
func (r *Rows) Read(i int, dst []float32) ([]float32, error) {
	if i < 0 || i >= r.Shape[0] {
		panic(fmt.Sprintf("numpy: Rows: sample %d of %d", i, r.Shape[0]))
	}
	at, err := r.open()
	if err != nil {
		return dst, err
	}
	raw, _ := r.raw.Get().(*[]byte)
	if raw == nil {
		b := make([]byte, r.row)
		raw = &b
	}
	defer r.raw.Put(raw)
	if n, err := at.ReadAt(*raw, int64(i)*r.row); int64(n) < r.row {
		return dst, fmt.Errorf("numpy: %s: sample %d: %w", r.name, i, noEOF(err))
	}
	return r.Decode(dst, *raw), nil
}

// OpenRows gives the samples along the first axis of an .npy file of size bytes, read
// where they lie.
func OpenRows(r io.ReaderAt, size int64) (*Rows, error) {
	h, used, err := ReadHeader(io.NewSectionReader(r, 0, size))
	if err != nil {
		return nil, err
	}
	if h.Bytes() > size-used {
		return nil, fmt.Errorf("numpy: shape %v of %s needs %d bytes, the file has %d", h.Shape, h.Type, h.Bytes(), size-used)
	}
	rows, err := newRows(h, "array")
	if err != nil {
		return nil, err
	}
	rows.open = func() (io.ReaderAt, error) { return io.NewSectionReader(r, used, h.Bytes()), nil }
	return rows, nil
}

// newRows checks that an array can be read sample by sample.
func newRows(h Header, name string) (*Rows, error) {
	if len(h.Shape) == 0 {
		return nil, fmt.Errorf("numpy: %s is a single number", name)
	}
	if h.Fortran && len(h.Shape) > 1 {
		return nil, fmt.Errorf("numpy: %s is in Fortran order; save np.ascontiguousarray of it", name)
	}
	rows := &Rows{Header: h, name: name, row: int64(h.size)}
	for _, s := range h.Shape[1:] {
		rows.row *= int64(s)
	}
	return rows, nil
}
