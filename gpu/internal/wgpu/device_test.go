//go:build cgo && !js

package wgpu

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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
		Long:   chunk/4*5 + 3,
		Many:   maxOps + 10,
	}.Contract(t)
}

func TestRankPutsSoftwareLast(t *testing.T) {
	var last int
	for i, k := range []driver.Kind{driver.Discrete, driver.Integrated, driver.Virtual, driver.Unknown, driver.Software} {
		r := rank(driver.Info{Kind: k})
		if i > 0 {
			require.Greater(t, r, last)
		}
		last = r
	}
	for _, name := range []string{"llvmpipe (LLVM 15.0.6, 256 bits)", "SwiftShader Device (Subzero)", "Microsoft Basic Render Driver"} {
		require.True(t, software(name), name)
	}
	require.False(t, software("NVIDIA H100"))
}

// TestReadUnderGarbageCollection reads back while small objects come and go
// and the collector runs without pause: a binding that hands the library a
// pointer to memory that nothing keeps finds something else there now and then,
// and dies here. The work before each read outlasts a collection.
func TestReadUnderGarbageCollection(t *testing.T) {
	d := open(t)
	const n, dispatches = 1 << 16, 100
	dst, src := drivertest.Pair(t, d, n)
	var stop atomic.Bool
	var others sync.WaitGroup
	others.Go(func() {
		for !stop.Load() {
			runtime.GC()
		}
	})
	others.Go(func() {
		var kept [1 << 8]*[2]uint64
		for i := 0; !stop.Load(); i++ {
			kept[i%len(kept)] = &[2]uint64{1 << 40, 1 << 40}
		}
	})
	defer others.Wait()
	defer stop.Store(true)
	var p driver.Plan
	for range dispatches {
		drivertest.Add(&p, dst, src, 0, n, 1, 0)
	}
	got := make([]float32, 64)
	rounds := 0
	for start := time.Now(); time.Since(start) < 4*time.Second; rounds++ {
		require.NoError(t, d.Submit(&p))
		require.NoError(t, d.Read([]driver.Read{{Buffer: dst, Off: n - 64, F32: got}}))
		require.Equal(t, float32(dispatches*(rounds+1)), got[63])
	}
	t.Logf("%d submits and reads under %d collections", rounds, gcs())
	require.Positive(t, rounds)
}

func gcs() uint32 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.NumGC
}

// TestMemory: what the adapter's memory cannot hold is refused, and the device
// goes on.
func TestMemory(t *testing.T) {
	d := open(t)
	if d.info.Kind == driver.Software {
		require.Positive(t, d.info.Memory, "that of the machine")
	}
	d.info.Memory = 1 << 20
	_, err := d.NewBuffer("more than there is", true, 1<<18+1)
	require.ErrorIs(t, err, driver.ErrMemory)
	require.ErrorContains(t, err, "1048580 bytes on top of 0 in use exceed the 1048576 of")
	require.Zero(t, d.Allocated())
	require.NoError(t, d.ready(), "the device survives a refused allocation")
	b, err := d.NewBuffer("fits", true, 1<<18)
	require.NoError(t, err)
	require.Equal(t, uint64(1<<20), d.Allocated())
	b.Release()
	require.Zero(t, d.Allocated())
}

// TestRefusedSubmission: what WebGPU has against a submission is that call's
// error, and the device goes on.
func TestRefusedSubmission(t *testing.T) {
	d := open(t)
	_, src := drivertest.Pair(t, d, 64)
	var p driver.Plan
	drivertest.Add(&p, src, src, 0, 64, 1, 0) // read and read_write in one dispatch
	require.Error(t, d.Submit(&p))
	drivertest.RequireWorks(t, d)
}

// child runs one test of this binary in a process of its own, under a shell's
// prefix, and returns what it wrote.
func child(t *testing.T, test, prefix string, env ...string) string {
	t.Helper()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("needs a shell: ", err)
	}
	cmd := exec.Command(sh, "-c", prefix+` exec "$0" "$@"`, os.Args[0], "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(os.Environ(), append(env, "WGPU_TEST_CHILD=1")...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

func isChild() bool { return os.Getenv("WGPU_TEST_CHILD") != "" }

// TestOutOfMemory lets the library itself run out: an error, not an abort, and
// the device goes on.
func TestOutOfMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("bounds the address space by ulimit, which needs Linux")
	}
	if !isChild() {
		if b := open(t).Info().Backend; b != "Vulkan" {
			t.Skip("memory of the backend is given away on first use: ", b)
		}
		require.Contains(t, child(t, "TestOutOfMemory", "ulimit -v 5000000;"), "PASS: TestOutOfMemory")
		return
	}
	d := open(t)
	d.info.Memory = 0 // so that nothing refuses it sooner
	var buffers []driver.Buffer
	b, err := d.NewBuffer("piece", true, 1<<26)
	for ; err == nil; b, err = d.NewBuffer("piece", true, 1<<26) {
		buffers = append(buffers, b)
	}
	t.Log(err)
	require.ErrorIs(t, err, driver.ErrMemory)
	require.NotEmpty(t, buffers)
	for _, b := range buffers {
		b.Release()
	}
	require.Zero(t, d.Allocated())
	require.NoError(t, d.Wait())
	_, err = d.NewBuffer("again", true, 1<<26)
	require.NoError(t, err, "released memory can be had again")
}

