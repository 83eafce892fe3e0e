// Package driver is the contract between package gpu and the machines under
// it: what an adapter is, what a buffer is, and the plan that a device replays.
//
// gpu records a step into a Plan; a Device replays it in order. Drivers know
// nothing of tensors or shapes.
package driver

import (
	"errors"

	"wgjepa/internal/ref"
	"wgjepa/wgsl"
)

// Kind says what sort of machine an adapter is.
type Kind string

const (
	Discrete   Kind = "discrete GPU"
	Integrated Kind = "integrated GPU"
	Virtual    Kind = "virtual GPU"
	Software   Kind = "software (CPU)" // a GPU interface computed by the processor
	Twins      Kind = "plain Go (CPU)" // no GPU interface at all
	Unknown    Kind = "unknown"
)

// Limits are what a device will accept.
type Limits struct {
	BufferSize       uint64 // bytes
	BindingSize      uint64 // bytes of one storage binding
	StorageBuffers   int    // storage bindings a kernel
	WorkgroupMemory  int    // bytes
	Invocations      int    // a workgroup
	Workgroups       int    // an axis of a dispatch
	StorageAlignment int    // bytes, of a storage binding's offset
	UniformAlignment int    // bytes, of a dynamic uniform offset
}

// Info describes an adapter.
type Info struct {
	Index    int    // position in the list of adapters
	Name     string // such as "AMD Radeon RX 7900 XTX"
	Vendor   string
	Driver   string // driver's name and version
	Backend  string // Vulkan, Metal, D3D12, GL, WebGPU or Go
	Binding  string // the library underneath
	Kind     Kind
	Memory   uint64 // bytes it may allocate, 0 where nobody tells
	Limits   Limits
	Features []string // such as "shader-f16", "subgroups", "timestamp-query"
	Subgroup int      // the fewest invocations that a subgroup may have, 0 where nobody tells
}

// ErrLost is wrapped by every error that follows the loss of the device.
var ErrLost = errors.New("device lost")

// ErrMemory is wrapped by an error of allocation.
var ErrMemory = errors.New("out of device memory")

// Buffer is a driver's handle of device memory.
type Buffer interface{ Release() }

// Program is one specialised kernel.
type Program struct {
	ID     int    // dense, unique in the process: drivers index their pipelines by it
	Name   string // such as matmul_nt_bias
	File   string // the .wgsl file it came from, for messages
	Source string
	Layout wgsl.Layout
	// Twin runs the kernel in plain Go. params are in the order of Layout.Params.
	Twin func(params []float64, bindings []ref.Buffer)
}

// Arg binds Len elements of Buffer from element Off.
type Arg struct {
	Buffer   Buffer
	Off, Len int
}

// Op is one dispatch. Its arguments and parameters lie in the plan.
type Op struct {
	Program *Program
	Groups  [3]uint32
	Args    [2]int // range in Plan.Args, in binding order from 1
	Params  [2]int // range in Plan.Params
}

// Plan is a recorded sequence of dispatches; later ones see what earlier ones
// wrote. Parameters are kept as float64, which holds every u32 and loses
// nothing on the cpu driver; others round them to f32.
type Plan struct {
	Ops    []Op
	Args   []Arg
	Params []float64
}

// Reset empties the plan and keeps its memory.
func (p *Plan) Reset() { p.Ops, p.Args, p.Params = p.Ops[:0], p.Args[:0], p.Params[:0] }

// Device runs plans. Its methods are called from one goroutine at a time.
// Reads and writes count elements of 4 bytes. Writes take effect before the
// next Submit and after earlier ones.
type Device interface {
	Info() Info
	NewBuffer(label string, float bool, n int) (Buffer, error) // zeroed
	WriteF32(b Buffer, off int, src []float32) error
	WriteF64(b Buffer, off int, src []float64) error
	WriteU32(b Buffer, off int, src []uint32) error
	Read(list []Read) error            // waits for all submitted work, once for the list
	Compile(programs []*Program) error // concurrently where the driver can; done ones are skipped
	Submit(p *Plan) error              // does not wait
	Wait() error                       // until all submitted work is done
	Allocated() uint64                 // bytes of live buffers
	Close()
}

// Ahead is a Device that compiles beside other work.
type Ahead interface {
	// CompileAhead begins to compile programs and does not wait: Submit waits
	// for those of its plan, and then Compile and Submit return their errors.
	CompileAhead(programs []*Program) error
	Compiling() bool // whether programs are still being compiled
}

// Profiler is a Device that can time each dispatch.
type Profiler interface {
	// Profile runs the plan dispatch by dispatch and calls add after each with
	// the seconds it took: by the device's own clock (stamped), else by waiting
	// for each.
	Profile(p *Plan, add func(program *Program, seconds float64)) (stamped bool, err error)
}
