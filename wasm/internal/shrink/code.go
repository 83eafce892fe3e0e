package main

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"wgjepa/wasm/internal/module"
)

// Go's compiler writes every call, jump and return out in full
// (cmd/internal/obj/wasm/wasmobj.go, preprocess). compact says them shorter:
//
//   - A call first pushes the return address on Go's stack, in seven
//     instructions. A function does that. The address is that of the caller and
//     the number of a resume point; with several calls a local variable keeps the
//     former.
//   - A function is cut at its resume points into segments. Each ends one of the
//     blocks that begin at its top, and a jump to one is written as setting local
//     0 to its number and going round the loop to the table of all of them. Where
//     the segment lies ahead its block is still open, and a branch out of it
//     arrives at the same place. V8 makes slower code of it where the loop
//     computes with floating-point numbers: such functions keep their jumps.
//   - What never returns needs no way back: a call that Go has followed by
//     unreachable, and one within an if, where calls are only made to grow the
//     stack and to panic at a nil pointer. Both leave the function.
//   - A return pops the frame and the return address one after the other.
//   - A place in the frame is computed in 64 bits and cut to 32, where loads and
//     stores take an offset themselves.
type compactor struct {
	push    int    // the index of the function that pushes a return address
	address int64  // of this function
	own     []byte // the instruction that gives it

	r     module.Reader // what is left of the body
	out   []byte
	table []int  // the segment of each number that local 0 may have
	now   int    // the segment at hand
	open  []byte // the ifs, blocks and loops in it

	direct bool // jumps become branches

	operands []place // as far as they are known, the last on top
}

// place is an operand: where it is a place in the frame, the offset that was
// added to the stack pointer, and where in out that is done.
type place struct{ offset, from, to int }

// Sequences of instructions, cut at what varies in them. Local 1 and global 0
// are the stack pointer, local 0 is the number at which a function is resumed.
var (
	stackPointer = []byte{globalGet, 0, set, 1} // at the beginning, and after a call
	dispatch     = []byte{get, 0, branchTable}  // the table of resume points
	pushHead     = []byte{get, 1, i32const, 8, subtract, tee, 1, globalSet, 0, get, 1, i64const}
	pushTail     = []byte{store64, 3, 0} // after the return address
	fromTop      = []byte{i32const, 0, call}
	unreached    = []byte{end, unreachable} // after a call that does not return
	ifThen       = []byte{If, void}
	jumpTail     = []byte{set, 0, branch} // after a resume point's number
	frame        = []byte{get, 1, i32const}
	popFrame     = []byte{add, tee, 1, globalSet, 0, get, 1, i32const, 8} // after the frame's size
	placeHead    = []byte{get, 1, extend, i64const}                       // the place of a variable in the frame
	placeTail    = []byte{add64, wrap}
	popAddress   = []byte{add, tee, 1, globalSet, 0, i32const, 0, leave}
)

// pushReturn is the function that pushes the sum of its parameters, the address of
// a function and a number, and returns the 0 that a function begins at.
var (
	pushType   = []byte{0x60, 2, i64, i32, 1, i32}
	pushReturn = []byte{0,
		globalGet, 0, i32const, 8, subtract, globalSet, 0,
		globalGet, 0, get, 0, get, 1, extend, add64, store64, 3, 0,
		i32const, 0, end}
)

// compact rewrites the body of a function.
func compact(body []byte, address int64, push int) ([]byte, error) {
	r := module.Reader{Rest: body}
	kinds, locals := r.Number(), 1 // the parameter
	for range kinds {
		locals += r.Number()
		r.Byte()
	}
	if !bytes.HasPrefix(r.Rest, stackPointer) {
		return body, r.Err // assembly that is not called as Go's functions are
	}
	c := compactor{push: push, address: address, r: r, own: module.AppendSigned([]byte{i64const}, address)}
	head := body[:len(body)-len(r.Rest)]
	if bytes.Count(body, pushHead) > 1 {
		c.out = append(binary.AppendUvarint(nil, uint64(kinds+1)), head[1:]...)
		c.out = append(append(append(c.out, 1, i64), c.own...), set)
		c.out = binary.AppendUvarint(c.out, uint64(locals))
		c.own = binary.AppendUvarint([]byte{get}, uint64(locals))
	} else {
		c.out = bytes.Clone(head)
	}
	c.direct = !computes(r)
	c.readTable()
	for len(c.r.Rest) > 0 && c.r.Err == nil {
		switch {
		case c.call(), c.direct && c.jump(), c.leave():
			c.operands = c.operands[:0]
		case !c.place():
			c.copy()
		}
	}
	return c.out, c.r.Err
}

