package gpu

import (
	"fmt"
	"math"
	"strings"

	"wgjepa/gpu/internal/driver"
)

// Align is the number of elements that a Slice starts at a multiple of: WebGPU
// binds storage at multiples of 256 bytes.
const Align = 64

// buffer is device memory with an identity for the cache of bindings.
type buffer struct {
	handle driver.Buffer
	id     int
	label  string
	float  bool
	shared bool // the device's own: a Scope leaves it
}

// Tensor is a row-major array on a device: a view of a buffer with a shape of
// up to four axes. It is a small value; copying it copies no data. Elements
// are float32 on a GPU, float64 on the cpu driver, or uint32 for indices.
//
// The view remembers how many elements it may hold. Reshape makes a smaller
// tensor in the same place without a new binding, so lengths can change at
// every step while the bindings stay cached.
type Tensor struct {
	buf      *buffer
	off, cap int // elements
	rank     int
	dims     [4]int
}

// IsNil reports whether t is the zero Tensor, which stands for "none".
func (t Tensor) IsNil() bool { return t.buf == nil }

// Rank is the number of axes.
func (t Tensor) Rank() int { return t.rank }

// Dim is the length of axis i; negative i counts from the last.
func (t Tensor) Dim(i int) int {
	if i < 0 {
		i += t.rank
	}
	return t.dims[:t.rank][i]
}

// Dims returns a copy of the shape.
func (t Tensor) Dims() []int { return append([]int(nil), t.dims[:t.rank]...) }

// Len is the number of elements; a product too large for an int is the
// largest int, which no device holds.
func (t Tensor) Len() int {
	n := 1
	for _, d := range t.dims[:t.rank] {
		if d > 0 && n > math.MaxInt/d {
			n = math.MaxInt
		} else {
			n *= d
		}
	}
	return n
}

// Cols is the last axis.
func (t Tensor) Cols() int { return t.Dim(-1) }

// Rows is the product of all axes but the last.
func (t Tensor) Rows() int { return t.Len() / max(1, t.Cols()) }

// Reshape returns the tensor with another shape that fits the memory it was
// made with.
func (t Tensor) Reshape(dims ...int) Tensor {
	t.setDims(dims)
	if n := t.Len(); n > t.cap {
		panic(fmt.Sprintf("gpu: Reshape: %s to %v needs %d elements, it has room for %d", t.label(), t, n, t.cap))
	}
	return t
}

// Slice returns the n elements from off, which must be a multiple of Align, as a
// tensor of one axis.
func (t Tensor) Slice(off, n int) Tensor {
	if off%Align != 0 || off < 0 || n < 1 || off+n > t.cap { // a binding cannot be empty
		panic(fmt.Sprintf("gpu: Slice: %d elements from %d of %s %v", n, off, t.label(), t))
	}
	t.off, t.cap, t.rank, t.dims = t.off+off, n, 1, [4]int{n}
	return t
}

func (t *Tensor) setDims(dims []int) {
	if len(dims) == 0 || len(dims) > len(t.dims) {
		panic(fmt.Sprintf("gpu: a tensor has 1 to %d axes, not %d", len(t.dims), len(dims)))
	}
	t.rank, t.dims = len(dims), [4]int{}
	for i, n := range dims {
		if n < 0 {
			panic(fmt.Sprintf("gpu: axis %d of a tensor has length %d", i, n))
		}
		t.dims[i] = n
	}
}

func (t Tensor) label() string {
	if t.buf == nil {
		return "none"
	}
	return t.buf.label
}

// String is the shape, as in [64 192].
func (t Tensor) String() string {
	if t.IsNil() {
		return "none"
	}
	return "[" + strings.Trim(fmt.Sprint(t.dims[:t.rank]), "[]") + "]"
}
