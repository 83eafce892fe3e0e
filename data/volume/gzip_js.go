package volume

// gzipInMemory: the memory of a page is too dear for compressed files.
const gzipInMemory = false
