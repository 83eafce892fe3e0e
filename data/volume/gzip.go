package volume

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"sync"
)

// gzipReaders and inflaters are kept between files: they hold windows and tables.
var (
	gzipReaders = sync.Pool{New: func() any { return new(gzip.Reader) }}
	inflaters   = sync.Pool{New: func() any { return new(inflater) }}
)

// inflated returns r, through gzip where its content is gzip; done is called when it has
// been read.
func inflated(r io.Reader, head []byte) (in io.Reader, done func(), err error) {
	if !isGzip(head) {
		return r, func() {}, nil
	}
	z := gzipReaders.Get().(*gzip.Reader)
	if err := z.Reset(r); err != nil {
		return nil, nil, fmt.Errorf("damaged gzip data: %w", err)
	}
	return z, func() { gzipReaders.Put(z) }, nil
}

// afterwards is how much may follow the numbers of a file before its end is no longer
// looked for.
const afterwards = 1 << 20

// whole inflates a gzip file in memory, where that is possible, and returns its numbers,
// valid until done is called. Otherwise raw is nil, and rest holds all that r held.
func (b *block) whole(r *bufio.Reader) (raw []byte, rest *bufio.Reader, done func(), err error) {
	head, _ := r.Peek(2)
	if !gzipInMemory || b.after < 0 || b.encoding != "" && b.encoding != "gzip" || !isGzip(head) {
		return nil, r, nil, nil
	}
	need := b.after + b.grid.bytes()
	packed := rawPool.Get().(*bytes.Buffer)
	packed.Reset()
	switch _, err := io.CopyN(packed, r, need+1<<16); err {
	case nil: // it is larger than what is wanted of it
		return nil, bufio.NewReaderSize(io.MultiReader(packed, r), 1<<16), nil, nil
	case io.EOF:
	default:
		return nil, nil, nil, err
	}
	defer rawPool.Put(packed)
	packed.Grow(padding)
	z := inflaters.Get().(*inflater)
	done = func() { inflaters.Put(z) }
	most := need
	if b.follow == 0 { // read on: the checksum is at the end
		most += afterwards
	}
	_, err = z.gzip(packed.Bytes(), int(most))
	switch got := int64(z.o); {
	case err != nil && got < need:
		err = fmt.Errorf("pixels end after %d of %d bytes: %w", max(got-b.after, 0), b.grid.bytes(), noEOF(err))
	case err != nil && b.follow == 0:
		err = fmt.Errorf("damaged compressed data: %w", err)
	case got < need:
		err = fmt.Errorf("pixels end after %d of %d bytes: %w", max(got-b.after, 0), b.grid.bytes(), io.ErrUnexpectedEOF)
	default:
		return z.out[b.after:need], nil, done, nil
	}
	done()
	return nil, nil, nil, err
}
