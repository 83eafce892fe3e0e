package numpy

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFloat32Header: what is written is read back.
func TestFloat32Header(t *testing.T) {
	for _, shape := range [][]int{{3}, {2, 3}, {1 << 30, 1 << 10, 7}, {0, 5}} {
		b := Float32Header(shape...)
		require.Len(t, b, Float32HeaderLen)
		h, n, err := ReadHeader(bytes.NewReader(b))
		require.NoError(t, err)
		require.Equal(t, "f4", h.Type)
		require.Equal(t, shape, h.Shape)
		require.False(t, h.Fortran)
		require.EqualValues(t, Float32HeaderLen, n)
	}
	_, got, err := Read(bytes.NewReader(append(Float32Header(2), 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0)), nil, -1, 1<<20)
	require.NoError(t, err)
	require.Equal(t, []float32{1, -2}, got)
}
