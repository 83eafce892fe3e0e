package weights

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// Values of a pickle: nil, bool, int64, float64, string, and these.
type (
	list  struct{ items []any }
	tuple []any
	dict  struct{ keys, values []any } // in order of insertion; a key given twice counts by its last value
	// long is an integer of more than 64 bits, little-endian two's complement.
	long string
	// global names a Python object; it is never looked up.
	global struct{ module, name string }
	// opaque stands for an object of a class whose content is of no use here.
	opaque struct{ class global }
	// storage is a run of numbers outside the pickle.
	storage struct {
		kind  string // FloatStorage, …
		key   string
		count int64
	}
	// array is a tensor: a strided view of a storage.
	array struct {
		storage       storage
		offset        int64
		shape, stride []int64
	}
)

// mark separates the items of a collection on the stack.
type mark struct{}

func (g global) String() string { return g.module + "." + g.name }

// Caps of the pickles of a file. Every value costs one of the budget, a collection
// collectionCost, a string one for eight bytes: a checkpoint of 10 000 tensors
// with its optimizer costs about a million; all that the budget buys fits into
// 64 MiB.
const (
	pickleBudget   = 3 << 19
	collectionCost = 16
)

var errBudget = errors.New("the pickle holds more objects than a weight file can need")

// unpickler reads one pickle. It is a stack machine that builds values and
// calls nothing: of the pickle protocol it knows the instructions that weight
// files use, of Python's objects the names that allowed lists. Anything else
// is refused.
type unpickler struct {
	r      *bufio.Reader
	stack  []any
	memo   map[uint32]any
	budget *int
	refers map[string]storage // by key: the numbers outside that it refers to
}

// unpickle reads the pickle at the start of r and nothing beyond it: its value,
// and the storages that it refers to. It takes what it builds off the budget.
func unpickle(r *bufio.Reader, budget *int) (any, map[string]storage, error) {
	u := &unpickler{r: r, memo: map[uint32]any{}, budget: budget, refers: map[string]storage{}}
	for {
		op, err := u.r.ReadByte()
		if err != nil {
			return nil, nil, truncated(err)
		}
		if op == '.' { // STOP
			v, err := u.pop()
			return v, u.refers, err
		}
		if err := u.step(op); err != nil {
			return nil, nil, err
		}
	}
}

func truncated(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errors.New("the pickle ends in the middle")
	}
	return err
}

func (u *unpickler) spend(n int) error {
	if *u.budget -= n; *u.budget < 0 {
		return errBudget
	}
	return nil
}

func (u *unpickler) push(v any) error {
	cost := 1
	switch v := v.(type) {
	case string:
		cost += len(v) / 8
	case *list, *dict, tuple, *array, *opaque:
		cost = collectionCost
	}
	u.stack = append(u.stack, v)
	return u.spend(cost)
}

func (u *unpickler) pop() (any, error) {
	n := len(u.stack)
	if n == 0 || u.stack[n-1] == any(mark{}) {
		return nil, errors.New("the pickle takes a value that it did not make")
	}
	v := u.stack[n-1]
	u.stack = u.stack[:n-1]
	return v, nil
}

// popMark takes the values above the last mark, and the mark.
func (u *unpickler) popMark() ([]any, error) {
	for i := len(u.stack) - 1; i >= 0; i-- {
		if _, ok := u.stack[i].(mark); ok {
			items := append([]any(nil), u.stack[i+1:]...)
			u.stack = u.stack[:i]
			return items, u.spend(len(items))
		}
	}
	return nil, errors.New("the pickle closes a collection that it did not open")
}

// popN takes the last n values.
func (u *unpickler) popN(n int) ([]any, error) {
	items := make([]any, n)
	for i := n - 1; i >= 0; i-- {
		v, err := u.pop()
		if err != nil {
			return nil, err
		}
		items[i] = v
	}
	return items, nil
}

// bytes reads n bytes, which the budget has to allow.
func (u *unpickler) bytes(n uint64) ([]byte, error) {
	if n > uint64(max(*u.budget, 0))*8 {
		return nil, errBudget
	}
	var b []byte
	var err error
	if n <= 1<<12 {
		b = make([]byte, n)
		_, err = io.ReadFull(u.r, b)
	} else if b, err = io.ReadAll(io.LimitReader(u.r, int64(n))); err == nil && uint64(len(b)) < n {
		err = io.ErrUnexpectedEOF // memory grows with what is there, not with what is promised
	}
	if err != nil {
		return nil, truncated(err)
	}
	return b, nil
}

