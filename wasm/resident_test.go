//go:build !js

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/internal/testdata"
)

// TestResident: batches made on the device give a run that is a function of its
// seed, and whose losses are those of one whose batches come from the processor.
func TestResident(t *testing.T) {
	t.Parallel()
	gpuLane(t)
	dir := t.TempDir()
	train := func(name, resident string) (losses [2]float64, weights []byte) { // of the first and the last step

		out := filepath.Join(dir, name)
		events, err := edge(t, dir, "train", "phantoms", "--out", out, "--max-steps", "3", "--set", "data.resident="+resident, "--normalize", "robust",
			"--set", "data.phantoms.count=24", "--set", "data.phantoms.size=16", "--set", "encoder.patch_size=[4]", "--set", "encoder.embed_dim=24", "--set", "encoder.depth=1",
			"--set", "encoder.num_heads=2", "--set", "predictor_embed_dim=24", "--set", "predictor_depth=1", "--set", "min_keep=1", "--set", "batch_size=4",
			"--set", "data.flip=[0.5, 0.5, 0.5]", "--set", "data.crop_scale=[0.5, 1.0]", "--set", "data.rotate=0.5", "--set", "data.blur=[0.2, 1.0]",
			"--set", "data.noise=[0.01, 0.2]", "--set", "data.erase=[0.02, 0.2]", "--set", "data.augment_chance=0.7")
		require.NoError(t, err)
		for _, e := range events {
			if e["event"] == "step" {
				switch e["step"] {
				case 1.0:
					losses[0] = e["loss"].(float64)
				case 3.0:
					losses[1] = e["loss"].(float64)
				}
			}
		}
		require.NotContains(t, losses, 0.0)
		weights, err = os.ReadFile(filepath.Join(out, "weights.safetensors"))
		require.NoError(t, err)
		return losses, weights
	}
	losses, on := train("on", "on")
	again, same := train("again", "on")
	require.Equal(t, losses, again)
	require.Equal(t, on, same)
	loaded, off := train("off", "off")
	require.NotEqual(t, on, off, "the configuration is in the file")
	require.InDeltaSlice(t, loaded[:], losses[:], 1e-5)
}

// TestResidentBatches: every augmentation and normalisation on Deno's adapter and
// on the twins, as wasm, gives the batches of the processor.
func TestResidentBatches(t *testing.T) {
	t.Parallel()
	gpuLane(t)
	build(t)
	data, err := filepath.Abs(testdata.Data.Find(t, ""))
	require.NoError(t, err)
	t.Logf("real samples of %s", data)
	cmd := command(t, []string{"-A"}, "exec.ts", testBinary(t, "../internal/resident"), "-test.run", "TestBatchesAreTheLoaders", "-test.v", "-test.short")
	cmd.Env = append(cmd.Env, "JEPA_TEST_DATA="+data)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.NotContains(t, string(out), "no adapter")
	require.Contains(t, string(out), "--- PASS: TestBatchesAreTheLoaders")
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "half of them within") {
			t.Log(strings.TrimSpace(line))
		}
	}
}
