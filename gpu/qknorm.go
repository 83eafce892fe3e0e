package gpu

import "wgjepa/internal/ref"

var (
	qkNormKernel = register("qknorm", "qknorm.wgsl", nil, "x q_gamma q_beta k_gamma k_beta y mean rstd", func(p ref.QKNormParams, b []ref.Buffer) {
		ref.QKNorm(p, b[0].F, b[1].F, b[2].F, b[3].F, b[4].F, b[5].F, b[6].F, b[7].F)
	})
	qkNormGrad = register("qknorm_grad", "qknorm_grad.wgsl", nil, "dy x q_gamma k_gamma mean rstd dx", func(p ref.QKNormGradParams, b []ref.Buffer) {
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
	launch(e, qkNormKernel, e.groups1(ceil(3*tokens*heads, 64)),
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
	launch(e, qkNormGrad, e.groups1(ceil(3*tokens*heads, 64)),
		ref.QKNormGradParams{Tokens: uint32(tokens), Width: uint32(width), Heads: uint32(heads)},
		dy, x, qGamma, kGamma, mean, rstd, dx)
	chunks := ceil(tokens, chunk(tokens))
	partial := e.d.scratch("q/k norm", 4*chunks*hd)
	launch(e, qkNormPartial, [3]int{ceil(hd, 64), chunks, 2},
		ref.QKNormPartialParams{Tokens: uint32(tokens), Width: uint32(width), Heads: uint32(heads), Chunk: uint32(chunk(tokens))},
		dy, x, mean, rstd, partial)
	for i, dst := range [4]Tensor{dqGamma, dqBeta, dkGamma, dkBeta} {
		e.reduce(dst, partial, i*chunks*hd, chunks, hd, true, 1)
	}
}
