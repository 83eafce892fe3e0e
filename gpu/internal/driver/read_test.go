package driver

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPieces(t *testing.T) {
	f, d, u := make([]float32, 5), make([]float64, 7), make([]uint32, 3)
	list := []Read{{Off: 10, F32: f}, {Off: 20, F64: d}, {Off: 30, U32: []uint32{}}, {Off: 40, U32: u}}
	for most := 1; most <= 16; most++ {
		for i := range d {
			d[i] = -1
		}
		clear(f)
		clear(u)
		calls := 0
		require.NoError(t, Pieces(list, most, func(piece []Read) error {
			calls++
			n := 0
			for _, r := range piece {
				n += r.Len()
				for i := range r.F32 {
					r.F32[i] = float32(r.Off + i)
				}
				for i := range r.F64 {
					r.F64[i] = float64(r.Off + i)
				}
				for i := range r.U32 {
					r.U32[i] = uint32(r.Off + i)
				}
			}
			require.LessOrEqual(t, n, most)
			return nil
		}))
		require.Equal(t, (15+most-1)/most, calls)
		require.Equal(t, []float32{10, 11, 12, 13, 14}, f)
		require.Equal(t, []float64{20, 21, 22, 23, 24, 25, 26}, d)
		require.Equal(t, []uint32{40, 41, 42}, u)
	}
}
