package gpu

import (
	"math"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/gpu/internal/driver"
	"wgjepa/internal/ref"
	"wgjepa/wgsl"
)

// TestAdapters says what the tests of this package run on.
func TestAdapters(t *testing.T) {
	list := Adapters()
	for i, a := range list {
		require.Equal(t, i, a.Index)
		t.Logf("%d: %s (%s, %s, %s)", i, a.Name, a.Kind, a.Backend, a.Driver)
	}
	require.Equal(t, Twins, list[len(list)-1].Kind)
	if d, err := Open(""); err != nil {
		t.Logf("kernels are not tested here: %v", err)
	} else {
		t.Logf("kernels are tested on: %s (%s)", d.Info().Name, d.Info().Kind)
		d.Close()
	}
}

func TestChoose(t *testing.T) {
	list := []Info{
		{Index: 0, Name: "Radeon RX 7900", Kind: Discrete, Backend: "Vulkan"},
		{Index: 1, Name: "Radeon Graphics", Kind: Integrated, Backend: "Vulkan"},
		{Index: 2, Name: "llvmpipe", Kind: Software, Backend: "Vulkan"},
		{Index: 3, Name: "plain Go", Kind: Twins, Backend: "Go"},
	}
	for choice, want := range map[string]int{"": 0, "0": 0, "2": 2, "3": 3, "LLVM": 2, "rx": 0, "graphics": 1} {
		got, err := choose(list, choice)
		require.NoError(t, err, choice)
		require.Equal(t, want, got.Index, choice)
	}
	for choice, want := range map[string]string{
		"4":      "there is no adapter 4",
		"-1":     "there is no adapter -1",
		"radeon": `"radeon" fits 2 adapters, choose by number`,
		"geforc": `no adapter is called "geforc"`,
		"plain":  `no adapter is called "plain"`, // the twins must be asked for as cpu
	} {
		_, err := choose(list, choice)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "Radeon Graphics (integrated GPU, Vulkan)", "the message lists what there is")
	}
	// Where there is no GPU interface, an empty choice never takes the twins.
	_, err := choose(list[3:], "")
	require.ErrorContains(t, err, "mesa-vulkan-drivers")
	require.ErrorContains(t, err, "cpu")
}

func TestOpenCPU(t *testing.T) {
	d := host(t)
	require.Equal(t, Twins, d.Info().Kind)
	_, err := Open("no such adapter")
	require.ErrorContains(t, err, `no adapter is called "no such adapter"`)
}

func TestSnake(t *testing.T) {
	for name, want := range map[string]string{
		"N": "n", "RowStride": "row_stride", "LR": "lr", "HeadDim": "head_dim", "Beta1": "beta1", "LastK": "last_k", "M1Row": "m1_row",
	} {
		require.Equal(t, want, snake(name))
	}
}

// TestRegisterRefuses: a launcher that disagrees with its shader cannot start.
func TestRegisterRefuses(t *testing.T) {
	before := len(kernels)
	defer func() { require.Len(t, kernels, before, "a refused kernel is not registered") }()
	try := func(want string, f func()) {
		t.Helper()
		defer func() {
			t.Helper()
			require.Contains(t, recover(), want)
		}()
		f()
	}
	try("no shader absent.wgsl", func() {
		register("k", "absent.wgsl", nil, "dst", func(ref.FillParams, []ref.Buffer) {})
	})
	try("fill.wgsl does not use TILE", func() {
		register("k", "fill.wgsl", wgsl.Defines{"TILE": "4"}, "dst", func(ref.FillParams, []ref.Buffer) {})
	})
	try(`bindings of fill.wgsl are "dst", the launcher gives "dst src"`, func() {
		register("k", "fill.wgsl", nil, "dst src", func(ref.FillParams, []ref.Buffer) {})
	})
	type renamed struct {
		N    uint32
		Fill float64
	}
	try("Params of fill.wgsl are [{n false} {value true}], those of renamed are [{n false} {fill true}]", func() {
		register("k", "fill.wgsl", nil, "dst", func(renamed, []ref.Buffer) {})
	})
	type swapped struct {
		Value float64
		N     uint32
	}
	try("those of swapped", func() {
		register("k", "fill.wgsl", nil, "dst", func(swapped, []ref.Buffer) {})
	})
	type retyped struct{ N, Value uint32 }
	try("those of retyped", func() {
		register("k", "fill.wgsl", nil, "dst", func(retyped, []ref.Buffer) {})
	})
	type short struct{ N uint32 }
	try("those of short", func() {
		register("k", "fill.wgsl", nil, "dst", func(short, []ref.Buffer) {})
	})
	type signed struct{ N int32 }
	try("parameter N is neither uint32 nor float64", func() {
		register("k", "fill.wgsl", nil, "dst", func(signed, []ref.Buffer) {})
	})
}

