//go:build !js

package volume

// gzipInMemory says that compressed files are taken into memory before they are inflated,
// which is faster.
const gzipInMemory = true
