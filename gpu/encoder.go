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
	d := e.d
	if d.err != nil {
		return d.err
	}
	if len(e.fresh) > 0 {
		d.fail(d.drv.Compile(e.fresh))
		e.fresh = e.fresh[:0]
	}
	if d.err == nil {
		d.fail(d.drv.Submit(&e.plan))
	}
	e.plan.Reset()
	for _, t := range d.retired {
		d.Release(t)
	}
	d.retired = d.retired[:0]
	return d.err
}
