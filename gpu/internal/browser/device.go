//go:build js && wasm

// Package browser is the driver for GOOS=js: it replays plans through the
// WebGPU of a browser's worker, or of another runtime of JavaScript.
//
// Go and JavaScript share the work along one line. Here a plan becomes an array
// of integers, six a dispatch, and bind groups get numbers; driver.js, beside
// this file, owns the WebGPU objects behind the numbers and replays the array
// in one small loop. Calls go through wasm imports, which neither allocate nor
// convert: bytes are read from the program's memory where they lie.
//
// # What the host provides
//
// Whoever instantiates the wasm file loads driver.js as a module and does
//
//	const { imports, attach } = webgpu(navigator.gpu);
//	go.importObject.wgjepa_gpu = imports;
//	const { instance } = await WebAssembly.instantiate(bytes, go.importObject);
//	attach(instance.exports.mem);
//
// It must not call Go code that waits for the device from within a js.Func:
// the event loop has to turn for a wait to end.
//
// # Waiting and failing
//
// Nothing polls. What WebGPU answers later (creation, compilation, reads) puts
// the goroutine to sleep until a callback wakes it. A submission does not wait,
// except for room: the host is at most two submissions ahead, so that the event
// loop turns at least every other step and a message to the program is heard.
//
// Creation and each submission run in error scopes. The errors of a submission
// come later; the next call returns them. Loss of the device, exhausted memory
// and exceptions of JavaScript all become Go errors.
package browser

import (
	"errors"
	"fmt"
	"unsafe"

	"wgjepa/gpu/internal/driver"
)

// Device is an open adapter.
type Device struct {
	token  uint32
	info   driver.Info
	closed bool

	allocated uint64
	live      map[*buffer]struct{}
	ids       numbers // of buffers in driver.js

	stages      []stage // of pipelines, by Program.ID
	begun       int     // of them that are begun
	groups      *driver.Groups[uint32]
	groupIDs    numbers
	uniformSize int
	words       []uint32 // scratch of group
	plan        []uint32
	params      []byte
	floats      []float32
	reads       []uint32 // of one call: buffer, offset, address and length of each, in elements
}

// numbers hands out small numbers and takes them back.
type numbers struct {
	next uint32
	free []uint32
}

func (n *numbers) take() uint32 {
	if last := len(n.free) - 1; last >= 0 {
		id := n.free[last]
		n.free = n.free[:last]
		return id
	}
	n.next++
	return n.next - 1
}

func (n *numbers) give(id uint32) { n.free = append(n.free, id) }

type buffer struct {
	d        *Device
	id       uint32
	bound    *driver.Bound[uint32]
	label    string
	size     uint64
	released bool
}

// Release drops the memory; WebGPU frees it when submitted work that uses it is
// done. A second call does nothing.
func (b *buffer) Release() {
	if b.released {
		return
	}
	b.d.groups.Forget(b.bound)
	b.released = true
	b.d.allocated -= b.size
	delete(b.d.live, b)
	glueRelease(b.d.token, b.id)
	b.d.ids.give(b.id)
}

// Info describes the adapter.
func (d *Device) Info() driver.Info { return d.info }

// Allocated is the number of bytes of live buffers.
func (d *Device) Allocated() uint64 { return d.allocated }

// ready refuses a device that is gone or has failed.
func (d *Device) ready() error {
	if d.closed {
		return errors.New("the device is closed")
	}
	return failed(glueFailure(d.token))
}

// awaited is the size from which an allocation waits for the device to agree, in
// bytes: one that is refused ends a training, so it shall be known by its name
// at once. Smaller ones are many, and what is wrong with them is said by the
// next call that waits.
const awaited = 64 << 20

// NewBuffer allocates n zeroed elements.
func (d *Device) NewBuffer(label string, _ bool, n int) (driver.Buffer, error) {
	if err := d.ready(); err != nil {
		return nil, err
	}
	b := &buffer{d: d, id: d.ids.take(), bound: d.groups.Buffer(), label: label, size: 4 * uint64(n)}
	var err error
	if b.size >= awaited {
		err = call(d.token, func() { glueBuffer(d.token, b.id, label, float64(b.size)) })
	} else {
		err = failed(glueBufferNow(d.token, b.id, label, float64(b.size)))
	}
	if err != nil {
		d.ids.give(b.id)
		return nil, err
	}
	d.allocated += b.size
	d.live[b] = struct{}{}
	return b, nil
}

