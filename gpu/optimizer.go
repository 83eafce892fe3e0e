package gpu

import (
	"fmt"
	"math"

	"wgjepa/internal/ref"
)

var (
	adam = registerVectors("adam", "adam.wgsl", "params g m v vmax target_params clip", func(p ref.AdamParams, b []ref.Buffer) {
		ref.Adam(p, b[0].F, b[1].F, b[2].F, b[3].F, b[4].F, b[5].F, b[6].F)
	})
	sgd = registerVectors("sgd", "sgd.wgsl", "params g m target_params clip", func(p ref.SGDParams, b []ref.Buffer) {
		ref.SGD(p, b[0].F, b[1].F, b[2].F, b[3].F, b[4].F)
	})
	ema = registerVectors("ema", "ema.wgsl", "params target_params", func(p ref.EMAParams, b []ref.Buffer) {
		ref.EMA(p, b[0].F, b[1].F)
	})
	squares = register("squares", "squares.wgsl", nil, "x partial", func(p ref.SquaresParams, b []ref.Buffer) {
		ref.Squares(p, b[0].F, b[1].F)
	})
	clipScale = register("clip_scale", "clip_scale.wgsl", nil, "norm clip", func(p ref.ClipScaleParams, b []ref.Buffer) {
		ref.ClipScale(p, b[0].F, b[1].F)
	})
)

// Optimizer names the rule of an Update.
type Optimizer string

const (
	AdamW Optimizer = "adamW" // weight decay decoupled (Loshchilov & Hutter 2019)
	Adam  Optimizer = "adam"  // weight decay coupled: L2·p joins the gradient
	SGD   Optimizer = "sgd"   // weight decay coupled
)

// Update says how parameters are updated, with the meaning and the arithmetic
// of torch.optim.
type Update struct {
	Optimizer                                               Optimizer
	LR, WeightDecay, Beta1, Beta2, Eps, Momentum, Dampening float64
	Nesterov, AMSGrad                                       bool

	Step    int     // 1 for the first update
	Decayed int     // the first Decayed elements take weight decay, the rest none
	EMA     float64 // λ of target ← λ·target + (1 − λ)·p after the update
}

// Update updates the arena of parameters p from the gradients g, then moves
// target towards p, then zeroes g. All are of equal length. m and v are Adam's
// moments, vmax AMSGrad's; m is SGD's momentum buffer. What the optimizer does
// not need may be nil, and so may target. g is multiplied by clip (1) first,
// unless it is nil.
func (e *Encoder) Update(p, g, m, v, vmax, target, clip Tensor, u Update) {
	n := p.Len()
	needed := []struct {
		t    Tensor
		when bool
	}{
		{g, true},
		{m, u.Optimizer != SGD || u.Momentum != 0},
		{v, u.Optimizer != SGD},
		{vmax, u.Optimizer != SGD && u.AMSGrad},
		{target, !target.IsNil()},
	}
	for _, x := range needed {
		if x.when && (x.t.IsNil() || x.t.Len() != n) {
			panic(shapes("Update", "p", p, "g", g, "m", m, "v", v, "vmax", vmax, "target", target))
		}
	}
	if u.Step < 1 || !clip.IsNil() && clip.Len() != 1 {
		panic(shapes("Update", "clip", clip, "step", u.Step))
	}
	e.pieces(n, func(off, n int) {
		part := func(t Tensor, name string) Tensor {
			if t.IsNil() {
				// Each absent arena has a stand-in of its own: all are bound for writing.
				return e.d.scratch(name, Align)
			}
			return t.Slice(off, n)
		}
		decayed := max(0, min(n, u.Decayed-off))
		width := n | decayed // vec4 only where 4 divides both
		switch u.Optimizer {
		case AdamW, Adam:
			a := ref.AdamParams{
				N: uint32(n), Decayed: uint32(decayed),
				AMSGrad: flag(u.AMSGrad), Clipped: flag(!clip.IsNil()), Averaged: flag(!target.IsNil()),
				Beta1: u.Beta1, Rate1: 1 - u.Beta1, Beta2: u.Beta2, Rate2: 1 - u.Beta2,
				Step: u.LR / (1 - math.Pow(u.Beta1, float64(u.Step))), Root: 1 / math.Sqrt(1-math.Pow(u.Beta2, float64(u.Step))),
				Eps: u.Eps, Rate: 1 - u.EMA,
			}
			if u.Optimizer == AdamW {
				a.Shrink = u.LR * u.WeightDecay
			} else {
				a.L2 = u.WeightDecay
			}
			if !u.AMSGrad {
				vmax = Tensor{}
			}
			launchElements(e, adam, n, width, a,
				p.Slice(off, n), g.Slice(off, n), m.Slice(off, n), v.Slice(off, n), part(vmax, "no vmax"), part(target, "no target"), e.orNone(clip, true))
		case SGD:
			buffer := m
			if u.Momentum == 0 {
				buffer = Tensor{}
			}
			launchElements(e, sgd, n, width, ref.SGDParams{
				N: uint32(n), Decayed: uint32(decayed),
				Buffered: flag(u.Momentum != 0), First: flag(u.Step == 1), Nesterov: flag(u.Nesterov),
				Clipped: flag(!clip.IsNil()), Averaged: flag(!target.IsNil()),
				L2: u.WeightDecay, Momentum: u.Momentum, Undamped: 1 - u.Dampening, LearningRate: u.LR, Rate: 1 - u.EMA,
			}, p.Slice(off, n), g.Slice(off, n), part(buffer, "no momentum"), part(target, "no target"), e.orNone(clip, true))
		default:
			panic(fmt.Sprintf("gpu: Update: no optimizer is called %q: adamW, adam or sgd", u.Optimizer))
		}
	})
}