// uint reads a little-endian integer of n bytes.
func (u *unpickler) uint(n int) (uint64, error) {
	var b [8]byte
	if _, err := io.ReadFull(u.r, b[:n]); err != nil {
		return 0, truncated(err)
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}

// text reads a string whose length takes width bytes.
func (u *unpickler) text(width int) (string, error) {
	n, err := u.uint(width)
	if err != nil {
		return "", err
	}
	b, err := u.bytes(n)
	return string(b), err
}

// line reads up to a newline.
func (u *unpickler) line() (string, error) {
	b, err := u.r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		return "", errors.New("a name in the pickle is too long")
	}
	if err != nil {
		return "", truncated(err)
	}
	return strings.TrimSuffix(string(b), "\n"), nil
}

// step executes one instruction other than STOP. The names in the comments are
// those of Python's pickletools.
func (u *unpickler) step(op byte) error {
	switch op {
	case 0x80: // PROTO
		v, err := u.uint(1)
		if err == nil && v > 5 {
			err = fmt.Errorf("pickle protocol %d is not known", v)
		}
		return err
	case 0x95: // FRAME
		_, err := u.uint(8)
		return err
	case '(': // MARK
		return u.push(mark{})
	case '0': // POP
		_, err := u.pop()
		return err
	case '1': // POP_MARK
		_, err := u.popMark()
		return err
	case '2': // DUP
		v, err := u.pop()
		if err != nil {
			return err
		}
		u.stack = append(u.stack, v)
		return u.push(v)
	case 'N': // NONE
		return u.push(nil)
	case 0x88, 0x89: // NEWTRUE, NEWFALSE
		return u.push(op == 0x88)
	case 'K', 'M': // BININT1, BININT2
		v, err := u.uint(map[byte]int{'K': 1, 'M': 2}[op])
		if err != nil {
			return err
		}
		return u.push(int64(v))
	case 'J': // BININT
		v, err := u.uint(4)
		if err != nil {
			return err
		}
		return u.push(int64(int32(v)))
	case 0x8a: // LONG1
		s, err := u.text(1)
		if err != nil {
			return err
		}
		return u.push(decodeLong(s))
	case 'G': // BINFLOAT, big-endian
		b, err := u.bytes(8)
		if err != nil {
			return err
		}
		return u.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
	case 'X', 'T', 'B': // BINUNICODE, BINSTRING, BINBYTES
		return u.pushText(4)
	case 0x8c, 'U', 'C': // SHORT_BINUNICODE, SHORT_BINSTRING, SHORT_BINBYTES
		return u.pushText(1)
	case 0x8d, 0x8e: // BINUNICODE8, BINBYTES8
		return u.pushText(8)
	case '}': // EMPTY_DICT
		return u.push(&dict{})
	case ']', 0x8f: // EMPTY_LIST, EMPTY_SET
		return u.push(&list{})
	case ')': // EMPTY_TUPLE
		return u.push(tuple{})
	case 't': // TUPLE
		items, err := u.popMark()
		if err != nil {
			return err
		}
		return u.push(tuple(items))
	case 0x85, 0x86, 0x87: // TUPLE1, TUPLE2, TUPLE3
		items, err := u.popN(int(op-0x85) + 1)
		if err != nil {
			return err
		}
		return u.push(tuple(items))
	case 'l', 0x91: // LIST, FROZENSET
		items, err := u.popMark()
		if err != nil {
			return err
		}
		return u.push(&list{items})
	case 'a': // APPEND
		items, err := u.popN(1)
		if err != nil {
			return err
		}
		return u.extend(items)
	case 'e', 0x90: // APPENDS, ADDITEMS
		items, err := u.popMark()
		if err != nil {
			return err
		}
		return u.extend(items)
	case 's': // SETITEM
		items, err := u.popN(2)
		if err != nil {
			return err
		}
		return u.setItems(items)
	case 'u': // SETITEMS
		items, err := u.popMark()
		if err != nil {
			return err
		}
		return u.setItems(items)
	case 'q', 'r': // BINPUT, LONG_BINPUT
		i, err := u.uint(map[byte]int{'q': 1, 'r': 4}[op])
		if err != nil {
			return err
		}
		return u.put(uint32(i))
	case 0x94: // MEMOIZE
		return u.put(uint32(len(u.memo)))
	case 'h', 'j': // BINGET, LONG_BINGET
		i, err := u.uint(map[byte]int{'h': 1, 'j': 4}[op])
		if err != nil {
			return err
		}
		v, ok := u.memo[uint32(i)]
		if !ok {
			return errors.New("the pickle recalls a value that it did not keep")
		}
		u.stack = append(u.stack, v)
		return u.spend(1)
	case 'c': // GLOBAL
		module, err := u.line()
		if err != nil {
			return err
		}
		name, err := u.line()
		if err != nil {
			return err
		}
		return u.global(module, name)
	case 0x93: // STACK_GLOBAL
		items, err := u.popN(2)
		if err != nil {
			return err
		}
		module, ok1 := items[0].(string)
		name, ok2 := items[1].(string)
		if !ok1 || !ok2 {
			return errors.New("the pickle names an object by something other than text")
		}
		return u.global(module, name)
	case 'R', 0x81, 0x92: // REDUCE, NEWOBJ, and NEWOBJ_EX with arguments by name
		n := 2
		if op == 0x92 {
			n = 3
		}
		items, err := u.popN(n)
		if err != nil {
			return err
		}
		v, err := build(items[0], items[1])
		if err != nil {
			return err
		}
		return u.push(v)
	case 'b': // BUILD: the state of an object, of no use here
		_, err := u.pop()
		return err
	case 'Q': // BINPERSID
		v, err := u.pop()
		if err != nil {
			return err
		}
		s, err := persistent(v)
		if err != nil {
			return err
		}
		if was, ok := u.refers[s.key]; ok && was != s {
			return fmt.Errorf("the pickle refers to storage %q as %s of %d and as %s of %d", s.key, was.kind, was.count, s.kind, s.count)
		}
		u.refers[s.key] = s
		return u.push(s)
	}
	return fmt.Errorf("the pickle has the instruction 0x%02x, which weight files do not use: refused, nothing of it was run", op)
}