// own checks that a handle is a live buffer of this device and that n elements
// from off lie in it.
func (d *Device) own(h driver.Buffer, off, n int) (*buffer, error) {
	b, ok := h.(*buffer)
	if !ok || b.d != d {
		return nil, errors.New("the buffer belongs to another device")
	}
	if b.released {
		return nil, fmt.Errorf("%s was released", b.label)
	}
	if off < 0 || n < 0 || uint64(off)*4+uint64(n)*4 > b.size {
		return nil, fmt.Errorf("elements %d to %d lie outside of %s, which has %d", off, off+n, b.label, b.size/4)
	}
	return b, nil
}

// chunk is the number of elements that cross to or from the device at once.
const chunk = 4 << 20

func write[T float32 | uint32](d *Device, h driver.Buffer, off int, src []T) error {
	if err := d.ready(); err != nil {
		return err
	}
	b, err := d.own(h, off, len(src))
	if err != nil {
		return err
	}
	for len(src) > 0 {
		n := min(len(src), chunk)
		if err := failed(glueWrite(d.token, b.id, 4*float64(off), unsafe.Pointer(&src[0]), uint32(4*n))); err != nil {
			return err
		}
		off, src = off+n, src[n:]
	}
	return nil
}

// WriteF32 copies src to the buffer.
func (d *Device) WriteF32(b driver.Buffer, off int, src []float32) error {
	return write(d, b, off, src)
}

// WriteU32 copies src to the buffer.
func (d *Device) WriteU32(b driver.Buffer, off int, src []uint32) error {
	return write(d, b, off, src)
}

// WriteF64 rounds src to float32 and copies it to the buffer.
func (d *Device) WriteF64(b driver.Buffer, off int, src []float64) error {
	for first := true; first || len(src) > 0; first = false {
		n := min(len(src), chunk)
		d.floats = d.floats[:0]
		for _, v := range src[:n] {
			d.floats = append(d.floats, float32(v))
		}
		if err := write(d, b, off, d.floats); err != nil {
			return err
		}
		off, src = off+n, src[n:]
	}
	return nil
}

// Read waits for submitted work and copies buffers to the host.
func (d *Device) Read(list []driver.Read) error {
	if err := d.ready(); err != nil {
		return err
	}
	for _, r := range list {
		if _, err := d.own(r.Buffer, r.Off, r.Len()); err != nil {
			return err
		}
	}
	return driver.Pieces(list, chunk, d.readPiece)
}

// readPiece has driver.js write the elements to one place after the other: to where
// they are wanted, or to floats where they become float64.
func (d *Device) readPiece(list []driver.Read) error {
	rounded := 0
	for _, r := range list {
		rounded += len(r.F64)
	}
	if cap(d.floats) < rounded {
		d.floats = make([]float32, rounded)
	}
	d.reads, rounded = d.reads[:0], 0
	for _, r := range list {
		var to unsafe.Pointer
		switch {
		case r.Len() == 0:
			continue
		case r.F32 != nil:
			to = unsafe.Pointer(&r.F32[0])
		case r.U32 != nil:
			to = unsafe.Pointer(&r.U32[0])
		default:
			to = unsafe.Pointer(&d.floats[:cap(d.floats)][rounded])
			rounded += len(r.F64)
		}
		d.reads = append(d.reads, uint32(r.Buffer.(*buffer).id), uint32(r.Off), uint32(uintptr(to)), uint32(r.Len()))
	}
	if len(d.reads) == 0 {
		return nil
	}
	if err := call(d.token, func() { glueRead(d.token, unsafe.Pointer(&d.reads[0]), uint32(len(d.reads)/4)) }); err != nil {
		return err
	}
	floats := d.floats[:cap(d.floats)]
	for _, r := range list {
		for i := range r.F64 {
			r.F64[i] = float64(floats[i])
		}
		floats = floats[len(r.F64):]
	}
	return nil
}

// Wait returns when all submitted work is done.
func (d *Device) Wait() error {
	if err := d.ready(); err != nil {
		return err
	}
	return call(d.token, func() { glueWait(d.token) })
}

// Replayed is the number of dispatches submitted so far and the seconds that
// the loop in driver.js took for them.
func (d *Device) Replayed() (dispatches int, seconds float64) {
	return int(glueReplayed(d.token)), glueReplaySeconds(d.token)
}

// Close gives everything back, live buffers too, without waiting.
func (d *Device) Close() {
	if d.closed {
		return
	}
	for b := range d.live {
		b.Release()
	}
	d.groups.Clear()
	glueClose(d.token)
	delete(waiting, d.token)
	d.closed = true
}
