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
		profile, err := e.Profile()
		require.NoError(t, err)
		require.NotEmpty(t, profile.Clock)
		require.Contains(t, profile.Seconds, "fill")
		require.Len(t, profile.Seconds, 2)
		for name, s := range profile.Seconds {
			require.GreaterOrEqual(t, s, 0.0, name)
		}
		got := make([]float32, 100)
		require.NoError(t, d.Read(y, got))
		require.Equal(t, float32(2), got[99])
		profile, err = d.Begin().Profile()
		require.NoError(t, err)
		require.Empty(t, profile.Seconds, "the encoder was emptied")
	}
	_, err = Estimate(cpu.Info()).Begin().Profile()
	require.ErrorContains(t, err, "cannot be profiled")
}
