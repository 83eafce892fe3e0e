//go:build cgo && !js

package wgpu

import (
	"fmt"

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
)

// slot is one binding of a bind group.
type slot struct {
	buffer       *libBuffer
	offset, size uint64
}

// group returns the bind group of op, made on the first call.
func (d *Device) group(program *driver.Program, args []driver.Arg) (*libGroup, error) {
	d.groups.Begin(program)
	for i := range args {
		a := &args[i]
		b, err := d.own(a.Buffer, a.Off, a.Len)
		if err != nil {
			return nil, err
		}
		d.groups.Add(b.bound, a.Off, a.Len)
	}
	if g, ok := d.groups.Find(); ok {
		return g, nil
	}
	p := &d.pipelines[program.ID]
	d.slots = append(d.slots[:0], slot{d.uniform, 0, uint64(program.UniformSize())})
	for _, a := range args {
		d.slots = append(d.slots, slot{a.Buffer.(*buffer).raw, 4 * uint64(a.Off), 4 * uint64(a.Len)})
	}
	g, err := newGroup(d.device, program.Name, p.layout, d.slots)
	if err != nil {
		return nil, d.fatal(err)
	}
	d.groups.Keep(g)
	return g, nil
}

// pack writes the parameters of all of the plan's dispatches to the uniform
// buffer, each at a multiple of the device's alignment.
func (d *Device) pack(p *driver.Plan) error {
	d.params = p.Pack(d.params[:0], d.info.Limits.UniformAlignment)
	if size := uint64(len(d.params)); d.uniformSize < size {
		d.groups.Clear() // they bind the buffer that is outgrown
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
	return p.Check(func(program *driver.Program) bool {
		return program.ID < len(d.pipelines) && d.pipelines[program.ID].raw != nil
	})
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
	d.groups.Trim()
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
		pass.SetBindGroup(0, g, d.offset[:])
		pass.DispatchWorkgroups(op.Groups[0], op.Groups[1], op.Groups[2])
		at += op.Program.Stride(d.info.Limits.UniformAlignment)
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
