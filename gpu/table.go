package gpu

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Op is one row of the table of operations: it registers what is tested and
// measured.
type Op struct {
	Name  string
	Cases []Case
	Bench []Bench
}

// Table lists every operation that launchers offer. It is a function so that a
// program that tests and measures nothing does not hold it.
func Table() []Op {
	return []Op{
		elementwise(),
		matmul(), matmulNT(), matmulTN(), linear(), linearGELU(), linearGradWeight(), linearGradBias(),
		attention(), attentionGrad(),
		layerNorm(), layerNormGradient(), layerNormGradientParams(), qkNorm(),
		patches(), tokens(), predictorTokens(), loss(), crossEntropy(), pool(),
		optimizer(), vicreg(), sigreg(), health(), resident(), residentRows(), residentAugment(),
	}
}

// Case runs launchers on fresh random inputs and says how far each output may
// lie from the twins'.
type Case struct {
	Name string
	Run  func(*Trial)
}

// Bench measures one shape of an operation. Record is called once to make
// tensors and returns what one repetition records.
type Bench struct {
	Shape  []int
	FLOP   float64 // floating-point operations of one repetition
	Bytes  float64 // read and written at least
	Record func(d *Device) func(e *Encoder)
}

// Trial runs one case on a device and on the twins with equal inputs, and
// compares. A case's function is called twice, first for the twins; it makes
// its tensors with In, Indices and Out, launches on E, and declares a bound
// for each output.
type Trial struct {
	E *Encoder

	d      *Device
	under  tuning     // of the device that is tested: both runs make the same outputs
	values *rand.Rand // the same draws in both runs
	got    []result
	err    error
}

type result struct {
	name  string
	t     Tensor
	data  []float64
	bound func(i int) float64
}

// In makes an input of standard normal values rounded to float32.
func (t *Trial) In(name string, dims ...int) Tensor {
	return t.InFunc(name, func(int) float64 { return t.values.NormFloat64() }, dims...)
}

// InFunc makes an input whose element i is f(i) rounded to float32.
func (t *Trial) InFunc(name string, f func(i int) float64, dims ...int) Tensor {
	x := t.d.Tensor(name, dims...)
	data := make([]float32, x.Len())
	for i := range data {
		data[i] = float32(f(i))
	}
	t.d.Write(x, data)
	return x
}

// Indices makes an input of indices, element i being f(i).
func (t *Trial) Indices(name string, f func(i int) uint32, dims ...int) Tensor {
	x := t.d.Indices(name, dims...)
	data := make([]uint32, x.Len())
	for i := range data {
		data[i] = f(i)
	}
	t.d.WriteIndices(x, data)
	return x
}

// Rand draws values for InFunc.
func (t *Trial) Rand() *rand.Rand { return t.values }

// Out makes an output poisoned with NaN, so that an element that no kernel
// writes is seen.
func (t *Trial) Out(name string, dims ...int) Tensor {
	return t.InFunc(name, func(int) float64 { return math.NaN() }, dims...)
}

// Within declares that element i of x may differ from the twins' by bound(i),
// which the case derives from the sizes of what was summed. After the twins'
// run Values gives what bound may need.
func (t *Trial) Within(x Tensor, bound func(i int) float64) {
	if err := t.E.Submit(); err != nil {
		t.err = err
		return
	}
	data := make([]float64, x.Len())
	if err := t.d.ReadFloat64(x, data); err != nil {
		t.err = err
		return
	}
	t.E = t.d.Begin()
	t.got = append(t.got, result{x.label(), x, data, bound})
}

// Exact declares that x equals the twins' result rounded to float32.
func (t *Trial) Exact(x Tensor) { t.Within(x, func(int) float64 { return 0 }) }

// Values submits what was recorded and reads x, for a bound that depends on it.
func (t *Trial) Values(x Tensor) []float64 {
	data := make([]float64, x.Len())
	if err := t.E.Submit(); err != nil {
		t.err = err
		return data
	}
	if err := t.d.ReadFloat64(x, data); err != nil {
		t.err = err
	}
	t.E = t.d.Begin()
	return data
}

// Epsilon is the relative spacing of float32, 2⁻²⁴ for rounding to nearest.
const Epsilon = 1.0 / (1 << 24)

// Check runs case c on d and on the twins and returns the largest error found,
// as a fraction of its bound, or what differs.
func (c Case) Check(d *Device, seed uint64) (worst float64, err error) {
	host, err := Open("cpu")
	if err != nil {
		return 0, err
	}
	defer host.Close()
	under := d.tuning
	run := func(d *Device) ([]result, error) {
		t := &Trial{d: d, under: under, values: rand.New(rand.NewPCG(seed, 2))}
		t.E = d.Begin()
		d.Scope(func() { c.Run(t) })
		if t.err == nil {
			t.err = d.Err()
		}
		return t.got, t.err
	}
	want, err := run(host)
	if err != nil {
		return 0, err
	}
	if len(want) == 0 {
		return 0, fmt.Errorf("%s declares no output", c.Name)
	}
	got, err := run(d)
	if err != nil {
		return 0, err
	}
	for n, w := range want {
		for i, v := range w.data {
			g, bound := got[n].data[i], w.bound(i)
			if bound == 0 {
				v, g = float64(float32(v)), float64(float32(g)) // the cpu driver keeps float64
			}
			diff := math.Abs(g - v)
			if math.IsNaN(v) || !(diff <= bound) {
				return math.Inf(1), fmt.Errorf("%s: %s %v element %d is %g, the twin has %g (difference %.3g, bound %.3g)", c.Name, w.name, w.t, i, g, v, diff, bound)
			}
			if bound > 0 {
				worst = max(worst, diff/bound)
			}
		}
	}
	return worst, nil
}
