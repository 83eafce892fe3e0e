package main

import (
	"fmt"
	"os"

	"github.com/gofrs/flock"
)

// lock keeps other processes off what, until unlock or the end of this one, by the file
// path. Where the file system or the system knows no locks, nothing is kept off.
func lock(path, what string) (unlock func(), err error) {
	for {
		l := flock.New(path)
		ok, err := l.TryLock()
		switch {
		case err != nil:
			return func() {}, nil
		case !ok:
			return nil, fmt.Errorf("another process is at work on %s: wait for it, or choose another name", what)
		}
		unlock = func() {
			os.Remove(path)
			l.Close()
		}
		// Who had it may just have removed the file, which others make anew.
		held, heldErr := l.Stat()
		now, nowErr := os.Stat(path)
		if heldErr != nil || nowErr == nil && os.SameFile(held, now) {
			return unlock, nil
		}
		l.Close()
	}
}
