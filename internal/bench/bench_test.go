package bench

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/gpu"
)

// TestRun: rows come for what is asked, with figures, as text and JSON. The
// command's own test measures a step.
func TestRun(t *testing.T) {
	d, err := gpu.Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	var rows []Row
	require.NoError(t, Run(d, Options{Only: []string{"block"}, Seconds: 1e-3}, func(r Row) { rows = append(rows, r) }))
	require.Len(t, rows, 1)
	require.Equal(t, "block", rows[0].Op)
	require.Positive(t, rows[0].GFLOPS)
	require.Contains(t, rows[0].String(), "GFLOP/s")
	text, err := json.Marshal(rows[0])
	require.NoError(t, err)
	require.NotContains(t, string(text), "fraction")
}

// TestStepRow: the kernels of a step in the order of their time.
func TestStepRow(t *testing.T) {
	r := Row{Op: "step", Shape: []int{2, 8, 8}, Seconds: 0.5, Step: &Step{Dispatches: 100, Replay: 3e-5, Fraction: map[string]float64{"a": 0.25, "b": 0.5, "c": 0.25}, Clock: "a clock"}}
	require.Equal(t, `step of the demo [2 8 8]: 500.0 ms, 0.0 MiB of memory; 0.00 s from an open device to the end of the first
  0.300 µs of the host for each dispatch in the replay
  by kernel (a clock):
   50.0 %  b
   25.0 %  a
   25.0 %  c`, r.String())
	text, err := json.Marshal(r)
	require.NoError(t, err)
	require.Contains(t, string(text), `"fraction":{"a":0.25,"b":0.5,"c":0.25}`)
}

func TestCheck(t *testing.T) {
	require.NoError(t, Options{}.Check())
	require.NoError(t, Options{Only: []string{"matmul", "block", "step"}}.Check())
	require.ErrorContains(t, Options{Only: []string{"matmull"}}.Check(), `"matmull"`)
}
