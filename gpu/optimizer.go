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
		part := func(t Tensor, standIn string) Tensor {
			if t.IsNil() {
				// Each absent arena has a stand-in of its own: all are bound for writing.
				return e.d.scratch("no "+standIn, align)
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
				part(p, ""), part(g, ""), part(m, ""), part(v, ""), part(vmax, "vmax"), part(target, "target"), e.orNone(clip, true))
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
			}, part(p, ""), part(g, ""), part(buffer, "momentum"), part(target, "target"), e.orNone(clip, true))
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
// torch's clip_grad_norm_.
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

func (e *Encoder) pieceLen() int { return int(e.d.info.Limits.BindingSize/4) / align * align }

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
