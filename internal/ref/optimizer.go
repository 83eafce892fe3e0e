package ref

import "math"

// AdamParams mirrors adam.wgsl.
type AdamParams struct {
	N, Decayed                 uint32
	AMSGrad, Clipped, Averaged uint32
	Shrink                     float64 // decoupled weight decay: learning rate · decay
	L2                         float64 // coupled weight decay
	Beta1, Rate1, Beta2, Rate2 float64 // Rate is 1 − Beta
	Step, Root                 float64 // learning rate / (1 − β₁ᵗ), 1/√(1 − β₂ᵗ)
	Eps                        float64
	Rate                       float64 // 1 − λ of the average
}

// Adam is one update of Adam (Kingma & Ba 2015), AdamW (Loshchilov & Hutter
// 2019) or their AMSGrad form (Reddi et al. 2018), as torch computes them:
//
//	m ← β₁m + (1 − β₁)g,  v ← β₂v + (1 − β₂)g²,  v̂ = v or the largest v so far
//	p ← p − Shrink·p − Step·m / (√v̂·Root + Eps)
//
// with g multiplied by clip and, for Adam, L2·p added. A negative clip leaves
// everything as it is (see ClipScale). The first Decayed
// elements take weight decay. Then target moves towards p by Rate, and g is
// zeroed.
func Adam(p AdamParams, params, g, m, v, vmax, target, clip []float64) {
	Parallel(int(p.N), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			shrink, l2 := p.Shrink, p.L2
			if i >= int(p.Decayed) {
				shrink, l2 = 0, 0
			}
			d := g[i]
			if p.Clipped != 0 {
				if clip[0] < 0 {
					continue
				}
				d *= clip[0]
			}
			d += l2 * params[i]
			m[i] = p.Beta1*m[i] + p.Rate1*d
			v[i] = p.Beta2*v[i] + p.Rate2*d*d
			second := v[i]
			if p.AMSGrad != 0 {
				vmax[i] = max(vmax[i], v[i])
				second = vmax[i]
			}
			params[i] -= shrink*params[i] + p.Step*m[i]/(math.Sqrt(second)*p.Root+p.Eps)
			if p.Averaged != 0 {
				target[i] += p.Rate * (params[i] - target[i])
			}
			g[i] = 0
		}
	})
}

// SGDParams mirrors sgd.wgsl.
type SGDParams struct {
	N, Decayed                           uint32
	Buffered, First, Nesterov            uint32
	Clipped, Averaged                    uint32
	L2, Momentum, Undamped, LearningRate float64 // Undamped is 1 − dampening
	Rate                                 float64 // 1 − λ of the average
}

// SGD is one update of stochastic gradient descent with momentum as torch
// computes it: with d = g·clip + L2·p and, where Buffered,
//
//	m ← momentum·m + (1 − dampening)·d (d itself the First time)
//	d ← m, or d + momentum·m with Nesterov
//
// p ← p − learning rate·d. Decayed, target and g as for Adam.
func SGD(p SGDParams, params, g, m, target, clip []float64) {
	Parallel(int(p.N), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			d := g[i]
			if p.Clipped != 0 {
				if clip[0] < 0 {
					continue
				}
				d *= clip[0]
			}
			if i < int(p.Decayed) {
				d += p.L2 * params[i]
			}
			if p.Buffered != 0 {
				if p.First != 0 {
					m[i] = d
				} else {
					m[i] = p.Momentum*m[i] + p.Undamped*d
				}
				if p.Nesterov != 0 {
					d += p.Momentum * m[i]
				} else {
					d = m[i]
				}
			}
			params[i] -= p.LearningRate * d
			if p.Averaged != 0 {
				target[i] += p.Rate * (params[i] - target[i])
			}
			g[i] = 0
		}
	})
}

// EMAParams mirrors ema.wgsl.
type EMAParams struct {
	N    uint32
	Rate float64 // 1 − λ
}

// EMA moves the target network towards p: target ← λ·target + (1 − λ)·p.
func EMA(p EMAParams, params, target []float64) {
	for i := range int(p.N) {
		target[i] += p.Rate * (params[i] - target[i])
	}
}

// SquaresParams mirrors squares.wgsl.
type SquaresParams struct {
	N, Lanes, First uint32
}

// Squares sums x² into partial, element i going to partial[First + i % Lanes].
func Squares(p SquaresParams, x, partial []float64) {
	partial = partial[p.First:][:p.Lanes]
	clear(partial)
	for i, v := range x[:p.N] {
		partial[i%int(p.Lanes)] += v * v
	}
}

// ClipScaleParams mirrors clip_scale.wgsl.
type ClipScaleParams struct {
	Limit float64
}

// ClipScale is the factor that brings a gradient's norm down to Limit, or −1,
// "no update", where the norm is not finite.
func ClipScale(p ClipScaleParams, norm, clip []float64) {
	if math.IsNaN(norm[0]) || math.IsInf(norm[0], 0) {
		clip[0] = -1
		return
	}
	// 1e-6 as in torch's clip_grad_norm_.
	clip[0] = min(1, p.Limit/(norm[0]+1e-6))
}
