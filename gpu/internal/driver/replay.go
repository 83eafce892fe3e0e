package driver

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"wgjepa/wgsl"
)

// UniformSize is the size of a program's parameters as bound, in bytes:
// uniform structs are multiples of 16.
func (p *Program) UniformSize() int { return max(16, (4*len(p.Layout.Params)+15)/16*16) }

// Stride is the space that a program's parameters take in a uniform buffer
// with offsets of multiples of align, a power of two.
func (p *Program) Stride(align int) int {
	align = max(16, align)
	return (p.UniformSize() + align - 1) / align * align
}

// Refused is the error of a program that a compiler refuses, with the line it
// complains about, as counted in Source; line is 0 where it names none.
func (p *Program) Refused(line, column int, why string) error {
	lines := strings.Split(p.Source, "\n")
	if line < 1 || line > len(lines) {
		return fmt.Errorf("kernel %s: %s: %s", p.Name, p.File, why)
	}
	file, at := wgsl.Place(p.File, p.Source, line)
	return fmt.Errorf("kernel %s: %s:%d:%d: %s\n\t%s", p.Name, file, at, column, why, strings.TrimSpace(lines[line-1]))
}

// Check refuses a plan with programs that are not compiled or that it does not
// fit.
func (p *Plan) Check(compiled func(*Program) bool) error {
	for i := range p.Ops {
		op := &p.Ops[i]
		if !compiled(op.Program) {
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

// Pack appends the parameters of all dispatches to data as the uniform buffer
// holds them, those of one Stride bytes behind those of the one before.
func (p *Plan) Pack(data []byte, align int) []byte {
	for i := range p.Ops {
		op := &p.Ops[i]
		end := len(data) + op.Program.Stride(align)
		for j, v := range p.Params[op.Params[0]:op.Params[1]] {
			bits := uint32(v)
			if op.Program.Layout.Params[j].Float {
				bits = math.Float32bits(float32(v))
			}
			data = binary.LittleEndian.AppendUint32(data, bits)
		}
		for len(data) < end {
			data = append(data, 0)
		}
	}
	return data
}
