// Package atomicfile writes files that are whole or not there.
package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Write lets write fill path.tmp, flushes it to the disk and renames it to path: at every
// instant, a crash included, path holds what it held before or all of the new contents. An
// error up to the renaming leaves path as it was and no temporary file. There may be one
// writer of a path at a time. What is no ordinary file, such as a device or a pipe, is not
// replaced: that is an error.
func Write(path string, write func(io.Writer) error) error {
	if f, err := os.Stat(path); err == nil && !f.Mode().IsRegular() {
		return fmt.Errorf("%s is no ordinary file: choose another name", path)
	}
	tmp := path + ".tmp"
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 64<<10)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
		return err
	}
	return SyncFolder(filepath.Dir(path))
}

// WriteBytes is [Write] of content.
func WriteBytes(path string, content []byte) error {
	return Write(path, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}
