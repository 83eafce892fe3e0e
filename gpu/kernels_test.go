package gpu

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// device opens the first GPU interface, or skips and says why.
func device(t testing.TB) *Device {
	t.Helper()
	d, err := Open("")
	if err != nil {
		t.Skip("kernels are tested where there is an adapter: ", err)
	}
	t.Cleanup(d.Close)
	return d
}

// TestKernels holds every kernel to its twin.
func TestKernels(t *testing.T) {
	d := device(t)
	t.Logf("adapter: %s (%s, %s)", d.Info().Name, d.Info().Kind, d.Info().Backend)
	for _, op := range Table() {
		for _, c := range op.Cases {
			t.Run(op.Name+"/"+c.Name, func(t *testing.T) {
				worst, err := c.Check(d, 1)
				require.NoError(t, err)
				t.Logf("largest error %.3g of its bound", worst)
			})
		}
	}
}

// TestTwinsAgreeWithThemselves runs every case with the twins on both sides:
// the cases themselves are sound where no adapter is at hand.
func TestTwinsAgreeWithThemselves(t *testing.T) {
	d, err := Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	for _, op := range Table() {
		for _, c := range op.Cases {
			t.Run(op.Name+"/"+c.Name, func(t *testing.T) {
				_, err := c.Check(d, 1)
				require.NoError(t, err)
			})
		}
	}
}

func TestScopeReleases(t *testing.T) {
	d, err := Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	before := d.Allocated()
	d.Scope(func() { d.Tensor("x", 10, 10) })
	require.Equal(t, before, d.Allocated())
}
