//go:build !js

package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/gpu"
	"wgjepa/internal/bench"
)

// TestBench: the wasm program measures the rows that the native one does, and
// takes apart a step by kernel.
func TestBench(t *testing.T) {
	t.Parallel()
	gpuLane(t)
	d, err := gpu.Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	only := []string{"loss", "layernorm"}
	var want []bench.Row
	require.NoError(t, bench.Run(d, bench.Options{Only: only, Seconds: 1e-3}, func(r bench.Row) { want = append(want, r) }))

	got, err := edge(t, "", "bench", "--only", only[0], "--only", only[1], "--only", "step", "--seconds", "0.01")
	require.NoError(t, err)
	require.Len(t, got, len(want)+1)
	for i, w := range want {
		require.Equal(t, w.Op, got[i]["op"])
		require.Len(t, got[i]["shape"], len(w.Shape))
		require.Positive(t, got[i]["gbytes_per_s"])
	}
	step := got[len(want)]
	require.Equal(t, "step", step["op"])
	require.Positive(t, step["seconds"])
	require.Positive(t, step["dispatches"])
	require.Positive(t, step["seconds_of_replay"])
	require.NotEmpty(t, step["fraction"])
	require.Equal(t, "timestamps of the device", step["clock"])

	_, err = edge(t, "", "bench", "--only", "loss", "--only", "lloss")
	require.ErrorContains(t, err, `no operation called "lloss"`)
}
