//go:build js && wasm

package browser

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"syscall/js"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wgjepa/gpu/internal/driver"
	"wgjepa/wgsl"
)

// open opens the first adapter, or skips and says why.
func open(t testing.TB) *Device {
	t.Helper()
	list := Adapters()
	if len(list) == 0 {
		t.Skip("the driver is tested where there is an adapter; none was found")
	}
	d, err := Open(list[0])
	require.NoError(t, err)
	t.Cleanup(d.Close)
	return d
}

func program(id int, name, source string) *driver.Program {
	layout, _ := wgsl.Reflect(source)
	return &driver.Program{ID: id, Name: name, File: name + ".wgsl", Source: source, Layout: layout}
}

const axpyText = `struct Params {
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

var axpy = program(0, "axpy", axpyText)

// add records dst += scale·src + shift over n elements from off of both.
func add(p *driver.Plan, dst, src driver.Buffer, off, n int, scale, shift float64) {
	op := driver.Op{Program: axpy, Groups: [3]uint32{uint32(n+63) / 64, 1, 1}}
	op.Args[0], op.Params[0] = len(p.Args), len(p.Params)
	p.Args = append(p.Args, driver.Arg{Buffer: src, Off: off, Len: n}, driver.Arg{Buffer: dst, Off: off, Len: n})
	p.Params = append(p.Params, float64(n), scale, shift)
	op.Args[1], op.Params[1] = len(p.Args), len(p.Params)
	p.Ops = append(p.Ops, op)
}

// pair makes src of ones and dst of zeros, n elements each.
func pair(t testing.TB, d *Device, n int) (dst, src driver.Buffer) {
	t.Helper()
	require.NoError(t, d.Compile([]*driver.Program{axpy}))
	src, err := d.NewBuffer("src", true, n)
	require.NoError(t, err)
	dst, err = d.NewBuffer("dst", true, n)
	require.NoError(t, err)
	require.NoError(t, d.WriteF32(src, 0, slices.Repeat([]float32{1}, n)))
	return dst, src
}

func requireAll(t testing.TB, d *Device, b driver.Buffer, n int, want float32) {
	t.Helper()
	got := make([]float32, n)
	require.NoError(t, d.ReadF32(b, 0, got))
	for i, v := range got {
		if v != want {
			require.Failf(t, "wrong value", "element %d is %g, want %g", i, v, want)
		}
	}
}

func TestInfo(t *testing.T) {
	info := open(t).Info()
	t.Logf("%+v", info)
	require.NotEmpty(t, info.Name)
	require.Equal(t, "WebGPU", info.Backend)
	require.NotEmpty(t, info.Binding)
	require.GreaterOrEqual(t, info.Limits.BufferSize, uint64(256<<20))
	require.GreaterOrEqual(t, info.Limits.BindingSize, uint64(128<<20))
	require.GreaterOrEqual(t, info.Limits.StorageBuffers, 8)
	require.GreaterOrEqual(t, info.Limits.Workgroups, 65535)
	require.Positive(t, info.Limits.UniformAlignment)
	if strings.Contains(info.Name, "llvmpipe") {
		require.Equal(t, driver.Software, info.Kind)
		require.Equal(t, "Mesa", info.Vendor)
	}
}

// TestDescriptions: what browsers tell of adapters, in the terms of the driver.
func TestDescriptions(t *testing.T) {
	for _, c := range []struct {
		d    description
		name string
		kind driver.Kind
	}{
		{description{Vendor: "nvidia", Architecture: "ampere"}, "nvidia ampere", driver.Unknown},
		{description{Vendor: "google", Architecture: "swiftshader"}, "google swiftshader", driver.Software},
		{description{Vendor: "32902", Description: "Intel(R) UHD"}, "Intel(R) UHD", driver.Unknown},
		{description{Vendor: "amd", Fallback: true}, "amd", driver.Software},
		{description{}, "WebGPU adapter", driver.Unknown},
	} {
		i := c.d.info()
		require.Equal(t, c.name, i.Name)
		require.Equal(t, c.kind, i.Kind, c.name)
	}
	require.Less(t, rank(driver.Info{Kind: driver.Unknown}), rank(driver.Info{Kind: driver.Software}))
}

// TestOpenRefuses an adapter below what kernels need, saying what is missing,
// and one that was never listed.
func TestOpenRefuses(t *testing.T) {
	open(t)
	_, err := Open(driver.Info{Index: 9, Name: "none"})
	require.ErrorContains(t, err, "not in the list")
	poor := adapters[0].info
	defer func(was driver.Info) { adapters[0].info = was }(poor)
	poor.Limits.StorageBuffers = 4
	adapters[0].info = poor
	_, err = Open(poor)
	require.ErrorContains(t, err, "it offers 4 storage buffers a kernel and 8 are needed")
}

// TestRoundTrip moves values of all three kinds at offsets, and more than one
// chunk at once.
func TestRoundTrip(t *testing.T) {
	d := open(t)
	b, err := d.NewBuffer("x", true, 100)
	require.NoError(t, err)
	requireAll(t, d, b, 100, 0)
	require.NoError(t, d.WriteF64(b, 64, []float64{0.1, math.Inf(1), -0}))
	f := make([]float64, 3)
	require.NoError(t, d.ReadF64(b, 64, f))
	require.Equal(t, []float64{float64(float32(0.1)), math.Inf(1), 0}, f)
	u, err := d.NewBuffer("u", false, 5)
	require.NoError(t, err)
	require.NoError(t, d.WriteU32(u, 1, []uint32{7, math.MaxUint32}))
	got := make([]uint32, 5)
	require.NoError(t, d.ReadU32(u, 0, got))
	require.Equal(t, []uint32{0, 7, math.MaxUint32, 0, 0}, got)
	require.NoError(t, d.ReadU32(u, 0, nil))
	require.NoError(t, d.WriteU32(u, 0, nil))

	const n = chunk + 3
	long, err := d.NewBuffer("long", false, n)
	require.NoError(t, err)
	src := make([]uint32, n)
	for i := range src {
		src[i] = uint32(i) * 2654435761
	}
	require.NoError(t, d.WriteU32(long, 0, src))
	back := make([]uint32, n)
	require.NoError(t, d.ReadU32(long, 0, back))
	require.True(t, slices.Equal(src, back), "a chunk and 3 elements came back different")
	long.Release()
	require.Equal(t, uint64(4*105), d.Allocated())
}

// TestLongPlan replays many dispatches, each reading what the one before wrote,
// each with parameters of its own; the uniform buffer has to grow for it.
func TestLongPlan(t *testing.T) {
	d := open(t)
	dst, src := pair(t, d, 100)
	var p driver.Plan
	add(&p, dst, src, 0, 100, 1, 0)
	require.NoError(t, d.Submit(&p))
	p.Reset()
	want := float32(1)
	for i := range 5000 {
		add(&p, dst, src, 0, 100, float64(i%3), 0.5)
		want += float32(i%3) + 0.5
	}
	require.NoError(t, d.Submit(&p))
	requireAll(t, d, dst, 100, want)
	require.Len(t, d.groups, 1)
}

// TestWritesAreOrdered: a write takes effect after earlier submits and before
// later ones.
func TestWritesAreOrdered(t *testing.T) {
	d := open(t)
	dst, src := pair(t, d, 64)
	var p driver.Plan
	add(&p, dst, src, 0, 64, 1, 0)
	sum := float32(0)
	for i := range 50 {
		require.NoError(t, d.WriteF32(src, 0, slices.Repeat([]float32{float32(i)}, 64)))
		require.NoError(t, d.Submit(&p))
		sum += float32(i)
	}
	requireAll(t, d, dst, 64, sum)
}

// TestReadWhileMemoryMoves: the program's memory grows, and stacks move, while
// a read is under way.
func TestReadWhileMemoryMoves(t *testing.T) {
	d := open(t)
	dst, src := pair(t, d, 1<<16)
	var p driver.Plan
	add(&p, dst, src, 0, 1<<16, 1, 0)
	var kept [][]byte
	for i := range 20 {
		require.NoError(t, d.Submit(&p))
		go func() {
			kept = append(kept, make([]byte, 4<<20))
			runtime.GC()
		}()
		small := []float32{0}
		require.NoError(t, d.ReadF32(dst, 1<<16-1, small))
		require.Equal(t, float32(i+1), small[0])
	}
	require.NotEmpty(t, kept)
}

func TestReleasedBuffer(t *testing.T) {
	d := open(t)
	dst, src := pair(t, d, 64)
	var p driver.Plan
	add(&p, dst, src, 0, 64, 1, 0)
	require.NoError(t, d.Submit(&p))
	src.Release()
	src.Release()
	require.ErrorContains(t, d.Submit(&p), "src was released")
	require.ErrorContains(t, d.WriteF32(src, 0, make([]float32, 1)), "src was released")
	require.ErrorContains(t, d.ReadF32(src, 0, make([]float32, 1)), "src was released")
	require.Empty(t, d.groups, "a bind group outlived its buffer")
	requireAll(t, d, dst, 64, 1)
	// Its number may be given to another buffer; its groups must not.
	again, err := d.NewBuffer("again", true, 64)
	require.NoError(t, err)
	p.Reset()
	add(&p, dst, again, 0, 64, 1, 2)
	require.NoError(t, d.Submit(&p))
	requireAll(t, d, dst, 64, 3)
}

func TestRefusals(t *testing.T) {
	d, other := open(t), open(t)
	dst, src := pair(t, d, 64)
	foreign, err := other.NewBuffer("foreign", true, 64)
	require.NoError(t, err)
	var p driver.Plan
	add(&p, dst, foreign, 0, 64, 1, 0)
	require.ErrorContains(t, d.Submit(&p), "another device")
	p.Reset()
	add(&p, dst, src, 0, 65, 1, 0)
	require.ErrorContains(t, d.Submit(&p), "outside of src, which has 64")
	require.ErrorContains(t, d.ReadF32(src, 60, make([]float32, 5)), "outside of src")
	p.Reset()
	add(&p, dst, src, 0, 64, 1, 0)
	unknown := *axpy
	unknown.ID = 40
	p.Ops[0].Program = &unknown
	require.ErrorContains(t, d.Submit(&p), "axpy was not compiled")
	require.NoError(t, d.Submit(&driver.Plan{}))
	requireAll(t, d, dst, 64, 0)
}

// TestSubmissionError: what WebGPU has against a submission comes back by its
// error scope, with the kernel's name, from a later call at the latest.
func TestSubmissionError(t *testing.T) {
	d := open(t)
	_, src := pair(t, d, 64)
	var p driver.Plan
	add(&p, src, src, 0, 64, 1, 0) // read and read_write in one dispatch
	err := d.Submit(&p)
	if err == nil {
		err = d.Wait()
	}
	require.Error(t, err)
	t.Log(err)
	require.False(t, errors.Is(err, driver.ErrLost))
	require.Error(t, d.ReadF32(src, 0, make([]float32, 1)), "the device forgot its error")
}

func TestShaderErrors(t *testing.T) {
	d := open(t)
	for name, c := range map[string]struct{ old, new, place, line string }{
		"syntax":  {"return; }", "return }", "syntax.wgsl:12:29", "if (id.x >= p.n) { return }"},
		"unknown": {"p.scale * src", "p.scale * scr", "unknown.wgsl:13:37", "dst[id.x] = dst[id.x] + p.scale * scr[id.x] + p.shift;"},
		"types":   {"+ p.shift", "+ p.n", "types.wgsl:13", "dst[id.x] = dst[id.x] + p.scale * src[id.x] + p.n;"},
		"entry":   {"fn main", "fn start", "entry.wgsl", "main"},
		"size":    {"size(64)", "size(4096)", "size.wgsl", "4096"},
	} {
		err := d.Compile([]*driver.Program{program(1, name, strings.Replace(axpyText, c.old, c.new, 1))})
		require.ErrorContains(t, err, "kernel "+name+": "+c.place)
		require.ErrorContains(t, err, c.line)
		t.Log(err)
	}
	require.ErrorContains(t, d.Compile([]*driver.Program{program(1, "empty", " \n")}), "kernel empty (empty.wgsl) has no text")
	dst, src := pair(t, d, 64) // the device goes on
	var p driver.Plan
	add(&p, dst, src, 0, 64, 1, 0)
	require.NoError(t, d.Submit(&p))
	requireAll(t, d, dst, 64, 1)
}

// TestCompileSideBySide compiles many programs at once; a mistake in one is
// reported of that one.
func TestCompileSideBySide(t *testing.T) {
	d := open(t)
	var programs []*driver.Program
	for i := range 20 {
		text := strings.Replace(axpyText, "+ p.shift", fmt.Sprintf("+ p.shift * %d.0", i), 1)
		programs = append(programs, program(i, fmt.Sprintf("k%d", i), text))
	}
	programs[13].Source = strings.Replace(programs[13].Source, "p.scale", "p.scala", 1)
	require.ErrorContains(t, d.Compile(programs), "kernel k13: k13.wgsl:13:")
	programs[13].Source = strings.Replace(programs[13].Source, "p.scala", "p.scale", 1)
	require.NoError(t, d.Compile(programs))
	require.NoError(t, d.Compile(append(programs, programs...)), "compiled ones are skipped")
	dst, src := pair(t, d, 64)
	var p driver.Plan
	add(&p, dst, src, 0, 64, 1, 2)
	p.Ops[0].Program = programs[7]
	require.NoError(t, d.Submit(&p))
	requireAll(t, d, dst, 64, 15)
}

const profiled = 2048 // as in driver.js

// TestProfile: the dispatches of a plan are run in order and each is timed.
func TestProfile(t *testing.T) {
	d := open(t)
	dst, src := pair(t, d, 64)
	var p driver.Plan
	const dispatches = profiled + 10 // more than are timed at once
	for range dispatches {
		add(&p, dst, src, 0, 64, 1, 0)
	}
	n := 0
	stamped, err := d.Profile(&p, func(k *driver.Program, s float64) {
		require.Equal(t, axpy, k)
		require.GreaterOrEqual(t, s, 0.0)
		n++
	})
	require.NoError(t, err)
	require.Equal(t, slices.Contains(d.info.Features, "timestamp-query"), stamped)
	require.Equal(t, dispatches, n)
	requireAll(t, d, dst, 64, dispatches)
	_, err = d.Profile(&driver.Plan{}, nil)
	require.NoError(t, err)
}

// TestMemory: an allocation beyond the device's limit is an error of memory and
// leaves the device usable.
func TestMemory(t *testing.T) {
	d := open(t)
	before := d.Allocated()
	n := int(min(d.info.Limits.BufferSize/4+1024, math.MaxInt32))
	_, err := d.NewBuffer("huge", true, n)
	if err == nil {
		t.Skip("this device's limit is beyond what can be asked for here")
	}
	require.ErrorIs(t, err, driver.ErrMemory)
	require.Equal(t, before, d.Allocated())
	dst, src := pair(t, d, 64)
	var p driver.Plan
	add(&p, dst, src, 0, 64, 1, 0)
	require.NoError(t, d.Submit(&p))
	requireAll(t, d, dst, 64, 1)
}

// TestLostDevice: every call after the loss says so, none hangs, and another
// device can be opened.
func TestLostDevice(t *testing.T) {
	d := open(t)
	dst, src := pair(t, d, 64)
	var p driver.Plan
	add(&p, dst, src, 0, 64, 1, 0)
	require.NoError(t, d.Submit(&p))
	js.Global().Call("loseDevices")
	require.ErrorIs(t, d.ReadF32(dst, 0, make([]float32, 64)), driver.ErrLost)
	require.ErrorIs(t, d.Submit(&p), driver.ErrLost)
	require.ErrorIs(t, d.Wait(), driver.ErrLost)
	require.ErrorIs(t, d.WriteF32(src, 0, make([]float32, 1)), driver.ErrLost)
	require.ErrorIs(t, d.Compile([]*driver.Program{axpy}), driver.ErrLost)
	_, err := d.NewBuffer("x", true, 1)
	require.ErrorIs(t, err, driver.ErrLost)
	d.Close()
	require.ErrorContains(t, d.Wait(), "closed")

	again := open(t)
	dst, src = pair(t, again, 64)
	p.Reset()
	add(&p, dst, src, 0, 64, 1, 0)
	require.NoError(t, again.Submit(&p))
	requireAll(t, again, dst, 64, 1)
}

// TestException: an exception of JavaScript within a call is an error of Go.
func TestException(t *testing.T) {
	d := open(t)
	dst, src := pair(t, d, 64)
	var p driver.Plan
	add(&p, dst, src, 0, 64, 1, 0)
	proto := js.Global().Get("GPUDevice").Get("prototype")
	for name, call := range map[string]func() error{
		"createCommandEncoder": func() error { return d.Submit(&p) },
		"createBuffer":         func() error { _, err := d.NewBuffer("x", true, 1); return err },
	} {
		real := proto.Get(name)
		proto.Set(name, js.Global().Get("Function").New("throw new Error('a fault on purpose')"))
		err := call()
		if err == nil {
			err = d.Wait()
		}
		proto.Set(name, real)
		require.ErrorContains(t, err, "a fault on purpose", name)
		d.Close()
		d = open(t)
		dst, src = pair(t, d, 64)
		p.Reset()
		add(&p, dst, src, 0, 64, 1, 0)
	}
}

// TestRepeatedStep: a step that repeats allocates no memory in Go, makes no
// bind group, and costs the replay loop little.
func TestRepeatedStep(t *testing.T) {
	d := open(t)
	dst, src := pair(t, d, 64)
	var p driver.Plan
	const dispatches = 500
	for range dispatches {
		add(&p, dst, src, 0, 64, 1, 0)
	}
	submit := func() {
		if err := d.Submit(&p); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		submit()
	}
	require.NoError(t, d.Wait())
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	submit() // there is room: nothing waits
	runtime.ReadMemStats(&after)
	require.Zero(t, after.Mallocs-before.Mallocs, "allocations in a repeated submission")

	n0, s0 := d.Replayed()
	start := time.Now()
	const steps = 40
	for range steps {
		submit()
	}
	require.NoError(t, d.Wait())
	n, s := d.Replayed()
	require.Equal(t, steps*dispatches, n-n0)
	each := 1e6 * (s - s0) / float64(n-n0)
	t.Logf("%.3f µs a dispatch in the replay loop; a step of %d takes %.2f ms in all", each, dispatches, 1e3*time.Since(start).Seconds()/steps)
	require.Len(t, d.groups, 1)
	require.Less(t, each, 10.0, "the loop is far from what it should be, whatever else the machine does")
}