// computes reports whether there are products of floating-point numbers.
func computes(r module.Reader) bool {
	for len(r.Rest) > 0 {
		if op := r.Instruction()[0]; op == multiply32 || op == multiply64 {
			return true
		}
	}
	return false
}

// readTable goes to the first segment, if the function is cut into any.
func (c *compactor) readTable() {
	r := c.r
	r.Bytes(len(stackPointer))
	for len(r.Rest) > 0 && (r.Rest[0] == block || r.Rest[0] == loop) {
		r.Instruction()
	}
	if !skip(&r, dispatch) {
		return
	}
	for range r.Number() + 1 {
		c.table = append(c.table, r.Number())
	}
	if skip(&r, []byte{end}) {
		c.out = append(c.out, c.r.Rest[:len(c.r.Rest)-len(r.Rest)]...)
		c.r = r
	}
}

// skip goes over what is there, if it is.
func skip(r *module.Reader, what []byte) bool {
	rest, ok := bytes.CutPrefix(r.Rest, what)
	r.Rest = rest
	return ok
}

func (c *compactor) copy() {
	instruction := c.r.Instruction()
	if c.r.Err != nil {
		return
	}
	switch instruction[0] {
	case block, loop, If:
		c.open = append(c.open, instruction[0])
	case end:
		if n := len(c.open); n > 0 {
			c.open = c.open[:n-1]
		} else {
			c.now++
		}
	}
	c.out = append(c.out, instruction...)
	takes, gives, known := effect(instruction)
	if !known || takes > len(c.operands) {
		c.operands = c.operands[:0]
		return
	}
	rest := len(c.operands) - takes
	if op := instruction[0]; op >= load && op <= lastStore && c.operands[rest].offset > 0 {
		a := c.operands[rest]
		m := module.Reader{Rest: instruction[1:]}
		align, offset := m.Number(), m.Number()
		c.out = slices.Delete(c.out[:len(c.out)-len(instruction)], a.from, a.to)
		c.out = append(c.out, op, byte(align))
		c.out = binary.AppendUvarint(c.out, uint64(offset+a.offset))
	}
	c.operands = append(c.operands[:rest], make([]place, gives)...)
}

// effect says how many operands an instruction takes and gives, where that
// does not depend on more than its operation.
func effect(instruction []byte) (takes, gives int, known bool) {
	switch op := instruction[0]; {
	case op == get, op == globalGet, op >= i32const && op <= lastConst:
		return 0, 1, true
	case op == set, op == globalSet, op == drop:
		return 1, 0, true
	case op == choose:
		return 3, 1, true
	case op >= store && op <= lastStore:
		return 2, 0, true
	case op == bulk && instruction[1] >= 8: // memory.copy, memory.fill
		return 3, 0, true
	case op == tee, op >= load && op < store, op == bulk, // bulk: conversions that saturate
		op == 0x45, op == 0x50, // eqz
		op >= 0x67 && op <= 0x69, op >= 0x79 && op <= 0x7b, // counts of bits
		op >= 0x8b && op <= 0x91, op >= 0x99 && op <= 0x9f, // abs to sqrt
		op >= 0xa7 && op <= 0xc4: // conversions
		return 1, 1, true
	case op >= 0x46 && op <= 0xa6: // comparisons and arithmetic
		return 2, 1, true
	}
	return 0, 0, false
}

// place takes the computation of a place in the frame.
func (c *compactor) place() bool {
	r := c.r
	if !skip(&r, placeHead) {
		return false
	}
	offset := r.Signed()
	if !skip(&r, placeTail) || offset <= 0 {
		return false
	}
	c.out = append(c.out, get, 1)
	a := place{offset: int(offset), from: len(c.out)}
	c.out = append(module.AppendSigned(append(c.out, i32const), offset), add)
	a.to = len(c.out)
	c.operands = append(c.operands, a)
	c.r = r
	return true
}

