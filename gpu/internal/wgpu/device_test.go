//go:build cgo && !js

package wgpu

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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
	require.NotEmpty(t, info.Backend)
	require.NotEmpty(t, info.Binding)
	require.GreaterOrEqual(t, info.Limits.BufferSize, uint64(256<<20))
	require.GreaterOrEqual(t, info.Limits.BindingSize, uint64(128<<20))
	require.GreaterOrEqual(t, info.Limits.StorageBuffers, 8)
	require.GreaterOrEqual(t, info.Limits.Workgroups, 65535)
	if strings.Contains(info.Name, "llvmpipe") {
		require.Equal(t, driver.Software, info.Kind)
		require.Positive(t, info.Memory)
	}
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

	const n = chunk/4*5 + 3
	long, err := d.NewBuffer("long", false, n)
	require.NoError(t, err)
	src := make([]uint32, n)
	for i := range src {
		src[i] = uint32(i) * 2654435761
	}
	require.NoError(t, d.WriteU32(long, 0, src))
	back := make([]uint32, n)
	require.NoError(t, d.ReadU32(long, 0, back))
	require.True(t, slices.Equal(src, back), "5 chunks and 3 elements came back different")
}

// TestLongPlan replays more dispatches than one command buffer takes, each
// reading what the one before wrote, each with parameters of its own.
func TestLongPlan(t *testing.T) {
	d := open(t)
	dst, src := pair(t, d, 100)
	var p driver.Plan
	want := float32(0)
	for i := range 3*maxOps + 7 {
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

// TestReadUnderGarbageCollection reads back while small objects come and go
// and the collector runs without pause: a binding that hands the library a
// pointer to memory that nothing keeps finds something else there now and then,
// and dies here. The work before each read outlasts a collection.
func TestReadUnderGarbageCollection(t *testing.T) {
	d := open(t)
	const n, dispatches = 1 << 16, 100
	dst, src := pair(t, d, n)
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
		add(&p, dst, src, 0, n, 1, 0)
	}
	got := make([]float32, 64)
	rounds := 0
	for start := time.Now(); time.Since(start) < 4*time.Second; rounds++ {
		require.NoError(t, d.Submit(&p))
		require.NoError(t, d.ReadF32(dst, n-64, got))
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

// TestReleasedBuffer names a released buffer in every call that takes one: an
// error says so, the process lives, and the device goes on.
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
	add(&p, src, src, 0, 64, 1, 0) // read and read_write in one dispatch
	require.Error(t, d.Submit(&p))
	p.Reset()
	add(&p, dst, src, 0, 64, 1, 0)
	unknown := *axpy
	unknown.ID = 40
	p.Ops[0].Program = &unknown
	require.ErrorContains(t, d.Submit(&p), "axpy was not compiled")
	require.NoError(t, d.Submit(&driver.Plan{}))
	requireAll(t, d, dst, 64, 0)
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

// TestFeatures runs what the adapter says it has beyond the core.
func TestFeatures(t *testing.T) {
	d := open(t)
	for name, c := range map[string]struct {
		text string
		want float32
	}{
		"shader-f16": {"enable f16;\n" + strings.Replace(axpyText, "p.scale * src[id.x]", "f32(f16(p.scale) * f16(src[id.x]))", 1), 1},
		"subgroups":  {strings.Replace(axpyText, "p.scale * src[id.x]", "subgroupMax(p.scale * src[id.x])", 1), 1},
	} {
		if !slices.Contains(d.info.Features, name) {
			t.Logf("%s has no %s", d.info.Name, name)
			continue
		}
		dst, src := pair(t, d, 64)
		variant := program(len(d.pipelines), name, c.text)
		require.NoError(t, d.Compile([]*driver.Program{variant}))
		var p driver.Plan
		add(&p, dst, src, 0, 64, 1, 0)
		p.Ops[0].Program = variant
		require.NoError(t, d.Submit(&p))
		requireAll(t, d, dst, 64, c.want)
	}
}

// TestCompileSideBySide compiles many programs at once; a mistake in one is
// reported of that one.
func TestCompileSideBySide(t *testing.T) {
	d := open(t)
	var programs []*driver.Program
	for i := range 40 {
		text := strings.Replace(axpyText, "+ p.shift", fmt.Sprintf("+ p.shift * %d.0", i), 1)
		programs = append(programs, program(i+1, fmt.Sprintf("variant%d", i), text))
	}
	start := time.Now()
	require.NoError(t, d.Compile(programs))
	t.Logf("40 pipelines in %v", time.Since(start))
	require.NoError(t, d.Compile(programs), "a second time there is nothing to do")

	fresh := open(t)
	programs[23].Source = strings.Replace(programs[23].Source, "p.scale", "p.sclae", 1)
	require.ErrorContains(t, fresh.Compile(programs), "kernel variant23: variant23.wgsl:13")
	require.NoError(t, fresh.Compile(programs[:23]))
	require.NoError(t, fresh.Compile(programs[24:]))
}

func TestAllocationBeyondLimits(t *testing.T) {
	d := open(t)
	before := d.Allocated()
	_, err := d.NewBuffer("huge", true, int(d.info.Limits.BufferSize/4+4))
	require.ErrorIs(t, err, driver.ErrMemory)
	d.info.Memory = 1 << 20
	_, err = d.NewBuffer("more than there is", true, 1<<18+1)
	require.ErrorIs(t, err, driver.ErrMemory)
	require.ErrorContains(t, err, "1048580 bytes on top of 0 in use exceed the 1048576 of")
	require.Equal(t, before, d.Allocated())
	require.NoError(t, d.ready(), "the device survives a refused allocation")
	b, err := d.NewBuffer("fits", true, 1<<18)
	require.NoError(t, err)
	require.Equal(t, before+1<<20, d.Allocated())
	b.Release()
	require.Equal(t, before, d.Allocated())
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
	dst, src := pair(t, d, 256)
	var p driver.Plan
	out := make([]float32, 1)
	step := func(i int) {
		p.Reset()
		for range 40 {
			add(&p, dst, src, 0, 256, 1, 0)
			add(&p, dst, src, 64, 64, 1, 0)
		}
		require.NoError(t, d.Submit(&p))
		if i%10 == 0 {
			require.NoError(t, d.ReadF32(dst, 0, out))
		}
	}
	for i := range 200 {
		step(i)
	}
	groups, allocated := len(d.groups), d.Allocated()
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
	require.Equal(t, groups, len(d.groups))
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

// TestGroupsAreBounded binds more combinations than the cache holds.
func TestGroupsAreBounded(t *testing.T) {
	d := open(t)
	const n = 64
	dst, src := pair(t, d, n*130)
	want := make([]float32, n*130)
	var p driver.Plan
	for i := range 130 {
		for j := 1; j <= 128; j++ {
			add(&p, dst, src, n*i, min(j, n), 1, 0)
			for k := range min(j, n) {
				want[n*i+k]++
			}
		}
		if i%8 == 0 {
			require.NoError(t, d.Submit(&p))
			p.Reset()
		}
	}
	require.NoError(t, d.Submit(&p))
	require.LessOrEqual(t, len(d.groups), maxGroups)
	got := make([]float32, n*130)
	require.NoError(t, d.ReadF32(dst, 0, got))
	require.True(t, slices.Equal(want, got))
	for range maxGroups + 10 {
		b, err := d.NewBuffer("short-lived", true, 64)
		require.NoError(t, err)
		p.Reset()
		add(&p, dst, b, 0, 64, 1, 0)
		if _, err := d.group(axpy, p.Args); err != nil {
			require.NoError(t, err)
		}
		b.Release()
	}
	require.LessOrEqual(t, len(dst.(*buffer).groups), maxGroups, "the long-lived buffer forgets groups of released ones")
}

// TestTwoDevices works on two devices from two goroutines.
func TestTwoDevices(t *testing.T) {
	devices := []*Device{open(t), open(t)}
	errs := make([]error, 2)
	var both sync.WaitGroup
	for i, d := range devices {
		dst, src := pair(t, d, 500)
		both.Go(func() {
			var p driver.Plan
			got := make([]float32, 500)
			for round := range 100 {
				p.Reset()
				add(&p, dst, src, 0, 500, float64(i+1), 0)
				if errs[i] = d.Submit(&p); errs[i] != nil {
					return
				}
				if errs[i] = d.ReadF32(dst, 0, got); errs[i] != nil {
					return
				}
				if want := float32((i + 1) * (round + 1)); got[499] != want {
					errs[i] = fmt.Errorf("device %d, round %d: %g, want %g", i, round, got[499], want)
					return
				}
			}
		})
	}
	both.Wait()
	require.NoError(t, errs[0])
	require.NoError(t, errs[1])
}

// TestCloseWithLiveBuffers closes under queued work and live buffers.
func TestCloseWithLiveBuffers(t *testing.T) {
	d := open(t)
	dst, src := pair(t, d, 10000)
	var p driver.Plan
	for range 300 {
		add(&p, dst, src, 0, 10000, 1, 0)
	}
	require.NoError(t, d.Submit(&p))
	d.Close()
	d.Close()
	require.Zero(t, d.Allocated())
	dst.Release()
	src.Release()
	require.ErrorContains(t, d.Submit(&p), "closed")
	require.ErrorContains(t, d.Wait(), "closed")
	_, err := d.NewBuffer("late", true, 1)
	require.ErrorContains(t, err, "closed")
}

// TestLost: what follows a loss wraps ErrLost and asks the library nothing.
func TestLost(t *testing.T) {
	d := open(t)
	dst, src := pair(t, d, 64)
	var p driver.Plan
	add(&p, dst, src, 0, 64, 1, 0)
	d.lose("pulled out")
	_, err := d.NewBuffer("late", true, 1)
	_, profiled := d.Profile(&p, nil)
	for _, err := range []error{
		err, d.Submit(&p), d.Wait(), d.Compile(nil), d.WriteF32(dst, 0, nil), d.ReadF32(dst, 0, nil), profiled,
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

// TestProfile: the same results as Submit, and a time for each dispatch.
func TestProfile(t *testing.T) {
	d := open(t)
	const n = 1 << 16
	dst, src := pair(t, d, n)
	var p driver.Plan
	for range maxOps + 10 {
		add(&p, dst, src, 0, n, 1, 0)
	}
	calls, total := 0, 0.0
	start := time.Now()
	_, err := d.Profile(&p, func(k *driver.Program, s float64) {
		require.Equal(t, axpy, k)
		require.GreaterOrEqual(t, s, 0.0)
		calls++
		total += s
	})
	require.NoError(t, err)
	wall := time.Since(start).Seconds()
	require.Equal(t, len(p.Ops), calls)
	require.Positive(t, total)
	require.Less(t, total, wall)
	requireAll(t, d, dst, n, float32(len(p.Ops)))
	t.Logf("%d dispatches: %.3g s on the device, %.3g s in all", calls, total, wall)
}

func BenchmarkSubmit(b *testing.B) {
	d := open(b)
	dst, src := pair(b, d, 64)
	var p driver.Plan
	for range 500 {
		add(&p, dst, src, 0, 64, 1, 0)
	}
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, d.Submit(&p))
	}
	require.NoError(b, d.Wait())
}
