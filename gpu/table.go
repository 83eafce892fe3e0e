package gpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"wgjepa/gpu/internal/driver"
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
	unread int         // results from here on are still on the device
	said   [][]float64 // what Values gave the twins, in turn; those that are left, in the other run
	twins  bool
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
	t.submit()
	t.got = append(t.got, result{x.label(), x, make([]float64, x.Len()), bound})
}

// submit submits what was recorded. Results that it writes over are read before: a
// device may take milliseconds for each time that it is asked, so they are read as many
// at once as can be.
func (t *Trial) submit() {
	written := map[driver.Buffer]bool{}
	for _, op := range t.E.plan.Ops {
		for i, arg := range t.E.plan.Args[op.Args[0]:op.Args[1]] {
			if op.Program.Layout.Bindings[i].Write {
				written[arg.Buffer] = true
			}
		}
	}
	if slices.ContainsFunc(t.got[t.unread:], func(r result) bool { return written[r.t.buf.handle] }) {
		t.read()
	}
	if err := t.E.Submit(); err != nil && t.err == nil {
		t.err = err
	}
	t.E = t.d.Begin()
}

// read reads the results that are still on the device.
func (t *Trial) read() {
	var list []Tensor
	var to [][]float64
	for _, r := range t.got[t.unread:] {
		list, to = append(list, r.t), append(to, r.data)
	}
	t.unread = len(t.got)
	if err := ReadAll(t.d, list, to); err != nil && t.err == nil {
		t.err = err
	}
}

// Exact declares that x equals the twins' result rounded to float32.
func (t *Trial) Exact(x Tensor) { t.Within(x, func(int) float64 { return 0 }) }

// Values submits what was recorded and gives x as the twins have it, in both runs: bounds
// are theirs, and inputs must be equal.
func (t *Trial) Values(x Tensor) []float64 {
	t.submit()
	if !t.twins {
		data := slices.Clone(t.said[0])
		t.said = t.said[1:]
		return data
	}
	data := make([]float64, x.Len())
	if err := t.d.ReadFloat64(x, data); err != nil && t.err == nil {
		t.err = err
	}
	t.said = append(t.said, slices.Clone(data))
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
	var said [][]float64
	run := func(d *Device) ([]result, error) {
		t := &Trial{d: d, under: under, values: rand.New(rand.NewPCG(seed, 2)), said: said, twins: d == host}
		t.E = d.Begin()
		d.Scope(func() {
			c.Run(t)
			t.read()
		})
		if t.err == nil {
			t.err = d.Err()
		}
		said = t.said
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