func (c *compactor) call() bool {
	r := c.r
	if !skip(&r, pushHead) {
		return false
	}
	address := r.Signed()
	number := address - c.address
	if !skip(&r, pushTail) || number < 0 || number >= 1<<16 {
		return false
	}
	c.out = append(module.AppendSigned(append(append(c.out, c.own...), i32const), number), call)
	c.out = binary.AppendUvarint(c.out, uint64(c.push))
	if !skip(&r, fromTop) {
		c.out = append(c.out, drop)
		c.r = r
		return true
	}
	c.out = binary.AppendUvarint(append(c.out, call), uint64(r.Number()))
	c.r = r
	if skip(&r, stackPointer) && skip(&r, []byte{branchIf}) {
		r.Number()
		if n := len(c.open); n > 0 && c.open[n-1] == If || bytes.HasPrefix(r.Rest, unreached) {
			c.out = append(c.out, leave)
			c.r = r
		}
	}
	return true
}

func (c *compactor) jump() bool {
	r := c.r
	conditional := skip(&r, ifThen)
	if !skip(&r, []byte{i32const}) {
		return false
	}
	number := r.Signed()
	if !skip(&r, jumpTail) || number < 0 || int(number) >= len(c.table) {
		return false
	}
	depth, branch := r.Number(), byte(branch)
	if conditional {
		if !skip(&r, []byte{end}) {
			return false
		}
		depth, branch = depth-1, branchIf
	}
	last := c.table[len(c.table)-1]
	if depth != len(c.open)+last-c.now { // not to the loop
		return false
	}
	if ahead := c.table[number] - c.now; ahead > 0 {
		depth = len(c.open) + ahead - 1
	} else {
		c.out = append(module.AppendSigned(append(c.out, i32const), number), set, 0)
	}
	c.out = binary.AppendUvarint(append(c.out, branch), uint64(depth))
	c.r = r
	return true
}

func (c *compactor) leave() bool {
	r := c.r
	if !skip(&r, frame) {
		return false
	}
	size := r.Signed()
	if skip(&r, popFrame) {
		size += 8
	}
	if !skip(&r, popAddress) {
		return false
	}
	c.out = module.AppendSigned(append(c.out, frame...), size)
	c.out = append(c.out, add, globalSet, 0, i32const, 0, leave)
	c.r = r
	return true
}

// compactAll rewrites the section of code: the functions that resumable names, which
// take and return an i32 as Go's do.
func compactAll(content []byte, resumable []bool, push int) ([]byte, error) {
	r := module.Reader{Rest: content}
	n := r.Number()
	if n != len(resumable) {
		return nil, fmt.Errorf("%d functions have %d bodies", len(resumable), n)
	}
	out := binary.AppendUvarint(nil, uint64(n))
	for i := range n {
		body := r.Bytes(r.Number())
		if resumable[i] {
			var err error
			if body, err = compact(body, int64(firstNumber+i)<<16, push); err != nil {
				return nil, fmt.Errorf("function %d: %w", i, err)
			}
		}
		out = append(out, sized(body)...)
	}
	return out, r.Err
}

// findResumable says of every function whether it takes and returns an i32.
func findResumable(types, functions []byte) ([]bool, error) {
	r := module.Reader{Rest: types}
	var is []bool // of types
	for range r.Number() {
		if r.Byte() != 0x60 {
			return nil, errors.New("a type is not a function's")
		}
		takes := r.Bytes(r.Number())
		gives := r.Bytes(r.Number())
		is = append(is, string(takes) == "\x7f" && string(gives) == "\x7f")
	}
	if r.Err != nil {
		return nil, r.Err
	}
	r = module.Reader{Rest: functions}
	var list []bool
	for range r.Number() {
		kind := r.Number()
		if r.Err != nil || kind >= len(is) {
			return nil, cmp.Or(r.Err, errors.New("a function has no type"))
		}
		list = append(list, is[kind])
	}
	return list, r.Err
}
