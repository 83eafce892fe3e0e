package gpu

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// host opens the twins.
func host(t testing.TB) *Device {
	t.Helper()
	d, err := Open("cpu")
	require.NoError(t, err)
	t.Cleanup(d.Close)
	return d
}

// TestClear: a cleared device is as new, its kernels aside.
func TestClear(t *testing.T) {
	d := host(t)
	x := d.Tensor("x", 4)
	d.none(true)
	d.scratch("some", 100)
	d.Clear()
	require.Zero(t, d.Allocated())
	require.Panics(t, func() { d.Write(x, []float32{1}) }, "a tensor outlived Clear")
	y := d.Tensor("y", 4)
	e := d.Begin()
	e.Fill(y, 3)
	require.NoError(t, e.Submit())
	got := make([]float32, 4)
	require.NoError(t, d.Read(y, got))
	require.Equal(t, []float32{3, 3, 3, 3}, got)
}

func TestTensorShape(t *testing.T) {
	d := host(t)
	x := d.Tensor("x", 2, 3, 4)
	require.Equal(t, 3, x.Rank())
	require.Equal(t, []int{2, 3, 4}, x.Dims())
	require.Equal(t, []int{24, 6, 4}, []int{x.Len(), x.Rows(), x.Cols()})
	require.Equal(t, []int{2, 4, 3}, []int{x.Dim(0), x.Dim(-1), x.Dim(-2)})
	require.Equal(t, "[2 3 4]", x.String())
	require.False(t, x.IsNil())

	x.Dims()[0] = 9
	require.Equal(t, 2, x.Dim(0), "Dims is a copy")

	require.True(t, Tensor{}.IsNil())
	require.Equal(t, "none", Tensor{}.String())

	empty := d.Tensor("empty", 0, 5)
	require.Equal(t, []int{0, 0, 5}, []int{empty.Len(), empty.Rows(), empty.Cols()})
}

// A tensor may shrink and grow again within the memory it was made with, and
// its data stays where it lies.
func TestTensorReshape(t *testing.T) {
	d := host(t)
	x := d.Tensor("x", 4, 6)
	d.Write(x, []float32{1, 2, 3, 4, 5, 6, 7, 8})
	small := x.Reshape(2, 2)
	require.Equal(t, "[2 2]", small.String())
	require.Equal(t, "[4 6]", x.String())
	got := make([]float32, 4)
	require.NoError(t, d.Read(small, got))
	require.Equal(t, []float32{1, 2, 3, 4}, got)
	require.Equal(t, "[2 3 4]", small.Reshape(2, 3, 4).String())

	require.PanicsWithValue(t, "gpu: Reshape: x to [5 5] needs 25 elements, it has room for 24", func() { x.Reshape(5, 5) })
	require.PanicsWithValue(t, "gpu: a tensor has 1 to 4 axes, not 0", func() { x.Reshape() })
	require.PanicsWithValue(t, "gpu: a tensor has 1 to 4 axes, not 5", func() { x.Reshape(1, 1, 1, 1, 1) })
	require.Panics(t, func() { x.Reshape(-1, -4) }, "two negative lengths multiply to a positive one")
	require.Panics(t, func() { d.Tensor("y", -1) })
}

func TestTensorSlice(t *testing.T) {
	d := host(t)
	x := d.Tensor("x", 4, 64)
	data := make([]float32, 256)
	for i := range data {
		data[i] = float32(i)
	}
	d.Write(x, data)
	s := x.Slice(128, 100)
	require.Equal(t, "[100]", s.String())
	got := make([]float32, 100)
	require.NoError(t, d.Read(s, got))
	require.Equal(t, data[128:228], got)

	// Offsets of a slice count from the slice.
	require.NoError(t, d.Read(s.Slice(64, 36), got[:36]))
	require.Equal(t, data[192:228], got[:36])

	// A slice has room for its own elements only.
	require.Panics(t, func() { s.Reshape(101) })
	require.Panics(t, func() { s.Slice(64, 37) })
	for _, bad := range [][2]int{{1, 4}, {-64, 4}, {0, -1}, {0, 257}, {192, 65}, {256, 1}} {
		require.Panics(t, func() { x.Slice(bad[0], bad[1]) }, "%v", bad)
	}
	require.PanicsWithValue(t, "gpu: Slice: 4 elements from 1 of x [4 64]", func() { x.Slice(1, 4) })
}

func TestReadAndWriteCheckTheirTensor(t *testing.T) {
	d := host(t)
	x, n := d.Tensor("x", 4), d.Indices("n", 4)
	require.PanicsWithValue(t, "gpu: Write: 5 elements, x is [4]", func() { d.Write(x, make([]float32, 5)) })
	require.PanicsWithValue(t, "gpu: Read: 1 elements, n is [4]", func() { _ = d.Read(n, make([]float32, 1)) })
	require.PanicsWithValue(t, "gpu: WriteIndices: 1 elements, x is [4]", func() { d.WriteIndices(x, make([]uint32, 1)) })
	require.PanicsWithValue(t, "gpu: Read: 1 elements, none is none", func() { _ = d.Read(Tensor{}, make([]float32, 1)) })

	// float64 passes the twins' device unrounded.
	d.WriteFloat64(x, []float64{1e-300, 2, 3, 4})
	got := make([]float64, 4)
	require.NoError(t, d.ReadFloat64(x, got))
	require.Equal(t, []float64{1e-300, 2, 3, 4}, got)

	d.WriteIndices(n, []uint32{1, 2, 0xffffffff, 4})
	back := make([]uint32, 3)
	require.NoError(t, d.ReadIndices(n, back))
	require.Equal(t, []uint32{1, 2, 0xffffffff}, back)

	d.Release(x)
	d.Release(x) // a second time does nothing
	require.PanicsWithValue(t, "gpu: write: x was released", func() { d.Write(x, make([]float32, 1)) })
	require.PanicsWithValue(t, "gpu: fill: x was released", func() { d.Begin().Fill(x, 1) })
}
