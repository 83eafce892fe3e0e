package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLock: one at a time; what a process left that was killed keeps nobody off.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".lock")
	require.NoError(t, os.WriteFile(path, nil, 0o644))
	unlock, err := lock(path, "runs/a")
	require.NoError(t, err)
	_, err = lock(path, "runs/a")
	assert.EqualError(t, err, "another process is at work on runs/a: wait for it, or choose another name")
	unlock()
	assert.NoFileExists(t, path)
	unlock, err = lock(path, "runs/a")
	require.NoError(t, err)
	unlock()

	// A folder that is not there, or not to be written, is for who writes to it to tell.
	unlock, err = lock(filepath.Join(path, "missing", ".lock"), "runs/a")
	require.NoError(t, err)
	unlock()
}
