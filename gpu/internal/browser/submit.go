//go:build js && wasm

package browser

import (
	"fmt"
	"unsafe"

	"wgjepa/gpu/internal/driver"
)

// group returns the number in driver.js of the bind group of op, which is made
// on the first call.
func (d *Device) group(program *driver.Program, args []driver.Arg) (uint32, error) {
	d.groups.Begin(program)
	for i := range args {
		a := &args[i]
		b, err := d.own(a.Buffer, a.Off, a.Len)
		if err != nil {
			return 0, err
		}
		d.groups.Add(b.bound, a.Off, a.Len)
	}
	if id, ok := d.groups.Find(); ok {
		return id, nil
	}
	d.words = d.words[:0]
	for _, a := range args {
		d.words = append(d.words, a.Buffer.(*buffer).id, uint32(a.Off), uint32(a.Len))
	}
	id := d.groupIDs.take()
	if err := failed(glueGroup(d.token, id, uint32(program.ID), unsafe.Pointer(unsafe.SliceData(d.words)), uint32(len(d.words)))); err != nil {
		d.groupIDs.give(id)
		return 0, err
	}
	d.groups.Keep(id)
	return id, nil
}

func (d *Device) drop(group uint32) {
	glueDrop(d.token, group)
	d.groupIDs.give(group)
}

// pack lays the parameters of all of the plan's dispatches out for the uniform
// buffer, each at a multiple of the device's alignment, and makes the buffer
// large enough.
func (d *Device) pack(p *driver.Plan) error {
	d.params = p.Pack(d.params[:0], d.info.Limits.UniformAlignment)
	if len(d.params) <= d.uniformSize {
		return nil
	}
	d.groups.Clear() // they bind the buffer that is outgrown
	want := 1 << 16
	for want < len(d.params) {
		want *= 2
	}
	if err := call(d.token, func() { glueUniform(d.token, uint32(want)) }); err != nil {
		return err
	}
	d.uniformSize = want
	return nil
}

// check refuses a plan that does not fit its programs.
func (d *Device) check(p *driver.Plan) error {
	return p.Check(func(program *driver.Program) bool {
		return program.ID < len(d.stages) && d.stages[program.ID] != absent
	})
}

// Submit hands the plan to driver.js, which replays it at once and does not
// wait for it: one write of parameters, one pass, one submission.
func (d *Device) Submit(p *driver.Plan) error {
	if err := d.ready(); err != nil || len(p.Ops) == 0 {
		return err
	}
	if err := d.check(p); err != nil {
		return err
	}
	if glueFull(d.token) != 0 {
		if err := call(d.token, func() { glueRoom(d.token) }); err != nil {
			return err
		}
	}
	if err := d.lower(p); err != nil {
		return err
	}
	if err := failed(glueSubmit(d.token, unsafe.Pointer(&d.plan[0]), uint32(len(p.Ops)), unsafe.Pointer(unsafe.SliceData(d.params)), uint32(len(d.params)))); err != nil {
		return err
	}
	return d.ready()
}

// lower writes p as driver.js reads it into d.plan and d.params, and waits for
// its pipelines.
func (d *Device) lower(p *driver.Plan) error {
	if err := d.pack(p); err != nil {
		return err
	}
	d.groups.Trim()
	d.plan = d.plan[:0]
	at := 0
	for i := range p.Ops {
		op := &p.Ops[i]
		group, err := d.group(op.Program, p.Args[op.Args[0]:op.Args[1]])
		if err != nil {
			return fmt.Errorf("%s: %w", op.Program.Name, err)
		}
		d.plan = append(d.plan, uint32(op.Program.ID), group, uint32(at), op.Groups[0], op.Groups[1], op.Groups[2])
		at += op.Program.Stride(d.info.Limits.UniformAlignment)
	}
	return d.settle(func(yield func(*driver.Program) bool) {
		for i := range p.Ops {
			if !yield(p.Ops[i].Program) {
				return
			}
		}
	})
}

// Profile times each dispatch: by timestamps where the device has them, else by
// waiting for each. Browsers make timestamps coarse, to 0.1 ms at times.
func (d *Device) Profile(p *driver.Plan, add func(*driver.Program, float64)) (stamped bool, err error) {
	if err := d.ready(); err != nil || len(p.Ops) == 0 {
		return false, err
	}
	if err := d.check(p); err != nil {
		return false, err
	}
	if err := d.lower(p); err != nil {
		return false, err
	}
	seconds := make([]float64, len(p.Ops))
	err = call(d.token, func() {
		glueProfile(d.token, unsafe.Pointer(&d.plan[0]), uint32(len(p.Ops)), unsafe.Pointer(unsafe.SliceData(d.params)), uint32(len(d.params)), unsafe.Pointer(&seconds[0]))
	})
	if err != nil {
		return false, err
	}
	for i, s := range seconds {
		add(p.Ops[i].Program, s)
	}
	return glueProfileStamped() != 0, d.ready()
}
