package gpu

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestProfile: a time by kernel, and the results of Submit.
func TestProfile(t *testing.T) {
	cpu, err := Open("cpu")
	require.NoError(t, err)
	defer cpu.Close()
	devices := []*Device{cpu}
	if _, err := Open(""); err == nil {
		devices = append(devices, device(t))
	} else {
		t.Log("only on the cpu: ", err)
	}
	for _, d := range devices {
		x, y := d.Tensor("x", 100), d.Tensor("y", 100)
		e := d.Begin()
		e.Fill(x, 2)
		e.Fill(y, 3)
		e.Copy(y, x)
		seconds, err := e.Profile()
		require.NoError(t, err)
		require.Contains(t, seconds, "fill")
		require.Len(t, seconds, 2)
		for name, s := range seconds {
			require.GreaterOrEqual(t, s, 0.0, name)
		}
		got := make([]float32, 100)
		require.NoError(t, d.Read(y, got))
		require.Equal(t, float32(2), got[99])
		seconds, err = d.Begin().Profile()
		require.NoError(t, err)
		require.Empty(t, seconds, "the encoder was emptied")
	}
	_, err = Estimate(cpu.Info()).Begin().Profile()
	require.ErrorContains(t, err, "cannot be profiled")
}