// TestKernelsFitTheCore: every kernel keeps to WebGPU's default limits, so
// that it runs wherever WebGPU does, and has a name of its own.
func TestKernelsFitTheCore(t *testing.T) {
	require.NotEmpty(t, kernels)
	names := map[string]bool{}
	for i, k := range kernels {
		p := k.program
		require.Equal(t, i, p.ID)
		require.False(t, names[p.Name], "two kernels are called %s", p.Name)
		names[p.Name] = true
		require.LessOrEqual(t, len(p.Layout.Bindings), 8, "%s: storage buffers", p.Name)
		w := p.Layout.Workgroup
		require.LessOrEqual(t, w[0]*w[1]*w[2], 256, "%s: invocations", p.Name)
		require.LessOrEqual(t, max(w[0], w[1]), 256, "%s: invocations along an axis", p.Name)
		require.LessOrEqual(t, w[2], 64, "%s: invocations along z", p.Name)
		require.NotEmpty(t, p.Layout.Params, "%s: a uniform buffer cannot be empty", p.Name)
		require.LessOrEqual(t, workgroupMemory(t, p.Source), 16<<10, "%s: bytes of workgroup memory", p.Name)
	}
}

var workgroupRE = regexp.MustCompile(`var<workgroup> \w+: array<(f32|u32|atomic<u32>|vec[24]<f32>), (\d+)>;`)

// workgroupMemory adds up what a shader declares, in bytes.
func workgroupMemory(t *testing.T, source string) int {
	found := workgroupRE.FindAllStringSubmatch(source, -1)
	require.Len(t, found, strings.Count(source, "var<workgroup>"), "a declaration of another form")
	bytes := 0
	for _, m := range found {
		n, err := strconv.Atoi(m[2])
		require.NoError(t, err)
		bytes += n * map[string]int{"f32": 4, "u32": 4, "atomic<u32>": 4, "vec2<f32>": 8, "vec4<f32>": 16}[m[1]]
	}
	return bytes
}

// TestEveryShaderIsRegistered: a shader without a kernel would go untested.
func TestEveryShaderIsRegistered(t *testing.T) {
	registered := map[string]bool{}
	for _, k := range kernels {
		registered[k.program.File] = true
	}
	for _, file := range wgsl.Files() {
		require.True(t, registered[file], "no kernel is made of wgsl/%s", file)
	}
}

func TestLaunchRefuses(t *testing.T) {
	d := host(t)
	x, n := d.Tensor("x", 64), d.Indices("n", 64)
	e := d.Begin()
	p := ref.FillParams{N: 64}
	one := [3]int{1, 1, 1}
	require.PanicsWithValue(t, "gpu: fill takes 1 tensors, not 2", func() { launch(e, fill, one, p, x, x) })
	require.PanicsWithValue(t, "gpu: fill: dst is [64] of the wrong kind", func() { launch(e, fill, one, p, n) })
	require.PanicsWithValue(t, "gpu: fill: dst is none of the wrong kind", func() { launch(e, fill, one, p, Tensor{}) })
	require.Empty(t, e.plan.Ops, "a refused launch records nothing")
	launch(e, fill, [3]int{0, 1, 1}, p, x)
	require.Empty(t, e.plan.Ops, "nothing to do is not recorded")
}