func (u *unpickler) pushText(width int) error {
	s, err := u.text(width)
	if err != nil {
		return err
	}
	return u.push(s)
}

func decodeLong(s string) any {
	if len(s) > 8 {
		return long(s)
	}
	var b [8]byte
	if len(s) > 0 && s[len(s)-1]&0x80 != 0 { // negative: sign-extend
		for i := range b {
			b[i] = 0xff
		}
	}
	copy(b[:], s)
	return int64(binary.LittleEndian.Uint64(b[:]))
}

func (u *unpickler) put(i uint32) error {
	if len(u.stack) == 0 {
		return errors.New("the pickle keeps a value that it did not make")
	}
	u.memo[i] = u.stack[len(u.stack)-1]
	return u.spend(2)
}

// top is the value that the next items go into.
func (u *unpickler) top() any {
	if len(u.stack) == 0 {
		return nil
	}
	return u.stack[len(u.stack)-1]
}

func (u *unpickler) extend(items []any) error {
	switch v := u.top().(type) {
	case *list:
		v.items = append(v.items, items...)
	case *opaque:
	default:
		return errors.New("the pickle appends to something that is no list")
	}
	return nil
}

func (u *unpickler) setItems(items []any) error {
	if len(items)%2 != 0 {
		return errors.New("the pickle sets a key without a value")
	}
	switch d := u.top().(type) {
	case *dict:
		for i := 0; i < len(items); i += 2 {
			d.keys, d.values = append(d.keys, items[i]), append(d.values, items[i+1])
		}
	case *opaque:
	default:
		return errors.New("the pickle sets a key of something that is no dictionary")
	}
	return nil
}

func (u *unpickler) global(module, name string) error {
	g := global{module, name}
	if !allowed(g) {
		return &refused{g}
	}
	return u.push(g)
}

// refused is the error for a pickle that names an object which has no place in
// a weight file.
type refused struct{ global global }

func (r *refused) Error() string {
	return fmt.Sprintf("it names %s, which has no place in a weight file: refused, nothing of it was run; save the model's state_dict() alone where the file is yours", printable(r.global.String()))
}

// known are the objects whose use is understood.
var known = map[global]bool{
	{"collections", "OrderedDict"}:                    true,
	{"collections", "defaultdict"}:                    true,
	{"torch", "Size"}:                                 true,
	{"torch._utils", "_rebuild_tensor"}:               true,
	{"torch._utils", "_rebuild_tensor_v2"}:            true,
	{"torch._utils", "_rebuild_parameter"}:            true,
	{"torch._utils", "_rebuild_parameter_with_state"}: true,
}

