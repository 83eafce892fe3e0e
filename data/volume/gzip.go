package volume

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"sync"
)

// gzipReaders are kept between files: each holds a window and tables.
var gzipReaders = sync.Pool{New: func() any { return new(gzipReader) }}

// inflated returns r, through gzip where its content is gzip; done is called when it has
// been read.
func inflated(r *bufio.Reader) (in io.Reader, done func(), err error) {
	if head, _ := r.Peek(2); !isGzip(head) {
		return r, func() {}, nil
	}
	return gunzip(r)
}

func gunzip(r io.Reader) (in io.Reader, done func(), err error) {
	z := gzipReaders.Get().(*gzipReader)
	if err := z.Reset(r); err != nil {
		return nil, nil, fmt.Errorf("damaged gzip data: %w", err)
	}
	return z, func() { gzipReaders.Put(z) }, nil
}

// inflatedWhole is inflated for a reader that is going to be read to its end: up to most
// bytes are taken into memory first, where they inflate faster.
func inflatedWhole(r *bufio.Reader, most int64) (in io.Reader, done func(), err error) {
	if head, _ := r.Peek(2); !gzipInMemory || !isGzip(head) {
		return inflated(r)
	}
	packed := rawPool.Get().(*bytes.Buffer)
	packed.Reset()
	_, err = io.CopyN(packed, r, most)
	release := func() {}
	switch err {
	case io.EOF:
		in, release, err = gunzip(bytes.NewReader(packed.Bytes()))
	case nil: // there is more
		in, release, err = gunzip(bufio.NewReaderSize(io.MultiReader(bytes.NewReader(packed.Bytes()), r), 1<<16))
	}
	if err != nil {
		rawPool.Put(packed)
		return nil, nil, err
	}
	return in, func() { release(); rawPool.Put(packed) }, nil
}
