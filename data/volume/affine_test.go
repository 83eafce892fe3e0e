package volume

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestInvert(t *testing.T) {
	for _, scale := range []float64{1, 1e-6, 1e5} { // down to µm in m
		a := [4][4]float64{{-1.9, 0.2, 0.1, 10}, {0.3, 0.1, -1.2, -4}, {0.1, 1.4, 0.25, 9}, {0, 0, 0, 1}}
		for i := range 3 {
			for j := range 3 {
				a[i][j] *= scale
			}
		}
		back, ok := Invert(a)
		require.True(t, ok)
		one := Multiply(back, a)
		for i := range 4 {
			for j := range 4 {
				require.InDelta(t, Identity()[i][j], one[i][j], 1e-12*max(1, 1/scale))
			}
		}
	}
	for _, a := range [][4][4]float64{
		{{1, 1, 0, 0}, {1, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}},
		{{math.NaN(), 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}},
		{{math.Inf(1), 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}},
		{},
	} {
		_, ok := Invert(a)
		require.False(t, ok)
	}
}
