//go:build cgo && !js

// Package wgpu is the native driver: it replays plans on a GPU through
// wgpu-native. One binding links into a binary: the default, or another by the
// build tag cogentcore or rajveermalviya; a file for each holds what differs.
//
// Every call of the library that can be refused runs in an error scope of the
// binding, so that mistakes and exhausted memory come back as errors. On the
// others the library aborts the process: on a submit that names a destroyed
// buffer, on a submit after the device was lost. The driver therefore checks
// buffers and the device's state before each call, never destroys a buffer that
// a bind group still names, and counts a device as lost on the first sign of it.
package wgpu

import (
	"errors"
	"fmt"
	"strings"
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
	lost   atomic.Pointer[string] // why; the library tells it on any thread

	allocated uint64
	live      map[*buffer]struct{}
	pending   uint64 // bytes written since the last submit

	pipelines   []pipeline // by Program.ID
	groups      *driver.Groups[*libGroup]
	uniform     *libBuffer
	uniformSize uint64
	params      []byte // the uniform buffer's content
	slots       []slot // scratch of group
	offset      [1]uint32
	inFlight    [maxInFlight]uint64 // submissions, a ring
	submitted   int

	staging     *libBuffer
	stagingSize uint64
	floats      []float32
}

type buffer struct {
	d     *Device
	raw   *libBuffer
	bound *driver.Bound[*libGroup]
	label string
	size  uint64
}

// Release drops the memory; the library frees it when submitted work that uses
// it is done. A second call does nothing.
func (b *buffer) Release() {
	if b.raw == nil {
		return
	}
	b.d.groups.Forget(b.bound)
	b.raw.Release()
	b.raw = nil
	b.d.allocated -= b.size
	delete(b.d.live, b)
}

// Info describes the adapter.
func (d *Device) Info() driver.Info { return d.info }

// Allocated is the number of bytes of live buffers.
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

// fault sorts an error of the library: out of memory, lost, or a mistake.
func (d *Device) fault(err error) error {
	if err == nil {
		return nil
	}
	text := strings.ToLower(err.Error())
	switch {
	case strings.Contains(text, "not enough memory"), strings.Contains(text, "out of memory"),
		strings.Contains(text, "maximum buffer size"), strings.Contains(text, "buffer size limit"):
		return fmt.Errorf("%w: %s", driver.ErrMemory, plain(err))
	case strings.Contains(text, "lost"):
		d.lose(plain(err))
		return fmt.Errorf("%w: %s", driver.ErrLost, plain(err))
	}
	return errors.New(plain(err))
}

// fatal is fault for calls other than the creation of a buffer: the library
// gives up the device when one of those finds no memory.
func (d *Device) fatal(err error) error {
	err = d.fault(err)
	if errors.Is(err, driver.ErrMemory) {
		d.lose(err.Error())
	}
	return err
}

// plain is the library's message on one line, without the names of its calls.
func plain(err error) string { return strings.Join(causes(err), ": ") }

func causes(err error) []string {
	text := err.Error()
	if _, cause, ok := strings.Cut(text, "Caused by:"); ok {
		text = cause
	}
	var lines []string
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "In wgpu") && !strings.HasPrefix(line, "In a ") {
			lines = append(lines, line)
		}
	}
	return lines
}

// NewBuffer allocates n zeroed elements.
func (d *Device) NewBuffer(label string, _ bool, n int) (driver.Buffer, error) {
	if err := d.ready(); err != nil {
		return nil, err
	}
	size := 4 * uint64(n)
	if err := d.fits(size); err != nil {
		return nil, err
	}
	raw, err := newBuffer(d.device, label, size, usageStorage)
	if err != nil {
		return nil, d.fault(err)
	}
	d.allocated += size
	b := &buffer{d: d, raw: raw, bound: d.groups.Buffer(), label: label, size: size}
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
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), 4*len(s))
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
			return d.fatal(err)
		}
		at, data = at+uint64(n), data[n:]
		// The library keeps a copy of what was written until the next submit.
		if d.pending += uint64(n); d.pending >= 4*chunk {
			flush(d.device, d.queue)
			d.pending = 0
		}
	}
	return nil
}

// WriteF32 copies src to the buffer.
func (d *Device) WriteF32(b driver.Buffer, off int, src []float32) error {
	return d.write(b, off, bytesOf(src))
}

// WriteU32 copies src to the buffer.
func (d *Device) WriteU32(b driver.Buffer, off int, src []uint32) error {
	return d.write(b, off, bytesOf(src))
}

// WriteF64 rounds src to float32 and copies it to the buffer.
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
	return driver.Pieces(list, chunk/4, d.readPiece)
}

func (d *Device) readPiece(list []driver.Read) error {
	size := uint64(0)
	for _, r := range list {
		size += 4 * uint64(r.Len())
	}
	if size == 0 {
		return nil
	}
	return d.readBack(size, func(e *libEncoder) error {
		at := uint64(0)
		for _, r := range list {
			n := 4 * uint64(r.Len())
			if n == 0 {
				continue
			}
			if err := copyBuffer(e, r.Buffer.(*buffer).raw, 4*uint64(r.Off), d.staging, at, n); err != nil {
				return err
			}
			at += n
		}
		return nil
	}, func(data []byte) {
		for _, r := range list {
			n := 4 * r.Len()
			r.Take(data[:n])
			data = data[n:]
		}
	})
}

// readBack gives take the size bytes that fill has copied to the staging buffer.
func (d *Device) readBack(size uint64, fill func(*libEncoder) error, take func([]byte)) error {
	if err := d.stage(size); err != nil {
		return err
	}
	e, err := newEncoder(d.device)
	if err != nil {
		return d.fatal(err)
	}
	defer e.Release()
	if err := fill(e); err != nil {
		return d.fatal(err)
	}
	if err := d.submit(e); err != nil {
		return err
	}
	data, err := mapRead(d.device, d.staging, size)
	if err != nil {
		return d.fatal(err)
	}
	if data == nil {
		return errors.New("the buffer to read has no mapped range")
	}
	take(data)
	if err := unmap(d.staging); err != nil {
		return d.fatal(err)
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
	want := roundUp(size, 4096)
	staging, err := newBuffer(d.device, "staging", want, usageStaging)
	if err != nil {
		return d.fault(err)
	}
	d.staging, d.stagingSize = staging, want
	return nil
}

// roundUp is the least power of two that is at least n and least.
func roundUp(n, least uint64) uint64 {
	for least < n {
		least *= 2
	}
	return least
}

// Wait returns when all submitted work is done.
func (d *Device) Wait() error {
	if err := d.ready(); err != nil {
		return err
	}
	wait(d.device)
	return d.ready()
}

// Close waits for submitted work and gives everything back, live buffers too.
func (d *Device) Close() {
	if d.closed {
		return
	}
	if d.lost.Load() == nil {
		flush(d.device, d.queue) // what is written and never submitted confuses old versions
	}
	for b := range d.live {
		b.Release()
	}
	d.groups.Clear()
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
