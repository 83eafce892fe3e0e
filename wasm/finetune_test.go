//go:build !js

package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFinetune drives the command finetune: see testdata/finetune.js, which says
// what failed.
func TestFinetune(t *testing.T) {
	t.Parallel()
	gpuLane(t)
	build(t)
	stdout, stderr, err := run(t, []string{"--allow-read"}, "testdata/finetune.js")
	require.NoError(t, err, stdout+stderr)
	require.Contains(t, stdout, "finetuned")
}
