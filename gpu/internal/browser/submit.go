//go:build js && wasm

package browser

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"wgjepa/gpu/internal/driver"
)

// maxGroups bounds the cache of bind groups.
const maxGroups = 1 << 14

// group is a cached bind group: id is its number in driver.js.
type group struct {
	id      uint32
	key     string
	buffers []*buffer
}

// group returns the bind group of op, made on the first call. The key is exact:
// program, then serial number, offset and length of each buffer.
func (d *Device) group(program *driver.Program, args []driver.Arg) (*group, error) {
	key := binary.LittleEndian.AppendUint32(d.key[:0], uint32(program.ID))
	for i := range args {
		a := &args[i]
		b, err := d.own(a.Buffer, a.Off, a.Len)
		if err != nil {
			return nil, err
		}
		key = binary.LittleEndian.AppendUint64(key, b.serial)
		key = binary.LittleEndian.AppendUint32(key, uint32(a.Off))
		key = binary.LittleEndian.AppendUint32(key, uint32(a.Len))
	}
	d.key = key
	if g, ok := d.groups[string(key)]; ok {
		return g, nil
	}
	if len(d.groups) >= maxGroups {
		d.dropAll()
	}
	g := &group{id: d.groupIDs.take(), key: string(key)}
	d.words = d.words[:0]
	for _, a := range args {
		b := a.Buffer.(*buffer)
		g.buffers = append(g.buffers, b)
		d.words = append(d.words, b.id, uint32(a.Off), uint32(a.Len))
	}
	if err := failed(glueGroup(d.token, g.id, uint32(program.ID), unsafe.Pointer(unsafe.SliceData(d.words)), uint32(len(d.words)))); err != nil {
		d.groupIDs.give(g.id)
		return nil, err
	}
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
	glueDrop(d.token, g.id)
	d.groupIDs.give(g.id)
}

func (d *Device) dropAll() {
	for _, g := range d.groups {
		d.drop(g)
	}
}

// pack lays the parameters of all of the plan's dispatches out for the uniform
// buffer, each at a multiple of the device's alignment, and makes the buffer
// large enough.
func (d *Device) pack(p *driver.Plan) error {
	d.params = d.params[:0]
	for i := range p.Ops {
		op := &p.Ops[i]
		end := len(d.params) + d.stride(op.Program)
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
	if len(d.params) <= d.uniformSize {
		return nil
	}
	d.dropAll() // they bind the buffer that is outgrown
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

// stride is the space that a program's parameters take in the uniform buffer.
func (d *Device) stride(p *driver.Program) int {
	align := max(16, d.info.Limits.UniformAlignment)
	return (int(uniformSize(p)) + align - 1) / align * align
}

// check refuses a plan that does not fit its programs.
func (d *Device) check(p *driver.Plan) error {
	for i := range p.Ops {
		op := &p.Ops[i]
		id := op.Program.ID
		if id >= len(d.compiled) || !d.compiled[id] {
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

// lower writes p as driver.js reads it into d.plan and d.params.
func (d *Device) lower(p *driver.Plan) error {
	if err := d.pack(p); err != nil {
		return err
	}
	d.plan = d.plan[:0]
	at := 0
	for i := range p.Ops {
		op := &p.Ops[i]
		g, err := d.group(op.Program, p.Args[op.Args[0]:op.Args[1]])
		if err != nil {
			return fmt.Errorf("%s: %w", op.Program.Name, err)
		}
		d.plan = append(d.plan, uint32(op.Program.ID), g.id, uint32(at), op.Groups[0], op.Groups[1], op.Groups[2])
		at += d.stride(op.Program)
	}
	return nil
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
