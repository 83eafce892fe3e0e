package gpu

import (
	"fmt"
	"maps"
	"math"
	"strings"

	"wgjepa/internal/ref"
	"wgjepa/wgsl"
)

// vectors is a kernel over elements in two variants: one element an
// invocation, or a vec4 of them where 4 divides the rows.
type vectors [2]*kernel

func registerVectors[P any](name, file, bindings string, twin func(p P, b []ref.Buffer)) vectors {
	return vectors{
		register(name, file, wgsl.Defines{"T": "f32", "W": "1"}, bindings, twin),
		register(name+"_vec4", file, wgsl.Defines{"T": "vec4<f32>", "W": "4"}, bindings, twin),
	}
}

// registerSums is registerVectors for kernels that add up a vec4's elements,
// and for that know by VEC4 which variant they are.
func registerSums[P any](name, file string, d wgsl.Defines, bindings string, twin func(p P, b []ref.Buffer)) vectors {
	one, four := wgsl.Defines{"T": "f32", "W": "1", "VEC4": "0"}, wgsl.Defines{"T": "vec4<f32>", "W": "4", "VEC4": "1"}
	maps.Copy(one, d)
	maps.Copy(four, d)
	return vectors{register(name, file, one, bindings, twin), register(name+"_vec4", file, four, bindings, twin)}
}

// pick returns the variant for rows of width elements and how many elements
// one invocation does.
func (k vectors) pick(width int) (*kernel, int) {
	if width%4 == 0 {
		return k[1], 4
	}
	return k[0], 1
}

// launchElements runs k with an invocation for each of n elements that lie in
// rows of width.
func launchElements[P any](e *Encoder, k vectors, n, width int, p P, tensors ...Tensor) {
	kernel, w := k.pick(width)
	launch(e, kernel, e.groups1(ceil(n/w, 64)), p, tensors...)
}

// launchGrid runs k with an invocation for each element of samples of rows of
// width: unlike launchElements it leaves the kernel nothing to divide.
func launchGrid[P any](e *Encoder, k vectors, width, rows, samples int, p P, tensors ...Tensor) {
	kernel, w := k.pick(width)
	launch(e, kernel, [3]int{ceil(width/w, 16), ceil(rows, 4), samples}, p, tensors...)
}

// rowwise is a kernel that reduces over rows, in four variants: a row an
// invocation or a workgroup, element by element or by vec4.
type rowwise [2]vectors

func registerRowwise[P any](name, file, bindings string, twin func(p P, b []ref.Buffer)) rowwise {
	return rowwise{
		registerSums(name, file, wgsl.Defines{"GROUP": "0", "LANES": "1"}, bindings, twin),
		registerSums(name+"_group", file, wgsl.Defines{"GROUP": "1", "LANES": "64"}, bindings, twin),
	}
}

// launchRows runs k on rows of cols elements.
func launchRows[P any](e *Encoder, k rowwise, rows, cols int, p P, tensors ...Tensor) {
	g, groups := 1, rows
	if e.d.tuning.registers {
		g, groups = 0, ceil(rows, 64)
	}
	kernel, _ := k[g].pick(cols)
	launch(e, kernel, e.groups1(groups), p, tensors...)
}

// flag is a u32 that tells a kernel yes or no.
func flag(yes bool) uint32 {
	if yes {
		return 1
	}
	return 0
}

// orNone is t, or the stand-in that is bound in its place, which no kernel
// writes to.
func (e *Encoder) orNone(t Tensor, float bool) Tensor {
	if t.IsNil() {
		return e.d.none(float)
	}
	return t
}

// shapes words a mismatch: the launcher, then names and tensors in turn.
func shapes(launcher string, named ...any) string {
	var parts []string
	for i := 0; i < len(named); i += 2 {
		parts = append(parts, fmt.Sprintf("%s is %v", named[i], named[i+1]))
	}
	return "gpu: " + launcher + ": " + strings.Join(parts, ", ")
}

// magnitudes reads the absolute values of x.
func (t *Trial) magnitudes(x Tensor) []float64 {
	v := t.Values(x)
	for i := range v {
		v[i] = math.Abs(v[i])
	}
	return v
}

// positive makes an input of values between ½ and 2.
func (t *Trial) positive(name string, dims ...int) Tensor {
	return t.InFunc(name, func(int) float64 { return 0.5 + 1.5*t.values.Float64() }, dims...)
}

// at is a bound read from a list.
func at(bound []float64) func(i int) float64 { return func(i int) float64 { return bound[i] } }
