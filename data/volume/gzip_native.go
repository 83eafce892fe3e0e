//go:build !js

package volume

import "github.com/klauspost/compress/gzip"

// gzipReader inflates faster than the standard library's.
type gzipReader = gzip.Reader

// gzipInMemory says that compressed files are taken into memory before they are inflated, which is
// faster here.
const gzipInMemory = true