// inert are classes and functions that checkpoints mention beside the weights,
// in hyper-parameters and the state of callbacks. They become opaque values.
var inert = map[global]bool{
	{"argparse", "Namespace"}:                  true,
	{"builtins", "dict"}:                       true,
	{"builtins", "int"}:                        true,
	{"builtins", "list"}:                       true,
	{"builtins", "set"}:                        true,
	{"__builtin__", "dict"}:                    true,
	{"__builtin__", "int"}:                     true,
	{"__builtin__", "list"}:                    true,
	{"__builtin__", "set"}:                     true,
	{"_codecs", "encode"}:                      true,
	{"functools", "partial"}:                   true,
	{"numpy", "dtype"}:                         true,
	{"numpy", "ndarray"}:                       true,
	{"numpy.core.multiarray", "scalar"}:        true,
	{"numpy.core.multiarray", "_reconstruct"}:  true,
	{"numpy._core.multiarray", "scalar"}:       true,
	{"numpy._core.multiarray", "_reconstruct"}: true,
	{"pathlib", "Path"}:                        true,
	{"pathlib", "PosixPath"}:                   true,
	{"pathlib", "PurePosixPath"}:               true,
	{"pathlib", "WindowsPath"}:                 true,
	{"torch", "device"}:                        true,
	{"torch.serialization", "_get_layout"}:     true,
	{"torch.torch_version", "TorchVersion"}:    true,
	{"torch._C", "Generator"}:                  true,
}

// inertModules are packages whose classes checkpoints mention.
var inertModules = []string{
	"lightning", "lightning_fabric", "lightning_utilities", "nidl", "omegaconf", "pytorch_lightning", "timm",
	"torch.nn", "torch.optim", "torchmetrics",
}

func allowed(g global) bool {
	if known[g] || inert[g] || g.module == "torch" && (storageTypes[g.name].size > 0 || dtypes[g.name]) {
		return true
	}
	for _, m := range inertModules {
		if g.module == m || strings.HasPrefix(g.module, m+".") {
			return true
		}
	}
	return false
}

// build is what calling a known object yields: built here, not called.
func build(callee, args any) (any, error) {
	g, ok := callee.(global)
	if !ok {
		if _, ok := callee.(*opaque); ok {
			return &opaque{}, nil
		}
		return nil, errors.New("the pickle calls something that is no class")
	}
	a, ok := args.(tuple)
	if !ok {
		return nil, fmt.Errorf("the pickle calls %s without arguments", g)
	}
	switch g.module + "." + g.name {
	case "collections.OrderedDict", "collections.defaultdict":
		return &dict{}, nil
	case "torch.Size":
		if len(a) == 1 {
			return a[0], nil
		}
	case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state":
		if len(a) > 0 {
			if t, ok := a[0].(*array); ok {
				return t, nil
			}
		}
	case "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2":
		if len(a) >= 4 {
			s, ok1 := a[0].(storage)
			offset, ok2 := a[1].(int64)
			shape, ok3 := ints(a[2])
			stride, ok4 := ints(a[3])
			if ok1 && ok2 && ok3 && ok4 && offset >= 0 && len(shape) == len(stride) && len(shape) <= axesCap {
				return &array{s, offset, shape, stride}, nil
			}
		}
	default:
		return &opaque{g}, nil
	}
	return nil, fmt.Errorf("the pickle gives %s arguments that it does not take", g)
}

const axesCap = 16

// ints returns the items of a tuple or list that are integers, none negative.
func ints(v any) ([]int64, bool) {
	var items []any
	switch v := v.(type) {
	case tuple:
		items = v
	case *list:
		items = v.items
	default:
		return nil, false
	}
	out := make([]int64, 0, min(len(items), axesCap+1))
	for _, x := range items {
		n, ok := x.(int64)
		if !ok || n < 0 || len(out) > axesCap {
			return nil, false
		}
		out = append(out, n)
	}
	return out, true
}

// persistent reads a reference to numbers outside the pickle:
// ("storage", type, key, place, count[, view]).
func persistent(v any) (storage, error) {
	bad := errors.New("the pickle refers to numbers in a way that torch.save does not")
	t, ok := v.(tuple)
	if !ok || len(t) < 5 || t[0] != any("storage") {
		return storage{}, bad
	}
	g, ok1 := t[1].(global)
	key, ok2 := t[2].(string)
	count, ok3 := t[4].(int64)
	if !ok1 || !ok2 || !ok3 || count < 0 || g.module != "torch" || storageTypes[g.name].size == 0 {
		return storage{}, bad
	}
	if len(t) > 5 && t[5] != nil {
		return storage{}, errors.New("it was saved by a PyTorch before 0.4, with storages that are views: load and save it with a newer one")
	}
	return storage{g.name, key, count}, nil
}
