// Package cpu is the driver without a GPU: it runs the float64 twins of the
// kernels in order. It is the oracle's runtime and the fallback where there is
// no adapter at all; it is slow and makes no secret of it.
package cpu

import (
	"fmt"
	"runtime"
	"time"

	"wgjepa/gpu/internal/driver"
	"wgjepa/internal/ref"
)

// Device computes in the process itself.
type Device struct {
	allocated uint64
	bindings  []ref.Buffer // scratch of Submit
}

type buffer struct {
	d *Device
	f []float64
	u []uint32
}

func (b *buffer) Release() {
	b.d.allocated -= uint64(8*len(b.f) + 4*len(b.u))
	b.f, b.u = nil, nil
}

// Open returns the device; it always exists.
func Open() *Device { return &Device{} }

// Info describes it: limits are those of the address space.
func Info() driver.Info {
	return driver.Info{
		Name: "plain Go", Backend: "Go", Kind: driver.Twins,
		Driver: fmt.Sprintf("%s %s/%s, float64", runtime.Version(), runtime.GOOS, runtime.GOARCH),
		Limits: driver.Limits{
			BufferSize: 1 << 40, BindingSize: 1 << 40, StorageBuffers: 64, WorkgroupMemory: 1 << 20,
			Invocations: 1024, Workgroups: 65535, StorageAlignment: 256, UniformAlignment: 256,
		},
	}
}

func (d *Device) Info() driver.Info { return Info() }

func (d *Device) NewBuffer(label string, float bool, n int) (driver.Buffer, error) {
	b := &buffer{d: d}
	if float {
		b.f = make([]float64, n)
	} else {
		b.u = make([]uint32, n)
	}
	d.allocated += uint64(8*len(b.f) + 4*len(b.u))
	return b, nil
}

func (d *Device) WriteF32(b driver.Buffer, off int, src []float32) error {
	dst := b.(*buffer).f[off : off+len(src)]
	for i, v := range src {
		dst[i] = float64(v)
	}
	return nil
}

func (d *Device) WriteF64(b driver.Buffer, off int, src []float64) error {
	copy(b.(*buffer).f[off:off+len(src)], src)
	return nil
}

func (d *Device) WriteU32(b driver.Buffer, off int, src []uint32) error {
	copy(b.(*buffer).u[off:off+len(src)], src)
	return nil
}

func (d *Device) Read(list []driver.Read) error {
	for _, r := range list {
		b := r.Buffer.(*buffer)
		for i := range r.F32 {
			r.F32[i] = float32(b.f[r.Off+i])
		}
		if len(r.F64) > 0 {
			copy(r.F64, b.f[r.Off:r.Off+len(r.F64)])
		}
		if len(r.U32) > 0 {
			copy(r.U32, b.u[r.Off:r.Off+len(r.U32)])
		}
	}
	return nil
}

func (d *Device) Compile([]*driver.Program) error { return nil }

func (d *Device) Submit(p *driver.Plan) error {
	for i := range p.Ops {
		d.run(p, &p.Ops[i])
	}
	return nil
}

// Profile times each twin.
func (d *Device) Profile(p *driver.Plan, add func(*driver.Program, float64)) (stamped bool, err error) {
	for i := range p.Ops {
		start := time.Now()
		d.run(p, &p.Ops[i])
		add(p.Ops[i].Program, time.Since(start).Seconds())
	}
	return false, nil
}

func (d *Device) run(p *driver.Plan, op *driver.Op) {
	d.bindings = d.bindings[:0]
	for _, a := range p.Args[op.Args[0]:op.Args[1]] {
		b := a.Buffer.(*buffer)
		if b.f != nil {
			d.bindings = append(d.bindings, ref.Buffer{F: b.f[a.Off : a.Off+a.Len]})
		} else {
			d.bindings = append(d.bindings, ref.Buffer{U: b.u[a.Off : a.Off+a.Len]})
		}
	}
	op.Program.Twin(p.Params[op.Params[0]:op.Params[1]], d.bindings)
}

func (d *Device) Wait() error       { return nil }
func (d *Device) Allocated() uint64 { return d.allocated }
func (d *Device) Close()            {}