// TestNoDriver lists adapters where neither Vulkan nor GL has a driver.
func TestNoDriver(t *testing.T) {
	if !isChild() {
		const nothing = "/nonexistent"
		out := child(t, "TestNoDriver", "", "VK_ICD_FILENAMES="+nothing, "VK_DRIVER_FILES="+nothing,
			"__EGL_VENDOR_LIBRARY_FILENAMES="+nothing, "LIBGL_DRIVERS_PATH="+nothing)
		require.Contains(t, out, "PASS: TestNoDriver")
		return
	}
	for _, a := range Adapters() {
		require.NotEqual(t, "Vulkan", a.Backend)
		t.Log(a)
	}
}

// TestManySubmits: the step loop allocates next to nothing and keeps nothing.
func TestManySubmits(t *testing.T) {
	d := open(t)
	dst, src := drivertest.Pair(t, d, 256)
	var p driver.Plan
	out := make([]float32, 1)
	step := func(i int) {
		p.Reset()
		for range 40 {
			drivertest.Add(&p, dst, src, 0, 256, 1, 0)
			drivertest.Add(&p, dst, src, 64, 64, 1, 0)
		}
		require.NoError(t, d.Submit(&p))
		if i%10 == 0 {
			require.NoError(t, d.Read([]driver.Read{{Buffer: dst, F32: out}}))
		}
	}
	for i := range 200 {
		step(i)
	}
	groups, allocated := d.groups.Len(), d.Allocated()
	require.Equal(t, 2, groups)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	resident := residentSize(t)
	const steps = 2000
	for i := range steps {
		step(i)
	}
	require.NoError(t, d.Wait())
	grown := residentSize(t) - resident
	runtime.GC()
	runtime.ReadMemStats(&after)
	t.Logf("%d submits of 80 dispatches: %.1f allocations and %.0f bytes a submit, heap %+d bytes, process %+d KiB",
		steps, float64(after.Mallocs-before.Mallocs)/steps, float64(after.TotalAlloc-before.TotalAlloc)/steps,
		int64(after.HeapAlloc)-int64(before.HeapAlloc), grown>>10)
	require.Equal(t, groups, d.groups.Len())
	require.Equal(t, allocated, d.Allocated())
	require.Less(t, float64(after.Mallocs-before.Mallocs)/steps, 40.0, "allocations must not grow with the dispatches")
	require.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(256<<10))
	require.Less(t, grown, int64(24<<20))
}

// residentSize is the memory of the process in bytes, 0 where nobody tells.
func residentSize(t *testing.T) int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	require.NoError(t, err)
	return pages * int64(os.Getpagesize())
}

// TestLost: what follows a loss wraps ErrLost and asks the library nothing.
func TestLost(t *testing.T) {
	d := open(t)
	dst, src := drivertest.Pair(t, d, 64)
	var p driver.Plan
	drivertest.Add(&p, dst, src, 0, 64, 1, 0)
	d.lose("pulled out")
	_, err := d.NewBuffer("late", true, 1)
	_, profiled := d.Profile(&p, nil)
	for _, err := range []error{
		err, d.Submit(&p), d.Wait(), d.Compile(nil), d.WriteF32(dst, 0, nil), d.Read([]driver.Read{{Buffer: dst}}), profiled,
	} {
		require.ErrorIs(t, err, driver.ErrLost)
		require.ErrorContains(t, err, "pulled out")
	}
	d.lost.Store(nil)

	// What the library says of a loss or of memory that ran out in the middle
	// of work counts as a loss from then on.
	for text, want := range map[string]error{"Parent device is lost": driver.ErrLost, "Not enough memory left.": driver.ErrMemory} {
		require.ErrorIs(t, d.fatal(errors.New("Validation Error\n\nCaused by:\n  In wgpuQueueWriteBuffer\n    "+text)), want)
		require.ErrorIs(t, d.Wait(), driver.ErrLost)
		require.ErrorContains(t, d.Wait(), text)
		d.lost.Store(nil)
	}
	require.NoError(t, d.Submit(&p))
}

// TestProfileTimes: the times of dispatches add up to less than all took.
func TestProfileTimes(t *testing.T) {
	d := open(t)
	const n = 1 << 16
	dst, src := drivertest.Pair(t, d, n)
	var p driver.Plan
	for range maxOps + 10 {
		drivertest.Add(&p, dst, src, 0, n, 1, 0)
	}
	total := 0.0
	start := time.Now()
	_, err := d.Profile(&p, func(_ *driver.Program, s float64) { total += s })
	require.NoError(t, err)
	wall := time.Since(start).Seconds()
	require.Positive(t, total)
	require.Less(t, total, wall)
	t.Logf("%d dispatches: %.3g s on the device, %.3g s in all", len(p.Ops), total, wall)
}

func BenchmarkSubmit(b *testing.B) {
	d := open(b)
	dst, src := drivertest.Pair(b, d, 64)
	var p driver.Plan
	for range 500 {
		drivertest.Add(&p, dst, src, 0, 64, 1, 0)
	}
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, d.Submit(&p))
	}
	require.NoError(b, d.Wait())
}
