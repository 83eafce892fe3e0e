package gpu

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// onTwins opens the cpu driver with its kernels for processors and, again,
// those for GPUs: what launchers compose of kernels is held to plain loops.
func onTwins(t *testing.T, f func(t *testing.T, d *Device, random func(dims ...int) (Tensor, []float64))) {
	for _, registers := range []bool{true, false} {
		d, err := Open("cpu")
		require.NoError(t, err)
		defer d.Close()
		d.tuning.registers = registers
		r := rand.New(rand.NewPCG(7, 7))
		f(t, d, func(dims ...int) (Tensor, []float64) {
			x := d.Tensor("x", dims...)
			data := make([]float64, x.Len())
			for i := range data {
				data[i] = r.NormFloat64()
			}
			d.WriteFloat64(x, data)
			return x, data
		})
	}
}

func requireTensor(t *testing.T, d *Device, x Tensor, want func(i int) float64) {
	t.Helper()
	require.NoError(t, d.enc.Submit())
	got := make([]float64, x.Len())
	require.NoError(t, d.ReadFloat64(x, got))
	for i, v := range got {
		require.InDelta(t, want(i), v, 1e-12*(1+math.Abs(v)), "element %d of %v", i, x)
	}
}

func TestLinearIsItsFormula(t *testing.T) {
	const rows, in, out = 1100, 5, 3 // rows enough for the weight gradient to be split
	onTwins(t, func(t *testing.T, d *Device, random func(...int) (Tensor, []float64)) {
		x, xs := random(rows, in)
		w, ws := random(out, in)
		bias, biases := random(out)
		dy, dys := random(rows, out)
		other, others := random(rows, out)
		pre, pres := random(rows, in)
		dw, dws := random(out, in)
		db, dbs := random(out)
		forward := func(at int) float64 {
			i, j := at/out, at%out
			sum := biases[j]
			for l := range in {
				sum += xs[i*in+l] * ws[j*in+l]
			}
			return sum
		}
		backward := func(at int) float64 {
			i, l := at/in, at%in
			sum := 0.0
			for j := range out {
				sum += dys[i*out+j] * ws[j*in+l]
			}
			return sum
		}
		gelu := func(v float64) float64 { return v / 2 * (1 + math.Erf(v/math.Sqrt2)) }

		e := d.Begin()
		y, kept, dx := d.Tensor("y", rows, out), d.Tensor("kept", rows, out), d.Tensor("dx", rows, in)
		e.Linear(y, x, w, bias)
		requireTensor(t, d, y, forward)
		e.LinearGELU(y, kept, x, w, bias)
		requireTensor(t, d, y, func(i int) float64 { return gelu(forward(i)) })
		requireTensor(t, d, kept, forward)
		e.LinearResidual(y, x, w, bias, other)
		requireTensor(t, d, y, func(i int) float64 { return others[i] + forward(i) })
		e.LinearGradInput(dx, dy, w)
		requireTensor(t, d, dx, backward)
		e.LinearGradInputAdd(dx, dy, w)
		requireTensor(t, d, dx, func(i int) float64 { return 2 * backward(i) })
		e.LinearGradInputGELU(dx, dy, w, pre)
		requireTensor(t, d, dx, func(i int) float64 {
			v := pres[i]
			return backward(i) * ((1+math.Erf(v/math.Sqrt2))/2 + v*math.Exp(-v*v/2)/math.Sqrt(2*math.Pi))
		})
		e.LinearGradWeight(dw, dy, x)
		requireTensor(t, d, dw, func(at int) float64 {
			sum := dws[at]
			for i := range rows {
				sum += dys[i*out+at/in] * xs[i*in+at%in]
			}
			return sum
		})
		e.LinearGradBias(db, dy)
		requireTensor(t, d, db, func(j int) float64 {
			sum := dbs[j]
			for i := range rows {
				sum += dys[i*out+j]
			}
			return sum
		})
	})
}

