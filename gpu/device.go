package gpu

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"wgjepa/gpu/internal/cpu"
	"wgjepa/gpu/internal/driver"
)

// Info describes an adapter; Limits what it accepts; Kind what it is.
type (
	Info   = driver.Info
	Limits = driver.Limits
	Kind   = driver.Kind
)

const (
	Discrete   = driver.Discrete
	Integrated = driver.Integrated
	Virtual    = driver.Virtual
	Software   = driver.Software
	Twins      = driver.Twins
)

// MaxHeadDim is the widest attention head that the kernels take.
const MaxHeadDim = 256

// maxBinding bounds what a kernel sees of a tensor, in bytes: kernels count
// elements in 32 bits, and the last workgroups of a launch count beyond the end.
const maxBinding = 4 << 31

// ErrLost and ErrMemory are wrapped by errors of a lost device and of an
// allocation that failed.
var (
	ErrLost   = driver.ErrLost
	ErrMemory = driver.ErrMemory
)

// Device is one open adapter. Its methods are for one goroutine at a time.
//
// Allocation and recording do not return errors: the first failure is kept
// and every later Submit or Read returns it, as bufio does. Err asks for it.
type Device struct {
	drv       driver.Device
	info      Info
	tuning    tuning
	err       error
	nextID    int
	enc       Encoder
	one       [1]driver.Read
	compile   map[*kernel]bool
	buffers   map[int]*buffer // live ones
	nones     [2]Tensor       // stand-ins for absent indices and floats
	scratches map[string]Tensor
	retired   []Tensor // outgrown scratch, released after the next submit
}

// Adapters lists what this machine has, GPUs first, the cpu driver last.
func Adapters() []Info {
	list := append(platformAdapters(), cpu.Info())
	for i := range list {
		list[i].Index = i
	}
	return list
}

// Open opens the adapter that choice names: its number in Adapters, a part of
// its name, or "cpu" for the plain-Go twins. An empty choice takes the first
// GPU interface, software ones last; it never takes "cpu", which must be asked
// for.
func Open(choice string) (*Device, error) {
	if choice == "cpu" {
		return newDevice(cpu.Open()), nil
	}
	list := Adapters()
	pick, err := choose(list, choice)
	if err != nil {
		return nil, err
	}
	if pick.Kind == Twins {
		return newDevice(cpu.Open()), nil
	}
	drv, err := platformOpen(pick)
	if err != nil {
		return nil, fmt.Errorf("gpu: open %s: %w", pick.Name, err)
	}
	return newDevice(drv), nil
}

func choose(list []Info, choice string) (Info, error) {
	if n, err := strconv.Atoi(choice); err == nil {
		if n < 0 || n >= len(list) {
			return Info{}, fmt.Errorf("gpu: there is no adapter %d\n%s", n, describe(list))
		}
		return list[n], nil
	}
	var match []Info
	for _, a := range list {
		if a.Kind != Twins && strings.Contains(strings.ToLower(a.Name), strings.ToLower(choice)) {
			match = append(match, a)
		}
	}
	if choice != "" && len(match) > 1 {
		return Info{}, fmt.Errorf("gpu: %q fits %d adapters, choose by number\n%s", choice, len(match), describe(match))
	}
	if len(match) > 0 {
		return match[0], nil
	}
	if choice != "" {
		return Info{}, fmt.Errorf("gpu: no adapter is called %q\n%s", choice, describe(list))
	}
	return Info{}, errors.New("gpu: no GPU interface found: install a Vulkan driver (on Debian or Ubuntu without a GPU: apt-get install mesa-vulkan-drivers), or ask for the slow plain-Go driver by the name cpu")
}

func describe(list []Info) string {
	var b strings.Builder
	b.WriteString("adapters here:")
	for _, a := range list {
		fmt.Fprintf(&b, "\n  %d  %s (%s, %s)", a.Index, a.Name, a.Kind, a.Backend)
	}
	return b.String()
}

// Estimate returns a device that computes nothing and only counts memory, to
// answer "will it fit?" for the limits of info before anything is allocated.
func Estimate(info Info) *Device { return newDevice(&dry{info: info}) }

// Counts reports whether d is one of Estimate's, for which nothing need be
// made on the host.
func (d *Device) Counts() bool {
	_, ok := d.drv.(*dry)
	return ok
}