// EMA moves target towards p without an update: target ← lambda·target + (1 −
// lambda)·p.
func (e *Encoder) EMA(target, p Tensor, lambda float64) {
	if target.Len() != p.Len() {
		panic(shapes("EMA", "target", target, "p", p))
	}
	e.pieces(p.Len(), func(off, n int) {
		launchElements(e, ema, n, n, ref.EMAParams{N: uint32(n), Rate: 1 - lambda}, p.Slice(off, n), target.Slice(off, n))
	})
}

// GradNorm sets norm (1) to the Euclidean norm of all arenas together.
func (e *Encoder) GradNorm(norm Tensor, arenas ...Tensor) {
	if norm.Len() != 1 {
		panic(shapes("GradNorm", "norm", norm))
	}
	partial, n := e.lanes(arenas, func(x, partial Tensor, n, lanes, first int) {
		launch(e, squares, [3]int{ceil(lanes, 64), 1, 1}, ref.SquaresParams{N: uint32(n), Lanes: uint32(lanes), First: uint32(first)}, x, partial)
	})
	launch(e, sum, [3]int{1, 1, 1}, ref.SumParams{N: uint32(n), RootTotal: 1, Scale: 1}, partial, norm)
}

// ClipScale sets clip (1) to min(1, maxNorm/(norm + 1e-6)), the factor of
// torch's clip_grad_norm_, or to −1 where norm is not finite: an Update with it
// changes nothing, so that one bad gradient does not cost the parameters.
func (e *Encoder) ClipScale(clip, norm Tensor, maxNorm float64) {
	if clip.Len() != 1 || norm.Len() != 1 {
		panic(shapes("ClipScale", "clip", clip, "norm", norm))
	}
	launch(e, clipScale, [3]int{1, 1, 1}, ref.ClipScaleParams{Limit: maxNorm}, norm, clip)
}

// pieces calls f for consecutive pieces of an arena of n elements, each of
// which one binding can hold.
func (e *Encoder) pieces(n int, f func(off, n int)) {
	limit := e.pieceLen()
	for off := 0; off < n; off += limit {
		f(off, min(limit, n-off))
	}
}

// piece is one of them: all of t where one binding can hold it.
func (e *Encoder) piece(t Tensor, off, n int) Tensor {
	if t.cap <= e.pieceLen() {
		return t
	}
	return t.Slice(off, n)
}

func (e *Encoder) pieceLen() int {
	return max(1, int(e.d.info.Limits.BindingSize/4)/Align) * Align
}

