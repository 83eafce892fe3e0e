//go:build !js

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNode trains in Node on the first Vulkan driver that Dawn accepts: the
// system's, or Chromium's SwiftShader.
func TestNode(t *testing.T) {
	t.Parallel()
	gpuLane(t)
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("Node is not installed")
	}
	if _, err := os.Stat("node/node_modules/webgpu"); err != nil {
		t.Skip("WebGPU for Node is not installed: scripts/wasm.sh --node installs it")
	}
	build(t)
	var said string
	for _, driver := range []string{"", "/usr/lib/chromium/vk_swiftshader_icd.json"} {
		dir := t.TempDir()
		cmd := exec.Command(node, "node/edge.mjs", "train", "phantoms", "--out", filepath.Join(dir, "run"), "--max-steps", "2",
			"--set", "data.phantoms.count=24", "--set", "data.phantoms.size=16", "--set", "encoder.patch_size=[4]", "--set", "encoder.embed_dim=24", "--set", "encoder.depth=1",
			"--set", "encoder.num_heads=2", "--set", "predictor_embed_dim=24", "--set", "predictor_depth=1", "--set", "min_keep=1", "--set", "batch_size=4")
		cmd.Env = os.Environ()
		if driver != "" {
			cmd.Env = append(cmd.Env, "VK_DRIVER_FILES="+driver, "VK_ICD_FILENAMES="+driver)
		}
		out, err := cmd.CombinedOutput()
		said = string(out)
		if err != nil && strings.Contains(said, "no GPU interface found") {
			continue
		}
		require.NoError(t, err, said)
		require.Contains(t, said, "2 updates done")
		for _, name := range []string{"config.toml", "checkpoint.safetensors", "weights.safetensors"} {
			require.FileExists(t, filepath.Join(dir, "run", name))
		}
		return
	}
	t.Skipf("Dawn accepts no Vulkan driver here: %s", said)
}
