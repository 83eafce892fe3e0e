package gpu

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unsafe"

	"wgjepa/gpu/internal/driver"
	"wgjepa/internal/ref"
	"wgjepa/wgsl"
)

// kernel is one specialised shader beside its twin.
type kernel struct {
	program driver.Program
	fields  []field // of the Go struct of parameters, in order
}

// field says where a parameter lies in its Go struct.
type field struct {
	offset uintptr
	float  bool
}

var kernels []*kernel // every registered kernel, by program ID

// register makes a kernel out of a shader file, its definitions and its twin.
// P is the twin's struct of parameters: uint32 and float64 fields only, in the
// order and with the names of the shader's Params. bindings names the shader's
// storage buffers in order. A disagreement is a bug and panics at start.
func register[P any](name, file string, defines wgsl.Defines, bindings string, twin func(p P, b []ref.Buffer)) *kernel {
	k := newKernel(name, file, defines, bindings, reflect.TypeFor[P]())
	k.program.Twin = func(params []float64, b []ref.Buffer) {
		var p P
		k.setParams(unsafe.Pointer(&p), params)
		twin(p, b)
	}
	return k
}

// newKernel is register without the twin. What does not depend on the type of
// the parameters is not generic, or each type would have a copy of it.
func newKernel(name, file string, defines wgsl.Defines, bindings string, params reflect.Type) *kernel {
	source, err := wgsl.Source(file, defines)
	if err != nil {
		panic(fmt.Sprintf("gpu: kernel %s: %v", name, err))
	}
	layout, err := wgsl.Reflect(source)
	if err != nil {
		panic(fmt.Sprintf("gpu: kernel %s: %v", name, err))
	}
	k := &kernel{program: driver.Program{ID: len(kernels), Name: name, File: file, Source: source, Layout: layout}}
	var want []wgsl.Field
	for i := range params.NumField() {
		f := params.Field(i)
		switch f.Type.Kind() {
		case reflect.Uint32, reflect.Float64:
		default:
			panic(fmt.Sprintf("gpu: kernel %s: parameter %s is neither uint32 nor float64", name, f.Name))
		}
		float := f.Type.Kind() == reflect.Float64
		k.fields = append(k.fields, field{f.Offset, float})
		want = append(want, wgsl.Field{Name: snake(f.Name), Float: float})
	}
	if !slices.Equal(want, layout.Params) {
		panic(fmt.Sprintf("gpu: kernel %s: Params of %s are %v, those of %s are %v", name, file, layout.Params, params.Name(), want))
	}
	var names []string
	for _, b := range layout.Bindings {
		names = append(names, b.Name)
	}
	if got := strings.Join(names, " "); got != bindings {
		panic(fmt.Sprintf("gpu: kernel %s: bindings of %s are %q, the launcher gives %q", name, file, got, bindings))
	}
	kernels = append(kernels, k)
	return k
}

// params appends the fields of the struct of parameters at p to list.
func (k *kernel) params(list []float64, p unsafe.Pointer) []float64 {
	for _, f := range k.fields {
		at := unsafe.Add(p, f.offset)
		if f.float {
			list = append(list, *(*float64)(at))
		} else {
			list = append(list, float64(*(*uint32)(at)))
		}
	}
	return list
}

// setParams is the inverse of params.
func (k *kernel) setParams(p unsafe.Pointer, list []float64) {
	for i, f := range k.fields {
		at := unsafe.Add(p, f.offset)
		if f.float {
			*(*float64)(at) = list[i]
		} else {
			*(*uint32)(at) = uint32(list[i])
		}
	}
}

// snake turns a Go name into the shader's: RowStride into row_stride.
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) {
			if i > 0 && !unicode.IsUpper(rune(name[i-1])) {
				b.WriteByte('_')
			}
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// launch records one dispatch of k: parameters p, tensors in binding order.
func launch[P any](e *Encoder, k *kernel, groups [3]int, p P, tensors ...Tensor) {
	e.record(k, groups, unsafe.Pointer(&p), tensors)
}

// record is launch for parameters at p, of the type that k was registered with.
func (e *Encoder) record(k *kernel, groups [3]int, p unsafe.Pointer, tensors []Tensor) {
	d := e.d
	if d.err != nil || groups[0] == 0 || groups[1] == 0 || groups[2] == 0 {
		return
	}
	if len(tensors) != len(k.program.Layout.Bindings) {
		panic(fmt.Sprintf("gpu: %s takes %d tensors, not %d", k.program.Name, len(k.program.Layout.Bindings), len(tensors)))
	}
	op := driver.Op{Program: &k.program}
	for i, g := range groups {
		if g > d.info.Limits.Workgroups {
			d.fail(fmt.Errorf("gpu: %s: %v workgroups, %s takes %d an axis: %w", k.program.Name, groups, d.info.Name, d.info.Limits.Workgroups, ErrMemory))
			return
		}
		op.Groups[i] = uint32(g)
	}
	plan := &e.plan
	op.Args[0] = len(plan.Args)
	for i, t := range tensors {
		b := k.program.Layout.Bindings[i]
		if t.IsNil() || t.buf.float != b.Float {
			panic(fmt.Sprintf("gpu: %s: %s is %v of the wrong kind", k.program.Name, b.Name, t))
		}
		if t.buf.handle == nil {
			panic(fmt.Sprintf("gpu: %s: %s was released", k.program.Name, t.label()))
		}
		if size := 4 * uint64(t.cap); size > d.info.Limits.BindingSize {
			d.fail(fmt.Errorf("gpu: %s: %s %v takes %d bytes, %s binds at most %d at once: %w", k.program.Name, t.label(), t, size, d.info.Name, d.info.Limits.BindingSize, ErrMemory))
			return
		}
		plan.Args = append(plan.Args, driver.Arg{Buffer: t.buf.handle, Off: t.off, Len: max(t.cap, 1)})
	}
	op.Args[1] = len(plan.Args)
	op.Params[0] = len(plan.Params)
	plan.Params = k.params(plan.Params, p)
	op.Params[1] = len(plan.Params)
	plan.Ops = append(plan.Ops, op)
	if !d.compile[k] {
		d.compile[k] = true
		e.fresh = append(e.fresh, &k.program)
	}
}

// groups1 spreads n workgroups over two axes where one would exceed the
// device's limit. A kernel finds its number as id.x + id.y·groups.x.
func (e *Encoder) groups1(n int) [3]int {
	limit := e.d.info.Limits.Workgroups
	if n <= limit {
		return [3]int{n, 1, 1}
	}
	y := ceil(n, limit)
	return [3]int{ceil(n, y), y, 1}
}

func ceil(a, b int) int { return (a + b - 1) / b }