// TestAttentionIsItsFormula also takes heads in parts. The gradient of q and k
// is tested by what it must leave alone and by central differences.
func TestAttentionIsItsFormula(t *testing.T) {
	const batch, tokens, heads, dim = 2, 5, 3, 2
	const width = heads * dim
	onTwins(t, func(t *testing.T, d *Device, random func(...int) (Tensor, []float64)) {
		for _, fit := range []int{1, 2, 3, 100} {
			d.tuning.scores = fit * tokens * 8
			qkv, x := random(batch, tokens, 3*width)
			do, dout := random(batch, tokens, width)
			at := func(b, i, part, h, c int) int { return ((b*tokens+i)*3+part)*width + h*dim + c }
			scores := func(b, h, i int) (prob []float64, lse float64) {
				sum := 0.0
				for j := range tokens {
					s := 0.0
					for c := range dim {
						s += x[at(b, i, 0, h, c)] * x[at(b, j, 1, h, c)] / math.Sqrt(dim)
					}
					prob = append(prob, math.Exp(s))
					sum += prob[j]
				}
				for j := range prob {
					prob[j] /= sum
				}
				return prob, math.Log(sum)
			}
			output := func(n int) float64 {
				b, i, h, c := n/(tokens*width), n/width%tokens, n%width/dim, n%dim
				prob, _ := scores(b, h, i)
				sum := 0.0
				for j, p := range prob {
					sum += p * x[at(b, j, 2, h, c)]
				}
				return sum
			}
			e := d.Begin()
			o, lse, dqkv := d.Tensor("o", batch, tokens, width), d.Tensor("lse", batch, heads, tokens), d.Tensor("dqkv", batch, tokens, 3*width)
			e.Attention(o, lse, qkv, heads)
			requireTensor(t, d, o, output)
			requireTensor(t, d, lse, func(n int) float64 {
				_, l := scores(n/(heads*tokens), n/tokens%heads, n%tokens)
				return l
			})
			e.AttentionGrad(dqkv, do, qkv, o, lse, heads)
			require.NoError(t, e.Submit())
			grad := make([]float64, len(x))
			require.NoError(t, d.ReadFloat64(dqkv, grad))
			loss := func() float64 {
				sum := 0.0
				for n, v := range dout {
					sum += v * output(n)
				}
				return sum
			}
			for i := range x {
				const h = 1e-5
				kept := x[i]
				x[i] = kept + h
				above := loss()
				x[i] = kept - h
				below := loss()
				x[i] = kept
				require.InDelta(t, (above-below)/(2*h), grad[i], 1e-8, "dqkv element %d", i)
			}
		}
	})
}

// TestScratchIsSizedOnce changes lengths within the memory of tensors, as
// steps do: nothing more is allocated after the first of them, short or long.
func TestScratchIsSizedOnce(t *testing.T) {
	const heads, width = 2, 8
	onTwins(t, func(t *testing.T, d *Device, _ func(...int) (Tensor, []float64)) {
		qkv, dqkv := d.Tensor("qkv", 3, 40, 3*width), d.Tensor("dqkv", 3, 40, 3*width)
		o, do, lse := d.Tensor("o", 3, 40, width), d.Tensor("do", 3, 40, width), d.Tensor("lse", 3, heads, 40)
		y, dw, db := d.Tensor("y", 5000, width), d.Tensor("dw", width, width), d.Tensor("db", width)
		before := d.Allocated()
		for i, n := range []int{7, 40, 1, 21, 33} {
			e := d.Begin()
			e.Attention(o.Reshape(3, n, width), lse.Reshape(3, heads, n), qkv.Reshape(3, n, 3*width), heads)
			e.AttentionGrad(dqkv.Reshape(3, n, 3*width), do.Reshape(3, n, width), qkv.Reshape(3, n, 3*width), o.Reshape(3, n, width), lse.Reshape(3, heads, n), heads)
			rows := y.Reshape(n*125, width)
			e.LinearGradWeight(dw, rows, rows)
			e.LinearGradBias(db, rows)
			require.NoError(t, e.Submit())
			if i > 0 {
				require.Equal(t, before, d.Allocated(), "after %d tokens", n)
			}
			before = d.Allocated()
		}
	})
}

// TestScratchServesShorterSteps: √n chunks of n rows are sometimes more than
// those of n + 1.
func TestScratchServesShorterSteps(t *testing.T) {
	const width, heads = 8, 2
	onTwins(t, func(t *testing.T, d *Device, _ func(...int) (Tensor, []float64)) {
		z, dz, qkv, dqkv := d.Tensor("z", 289, width), d.Tensor("dz", 289, width), d.Tensor("qkv", 289, 3*width), d.Tensor("dqkv", 289, 3*width)
		mean, rstd, gain, one := d.Tensor("mean", 2*289*heads), d.Tensor("rstd", 2*289*heads), d.Tensor("gain", width), d.Tensor("one", 2)
		directions := d.Tensor("directions", width, 5)
		var before uint64
		for n := 289; n > 240; n-- {
			z, dz := z.Reshape(n, width), dz.Reshape(n, width)
			qkv, dqkv, half := qkv.Reshape(1, n, 3*width), dqkv.Reshape(1, n, 3*width), gain.Reshape(width/heads)
			e := d.Begin()
			e.LayerNormGradParams(gain, gain, dz, z, mean.Reshape(n), rstd.Reshape(n))
			e.QKNormGrad(dqkv, half, half, half, half, dqkv, qkv, half, half, mean.Reshape(2, n, heads), rstd.Reshape(2, n, heads), heads)
			e.LinearGradBias(gain, dz)
			e.FeatureStd(one.Reshape(1), z)
			e.VarianceCovariance(one, dz, z, 1, 1)
			e.SIGReg(one.Reshape(1), dz, z, directions, 1)
			require.NoError(t, e.Submit())
			if n < 289 {
				require.Equal(t, before, d.Allocated(), "%d rows", n)
			}
			before = d.Allocated()
		}
	})
	for most, n := 0, 1; n < 10000; n++ {
		most = max(most, ceil(n, chunk(n)))
		require.GreaterOrEqual(t, mostChunks(n), most)
	}
}

