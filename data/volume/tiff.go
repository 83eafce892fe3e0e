package volume

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"golang.org/x/image/tiff"
)

// A TIFF of one page is a picture; one of several grey pages is a volume
// (rows, columns, pages), as microscopes and scanners store stacks.

// maxPages bounds a stack.
const maxPages = 1 << 14

func isTIFF(head []byte) bool {
	return bytes.HasPrefix(head, []byte("II*\x00")) || bytes.HasPrefix(head, []byte("MM\x00*"))
}

// page is a TIFF file whose header points to one page's directory, so that a decoder of
// the first page reads that one.
type page struct {
	io.ReaderAt
	at     []byte // the header's bytes 4 to 7
	offset int64  // of Read
}

func (p *page) ReadAt(b []byte, at int64) (int, error) {
	n, err := p.ReaderAt.ReadAt(b, at)
	for i := max(at, 4); i < 8 && i-at < int64(n); i++ {
		b[i-at] = p.at[i-4]
	}
	return n, err
}

func (p *page) Read(b []byte) (int, error) {
	n, err := p.ReadAt(b, p.offset)
	p.offset += int64(n)
	return n, err
}

// stack is a TIFF with its pages.
type stack struct {
	fsys   fs.FS
	name   string
	header Header
	pages  [][]byte // pointers to directories, in the file's byte order
}

func (s *stack) Header() Header { return s.header }

// randomly opens a file for reading at any place.
func randomly(fsys fs.FS, name string, most int64) (r io.ReaderAt, size int64, done func(), err error) {
	f, size, err := open(fsys, name)
	if err != nil {
		return nil, 0, nil, err
	}
	if r, ok := f.(io.ReaderAt); ok {
		return r, size, func() { f.Close() }, nil
	}
	defer f.Close()
	if size > most {
		return nil, 0, nil, fmt.Errorf("%d bytes are above the limit of %d", size, most)
	}
	b, err := io.ReadAll(io.LimitReader(f, size))
	return bytes.NewReader(b), size, func() {}, err
}

func openTIFF(fsys fs.FS, name string, opt Options) (Image, error) {
	r, size, done, err := randomly(fsys, name, opt.maxBytes())
	if err != nil {
		return nil, err
	}
	defer done()
	s := &stack{fsys: fsys, name: name}
	order, pages, err := directories(r, size)
	if err != nil {
		return nil, err
	}
	s.pages = pages
	for i, at := range s.pages {
		c, err := tiff.DecodeConfig(&page{ReaderAt: r, at: at})
		if err != nil {
			return nil, pageError(i, err)
		}
		if err := storage(r, order, at); err != nil {
			return nil, pageError(i, err)
		}
		h, memory := pictureHeader("TIFF", c)
		pixels := int64(c.Width) * int64(c.Height)
		switch {
		case pixels > opt.maxBytes()/max(4*int64(h.Channels), memory)/int64(len(s.pages)):
			return nil, fmt.Errorf("%d pages of %d×%d pixels are above the limit of %d bytes", len(s.pages), c.Width, c.Height, opt.maxBytes())
		case pixels/8 > size*maxInflation, pixels*memory > 32<<20 && pixels*memory > size*maxInflation:
			return nil, fmt.Errorf("declares %d×%d pixels, which cannot lie in %d bytes: damaged", c.Width, c.Height, size)
		case i == 0:
			s.header = h
		case h.Channels != s.header.Channels || h.Type != s.header.Type || !slices.Equal(h.Size, s.header.Size):
			return nil, fmt.Errorf("page %d is %v %s with %d channels, page 1 %v %s with %d: its pages are no stack; save the one that is meant", i+1, h.Size, h.Type, h.Channels, s.header.Size, s.header.Type, s.header.Channels)
		}
	}
	if n := len(s.pages); n > 1 {
		if s.header.Channels > 1 {
			return nil, fmt.Errorf("a TIFF of %d colour pages is not read: save it as grey, or one file a page", n)
		}
		s.header.Size, s.header.Spacing = append(s.header.Size, n), ones(3)
	}
	return s, nil
}

