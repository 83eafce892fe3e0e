//go:build !unix

package atomicfile

// SyncFolder does nothing where folders cannot be flushed.
func SyncFolder(string) error { return nil }
