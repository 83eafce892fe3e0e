//go:build !js

package wgpu

import (
	"encoding/binary"
	"fmt"
	"math"

	"wgjepa/gpu/internal/driver"
)

type pipeline struct {
	raw     *libPipeline
	layout  *libLayout
	uniform uint64 // bytes of Params
}

// uniformSize is the size of a program's Params as bound: uniform structs are
// multiples of 16 bytes.
func uniformSize(p *driver.Program) uint64 {
	return uint64(4*len(p.Layout.Params)+15) / 16 * 16
}

func (d *Device) Compile(programs []*driver.Program) error {
	if err := d.ready(); err != nil {
		return err
	}
	for _, p := range programs {
		for len(d.pipelines) <= p.ID {
			d.pipelines = append(d.pipelines, pipeline{})
		}
		if d.pipelines[p.ID].raw != nil {
			continue
		}
		if p.Source == "" {
			return fmt.Errorf("kernel %s has no text", p.Name)
		}
		raw, layout, err := newPipeline(d.device, p)
		if err != nil {
			return fmt.Errorf("kernel %s: %w", p.Name, err)
		}
		d.pipelines[p.ID] = pipeline{raw, layout, uniformSize(p)}
	}
	return nil
}

// group is a cached bind group.
type group struct {
	raw     *libGroup
	key     string
	buffers []*buffer
}

// slot is one binding of a bind group.
type slot struct {
	buffer       *libBuffer
	offset, size uint64
}

const maxGroups = 1 << 14

// group returns the bind group of op, made on the first call. The key is exact:
// program, then serial number, offset and length of each buffer.
func (d *Device) group(op *driver.Op, args []driver.Arg) (*group, error) {
	key := binary.LittleEndian.AppendUint64(d.key[:0], uint64(op.Program.ID))
	for i := range args {
		a := &args[i]
		b, err := d.own(a.Buffer, a.Off, a.Len)
		if err != nil {
			return nil, err
		}
		key = binary.LittleEndian.AppendUint64(key, b.serial)
		key = binary.LittleEndian.AppendUint64(key, uint64(a.Off))
		key = binary.LittleEndian.AppendUint64(key, uint64(a.Len))
	}
	d.key = key
	if g, ok := d.groups[string(key)]; ok {
		return g, nil
	}
	if len(d.groups) >= maxGroups {
		d.dropAll()
	}
	p := &d.pipelines[op.Program.ID]
	g := &group{key: string(key)}
	d.slots = append(d.slots[:0], slot{d.uniform, 0, p.uniform})
	for _, a := range args {
		b := a.Buffer.(*buffer)
		g.buffers = append(g.buffers, b)
		d.slots = append(d.slots, slot{b.raw, 4 * uint64(a.Off), 4 * uint64(a.Len)})
	}
	raw, err := newGroup(d.device, op.Program.Name, p.layout, d.slots)
	if err != nil {
		return nil, err
	}
	g.raw = raw
	d.groups[g.key] = g
	for _, b := range g.buffers {
		b.groups[g] = struct{}{}
	}
	return g, nil
}

func (d *Device) drop(g *group) {
	delete(d.groups, g.key)
	for _, b := range g.buffers {
		delete(b.groups, g)
	}
	g.raw.Release()
}

func (d *Device) dropAll() {
	for _, g := range d.groups {
		d.drop(g)
	}
}

// pack lays the parameters of all of the plan's dispatches into one uniform
// buffer, each at a multiple of the device's alignment.
func (d *Device) pack(p *driver.Plan) error {
	align := max(16, d.info.Limits.UniformAlignment)
	d.params = d.params[:0]
	for i := range p.Ops {
		op := &p.Ops[i]
		for j, v := range p.Params[op.Params[0]:op.Params[1]] {
			bits := uint32(v)
			if op.Program.Layout.Params[j].Float {
				bits = math.Float32bits(float32(v))
			}
			d.params = binary.LittleEndian.AppendUint32(d.params, bits)
		}
		for len(d.params)%align != 0 {
			d.params = append(d.params, 0)
		}
	}
	if size := uint64(len(d.params)); d.uniform == nil || d.uniform.GetSize() < size {
		d.dropAll() // they bind the buffer that is outgrown
		if d.uniform != nil {
			d.uniform.Release()
			d.uniform = nil
		}
		want := uint64(1 << 16)
		for want < size {
			want *= 2
		}
		uniform, err := newBuffer(d.device, "params", want, usageUniform)
		if err != nil {
			return err
		}
		d.uniform = uniform
	}
	return writeBuffer(d.queue, d.uniform, 0, d.params)
}

// Submit replays the plan: one write of parameters, one encoder, one pass.
func (d *Device) Submit(p *driver.Plan) error {
	if err := d.ready(); err != nil {
		return err
	}
	if len(p.Ops) == 0 {
		return nil
	}
	for i := range p.Ops {
		if id := p.Ops[i].Program.ID; id >= len(d.pipelines) || d.pipelines[id].raw == nil {
			return fmt.Errorf("kernel %s was not compiled", p.Ops[i].Program.Name)
		}
	}
	if err := d.pack(p); err != nil {
		return err
	}
	return d.encode(func(e *libEncoder) error {
		pass := e.BeginComputePass(nil)
		defer pass.Release()
		align := max(16, d.info.Limits.UniformAlignment)
		at, last := 0, -1
		for i := range p.Ops {
			op := &p.Ops[i]
			g, err := d.group(op, p.Args[op.Args[0]:op.Args[1]])
			if err != nil {
				return fmt.Errorf("%s: %w", op.Program.Name, err)
			}
			if id := op.Program.ID; id != last {
				pass.SetPipeline(d.pipelines[id].raw)
				last = id
			}
			d.offset[0] = uint32(at)
			pass.SetBindGroup(0, g.raw, d.offset[:])
			pass.DispatchWorkgroups(op.Groups[0], op.Groups[1], op.Groups[2])
			at += (4*len(op.Program.Layout.Params) + align - 1) / align * align
		}
		return endPass(pass)
	})
}