// A binding beyond the limit is the caller's size, not a bug: an error that stays.
func TestBindingLimit(t *testing.T) {
	d := Estimate(Info{Name: "small", Kind: Discrete, Limits: Limits{BufferSize: 1 << 20, BindingSize: 256, Workgroups: 65535}})
	x, y := d.Tensor("x", 1, 65, 1), d.Tensor("y", 1, 1)
	e := d.Begin()
	e.MeanPool(y, x)
	err := e.Submit()
	require.ErrorContains(t, err, "mean_pool: x [1 65 1] takes 260 bytes, small binds at most 256 at once")
	require.Equal(t, err, d.Err())
}

// What kernels count in 32 bits no device may bind more of, whatever it says.
func TestBindingsAreCounted(t *testing.T) {
	d := Estimate(Info{Name: "vast", Limits: Limits{BufferSize: 1 << 50, BindingSize: 1 << 50, Workgroups: 1 << 20}})
	x, y := d.Tensor("x", 1, 1<<31, 2), d.Tensor("y", 1, 2)
	e := d.Begin()
	e.Fill(x, 1)
	require.NoError(t, e.d.Err(), "in two pieces")
	require.Len(t, e.plan.Ops, 2)
	e.MeanPool(y, x)
	require.ErrorContains(t, e.Submit(), "vast binds at most 8589934592 at once")
}

// So is a dispatch: a batch of many samples is the user's.
func TestWorkgroupLimit(t *testing.T) {
	d := Estimate(Info{Name: "small", Limits: Limits{BufferSize: 1 << 20, BindingSize: 1 << 20, Workgroups: 10}})
	src, dst := d.Tensor("src", 11, 2, 4), d.Tensor("dst", 11, 1, 4)
	e := d.Begin()
	e.WindowGrad(src, dst, 0)
	require.Empty(t, e.plan.Ops, "a refused launch records nothing")
	require.ErrorContains(t, e.Submit(), "gpu: window_grad_vec4: [1 1 11] workgroups, small takes 10 an axis")
}

func TestGroups(t *testing.T) {
	e := Estimate(Info{Limits: Limits{Workgroups: 100}}).Begin()
	for _, n := range []int{1, 99, 100, 101, 199, 201, 9901, 10000} {
		g := e.groups1(n)
		require.GreaterOrEqual(t, g[0]*g[1], n)
		require.Less(t, g[0]*g[1], n+g[1], "no whole row of workgroups is idle")
		require.LessOrEqual(t, max(g[0], g[1]), 100)
		require.Equal(t, 1, g[2])
	}
}

// A repeated step allocates nothing: neither Go memory nor the device's.
func TestRecordingDoesNotAllocate(t *testing.T) {
	d := host(t)
	x, y := d.Tensor("x", 16, 64), d.Tensor("y", 1000)
	length := 0
	step := func() {
		length = length%16 + 1
		e := d.Begin()
		e.Fill(x.Reshape(length, 64), 1)
		e.Fill(y, 2)
		e.Fill(x.Slice(64, 64), 3)
		if err := e.Submit(); err != nil {
			t.Fatal(err)
		}
	}
	step()
	before := d.Allocated()
	require.Zero(t, testing.AllocsPerRun(100, step))
	require.Equal(t, before, d.Allocated())
}

// Begin forgets what was recorded and not submitted.
func TestBeginEmpties(t *testing.T) {
	d := host(t)
	x := d.Tensor("x", 4)
	d.Begin().Fill(x, 1)
	e := d.Begin()
	require.Same(t, d, e.Device())
	require.NoError(t, e.Submit())
	got := make([]float32, 4)
	require.NoError(t, d.Read(x, got))
	require.Equal(t, make([]float32, 4), got)
}

// Later launches see what earlier ones wrote, and writes come before the next submit.
func TestOrder(t *testing.T) {
	for name, open := range map[string]func(testing.TB) *Device{"cpu": host, "gpu": device} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			x := d.Tensor("x", 200)
			d.Write(x, []float32{9, 9})
			e := d.Begin()
			e.Fill(x, 1)
			e.Fill(x.Slice(64, 64), 2)
			e.Fill(x.Slice(64, 64).Reshape(3), 3)
			require.NoError(t, e.Submit())
			d.Write(x.Slice(128, 72), []float32{7})
			got := make([]float32, 200)
			require.NoError(t, d.Read(x, got))
			want := make([]float32, 200)
			for i := range want {
				switch {
				case i < 64 || i > 128:
					want[i] = 1
				case i < 67:
					want[i] = 3
				case i < 128:
					want[i] = 2
				default:
					want[i] = 7
				}
			}
			require.Equal(t, want, got)
		})
	}
}