// directories follows the chain of pages, and says in which order the file has its bytes.
func directories(r io.ReaderAt, size int64) (binary.ByteOrder, [][]byte, error) {
	head := make([]byte, 8)
	if _, err := r.ReadAt(head, 0); err != nil {
		return nil, nil, fmt.Errorf("damaged TIFF: %w", noEOF(err))
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if head[0] == 'M' {
		order = binary.BigEndian
	}
	var pages [][]byte
	seen := map[uint32]bool{}
	next := head[4:]
	for order.Uint32(next) != 0 {
		at := order.Uint32(next)
		if seen[at] {
			return nil, nil, errors.New("damaged TIFF: its pages go round in a circle")
		}
		if len(pages) == maxPages {
			return nil, nil, fmt.Errorf("a TIFF of more than %d pages", maxPages)
		}
		seen[at] = true
		pages = append(pages, next)
		var n [2]byte
		if _, err := r.ReadAt(n[:], int64(at)); err != nil {
			return nil, nil, fmt.Errorf("TIFF page %d lies outside the file of %d bytes: cut short or damaged", len(pages), size)
		}
		next = make([]byte, 4)
		if _, err := r.ReadAt(next, int64(at)+2+12*int64(order.Uint16(n[:]))); err != nil {
			return nil, nil, fmt.Errorf("TIFF page %d ends outside the file of %d bytes: cut short or damaged", len(pages), size)
		}
	}
	if len(pages) == 0 {
		return nil, nil, errors.New("a TIFF without a page")
	}
	return order, pages, nil
}

// pageError says what is wrong with page i, from 0, and what to do.
func pageError(i int, err error) error {
	var unsupported tiff.UnsupportedError
	if errors.As(err, &unsupported) {
		return fmt.Errorf("TIFF page %d: %s is not read: save it with unsigned 8 or 16 bits, uncompressed, LZW or Deflate", i+1, string(unsupported))
	}
	return fmt.Errorf("damaged TIFF, page %d: %w", i+1, noEOF(err))
}

// storage refuses ways to store a page that the decoder takes for others.
func storage(r io.ReaderAt, order binary.ByteOrder, pointer []byte) error {
	at := int64(order.Uint32(pointer))
	var n [2]byte
	if _, err := r.ReadAt(n[:], at); err != nil {
		return err
	}
	entries := make([]byte, 12*int(order.Uint16(n[:])))
	if _, err := r.ReadAt(entries, at+2); err != nil {
		return err
	}
	values := map[uint16]uint16{} // numbers of 16 bits by tag
	for e := range slices.Chunk(entries, 12) {
		values[order.Uint16(e)] = order.Uint16(e[8:])
	}
	const compression, photometric, samples, planes = 259, 262, 277, 284
	switch c := values[compression]; {
	case values[planes] == 2 && values[samples] > 1:
		return tiff.UnsupportedError("a plane for each colour")
	case c >= 2 && c <= 4 && values[photometric] == 1:
		return tiff.UnsupportedError("fax compression with black as 0")
	}
	return nil
}

func (s *stack) Read(dst []float32) ([]float32, error) {
	r, _, done, err := randomly(s.fsys, s.name, 1<<32)
	if err != nil {
		return dst, err
	}
	defer done()
	at, n, pages := len(dst), s.header.Len(), len(s.pages)
	dst = slices.Grow(dst, n)[:at+n]
	for i, p := range s.pages {
		m, err := tiff.Decode(&page{ReaderAt: r, at: p})
		if err != nil {
			return dst[:at], pageError(i, err)
		}
		one := dst[at:]
		if pages > 1 {
			one = make([]float32, n/pages)
		}
		if err := pixels(one, m, s.header); err != nil {
			return dst[:at], err
		}
		if pages > 1 {
			for k, x := range one {
				dst[at+k*pages+i] = x
			}
		}
	}
	return dst, nil
}