func newDevice(drv driver.Device) *Device {
	d := &Device{drv: drv, info: drv.Info(), compile: map[*kernel]bool{}, buffers: map[int]*buffer{}, scratches: map[string]Tensor{}}
	d.info.Limits.BindingSize = min(d.info.Limits.BindingSize, maxBinding)
	d.tuning = tuningFor(d.info)
	d.enc.d = d
	return d
}

// Prepare begins to compile the kernels that were recorded on a device of
// Estimate for the same adapter, where the driver can do so beside other work.
func (d *Device) Prepare(estimate *Device) {
	if ahead, ok := d.drv.(driver.Ahead); ok && d.err == nil {
		d.fail(ahead.CompileAhead(estimate.drv.(*dry).programs))
	}
}

// Clear releases every tensor. Compiled kernels stay.
func (d *Device) Clear() {
	for _, b := range d.buffers {
		d.Release(Tensor{buf: b})
	}
	clear(d.scratches)
	d.nones, d.retired = [2]Tensor{}, nil
}

// Info describes the adapter.
func (d *Device) Info() Info { return d.info }

// Err is the first failure of the device, or nil.
func (d *Device) Err() error { return d.err }

// Allocated is the number of bytes of device memory in use.
func (d *Device) Allocated() uint64 { return d.drv.Allocated() }

// Close releases the device and all of its memory.
func (d *Device) Close() { d.drv.Close() }

func (d *Device) fail(err error) {
	if d.err == nil && err != nil {
		d.err = err
	}
}

// Tensor allocates a zeroed array of floats.
func (d *Device) Tensor(label string, dims ...int) Tensor { return d.alloc(label, true, dims) }

// Indices allocates a zeroed array of uint32.
func (d *Device) Indices(label string, dims ...int) Tensor { return d.alloc(label, false, dims) }

func (d *Device) alloc(label string, float bool, dims []int) Tensor {
	var t Tensor
	t.setDims(dims)
	t.cap = t.Len()
	n := max(t.cap, 1)
	t.buf = &buffer{id: d.nextID, label: label, float: float}
	d.nextID++
	if d.err != nil {
		return t
	}
	if limit := d.info.Limits.BufferSize; uint64(n) > limit/4 {
		d.fail(fmt.Errorf("gpu: %s %v needs %d bytes, %s holds at most %d in one buffer: %w", label, t, 4*uint64(n), d.info.Name, limit, ErrMemory))
		return t
	}
	h, err := d.drv.NewBuffer(label, float, n)
	if err != nil {
		d.fail(fmt.Errorf("gpu: allocate %s %v: %w", label, t, err))
		return t
	}
	t.buf.handle = h
	d.buffers[t.buf.id] = t.buf
	return t
}

// Release frees the memory of the buffer that t lies in; views of it die too.
func (d *Device) Release(t Tensor) {
	if t.buf != nil && t.buf.handle != nil {
		t.buf.handle.Release()
		t.buf.handle = nil
		delete(d.buffers, t.buf.id)
	}
}

// none is bound where a kernel's optional tensor is absent.
func (d *Device) none(float bool) Tensor {
	i := 0
	if float {
		i = 1
	}
	if d.nones[i].IsNil() {
		d.nones[i] = d.alloc("none", float, []int{Align})
		d.nones[i].buf.shared = true
	}
	return d.nones[i]
}

// scratch returns a tensor of at least n floats that all launches with this
// name share. It grows when it must, which happens in the first steps only.
func (d *Device) scratch(name string, n int) Tensor {
	t := d.scratches[name]
	if t.IsNil() || t.cap < n {
		if !t.IsNil() {
			d.retired = append(d.retired, t)
		}
		t = d.Tensor("scratch "+name, n)
		t.buf.shared = true
		d.scratches[name] = t
	}
	return t
}

// Scope runs f and releases every tensor that f allocated.
func (d *Device) Scope(f func()) {
	first := d.nextID
	defer func() {
		for id := first; id < d.nextID; id++ {
			if b := d.buffers[id]; b != nil && !b.shared {
				d.Release(Tensor{buf: b})
			}
		}
	}()
	f()
}

// Write copies src to the front of t.
func (d *Device) Write(t Tensor, src []float32) {
	d.check("Write", t, len(src), true)
	d.do("write", t, func(b driver.Buffer) error { return d.drv.WriteF32(b, t.off, src) })
}

// WriteFloat64 is Write for float64, exact on the cpu driver.
func (d *Device) WriteFloat64(t Tensor, src []float64) {
	d.check("WriteFloat64", t, len(src), true)
	d.do("write", t, func(b driver.Buffer) error { return d.drv.WriteF64(b, t.off, src) })
}