// Estimate counts what the device itself would allocate.
func TestEstimateCountsAsTheDevice(t *testing.T) {
	d := host(t)
	dry := Estimate(d.Info())
	for _, d := range []*Device{d, dry} {
		d.Tensor("x", 3, 5, 7)
		d.Indices("n", 11)
		d.Tensor("empty", 0)
		d.Release(d.Tensor("released", 100))
		d.Scope(func() { d.Indices("scoped", 100) })
		d.none(true)
		d.none(false)
		d.none(true)
		d.scratch("s", 10)
		d.scratch("s", 5)
		d.scratch("s", 1000) // the outgrown one goes with the next submit
		require.NoError(t, d.Begin().Submit())
	}
	require.Equal(t, d.Allocated(), dry.Allocated())
	require.Equal(t, uint64(8*(105+1+64+1000)+4*(11+64)), d.Allocated())

	// On a GPU every element has 4 bytes.
	gpu := Estimate(Info{Kind: Discrete, Limits: Limits{BufferSize: 1 << 20}})
	gpu.Tensor("x", 3, 5)
	gpu.Indices("n", 10)
	require.Equal(t, uint64(100), gpu.Allocated())
}

func TestScratch(t *testing.T) {
	d := host(t)
	a := d.scratch("s", 100)
	require.Equal(t, a, d.scratch("s", 10), "a smaller need takes the same memory")
	require.NotEqual(t, a.buf, d.scratch("other", 100).buf)
	e := d.Begin()
	e.Fill(a, 1)
	b := d.scratch("s", 200)
	require.NotEqual(t, a.buf, b.buf)
	require.NoError(t, e.Submit(), "what was recorded with the outgrown scratch still runs")
	require.Nil(t, a.buf.handle, "and then it is released")
	d.Scope(func() { d.scratch("in a scope", 10) })
	require.NotNil(t, d.scratch("in a scope", 10).buf.handle, "a scope leaves scratch alone")
}

// The first failure stays, everything after it is quiet and returns it.
func TestErrorsStay(t *testing.T) {
	d := Estimate(Info{Name: "small", Limits: Limits{BufferSize: 1024, BindingSize: 1024, Workgroups: 65535}})
	good := d.Tensor("good", 256)
	require.NoError(t, d.Err())
	x := d.Tensor("x", 257)
	err := d.Err()
	require.ErrorIs(t, err, ErrMemory)
	require.ErrorContains(t, err, "x [257] needs 1028 bytes, small holds at most 1024 in one buffer")
	require.Equal(t, "[257]", x.String(), "the shape is there all the same, so that callers need not look")

	d.Tensor("y", 1<<20)
	e := d.Begin()
	e.Fill(x, 1)
	e.Fill(good, 1)
	d.Write(x, make([]float32, 257))
	require.Equal(t, err, e.Submit())
	require.Equal(t, err, d.Read(x, make([]float32, 257)))
	require.Equal(t, err, d.ReadFloat64(good, make([]float64, 1)))
	require.Equal(t, err, d.Wait())
	require.Equal(t, err, d.Err())
	d.Release(x)
}

// A size whose bytes overflow is refused as any other that is too large.
func TestHugeTensor(t *testing.T) {
	for _, dims := range [][]int{{math.MaxInt64 / 4}, {1 << 31, 1 << 31}, {1 << 32, 1 << 32, 1 << 32}, {1 << 62, 4}} {
		d := Estimate(Info{Name: "GPU", Limits: Limits{BufferSize: 1 << 40}})
		d.Tensor("x", dims...)
		require.ErrorIs(t, d.Err(), ErrMemory, "%v", dims)
		require.Zero(t, d.Allocated())
	}
}

