//go:build cgo && !js && !cogentcore && !rajveermalviya

package wgpu

import (
	"encoding/binary"
	"slices"

	lib "github.com/oliverbestmann/webgpu/wgpu"

	"wgjepa/gpu/internal/driver"
)

// stamped is Profile by timestamps, each dispatch in a pass of its own. It
// does nothing and says so where the adapter has none.
func (d *Device) stamped(p *driver.Plan, add func(*driver.Program, float64)) (done bool, err error) {
	if !slices.Contains(d.info.Features, "timestamp-query") {
		return false, nil
	}
	if err := d.ready(); err != nil || len(p.Ops) == 0 {
		return true, err
	}
	if err := d.check(p); err != nil {
		return true, err
	}
	if err := d.pack(p); err != nil {
		return true, err
	}
	queries, err := d.device.TryCreateQuerySet(&lib.QuerySetDescriptor{Type: lib.QueryTypeTimestamp, Count: 2 * maxOps})
	if err != nil {
		return true, d.fatal(err)
	}
	defer queries.Release()
	ticks, err := newBuffer(d.device, "timestamps", 16*maxOps, lib.BufferUsageQueryResolve|lib.BufferUsageCopySrc)
	if err != nil {
		return true, d.fault(err)
	}
	defer ticks.Release()
	at := 0
	for first := 0; first < len(p.Ops); first += maxOps {
		n := min(maxOps, len(p.Ops)-first)
		if at, err = d.stamp(p, first, n, at, queries, ticks); err != nil {
			return true, err
		}
		tick := float64(d.queue.GetTimestampPeriod()) * 1e-9
		size := uint64(16 * n)
		err = d.readBack(size, func(e *libEncoder) error { return copyBuffer(e, ticks, 0, d.staging, 0, size) }, func(b []byte) {
			for i := range n {
				begin, end := binary.NativeEndian.Uint64(b[16*i:]), binary.NativeEndian.Uint64(b[16*i+8:])
				add(p.Ops[first+i].Program, float64(int64(end-begin))*tick)
			}
		})
		if err != nil {
			return true, err
		}
	}
	return true, nil
}

// stamp submits dispatches first to first+n and the resolution of their times.
func (d *Device) stamp(p *driver.Plan, first, n, at int, queries *lib.QuerySet, ticks *libBuffer) (int, error) {
	e, err := newEncoder(d.device)
	if err != nil {
		return 0, d.fatal(err)
	}
	defer e.Release()
	for i := range n {
		pass := e.BeginComputePass(&lib.ComputePassDescriptor{TimestampWrites: &lib.PassTimestampWrites{
			QuerySet: queries, BeginningOfPassWriteIndex: uint32(2 * i), EndOfPassWriteIndex: uint32(2*i + 1),
		}})
		at, err = d.record(pass, p, first+i, first+i+1, at)
		if ended := endPass(pass); err == nil {
			err = d.fatal(ended)
		}
		pass.Release()
		if err != nil {
			return 0, err
		}
	}
	if err := e.TryResolveQuerySet(queries, 0, uint32(2*n), ticks, 0); err != nil {
		return 0, d.fatal(err)
	}
	return at, d.submit(e)
}
