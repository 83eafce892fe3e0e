//go:build js && wasm

package browser

import (
	"errors"
	"runtime"
	"strings"
	"syscall/js"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wgjepa/gpu/internal/driver"
	"wgjepa/gpu/internal/driver/drivertest"
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

func TestContract(t *testing.T) {
	drivertest.Driver{
		Open:   func(t testing.TB) driver.Device { return open(t) },
		Groups: func(d driver.Device) int { return d.(*Device).groups.Len() },
		Long:   chunk + 3,
		Many:   2048 + 10, // driver.js times 2048 at once
	}.Contract(t)
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

// TestCompileAhead: what is compiled beside other work is waited for by what
// needs it, and its mistakes are told then.
func TestCompileAhead(t *testing.T) {
	d := open(t)
	dst, src := drivertest.Pair(t, d, 64)
	good := drivertest.NewProgram(1, "good", strings.Replace(drivertest.AxpyText, "+ p.shift", "+ 2.0 * p.shift", 1))
	bad := drivertest.NewProgram(2, "bad", strings.Replace(drivertest.AxpyText, "p.scale", "p.sclae", 1))
	require.NoError(t, d.CompileAhead([]*driver.Program{good, bad, good}))
	var p driver.Plan
	drivertest.Add(&p, dst, src, 0, 64, 1, 2)
	p.Ops[0].Program = bad
	require.ErrorContains(t, d.Submit(&p), "kernel bad: bad.wgsl:13:")
	p.Ops[0].Program = good
	require.NoError(t, d.Submit(&p))
	drivertest.RequireAll(t, d, dst, 64, 5)
	require.False(t, d.Compiling())
	require.ErrorContains(t, d.CompileAhead([]*driver.Program{drivertest.NewProgram(3, "empty", "")}), "has no text")
	bad.Source = drivertest.AxpyText
	require.NoError(t, d.Compile([]*driver.Program{bad}))
	drivertest.RequireWorks(t, d)
}

// TestReadWhileMemoryMoves: the program's memory grows, and stacks move, while
// a read is under way.
func TestReadWhileMemoryMoves(t *testing.T) {
	d := open(t)
	dst, src := drivertest.Pair(t, d, 1<<16)
	var p driver.Plan
	drivertest.Add(&p, dst, src, 0, 1<<16, 1, 0)
	var kept [][]byte
	for i := range 20 {
		require.NoError(t, d.Submit(&p))
		go func() {
			kept = append(kept, make([]byte, 4<<20))
			runtime.GC()
		}()
		small := []float32{0}
		require.NoError(t, d.Read([]driver.Read{{Buffer: dst, Off: 1<<16 - 1, F32: small}}))
		require.Equal(t, float32(i+1), small[0])
	}
	require.NotEmpty(t, kept)
}

// TestSubmissionError: what WebGPU has against a submission comes back by its
// error scope, with the kernel's name, from a later call at the latest.
func TestSubmissionError(t *testing.T) {
	d := open(t)
	_, src := drivertest.Pair(t, d, 64)
	var p driver.Plan
	drivertest.Add(&p, src, src, 0, 64, 1, 0) // read and read_write in one dispatch
	err := d.Submit(&p)
	if err == nil {
		err = d.Wait()
	}
	require.Error(t, err)
	t.Log(err)
	require.False(t, errors.Is(err, driver.ErrLost))
	require.Error(t, d.Read([]driver.Read{{Buffer: src, F32: make([]float32, 1)}}), "the device forgot its error")
}

// TestLostDevice: every call after the loss says so, none hangs, and another
// device can be opened.
func TestLostDevice(t *testing.T) {
	d := open(t)
	dst, src := drivertest.Pair(t, d, 64)
	var p driver.Plan
	drivertest.Add(&p, dst, src, 0, 64, 1, 0)
	require.NoError(t, d.Submit(&p))
	js.Global().Call("loseDevices")
	require.ErrorIs(t, d.Read([]driver.Read{{Buffer: dst, F32: make([]float32, 64)}}), driver.ErrLost)
	require.ErrorIs(t, d.Submit(&p), driver.ErrLost)
	require.ErrorIs(t, d.Wait(), driver.ErrLost)
	require.ErrorIs(t, d.WriteF32(src, 0, make([]float32, 1)), driver.ErrLost)
	require.ErrorIs(t, d.Compile([]*driver.Program{drivertest.Axpy}), driver.ErrLost)
	_, err := d.NewBuffer("x", true, 1)
	require.ErrorIs(t, err, driver.ErrLost)
	d.Close()
	require.ErrorContains(t, d.Wait(), "closed")

	again := open(t)
	dst, src = drivertest.Pair(t, again, 64)
	p.Reset()
	drivertest.Add(&p, dst, src, 0, 64, 1, 0)
	require.NoError(t, again.Submit(&p))
	drivertest.RequireAll(t, again, dst, 64, 1)
}

// TestException: an exception of JavaScript within a call is an error of Go.
func TestException(t *testing.T) {
	d := open(t)
	dst, src := drivertest.Pair(t, d, 64)
	var p driver.Plan
	drivertest.Add(&p, dst, src, 0, 64, 1, 0)
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
		dst, src = drivertest.Pair(t, d, 64)
		p.Reset()
		drivertest.Add(&p, dst, src, 0, 64, 1, 0)
	}
}

// TestRepeatedStep: a step that repeats allocates no memory in Go, makes no
// bind group, and costs the replay loop little.
func TestRepeatedStep(t *testing.T) {
	d := open(t)
	dst, src := drivertest.Pair(t, d, 64)
	var p driver.Plan
	const dispatches = 500
	for range dispatches {
		drivertest.Add(&p, dst, src, 0, 64, 1, 0)
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
	require.Equal(t, 1, d.groups.Len())
	require.Less(t, each, 10.0, "the loop is far from what it should be, whatever else the machine does")
}
