//go:build !js

package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFiles: see testdata/files.js, which says what failed.
func TestFiles(t *testing.T) {
	t.Parallel()
	stdout, stderr, err := run(t, []string{"--allow-read"}, "testdata/files.js")
	require.NoError(t, err, stdout+stderr)
	require.Contains(t, stdout, "all of the files")
}
