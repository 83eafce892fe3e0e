package volume

import "compress/gzip"

// gzipReader is the standard library's: a page loads every byte of the program.
type gzipReader = gzip.Reader

// gzipInMemory says that compressed files are taken into memory before they are inflated, for
// which the memory of a page is too dear.
const gzipInMemory = false