// lanes runs the first stage of a sum over all of tensors, which launch
// records for one piece, and returns the partial sums and their number.
func (e *Encoder) lanes(tensors []Tensor, launch func(x, partial Tensor, n, lanes, first int)) (partial Tensor, n int) {
	total := 0
	for _, t := range tensors {
		e.pieces(t.Len(), func(_, n int) { total += lanes(n) })
	}
	partial = e.d.scratch("lanes", total)
	first := 0
	for _, t := range tensors {
		e.pieces(t.Len(), func(off, n int) {
			launch(t.Slice(off, n), partial, n, lanes(n), first)
			first += lanes(n)
		})
	}
	return partial, total
}

// updateCases are the optimizers' variants, in every one of which weight decay
// and the average take part.
var updateCases = []Update{
	{Optimizer: AdamW},
	{Optimizer: AdamW, AMSGrad: true},
	{Optimizer: Adam},
	{Optimizer: SGD},
	{Optimizer: SGD, Momentum: 0.9, Dampening: 0.25},
	{Optimizer: SGD, Momentum: 0.9, Nesterov: true},
}

func optimizer() Op {
	return Op{
		Name: "optimizer",
		Cases: []Case{
			{"update", func(t *Trial) {
				for _, u := range updateCases {
					for _, n := range []int{1, 63, 64, 65, 1000} {
						for _, decayed := range []int{0, n/2 + 1, n} {
							u.Decayed, u.Step = decayed, 1+n%3
							t.update(u, n)
						}
					}
				}
			}},
			{"update and norm in pieces", func(t *Trial) {
				limits := t.d.info.Limits
				defer func() { t.d.info.Limits = limits }()
				t.d.info.Limits.BindingSize = 1 << 17 // 32768 elements
				n := 70001
				t.update(Update{Optimizer: AdamW, Decayed: 40000, Step: 2}, n)
				t.update(Update{Optimizer: SGD, Momentum: 0.9, Decayed: 20000, Step: 1}, n)
				x, norm, bad := t.In("x", n), t.Out("norm", 1), t.Out("bad", 1)
				t.E.GradNorm(norm, x)
				t.E.Nonfinite(bad, x)
				v := t.Values(norm)[0]
				t.Within(norm, func(int) float64 { return 40 * Epsilon * v })
				t.Exact(bad)
			}},
			{"moving average", func(t *Trial) {
				for _, n := range []int{1, 63, 64, 65, 1000} {
					target, p := t.In("target", n), t.In("p", n)
					a, b := t.magnitudes(target), t.magnitudes(p)
					t.E.EMA(target, p, 0.996)
					// 1 − λ is rounded, and so are the difference, its part and the sum.
					t.Within(target, func(i int) float64 { return Epsilon * (a[i] + 4*0.004*(a[i]+b[i])) })
				}
			}},
			{"gradient norm and clipping", func(t *Trial) {
				for _, n := range []int{1, 63, 64, 65, 4097, 1000000} {
					x, y, norm, clip := t.In("x", n), t.In("y", 65), t.Out("norm", 1), t.Out("clip", 1)
					t.E.GradNorm(norm, x, y)
					t.E.ClipScale(clip, norm, 2)
					v, c := t.Values(norm)[0], t.Values(clip)[0]
					// Squares are positive: half the relative error of the sum, and the root's own.
					bound := (lanesChain(n)/2 + 8) * Epsilon
					t.Within(norm, func(int) float64 { return bound * v })
					t.Within(clip, func(int) float64 { return (bound + 8*Epsilon) * c })
				}
			}},
			{"a gradient that is not finite", func(t *Trial) {
				for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
					for _, optimizer := range []Optimizer{AdamW, SGD} {
						n := 130
						p, m, v, target := t.In("p", n), t.In("m", n), t.InFunc("v", func(int) float64 { return 1 }, n), t.In("target", n)
						g := t.InFunc("g", func(i int) float64 {
							if i == 129 {
								return bad
							}
							return 1
						}, n)
						norm, clip := t.Out("norm", 1), t.Out("clip", 1)
						t.E.GradNorm(norm, g)
						t.E.ClipScale(clip, norm, 2)
						u := Update{Optimizer: optimizer, LR: 0.1, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Momentum: 0.9, Step: 2, EMA: 0.5}
						if optimizer == SGD {
							v = Tensor{}
						}
						t.E.Update(p, g, m, v, Tensor{}, target, clip, u)
						for _, x := range []Tensor{clip, p, m, target, g.Slice(0, 64)} {
							t.Exact(x)
						}
					}
				}
			}},
		},
		Bench: []Bench{{Shape: []int{1 << 22}, Bytes: 4 * 9 << 22, Record: func(d *Device) func(*Encoder) {
			arena := func(label string) Tensor { return d.Tensor(label, 1<<22) }
			p, g, m, v, target := arena("p"), arena("g"), arena("m"), arena("v"), arena("target")
			return func(e *Encoder) {
				e.Update(p, g, m, v, Tensor{}, target, Tensor{}, Update{
					Optimizer: AdamW, LR: 1e-3, WeightDecay: 0.05, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Step: 10, Decayed: 1 << 21, EMA: 0.996,
				})
			}
		}}},
	}
}

