//go:build cgo && !js

package wgpu

import (
	"encoding/binary"
	"fmt"
	"math"

	"wgjepa/gpu/internal/driver"
)

const (
	// maxOps is the number of dispatches of one command buffer. Longer plans
	// are split (30 µs a piece), so that a slow GPU's watchdog, which allows
	// one command buffer some 2 s, does not take it for hung.
	maxOps = 128
	// maxInFlight is how many submissions the host may be ahead of the device;
	// without a bound a loop that never reads would pile up memory.
	maxInFlight = 16
	// maxGroups bounds the cache of bind groups.
	maxGroups = 1 << 14
)

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

// group returns the bind group of op, made on the first call. The key is exact:
// program, then serial number, offset and length of each buffer.
func (d *Device) group(program *driver.Program, args []driver.Arg) (*group, error) {
	key := binary.LittleEndian.AppendUint64(d.key[:0], uint64(program.ID))
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
	p := &d.pipelines[program.ID]
	g := &group{key: string(key)}
	d.slots = append(d.slots[:0], slot{d.uniform, 0, p.uniform})
	for _, a := range args {
		b := a.Buffer.(*buffer)
		g.buffers = append(g.buffers, b)
		d.slots = append(d.slots, slot{b.raw, 4 * uint64(a.Off), 4 * uint64(a.Len)})
	}
	raw, err := newGroup(d.device, program.Name, p.layout, d.slots)
	if err != nil {
		return nil, d.fatal(err)
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

// stride is the space that n parameters take in the uniform buffer.
func (d *Device) stride(n int) int {
	align := max(16, d.info.Limits.UniformAlignment)
	return (4*n + align - 1) / align * align
}

// pack writes the parameters of all of the plan's dispatches to the uniform
// buffer, each at a multiple of the device's alignment.
func (d *Device) pack(p *driver.Plan) error {
	d.params = d.params[:0]
	for i := range p.Ops {
		op := &p.Ops[i]
		end := len(d.params) + d.stride(len(op.Program.Layout.Params))
		for j, v := range p.Params[op.Params[0]:op.Params[1]] {
			bits := uint32(v)
			if op.Program.Layout.Params[j].Float {
				bits = math.Float32bits(float32(v))
			}
			d.params = binary.LittleEndian.AppendUint32(d.params, bits)
		}
		for len(d.params) < end {
			d.params = append(d.params, 0)
		}
	}
	if size := uint64(len(d.params)); d.uniformSize < size {
		d.dropAll() // they bind the buffer that is outgrown
		if d.uniform != nil {
			d.uniform.Release()
			d.uniform, d.uniformSize = nil, 0
		}
		want := roundUp(size, 1<<16)
		uniform, err := newBuffer(d.device, "params", want, usageUniform)
		if err != nil {
			return d.fault(err)
		}
		d.uniform, d.uniformSize = uniform, want
	}
	return d.fatal(writeBuffer(d.queue, d.uniform, 0, d.params))
}

// check refuses a plan that the library would choke on.
func (d *Device) check(p *driver.Plan) error {
	for i := range p.Ops {
		op := &p.Ops[i]
		id := op.Program.ID
		if id >= len(d.pipelines) || d.pipelines[id].raw == nil {
			return fmt.Errorf("kernel %s was not compiled", op.Program.Name)
		}
		if args := op.Args[1] - op.Args[0]; args != len(op.Program.Layout.Bindings) {
			return fmt.Errorf("kernel %s takes %d buffers, not %d", op.Program.Name, len(op.Program.Layout.Bindings), args)
		}
		if params := op.Params[1] - op.Params[0]; params != len(op.Program.Layout.Params) {
			return fmt.Errorf("kernel %s takes %d parameters, not %d", op.Program.Name, len(op.Program.Layout.Params), params)
		}
	}
	return nil
}

// Submit replays the plan and does not wait: one write of parameters, then one
// encoder and one pass for each maxOps dispatches.
func (d *Device) Submit(p *driver.Plan) error { return d.replay(p, maxOps, nil) }

// replay submits the plan in pieces of n dispatches and calls after, if any,
// after each.
func (d *Device) replay(p *driver.Plan, n int, after func(first int) error) error {
	if err := d.ready(); err != nil || len(p.Ops) == 0 {
		return err
	}
	if err := d.check(p); err != nil {
		return err
	}
	if err := d.pack(p); err != nil {
		return err
	}
	at := 0
	for first := 0; first < len(p.Ops); first += n {
		e, err := newEncoder(d.device)
		if err != nil {
			return d.fatal(err)
		}
		pass := beginPass(e)
		at, err = d.record(pass, p, first, min(first+n, len(p.Ops)), at)
		if ended := endPass(pass); err == nil {
			err = d.fatal(ended)
		}
		pass.Release()
		if err == nil {
			err = d.submit(e)
		}
		e.Release()
		if err == nil && after != nil {
			err = after(first)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// record puts dispatches first to end into pass. Their parameters start at
// byte at of the uniform buffer; those of the next start where it returns.
func (d *Device) record(pass *libPass, p *driver.Plan, first, end, at int) (int, error) {
	last := -1
	for i := first; i < end; i++ {
		op := &p.Ops[i]
		g, err := d.group(op.Program, p.Args[op.Args[0]:op.Args[1]])
		if err != nil {
			return 0, fmt.Errorf("%s: %w", op.Program.Name, err)
		}
		if id := op.Program.ID; id != last {
			pass.SetPipeline(d.pipelines[id].raw)
			last = id
		}
		d.offset[0] = uint32(at)
		pass.SetBindGroup(0, g.raw, d.offset[:])
		pass.DispatchWorkgroups(op.Groups[0], op.Groups[1], op.Groups[2])
		at += d.stride(len(op.Program.Layout.Params))
	}
	return at, nil
}

// submit hands what e recorded to the device. The caller releases e.
func (d *Device) submit(e *libEncoder) error {
	commands, err := finish(e)
	if err != nil {
		return d.fatal(err)
	}
	defer commands.Release()
	if err := d.ready(); err != nil {
		return err
	}
	slot := &d.inFlight[d.submitted%maxInFlight]
	if d.submitted >= maxInFlight {
		waitFor(d.device, d.queue, slot)
	}
	*slot = submit(d.queue, commands)
	d.submitted++
	d.pending = 0
	return d.ready()
}
