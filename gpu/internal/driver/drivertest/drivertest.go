// Package drivertest holds the drivers of GPUs to their contract: the same
// tests for each, with one kernel, axpy, that package gpu does not use.
package drivertest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/gpu/internal/driver"
	"wgjepa/wgsl"
)

// NewProgram makes a program of a shader's text.
func NewProgram(id int, name, source string) *driver.Program {
	layout, _ := wgsl.Reflect(source) // what a mistake on purpose leaves of it
	return &driver.Program{ID: id, Name: name, File: name + ".wgsl", Source: source, Layout: layout}
}

// AxpyText is the shader of Axpy.
const AxpyText = `struct Params {
  n: u32,
  scale: f32,
  shift: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<f32>;
@group(0) @binding(2) var<storage, read_write> dst: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.n) { return; }
  dst[id.x] = dst[id.x] + p.scale * src[id.x] + p.shift;
}
`

// Axpy is dst += scale·src + shift, program 0.
var Axpy = NewProgram(0, "axpy", AxpyText)

// Add records dst += scale·src + shift over n elements from off of both.
func Add(p *driver.Plan, dst, src driver.Buffer, off, n int, scale, shift float64) {
	op := driver.Op{Program: Axpy, Groups: [3]uint32{uint32(n+63) / 64, 1, 1}}
	op.Args[0], op.Params[0] = len(p.Args), len(p.Params)
	p.Args = append(p.Args, driver.Arg{Buffer: src, Off: off, Len: n}, driver.Arg{Buffer: dst, Off: off, Len: n})
	p.Params = append(p.Params, float64(n), scale, shift)
	op.Args[1], op.Params[1] = len(p.Args), len(p.Params)
	p.Ops = append(p.Ops, op)
}

// Pair compiles Axpy and makes src of ones and dst of zeros, n elements each.
func Pair(t testing.TB, d driver.Device, n int) (dst, src driver.Buffer) {
	t.Helper()
	require.NoError(t, d.Compile([]*driver.Program{Axpy}))
	src, err := d.NewBuffer("src", true, n)
	require.NoError(t, err)
	dst, err = d.NewBuffer("dst", true, n)
	require.NoError(t, err)
	require.NoError(t, d.WriteF32(src, 0, slices.Repeat([]float32{1}, n)))
	return dst, src
}

// RequireAll requires that b's n elements are want.
func RequireAll(t testing.TB, d driver.Device, b driver.Buffer, n int, want float32) {
	t.Helper()
	got := make([]float32, n)
	require.NoError(t, d.Read([]driver.Read{{Buffer: b, F32: got}}))
	for i, v := range got {
		if v != want {
			require.Failf(t, "wrong value", "element %d is %g, want %g", i, v, want)
		}
	}
}

// RequireWorks requires that d computes.
func RequireWorks(t testing.TB, d driver.Device) {
	t.Helper()
	dst, src := Pair(t, d, 64)
	var p driver.Plan
	Add(&p, dst, src, 0, 64, 1, 0)
	require.NoError(t, d.Submit(&p))
	RequireAll(t, d, dst, 64, 1)
	dst.Release()
	src.Release()
}
