//go:build !js

// Package wgpu is the native driver: it replays plans on a GPU through
// wgpu-native. One binding links into a binary: the default, or another by the
// build tag cogentcore or rajveermalviya; a file for each holds what differs.
package wgpu

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"wgjepa/gpu/internal/driver"
)

// Device is an open adapter.
type Device struct {
	info   driver.Info
	device *libDevice
	queue  *libQueue
	closed bool
	lost   atomic.Pointer[string] // why, set by the library from any thread

	serial    uint64 // of the last buffer
	allocated uint64
	pending   uint64 // bytes written since the last submit

	pipelines []pipeline // by Program.ID
	groups    map[string]*group
	uniform   *libBuffer
	params    []byte // the uniform buffer's content
	key       []byte
	slots     []slot
	offset    [1]uint32

	staging     *libBuffer
	stagingSize uint64
	floats      []float32
}

type buffer struct {
	d      *Device
	raw    *libBuffer
	serial uint64
	label  string
	size   uint64
	groups map[*group]struct{}
}

// Release drops the memory; the library frees it when submitted work that uses
// it is done.
func (b *buffer) Release() {
	if b.raw == nil {
		return
	}
	for g := range b.groups {
		b.d.drop(g)
	}
	b.raw.Release()
	b.raw = nil
	b.d.allocated -= b.size
}

func (d *Device) Info() driver.Info { return d.info }

func (d *Device) Allocated() uint64 { return d.allocated }

func (d *Device) lose(message string) { d.lost.CompareAndSwap(nil, &message) }

// ready refuses a device that is gone, before the library is asked.
func (d *Device) ready() error {
	if d.closed {
		return errors.New("the device is closed")
	}
	if why := d.lost.Load(); why != nil {
		return fmt.Errorf("%w: %s", driver.ErrLost, *why)
	}
	return nil
}

func (d *Device) NewBuffer(label string, _ bool, n int) (driver.Buffer, error) {
	if err := d.ready(); err != nil {
		return nil, err
	}
	size := 4 * uint64(n)
	raw, err := newBuffer(d.device, label, size, usageStorage)
	if err != nil {
		return nil, err
	}
	d.serial++
	d.allocated += size
	return &buffer{d: d, raw: raw, serial: d.serial, label: label, size: size, groups: map[*group]struct{}{}}, nil
}

// own checks that a handle is a live buffer of this device and that n elements
// from off lie in it.
func (d *Device) own(h driver.Buffer, off, n int) (*buffer, error) {
	b, ok := h.(*buffer)
	if !ok || b.d != d {
		return nil, errors.New("the buffer belongs to another device")
	}
	if b.raw == nil {
		return nil, fmt.Errorf("%s was released", b.label)
	}
	if off < 0 || n < 0 || uint64(off+n)*4 > b.size {
		return nil, fmt.Errorf("elements %d to %d lie outside of %s, which has %d", off, off+n, b.label, b.size/4)
	}
	return b, nil
}

// chunk is the largest piece that crosses to or from the device at once.
const chunk = 16 << 20

func bytesOf[T float32 | uint32](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), 4*len(s))
}

func (d *Device) write(h driver.Buffer, off int, data []byte) error {
	if err := d.ready(); err != nil {
		return err
	}
	b, err := d.own(h, off, len(data)/4)
	if err != nil {
		return err
	}
	for at := 4 * uint64(off); len(data) > 0; {
		n := min(len(data), chunk)
		if err := writeBuffer(d.queue, b.raw, at, data[:n]); err != nil {
			return err
		}
		at, data = at+uint64(n), data[n:]
		// The library keeps a copy of what was written until the next submit.
		if d.pending += uint64(n); d.pending >= 4*chunk {
			d.queue.Submit()
			wait(d.device)
			d.pending = 0
		}
	}
	return nil
}

func (d *Device) WriteF32(b driver.Buffer, off int, src []float32) error {
	return d.write(b, off, bytesOf(src))
}

func (d *Device) WriteU32(b driver.Buffer, off int, src []uint32) error {
	return d.write(b, off, bytesOf(src))
}

func (d *Device) WriteF64(b driver.Buffer, off int, src []float64) error {
	for len(src) > 0 {
		n := min(len(src), chunk/4)
		d.floats = d.floats[:0]
		for _, v := range src[:n] {
			d.floats = append(d.floats, float32(v))
		}
		if err := d.write(b, off, bytesOf(d.floats)); err != nil {
			return err
		}
		off, src = off+n, src[n:]
	}
	return nil
}

func (d *Device) read(h driver.Buffer, off, n int, f func([]byte)) error {
	if err := d.ready(); err != nil {
		return err
	}
	b, err := d.own(h, off, n)
	if err != nil {
		return err
	}
	for at, left := 4*uint64(off), 4*uint64(n); left > 0; {
		size := min(left, chunk)
		if err := d.stage(size); err != nil {
			return err
		}
		if err := d.encode(func(e *libEncoder) error { return copyBuffer(e, b.raw, at, d.staging, size) }); err != nil {
			return err
		}
		if err := mapped(d.device, d.staging, size, f); err != nil {
			return err
		}
		at, left = at+size, left-size
	}
	return d.ready()
}

// stage makes the staging buffer at least size bytes large.
func (d *Device) stage(size uint64) error {
	if d.stagingSize >= size {
		return nil
	}
	if d.staging != nil {
		d.staging.Release()
		d.staging, d.stagingSize = nil, 0
	}
	want := uint64(4096)
	for want < size {
		want *= 2
	}
	staging, err := newBuffer(d.device, "staging", want, usageStaging)
	if err != nil {
		return err
	}
	d.staging, d.stagingSize = staging, want
	return nil
}

// encode submits what f records.
func (d *Device) encode(f func(*libEncoder) error) error {
	e, err := newEncoder(d.device)
	if err != nil {
		return err
	}
	defer e.Release()
	if err := f(e); err != nil {
		return err
	}
	commands, err := finish(e)
	if err != nil {
		return err
	}
	defer commands.Release()
	d.queue.Submit(commands)
	d.pending = 0
	return d.ready()
}

func (d *Device) ReadF32(b driver.Buffer, off int, dst []float32) error {
	return d.read(b, off, len(dst), func(p []byte) { dst = dst[copy(bytesOf(dst), p)/4:] })
}

func (d *Device) ReadU32(b driver.Buffer, off int, dst []uint32) error {
	return d.read(b, off, len(dst), func(p []byte) { dst = dst[copy(bytesOf(dst), p)/4:] })
}

func (d *Device) ReadF64(b driver.Buffer, off int, dst []float64) error {
	return d.read(b, off, len(dst), func(p []byte) {
		for _, v := range unsafe.Slice((*float32)(unsafe.Pointer(&p[0])), len(p)/4) {
			dst[0], dst = float64(v), dst[1:]
		}
	})
}

func (d *Device) Wait() error {
	if err := d.ready(); err != nil {
		return err
	}
	wait(d.device)
	return d.ready()
}

// Close waits for submitted work and gives everything back. Buffers that are
// still alive may be released afterwards.
func (d *Device) Close() {
	if d.closed {
		return
	}
	wait(d.device)
	d.dropAll()
	for _, p := range d.pipelines {
		if p.raw != nil {
			p.raw.Release()
			p.layout.Release()
		}
	}
	d.pipelines = nil
	for _, b := range []*libBuffer{d.staging, d.uniform} {
		if b != nil {
			b.Release()
		}
	}
	d.queue.Release()
	d.device.Release()
	d.closed = true
}