// update runs one update of n elements and bounds all that it changes.
func (t *Trial) update(u Update, n int) {
	u.LR, u.WeightDecay, u.Beta1, u.Beta2, u.Eps, u.EMA = 0.01, 0.1, 0.9, 0.99, 1e-6, 0.99
	p, g, m, target := t.In("p", n), t.In("g", n), t.In("m", n), t.In("target", n)
	v, vmax := t.positive("v", n), t.positive("vmax", n)
	clip := t.positive("clip", 1)
	before, grad, first, second := t.magnitudes(p), t.magnitudes(g), t.magnitudes(m), t.Values(v)
	average, scale := t.magnitudes(target), t.Values(clip)[0]
	t.E.Update(p, g, m, v, vmax, target, clip, u)

	// Magnitudes of what was summed: each quantity is rounded a few times.
	moved := make([]float64, n) // by how much p moves at most
	for i := range n {
		decay := u.WeightDecay * before[i]
		if i >= u.Decayed {
			decay = 0
		}
		grad[i] *= scale
		if u.Optimizer != AdamW {
			grad[i] += decay
		}
		switch {
		case u.Optimizer == SGD && u.Momentum == 0:
			moved[i] = u.LR * grad[i]
		case u.Optimizer == SGD && u.Step == 1:
			first[i] = grad[i]
			moved[i] = u.LR * (grad[i] + u.Momentum*first[i])
		case u.Optimizer == SGD:
			first[i] = u.Momentum*first[i] + grad[i]
			moved[i] = u.LR * (grad[i] + first[i])
		default:
			first[i] = u.Beta1*first[i] + (1-u.Beta1)*grad[i]
			second[i] = u.Beta2*second[i] + (1-u.Beta2)*grad[i]*grad[i]
			// v is at least β₂/2 here, so its root's relative error is that of v.
			step := u.LR / (1 - math.Pow(u.Beta1, float64(u.Step)))
			root := math.Sqrt(u.Beta2 / 2 / (1 - math.Pow(u.Beta2, float64(u.Step))))
			moved[i] = step * first[i] / root
			if u.Optimizer == AdamW {
				moved[i] += u.LR * decay
			}
		}
	}
	t.Within(p, func(i int) float64 { return Epsilon * (before[i] + 20*moved[i]) })
	t.Within(target, func(i int) float64 {
		return Epsilon * (average[i] + 0.01*(6*average[i]+6*before[i]+30*moved[i]))
	})
	t.Exact(g)
	switch {
	case u.Optimizer == SGD && u.Momentum == 0:
		t.Exact(m)
	default:
		t.Within(m, func(i int) float64 { return 6 * Epsilon * first[i] })
	}
	if u.Optimizer == SGD {
		t.Exact(v)
	} else {
		// v is where vmax comes from too.
		t.Within(v, func(i int) float64 { return 10 * Epsilon * second[i] })
	}
	if u.AMSGrad {
		t.Within(vmax, func(i int) float64 { return 10 * Epsilon * second[i] })
	} else {
		t.Exact(vmax)
	}
}