func TestAttentionOfNothing(t *testing.T) {
	onTwins(t, func(t *testing.T, d *Device, _ func(...int) (Tensor, []float64)) {
		qkv, o, lse := d.Tensor("qkv", 2, 4, 12), d.Tensor("o", 2, 4, 4), d.Tensor("lse", 2, 2, 4)
		e := d.Begin()
		e.Attention(o.Reshape(0, 4, 4), lse.Reshape(0, 2, 4), qkv.Reshape(0, 4, 12), 2)
		e.AttentionGrad(qkv.Reshape(2, 0, 12), o.Reshape(2, 0, 4), qkv.Reshape(2, 0, 12), o.Reshape(2, 0, 4), lse.Reshape(2, 2, 0), 2)
		require.NoError(t, e.Submit())
	})
}

func TestLaunchersRefuse(t *testing.T) {
	d, err := Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	e := d.Begin()
	x := func(dims ...int) Tensor { return d.Tensor("x", dims...) }
	same := x(2, 3)
	for want, f := range map[string]func(){
		"gpu: MatMul: c is [2 2], a is [2 3], b is [4 2]":                        func() { e.MatMul(x(2, 2), x(2, 3), x(4, 2)) },
		"gpu: MatMulNT: c is [2 3], a is [2 3], b is [4 3]":                      func() { e.MatMulNT(x(2, 3), x(2, 3), x(4, 3)) },
		"gpu: MatMulTN: c is [2 2], a is [3 2], b is [4 2]":                      func() { e.MatMulTN(x(2, 2), x(3, 2), x(4, 2)) },
		"gpu: Linear: y is [2 5], x is [2 3], w is [5 3], bias is [4]":           func() { e.Linear(x(2, 5), x(2, 3), x(5, 3), x(4)) },
		"gpu: LinearGELU: pre is [2 4], the result is [2 5]":                     func() { e.LinearGELU(x(2, 5), x(2, 4), x(2, 3), x(5, 3), Tensor{}) },
		"gpu: LinearResidual: y and the residual are both x":                     func() { e.LinearResidual(same, x(2, 3), x(3, 3), Tensor{}, same) },
		"gpu: LinearGradInput: dx is [2 3], dy is [2 5], w is [4 3]":             func() { e.LinearGradInput(x(2, 3), x(2, 5), x(4, 3)) },
		"gpu: LinearGradWeight: dw is [5 3], dy is [2 5], x is [3 3]":            func() { e.LinearGradWeight(x(5, 3), x(2, 5), x(3, 3)) },
		"gpu: LinearGradBias: db is [4], dy is [2 5]":                            func() { e.LinearGradBias(x(4), x(2, 5)) },
		"gpu: Attention: qkv is [2 4 12], o is [2 4 4], lse is [2 2 4], 3 heads": func() { e.Attention(x(2, 4, 4), x(2, 2, 4), x(2, 4, 12), 3) },
		"gpu: AttentionGrad: dqkv is [2 4 9], do is [2 4 4], qkv is [2 4 12]":    func() { e.AttentionGrad(x(2, 4, 9), x(2, 4, 4), x(2, 4, 12), x(2, 4, 4), x(2, 2, 4), 2) },
	} {
		require.PanicsWithValue(t, want, f)
	}
}

// TestSmoothL1KeepsNaN: the norm of the gradient must show it, or the update
// is not held back.
func TestSmoothL1KeepsNaN(t *testing.T) {
	for name, open := range map[string]func(testing.TB) *Device{"cpu": host, "gpu": device} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			z, h, dz, loss := d.Tensor("z", 3), d.Tensor("h", 3), d.Tensor("dz", 3), d.Tensor("loss", 1)
			d.Write(h, []float32{0, float32(math.NaN()), 0})
			d.Write(z, []float32{5, 0, float32(math.Inf(-1))})
			e := d.Begin()
			e.SmoothL1(loss, dz, z, h, 3)
			require.NoError(t, e.Submit())
			grad, sum := make([]float32, 3), make([]float32, 1)
			require.NoError(t, d.Read(dz, grad))
			require.NoError(t, d.Read(loss, sum))
			require.Equal(t, float32(1), grad[0])
			require.True(t, math.IsNaN(float64(grad[1])), "%v", grad)
			require.Equal(t, float32(-1), grad[2])
			require.True(t, math.IsNaN(float64(sum[0])), "%v", sum)
		})
	}
}
