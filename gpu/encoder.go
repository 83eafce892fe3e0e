package gpu

import "wgjepa/gpu/internal/driver"

// Encoder records launches and submits them together. A launcher checks
// shapes and panics on a mismatch, which is a bug of the caller.
type Encoder struct {
	d     *Device
	plan  driver.Plan
	fresh []*driver.Program // recorded for the first time on this device
}

// Begin returns the device's encoder, emptied. There is one: recording does
// not nest, and its memory is reused, so a step loop allocates nothing.
func (d *Device) Begin() *Encoder {
	d.enc.plan.Reset()
	return &d.enc
}

// Device is the device that the encoder records for.
func (e *Encoder) Device() *Device { return e.d }

// Submit hands the recorded launches to the device and does not wait for them.
func (e *Encoder) Submit() error {
	e.compile()
	if e.d.err == nil {
		e.d.fail(e.d.drv.Submit(&e.plan))
	}
	return e.clear()
}

// Reserve compiles what the recorded launches need, all kernels together, and
// drops the launches: their scratch memory stays. A loop that reserves its
// longest step first allocates and compiles nothing later. A driver that compiles
// beside other work is not waited for: Submit does.
func (e *Encoder) Reserve() error {
	if ahead, ok := e.d.drv.(driver.Ahead); ok && e.d.err == nil {
		e.d.fail(ahead.CompileAhead(e.fresh))
		e.fresh = e.fresh[:0]
	}
	e.compile()
	return e.clear()
}

// Flush submits what is recorded so far where kernels are still being compiled
// that only later launches may need, so that it computes meanwhile. At other
// times it does nothing.
func (e *Encoder) Flush() {
	if ahead, ok := e.d.drv.(driver.Ahead); ok && e.d.err == nil && ahead.Compiling() {
		e.Submit() // an error stays with the device
	}
}

func (e *Encoder) compile() {
	if e.d.err == nil && len(e.fresh) > 0 {
		e.d.fail(e.d.drv.Compile(e.fresh))
		e.fresh = e.fresh[:0]
	}
}

func (e *Encoder) clear() error {
	d := e.d
	e.plan.Reset()
	for _, t := range d.retired {
		d.Release(t)
	}
	d.retired = d.retired[:0]
	return d.err
}
