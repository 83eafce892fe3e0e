package gpu

import (
	"math"

	"wgjepa/internal/ref"
)

var (
	qkNormKernel = registerSums("qknorm", "qknorm.wgsl", nil, "x q_gamma q_beta k_gamma k_beta y mean rstd", func(p ref.QKNormParams, b []ref.Buffer) {
		ref.QKNorm(p, b[0].F, b[1].F, b[2].F, b[3].F, b[4].F, b[5].F, b[6].F, b[7].F)
	})
	qkNormGrad = registerSums("qknorm_grad", "qknorm_grad.wgsl", nil, "dy x q_gamma k_gamma mean rstd dx", func(p ref.QKNormGradParams, b []ref.Buffer) {
		ref.QKNormGrad(p, b[0].F, b[1].F, b[2].F, b[3].F, b[4].F, b[5].F, b[6].F)
	})
	qkNormPartial = register("qknorm_partial", "qknorm_partial.wgsl", nil, "dy x mean rstd partial", func(p ref.QKNormPartialParams, b []ref.Buffer) {
		ref.QKNormPartial(p, b[0].F, b[1].F, b[2].F, b[3].F, b[4].F)
	})
)

// QKNorm applies layer norm to the q and the k of every head of x (B, T, 3D)
// over the head dim, and copies v (Dehghani et al. 2023, §2). Gains and biases
// are (head dim); mean and rstd (2, B, T, heads) are saved for the gradient.
func (e *Encoder) QKNorm(y, mean, rstd, x, qGamma, qBeta, kGamma, kBeta Tensor, heads int, eps float64) {
	tokens, width := x.Rows(), x.Cols()/3
	hd := width / heads
	if x.Cols() != 3*hd*heads || y.Len() != x.Len() || y.Cols() != x.Cols() || mean.Len() != 2*tokens*heads || rstd.Len() != 2*tokens*heads ||
		qGamma.Len() != hd || qBeta.Len() != hd || kGamma.Len() != hd || kBeta.Len() != hd {
		panic(shapes("QKNorm", "y", y, "mean", mean, "rstd", rstd, "x", x, "qGamma", qGamma, "qBeta", qBeta, "kGamma", kGamma, "kBeta", kBeta, "heads", heads))
	}
	kernel, _ := qkNormKernel.pick(hd)
	launch(e, kernel, e.qkNormGroups(tokens, heads),
		ref.QKNormParams{Tokens: uint32(tokens), Width: uint32(width), Heads: uint32(heads), Eps: eps},
		x, qGamma, qBeta, kGamma, kBeta, y, mean, rstd)
}

// QKNormGrad sets dx to the gradient of QKNorm in x and adds those of the
// gains and biases to dqGamma, dqBeta, dkGamma, dkBeta.
func (e *Encoder) QKNormGrad(dx, dqGamma, dqBeta, dkGamma, dkBeta, dy, x, qGamma, kGamma, mean, rstd Tensor, heads int) {
	tokens, width := x.Rows(), x.Cols()/3
	hd := width / heads
	if x.Cols() != 3*hd*heads || dx.Len() != x.Len() || dy.Len() != x.Len() || mean.Len() != 2*tokens*heads || rstd.Len() != 2*tokens*heads ||
		qGamma.Len() != hd || kGamma.Len() != hd || dqGamma.Len() != hd || dqBeta.Len() != hd || dkGamma.Len() != hd || dkBeta.Len() != hd {
		panic(shapes("QKNormGrad", "dx", dx, "dqGamma", dqGamma, "dqBeta", dqBeta, "dkGamma", dkGamma, "dkBeta", dkBeta,
			"dy", dy, "x", x, "qGamma", qGamma, "kGamma", kGamma, "mean", mean, "rstd", rstd, "heads", heads))
	}
	kernel, _ := qkNormGrad.pick(hd)
	launch(e, kernel, e.qkNormGroups(tokens, heads),
		ref.QKNormGradParams{Tokens: uint32(tokens), Width: uint32(width), Heads: uint32(heads)},
		dy, x, qGamma, kGamma, mean, rstd, dx)
	chunks := ceil(tokens, chunk(tokens))
	partial := e.d.scratch("q/k norm", 4*mostChunks(x.cap/x.Cols())*hd)
	launch(e, qkNormPartial, [3]int{ceil(hd, 64), chunks, 2},
		ref.QKNormPartialParams{Tokens: uint32(tokens), Width: uint32(width), Heads: uint32(heads), Chunk: uint32(chunk(tokens))},
		dy, x, mean, rstd, partial)
	for i, dst := range [4]Tensor{dqGamma, dqBeta, dkGamma, dkBeta} {
		e.reduce(dst, partial, i*chunks*hd, chunks, hd, true, 1)
	}
}