// WriteIndices copies src to the front of t.
func (d *Device) WriteIndices(t Tensor, src []uint32) {
	d.check("WriteIndices", t, len(src), false)
	d.do("write", t, func(b driver.Buffer) error { return d.drv.WriteU32(b, t.off, src) })
}

// Read waits for all submitted work and copies the front of t to dst.
func (d *Device) Read(t Tensor, dst []float32) error {
	d.check("Read", t, len(dst), true)
	return d.read(t, driver.Read{F32: dst})
}

// ReadFloat64 is Read into float64, exact on the cpu driver.
func (d *Device) ReadFloat64(t Tensor, dst []float64) error {
	d.check("ReadFloat64", t, len(dst), true)
	return d.read(t, driver.Read{F64: dst})
}

// ReadIndices waits for all submitted work and copies the front of t to dst.
func (d *Device) ReadIndices(t Tensor, dst []uint32) error {
	d.check("ReadIndices", t, len(dst), false)
	return d.read(t, driver.Read{U32: dst})
}

func (d *Device) read(t Tensor, r driver.Read) error {
	d.do("read", t, func(b driver.Buffer) error {
		r.Buffer, r.Off = b, t.off
		d.one[0] = r
		return d.drv.Read(d.one[:])
	})
	return d.err
}

// ReadAll is [Device.Read] of several tensors, ts[i] into dst[i], as float64 exact on the cpu
// driver: one way to the device and back for all of them, where each may take milliseconds.
func ReadAll[T float32 | float64](d *Device, ts []Tensor, dst [][]T) error {
	if d.err != nil {
		return d.err
	}
	list := make([]driver.Read, len(ts))
	for i, t := range ts {
		d.check("ReadAll", t, len(dst[i]), true)
		d.live("read", t)
		list[i] = driver.Read{Buffer: t.buf.handle, Off: t.off}
		switch to := any(dst[i]).(type) {
		case []float32:
			list[i].F32 = to
		case []float64:
			list[i].F64 = to
		}
	}
	if err := d.drv.Read(list); err != nil {
		d.fail(fmt.Errorf("gpu: read %d tensors: %w", len(ts), err))
	}
	return d.err
}

// Wait returns when all submitted work is done.
func (d *Device) Wait() error {
	if d.err == nil {
		d.fail(d.drv.Wait())
	}
	return d.err
}

func (d *Device) check(what string, t Tensor, n int, float bool) {
	if t.IsNil() || t.buf.float != float || n > t.cap {
		panic(fmt.Sprintf("gpu: %s: %d elements, %s is %v", what, n, t.label(), t))
	}
}

func (d *Device) live(what string, t Tensor) {
	if t.buf.handle == nil {
		panic(fmt.Sprintf("gpu: %s: %s was released", what, t.label()))
	}
}

func (d *Device) do(what string, t Tensor, f func(driver.Buffer) error) {
	if d.err != nil {
		return
	}
	d.live(what, t)
	if err := f(t.buf.handle); err != nil {
		d.fail(fmt.Errorf("gpu: %s %s: %w", what, t.label(), err))
	}
}

// dry is the driver of Estimate.
type dry struct {
	info      Info
	allocated uint64
	programs  []*driver.Program // compiled, in the order of their first use
}

type dryBuffer struct {
	d *dry
	n uint64
}

func (b *dryBuffer) Release() { b.d.allocated -= b.n }

func (d *dry) Info() Info { return d.info }
func (d *dry) NewBuffer(_ string, float bool, n int) (driver.Buffer, error) {
	b := &dryBuffer{d, 4 * uint64(n)}
	if d.info.Kind == Twins && float {
		b.n *= 2 // float64
	}
	d.allocated += b.n
	return b, nil
}
func (d *dry) WriteF32(driver.Buffer, int, []float32) error { return nil }
func (d *dry) WriteF64(driver.Buffer, int, []float64) error { return nil }
func (d *dry) WriteU32(driver.Buffer, int, []uint32) error  { return nil }
func (d *dry) Read([]driver.Read) error                     { return nil }
func (d *dry) Compile(programs []*driver.Program) error {
	d.programs = append(d.programs, programs...)
	return nil
}
func (d *dry) Submit(*driver.Plan) error { return nil }
func (d *dry) Wait() error               { return nil }
func (d *dry) Allocated() uint64         { return d.allocated }
func (d *dry) Close()                    {}
