package model

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"

	"wgjepa/gpu"
)

// Parameter is one named array of a network.
type Parameter struct {
	Name  string
	Shape []int // as PyTorch stores it
	Value gpu.Tensor
	Grad  gpu.Tensor // none where the arena is not trained

	init   initializer
	offset int // in the arena, elements
}

// Len is the number of elements.
func (p *Parameter) Len() int { return product(p.Shape) }

// Decays reports whether weight decay applies when biases and norms are
// exempt: to parameters of more than one axis, tokens and positions included.
func (p *Parameter) Decays() bool { return len(p.Shape) > 1 }

// initializer draws element values; nil leaves zeros.
type initializer func(r *rand.Rand, dst []float32)

func ones(_ *rand.Rand, dst []float32) {
	for i := range dst {
		dst[i] = 1
	}
}

// truncNormal is a normal distribution cut at ±2, as timm's trunc_normal_
// with its default bounds.
func truncNormal(std float64) initializer {
	return func(r *rand.Rand, dst []float32) {
		for i := range dst {
			v := r.NormFloat64() * std
			for math.Abs(v) > 2 {
				v = r.NormFloat64() * std
			}
			dst[i] = float32(v)
		}
	}
}

// Arena holds all parameters of one network in flat tensors of equal layout,
// the decayed ones first. Every parameter starts at a multiple of
// gpu.Align elements; the gaps stay zero.
type Arena struct {
	Values, Grads gpu.Tensor
	Decayed       int          // elements that take weight decay when biases and norms are exempt
	Params        []*Parameter // in the order they were declared
	Fixed         []*Parameter // constant tables (positions): saved beside the parameters, never trained

	device *gpu.Device
	byName map[string]*Parameter
}

func product(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// aligned is n elements rounded up to where the next parameter may start.
func aligned(n int) int { return (n + gpu.Align - 1) / gpu.Align * gpu.Align }

// declare adds a parameter before the arena is allocated.
func (a *Arena) declare(name string, init initializer, shape ...int) *Parameter {
	p := &Parameter{Name: name, Shape: shape, init: init}
	a.Params = append(a.Params, p)
	a.byName[name] = p
	return p
}

// fix adds a constant table, whose values are only made where there is a place
// for them.
func (a *Arena) fix(name string, values func() []float32, shape ...int) *Parameter {
	p := &Parameter{Name: name, Shape: shape}
	p.Value = a.device.Tensor(name, shape...)
	if a.device.Err() == nil && !a.device.Counts() {
		a.device.Write(p.Value, values())
	}
	a.Fixed = append(a.Fixed, p)
	a.byName[name] = p
	return p
}

func newArena(d *gpu.Device) *Arena {
	return &Arena{device: d, byName: map[string]*Parameter{}}
}

// allocate lays the declared parameters out. A trained arena has gradients.
func (a *Arena) allocate(label string, trained bool) {
	n := 0
	for _, decays := range []bool{true, false} {
		for _, p := range a.Params {
			if p.Decays() == decays {
				p.offset = n
				n += aligned(p.Len())
			}
		}
		if decays {
			a.Decayed = n
		}
	}
	a.Values = a.device.Tensor(label+" parameters", n)
	if trained {
		a.Grads = a.device.Tensor(label+" gradients", n)
	}
	for _, p := range a.Params {
		// Kernels see a matrix of rows: a convolution's weight is (out, rest).
		dims := p.Shape
		if len(dims) > 2 {
			dims = []int{dims[0], product(dims[1:])}
			if p.Shape[0] == 1 { // tokens and positions (1, N, D)
				dims = p.Shape[1:]
			}
		}
		p.Value = a.Values.Slice(p.offset, p.Len()).Reshape(dims...)
		if trained {
			p.Grad = a.Grads.Slice(p.offset, p.Len()).Reshape(dims...)
		}
	}
}

// Initialize draws every parameter anew. A parameter's values depend on the
// seed and its name only.
func (a *Arena) Initialize(seed uint64) {
	if a.device.Err() != nil || a.device.Counts() {
		return
	}
	data := make([]float32, a.Values.Len())
	for _, p := range a.Params {
		if p.init != nil {
			h := fnv.New64a()
			h.Write([]byte(p.Name))
			p.init(rand.New(rand.NewPCG(seed, h.Sum64())), data[p.offset:p.offset+p.Len()])
		}
	}
	a.device.Write(a.Values, data)
}

// Find returns the parameter or table of that name, or nil.
func (a *Arena) Find(name string) *Parameter { return a.byName[name] }

// All lists parameters, then tables.
func (a *Arena) All() []*Parameter { return append(append([]*Parameter(nil), a.Params...), a.Fixed...) }

// Set replaces the values of one parameter or table.
func (a *Arena) Set(name string, shape []int, values []float64) error {
	p := a.byName[name]
	if p == nil {
		return fmt.Errorf("model: there is no parameter %s", name)
	}
	if fmt.Sprint(shape) != fmt.Sprint(p.Shape) || len(values) != p.Len() {
		return fmt.Errorf("model: %s has shape %v, the file has %v", name, p.Shape, shape)
	}
	a.device.WriteFloat64(p.Value, values)
	return a.device.Err()
}

// CopyFrom makes the values equal to those of b, an arena of the same network.
func (a *Arena) CopyFrom(e *gpu.Encoder, b *Arena) { e.Copy(a.Values, b.Values) }

// Part is parameter p's place in t, a tensor of the arena's layout such as an
// optimizer's moments.
func (a *Arena) Part(t gpu.Tensor, p *Parameter) gpu.Tensor { return t.Slice(p.offset, p.Len()) }
