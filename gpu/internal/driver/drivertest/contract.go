package drivertest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wgjepa/gpu/internal/driver"
)

// Driver is a driver under test.
type Driver struct {
	Open   func(t testing.TB) driver.Device // the first adapter, or skips and says why
	Groups func(d driver.Device) int        // bind groups in the device's cache
	Long   int                              // elements that cross in several pieces
	Many   int                              // dispatches that Profile times in several pieces
}

// Contract tests all that drivers share.
func (dr Driver) Contract(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"Info", dr.info},
		{"RoundTrip", dr.roundTrip},
		{"LongPlan", dr.longPlan},
		{"WritesAreOrdered", dr.writesAreOrdered},
		{"ReleasedBuffer", dr.releasedBuffer},
		{"Refusals", dr.refusals},
		{"ShaderErrors", dr.shaderErrors},
		{"CompileSideBySide", dr.compileSideBySide},
		{"Features", dr.features},
		{"Profile", dr.profile},
		{"Memory", dr.memory},
		{"GroupsAreBounded", dr.groupsAreBounded},
		{"TwoDevices", dr.twoDevices},
		{"CloseWithLiveBuffers", dr.closeWithLiveBuffers},
	} {
		t.Run(test.name, test.run)
	}
}

func (dr Driver) info(t *testing.T) {
	info := dr.Open(t).Info()
	t.Logf("%+v", info)
	require.NotEmpty(t, info.Name)
	require.NotEmpty(t, info.Backend)
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

// roundTrip moves values of all three kinds at offsets, and more than crosses
// at once.
func (dr Driver) roundTrip(t *testing.T) {
	d := dr.Open(t)
	b, err := d.NewBuffer("x", true, 100)
	require.NoError(t, err)
	RequireAll(t, d, b, 100, 0)
	require.NoError(t, d.WriteF64(b, 64, []float64{0.1, math.Inf(1), -0}))
	f := make([]float64, 3)
	require.NoError(t, d.Read([]driver.Read{{Buffer: b, Off: 64, F64: f}}))
	require.Equal(t, []float64{float64(float32(0.1)), math.Inf(1), 0}, f)
	u, err := d.NewBuffer("u", false, 5)
	require.NoError(t, err)
	require.NoError(t, d.WriteU32(u, 1, []uint32{7, math.MaxUint32}))
	got := make([]uint32, 5)
	require.NoError(t, d.Read([]driver.Read{{Buffer: u, U32: got}}))
	require.Equal(t, []uint32{0, 7, math.MaxUint32, 0, 0}, got)
	require.NoError(t, d.Read([]driver.Read{{Buffer: u}}))
	require.NoError(t, d.WriteU32(u, 0, nil))

	// Several at once, the same buffer twice, nothing, and all three kinds.
	require.NoError(t, d.WriteF32(b, 10, []float32{1, 2, 3}))
	few, wide, none := make([]float32, 2), make([]float64, 4), []uint32{}
	require.NoError(t, d.Read([]driver.Read{{Buffer: b, Off: 11, F32: few}, {Buffer: u, Off: 5, U32: none}, {Buffer: u, Off: 1, U32: got[:1]}, {Buffer: b, Off: 9, F64: wide}}))
	require.Equal(t, []float32{2, 3}, few)
	require.Equal(t, []float64{0, 1, 2, 3}, wide)
	require.Equal(t, []uint32{7, 7}, got[:2])
	require.NoError(t, d.Read(nil))

	long, err := d.NewBuffer("long", false, dr.Long)
	require.NoError(t, err)
	src := make([]uint32, dr.Long)
	for i := range src {
		src[i] = uint32(i) * 2654435761
	}
	require.NoError(t, d.WriteU32(long, 0, src))
	back, wider := make([]uint32, dr.Long), make([]float64, 100)
	require.NoError(t, d.Read([]driver.Read{{Buffer: b, F64: wider[:50]}, {Buffer: long, U32: back}, {Buffer: b, Off: 50, F64: wider[50:]}}))
	require.True(t, slices.Equal(src, back), "%d elements came back different", dr.Long)
	require.Equal(t, []float64{1, 2, 3}, wider[10:13])
	require.Equal(t, []float64{float64(float32(0.1)), math.Inf(1), 0}, wider[64:67])
	long.Release()
	require.Equal(t, uint64(4*105), d.Allocated())
}

// longPlan replays more dispatches than one command buffer takes, each reading
// what the one before wrote, each with parameters of its own; the uniform buffer
// has to grow for them.
func (dr Driver) longPlan(t *testing.T) {
	d := dr.Open(t)
	dst, src := Pair(t, d, 100)
	var p driver.Plan
	Add(&p, dst, src, 0, 100, 1, 0)
	require.NoError(t, d.Submit(&p))
	p.Reset()
	want := float32(1)
	for i := range 5000 {
		Add(&p, dst, src, 0, 100, float64(i%3), 0.5)
		want += float32(i%3) + 0.5
	}
	require.NoError(t, d.Submit(&p))
	RequireAll(t, d, dst, 100, want)
	require.Equal(t, 1, dr.Groups(d))
}

// writesAreOrdered: a write takes effect after earlier submits and before later
// ones.
func (dr Driver) writesAreOrdered(t *testing.T) {
	d := dr.Open(t)
	dst, src := Pair(t, d, 64)
	var p driver.Plan
	Add(&p, dst, src, 0, 64, 1, 0)
	sum := float32(0)
	for i := range 50 {
		require.NoError(t, d.WriteF32(src, 0, slices.Repeat([]float32{float32(i)}, 64)))
		require.NoError(t, d.Submit(&p))
		sum += float32(i)
	}
	RequireAll(t, d, dst, 64, sum)
}

// releasedBuffer names a released buffer in every call that takes one: an error
// says so, and the device goes on.
func (dr Driver) releasedBuffer(t *testing.T) {
	d := dr.Open(t)
	dst, src := Pair(t, d, 64)
	var p driver.Plan
	Add(&p, dst, src, 0, 64, 1, 0)
	require.NoError(t, d.Submit(&p))
	src.Release()
	src.Release()
	require.ErrorContains(t, d.Submit(&p), "src was released")
	require.ErrorContains(t, d.WriteF32(src, 0, make([]float32, 1)), "src was released")
	require.ErrorContains(t, d.Read([]driver.Read{{Buffer: src, F32: make([]float32, 1)}}), "src was released")
	require.Zero(t, dr.Groups(d), "a bind group outlived its buffer")
	RequireAll(t, d, dst, 64, 1)
	// Its handle may be given to another buffer; its bind groups must not.
	again, err := d.NewBuffer("again", true, 64)
	require.NoError(t, err)
	p.Reset()
	Add(&p, dst, again, 0, 64, 1, 2)
	require.NoError(t, d.Submit(&p))
	RequireAll(t, d, dst, 64, 3)
}

func (dr Driver) refusals(t *testing.T) {
	d, other := dr.Open(t), dr.Open(t)
	dst, src := Pair(t, d, 64)
	foreign, err := other.NewBuffer("foreign", true, 64)
	require.NoError(t, err)
	var p driver.Plan
	Add(&p, dst, foreign, 0, 64, 1, 0)
	require.ErrorContains(t, d.Submit(&p), "another device")
	p.Reset()
	Add(&p, dst, src, 0, 65, 1, 0)
	require.ErrorContains(t, d.Submit(&p), "outside of src, which has 64")
	require.ErrorContains(t, d.Read([]driver.Read{{Buffer: src, Off: 60, F32: make([]float32, 5)}}), "outside of src")
	p.Reset()
	Add(&p, dst, src, 0, 64, 1, 0)
	unknown := *Axpy
	unknown.ID = 40
	p.Ops[0].Program = &unknown
	require.ErrorContains(t, d.Submit(&p), "axpy was not compiled")
	require.NoError(t, d.Submit(&driver.Plan{}))
	RequireAll(t, d, dst, 64, 0)
}

// shaderErrors: a compiler's message comes with the kernel's name, the place in
// the kernel's file or in one that it includes, and the line.
func (dr Driver) shaderErrors(t *testing.T) {
	d := dr.Open(t)
	for name, c := range map[string]struct{ old, new, place, line string }{
		"syntax":  {"return; }", "return }", "syntax.wgsl:12:29", "if (id.x >= p.n) { return }"},
		"unknown": {"p.scale * src", "p.scale * scr", "unknown.wgsl:13:37", "dst[id.x] = dst[id.x] + p.scale * scr[id.x] + p.shift;"},
		"types":   {"+ p.shift", "+ p.n", "types.wgsl:13", "dst[id.x] = dst[id.x] + p.scale * src[id.x] + p.n;"},
		"entry":   {"fn main", "fn start", "entry.wgsl", "main"},
		"size":    {"size(64)", "size(4096)", "size.wgsl", "4096"},
	} {
		err := d.Compile([]*driver.Program{NewProgram(1, name, strings.Replace(AxpyText, c.old, c.new, 1))})
		require.ErrorContains(t, err, "kernel "+name+": "+c.place)
		require.ErrorContains(t, err, c.line)
		t.Log(err)
	}
	shared := strings.Replace(AxpyText, "p.scale * src[id.x]", "scaled(src[id.x])", 1) +
		"//#file shared/scaled.wgsl\n// scaled: v times scale.\nfn scaled(v: f32) -> f32 { return w * p.scale; }\n"
	err := d.Compile([]*driver.Program{NewProgram(1, "including", shared)})
	require.ErrorContains(t, err, "kernel including: shared/scaled.wgsl:2:35: ")
	require.ErrorContains(t, err, "fn scaled(v: f32) -> f32 { return w * p.scale; }")
	t.Log(err)
	require.ErrorContains(t, d.Compile([]*driver.Program{NewProgram(1, "empty", " \n")}), "kernel empty (empty.wgsl) has no text")
	RequireWorks(t, d)
}

// compileSideBySide compiles many programs at once; a mistake in one is
// reported of that one and leaves the others to be compiled.
func (dr Driver) compileSideBySide(t *testing.T) {
	d := dr.Open(t)
	var programs []*driver.Program
	for i := range 40 {
		text := strings.Replace(AxpyText, "+ p.shift", fmt.Sprintf("+ p.shift * %d.0", i), 1)
		programs = append(programs, NewProgram(i+1, fmt.Sprintf("variant%d", i), text))
	}
	programs[23].Source = strings.Replace(programs[23].Source, "p.scale", "p.sclae", 1)
	require.ErrorContains(t, d.Compile(programs), "kernel variant23: variant23.wgsl:13:")
	require.NoError(t, d.Compile(programs[:23]))
	programs[23].Source = strings.Replace(programs[23].Source, "p.sclae", "p.scale", 1)
	start := time.Now()
	require.NoError(t, d.Compile(programs))
	t.Logf("%d pipelines in %v", len(programs[23:]), time.Since(start))
	require.NoError(t, d.Compile(append(programs, programs...)), "a second time there is nothing to do")
	dst, src := Pair(t, d, 64)
	var p driver.Plan
	Add(&p, dst, src, 0, 64, 1, 2)
	p.Ops[0].Program = programs[7]
	require.NoError(t, d.Submit(&p))
	RequireAll(t, d, dst, 64, 15)
}

// features runs what the adapter says it has beyond the core.
func (dr Driver) features(t *testing.T) {
	d := dr.Open(t)
	for i, c := range []struct{ name, text string }{
		{"shader-f16", "enable f16;\n" + strings.Replace(AxpyText, "p.scale * src[id.x]", "f32(f16(p.scale) * f16(src[id.x]))", 1)},
		// Browsers refuse it behind a return that only some invocations take.
		{"subgroups", strings.NewReplacer("  if", "  let scale = subgroupMax(p.scale); if", "p.scale", "scale").Replace(AxpyText)},
	} {
		if !slices.Contains(d.Info().Features, c.name) {
			t.Logf("%s has no %s", d.Info().Name, c.name)
			continue
		}
		dst, src := Pair(t, d, 64)
		variant := NewProgram(i+1, c.name, c.text)
		require.NoError(t, d.Compile([]*driver.Program{variant}))
		var p driver.Plan
		Add(&p, dst, src, 0, 64, 1, 0)
		p.Ops[0].Program = variant
		require.NoError(t, d.Submit(&p))
		RequireAll(t, d, dst, 64, 1)
	}
}

// profile: the same results as Submit, and a time for each dispatch in order.
func (dr Driver) profile(t *testing.T) {
	d := dr.Open(t)
	dst, src := Pair(t, d, 64)
	var p driver.Plan
	for range dr.Many {
		Add(&p, dst, src, 0, 64, 1, 0)
	}
	n := 0
	stamped, err := d.(driver.Profiler).Profile(&p, func(k *driver.Program, s float64) {
		require.Equal(t, Axpy, k)
		require.GreaterOrEqual(t, s, 0.0)
		n++
	})
	require.NoError(t, err)
	require.Equal(t, dr.Many, n)
	if stamped {
		require.Contains(t, d.Info().Features, "timestamp-query")
	}
	RequireAll(t, d, dst, 64, float32(dr.Many))
	_, err = d.(driver.Profiler).Profile(&driver.Plan{}, nil)
	require.NoError(t, err)
}

// memory: an allocation beyond the device's limit is an error of memory and
// leaves the device usable.
func (dr Driver) memory(t *testing.T) {
	d := dr.Open(t)
	before := d.Allocated()
	_, err := d.NewBuffer("huge", true, int(min(d.Info().Limits.BufferSize/4+1024, 1<<50)))
	require.ErrorIs(t, err, driver.ErrMemory)
	require.Equal(t, before, d.Allocated())
	RequireWorks(t, d)
	require.Equal(t, before, d.Allocated())
}

// groupsAreBounded binds more ranges than the cache holds bind groups. It is full in
// the middle of a plan, all of whose groups must last.
func (dr Driver) groupsAreBounded(t *testing.T) {
	d := dr.Open(t)
	const n, starts = 64, 260
	dst, src := Pair(t, d, n*starts)
	want := make([]float32, n*starts)
	var p driver.Plan
	most := 0
	for i := range starts {
		for j := 1; j <= n; j++ {
			Add(&p, dst, src, n*i, j, 1, 0)
			for k := range j {
				want[n*i+k]++
			}
		}
		if i%7 == 6 || i == starts-1 {
			require.NoError(t, d.Submit(&p))
			p.Reset()
			most = max(most, dr.Groups(d))
		}
	}
	require.Greater(t, most, n*starts/2, "groups are kept")
	require.Less(t, most, n*starts, "not all of them")
	got := make([]float32, n*starts)
	require.NoError(t, d.Read([]driver.Read{{Buffer: dst, F32: got}}))
	require.True(t, slices.Equal(want, got))
}

// twoDevices works on two devices from two goroutines.
func (dr Driver) twoDevices(t *testing.T) {
	devices := []driver.Device{dr.Open(t), dr.Open(t)}
	errs := make([]error, len(devices))
	var both sync.WaitGroup
	for i, d := range devices {
		dst, src := Pair(t, d, 500)
		both.Go(func() {
			var p driver.Plan
			got := make([]float32, 500)
			for round := range 100 {
				p.Reset()
				Add(&p, dst, src, 0, 500, float64(i+1), 0)
				if errs[i] = d.Submit(&p); errs[i] != nil {
					return
				}
				if errs[i] = d.Read([]driver.Read{{Buffer: dst, F32: got}}); errs[i] != nil {
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
	for _, err := range errs {
		require.NoError(t, err)
	}
}

// closeWithLiveBuffers closes under queued work and live buffers.
func (dr Driver) closeWithLiveBuffers(t *testing.T) {
	d := dr.Open(t)
	dst, src := Pair(t, d, 10000)
	var p driver.Plan
	for range 300 {
		Add(&p, dst, src, 0, 10000, 1, 0)
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