// qkNormGroups are the workgroups of qknorm and its gradient: an axis that is
// too short for the tokens of a large batch is gone over several times.
func (e *Encoder) qkNormGroups(tokens, heads int) [3]int {
	return [3]int{ceil(heads, 16), min(ceil(tokens, 4), e.d.info.Limits.Workgroups), 3}
}

func qkNorm() Op {
	return Op{
		Name: "qknorm",
		Cases: []Case{{"forward and gradient", func(t *Trial) {
			for _, s := range [][4]int{{1, 1, 1, 1}, {2, 3, 2, 5}, {1, 7, 3, 4}, {3, 5, 1, 64}, {2, 17, 4, 3}, {5, 67, 2, 8}} {
				t.qkNorm(s[0], s[1], s[2], s[3])
			}
		}}, {"more tokens than workgroups", func(t *Trial) {
			limits := t.d.info.Limits
			defer func() { t.d.info.Limits = limits }()
			t.d.info.Limits.Workgroups = 20
			t.qkNorm(5, 67, 2, 8)
		}}},
	}
}

// qkNorm holds both directions to the twins.
func (t *Trial) qkNorm(batch, length, heads, hd int) {
	width, tokens := heads*hd, batch*length
	x, dy := t.In("x", batch, length, 3*width), t.In("dy", batch, length, 3*width)
	gammas := [2]Tensor{t.In("q gamma", hd), t.In("k gamma", hd)}
	betas := [2]Tensor{t.In("q beta", hd), t.In("k beta", hd)}
	y, mean, rstd := t.Out("y", batch, length, 3*width), t.Out("mean", 2, batch, length, heads), t.Out("rstd", 2, batch, length, heads)
	t.E.QKNorm(y, mean, rstd, x, gammas[0], betas[0], gammas[1], betas[1], heads, 1e-6)
	v, m, r := t.Values(y), t.Values(mean), t.Values(rstd)
	g, b := [2][]float64{t.Values(gammas[0]), t.Values(gammas[1])}, [2][]float64{t.Values(betas[0]), t.Values(betas[1])}
	t.Within(y, func(i int) float64 {
		part := i / width % 3
		if part == 2 {
			return 0
		}
		return normBound(hd, g[part][i%hd], b[part][i%hd], v[i])
	})
	t.Within(mean, func(i int) float64 { return Epsilon * (2*math.Abs(m[i]) + float64(hd+4)/r[i]) })
	t.Within(rstd, func(i int) float64 { return float64(hd+8) * Epsilon * r[i] })

	// The gradient on its own: any mean and rstd will do.
	mean, rstd = t.In("mean", 2, batch, length, heads), t.positive("rstd", 2, batch, length, heads)
	dx := t.Out("dx", batch, length, 3*width)
	sums := [4]Tensor{t.In("dq gamma", hd), t.In("dq beta", hd), t.In("dk gamma", hd), t.In("dk beta", hd)}
	var bounds [4][]float64
	for i := range sums {
		bounds[i] = t.magnitudes(sums[i])
	}
	xs, ds, bound := t.Values(x), t.magnitudes(dy), make([]float64, x.Len())
	ms, rs := t.Values(mean), t.Values(rstd)
	for part := range 2 {
		for head := range tokens * heads {
			first, row := (head/heads*3+part)*width+head%heads*hd, part*tokens*heads+head
			scaled, xhat := make([]float64, hd), make([]float64, hd)
			for i := range hd {
				d := ds[first+i]
				xhat[i] = math.Abs(xs[first+i]-ms[row]) * rs[row]
				scaled[i] = d * math.Abs(g[part][i])
				bounds[2*part][i] += d * xhat[i]
				bounds[2*part+1][i] += d
			}
			copy(bound[first:], normGradBounds(scaled, xhat, rs[row]))
		}
	}
	t.E.QKNormGrad(dx, sums[0], sums[1], sums[2], sums[3], dy, x, gammas[0], gammas[1], mean, rstd, heads)
	t.Within(dx, at(bound))
	for n, dst := range sums {
		t.Within(dst, func(i int) float64 { return (chain(tokens) + float64(heads) + 4) * Epsilon * bounds[n][i] })
	}
}
