//go:build !js

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestResident: batches made on the device give a run that is a function of its
// seed, and not far from one whose batches come from the processor.
func TestResident(t *testing.T) {
	t.Parallel()
	gpuLane(t)
	dir := t.TempDir()
	weights := func(name, resident string) []byte {
		out := filepath.Join(dir, name)
		events, err := edge(t, dir, "train", "phantoms", "--out", out, "--max-steps", "2", "--set", "data.resident="+resident,
			"--set", "data.phantoms.count=24", "--set", "data.phantoms.size=16", "--set", "encoder.patch_size=[4]", "--set", "encoder.embed_dim=24", "--set", "encoder.depth=1",
			"--set", "encoder.num_heads=2", "--set", "predictor_embed_dim=24", "--set", "predictor_depth=1", "--set", "min_keep=1", "--set", "batch_size=4", "--set", "data.flip=[0.5, 0.5, 0.5]")
		require.NoError(t, err)
		require.NotEmpty(t, events)
		text, err := os.ReadFile(filepath.Join(out, "weights.safetensors"))
		require.NoError(t, err)
		return text
	}
	on := weights("on", "on")
	require.Equal(t, on, weights("again", "on"))
	require.NotEqual(t, on, weights("off", "off"), "the configuration is in the file")
}