// Case.Check must fail where a kernel is wrong, or a test of kernels proves nothing.
func TestCheckFindsWrongKernels(t *testing.T) {
	d := host(t)
	run := func(twin func(p ref.FillParams, b []ref.Buffer), bound float64) (float64, error) {
		// The first of the two runs computes right, the second as twin says.
		calls := 0
		k := &kernel{program: driver.Program{Name: "wrong", Layout: fill.program.Layout}, fields: fill.fields}
		k.program.Twin = func(params []float64, b []ref.Buffer) {
			p := ref.FillParams{N: uint32(params[0]), Value: params[1]}
			if calls++; calls == 1 {
				ref.Fill(p, b[0].F)
			} else {
				twin(p, b)
			}
		}
		return Case{"wrong", func(t *Trial) {
			dst := t.Out("dst", 10)
			launch(t.E, k, [3]int{1, 1, 1}, ref.FillParams{N: 10, Value: 1}, dst)
			t.Within(dst, func(int) float64 { return bound })
		}}.Check(d, 1)
	}
	worst, err := run(func(p ref.FillParams, b []ref.Buffer) {
		ref.Fill(p, b[0].F)
		b[0].F[7] += 0.5
	}, 1)
	require.NoError(t, err)
	require.Equal(t, 0.5, worst, "the error as a fraction of its bound")
	_, err = run(func(p ref.FillParams, b []ref.Buffer) {
		ref.Fill(p, b[0].F)
		b[0].F[7] += 0.5
	}, 0.25)
	require.ErrorContains(t, err, "wrong: dst [10] element 7 is 1.5, the twin has 1 (difference 0.5, bound 0.25)")
	_, err = run(func(p ref.FillParams, b []ref.Buffer) {
		p.N = 9
		ref.Fill(p, b[0].F)
	}, 0.25)
	require.ErrorContains(t, err, "element 9 is NaN", "an element that nothing wrote is seen")
	_, err = Case{"empty", func(*Trial) {}}.Check(d, 1)
	require.ErrorContains(t, err, "declares no output")
}

// What a case declares is as it was then, however late it is read.
func TestTrialReads(t *testing.T) {
	d, err := Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	trial := &Trial{d: d, E: d.Begin(), twins: true, values: rand.New(rand.NewPCG(1, 2))}
	x, y := trial.InFunc("x", func(int) float64 { return 1 }, 3), trial.Out("y", 3)
	trial.E.Fill(y, 2)
	trial.Exact(y)
	trial.Exact(x)
	require.Equal(t, []float64{2, 2, 2}, trial.Values(y))
	require.Zero(t, trial.unread, "nothing was written over")
	trial.E.Fill(x, 3)
	trial.Exact(x)
	require.Equal(t, 2, trial.unread, "both were read before x was written over")
	trial.E.Fill(y, 4)
	require.Equal(t, []float64{4, 4, 4}, trial.Values(y))
	require.Equal(t, 2, trial.unread)
	trial.read()
	require.NoError(t, trial.err)
	require.Len(t, trial.got, 3)
	for i, want := range []float64{2, 1, 3} {
		require.Equal(t, []float64{want, want, want}, trial.got[i].data)
	}
}

// Several tensors come at once, and what cannot be is said as it is of one.
func TestReadAll(t *testing.T) {
	for _, adapter := range []string{"cpu", ""} {
		d, err := Open(adapter)
		if err != nil {
			t.Logf("adapter %q: skipped: %v", adapter, err)
			continue
		}
		x, y := d.Tensor("x", 4), d.Tensor("y", 2, 2)
		d.Write(x, []float32{1, 2, 3, 4})
		d.Write(y, []float32{5, 6, 7, 8})
		a, b := make([]float32, 2), make([]float32, 4)
		require.NoError(t, ReadAll(d, []Tensor{x, y}, [][]float32{a, b}))
		require.Equal(t, []float32{1, 2}, a)
		require.Equal(t, []float32{5, 6, 7, 8}, b)
		c := make([]float64, 4)
		require.NoError(t, ReadAll(d, []Tensor{x}, [][]float64{c}))
		require.Equal(t, []float64{1, 2, 3, 4}, c)
		require.NoError(t, ReadAll[float32](d, nil, nil))
		require.Panics(t, func() { _ = ReadAll(d, []Tensor{x}, [][]float32{make([]float32, 5)}) })
		d.Release(y)
		require.PanicsWithValue(t, "gpu: read: y was released", func() { _ = ReadAll(d, []Tensor{x, y}, [][]float32{a, b}) })
		d.Close()
	}
}
