package ref

// QKNormParams mirrors qknorm.wgsl.
type QKNormParams struct {
	Tokens, Width, Heads uint32
	Eps                  float64
}

// QKNorm normalises the q and the k of every head of x (tokens, 3, heads,
// head dim) over the head dim, as LayerNorm, and copies v. mean and rstd are
// (2, tokens, heads).
func QKNorm(p QKNormParams, x, qGamma, qBeta, kGamma, kBeta, y, mean, rstd []float64) {
	tokens, heads, n := int(p.Tokens), int(p.Heads), int(p.Width/p.Heads)
	gamma, beta := [2][]float64{qGamma, kGamma}, [2][]float64{qBeta, kBeta}
	Parallel(tokens, func(lo, hi int) {
		for t := lo; t < hi; t++ {
			for part := range 3 {
				for h := range heads {
					first := ((t*3+part)*heads + h) * n
					x, y := x[first:][:n], y[first:][:n]
					if part == 2 {
						copy(y, x)
						continue
					}
					r := (part*tokens+t)*heads + h
					mean[r], rstd[r] = moments(x, p.Eps)
					for i, v := range x {
						y[i] = (v-mean[r])*rstd[r]*gamma[part][i] + beta[part][i]
					}
				}
			}
		}
	})
}

// QKNormGradParams mirrors qknorm_grad.wgsl.
type QKNormGradParams struct {
	Tokens, Width, Heads uint32
}

// QKNormGrad is the gradient of QKNorm in x.
func QKNormGrad(p QKNormGradParams, dy, x, qGamma, kGamma, mean, rstd, dx []float64) {
	tokens, heads, n := int(p.Tokens), int(p.Heads), int(p.Width/p.Heads)
	gamma := [2][]float64{qGamma, kGamma}
	Parallel(tokens, func(lo, hi int) {
		for t := lo; t < hi; t++ {
			for part := range 3 {
				for h := range heads {
					first := ((t*3+part)*heads + h) * n
					if part == 2 {
						copy(dx[first:][:n], dy[first:][:n])
						continue
					}
					r := (part*tokens+t)*heads + h
					normGrad(dy[first:][:n], x[first:][:n], gamma[part][:n], mean[r], rstd[r], dx[first:][:n], false)
				}
			}
		}
	})
}

// QKNormPartialParams mirrors qknorm_partial.wgsl.
type QKNormPartialParams struct {
	Tokens, Width, Heads, Chunk uint32
}

// QKNormPartial sums the gradients of the gains and biases over chunks of
// tokens and all heads. partial is (4, chunks, head dim): dqGamma, dqBeta,
// dkGamma, dkBeta.
func QKNormPartial(p QKNormPartialParams, dy, x, mean, rstd, partial []float64) {
	tokens, heads, n, chunk := int(p.Tokens), int(p.Heads), int(p.Width/p.Heads), int(p.Chunk)
	chunks := (tokens + chunk - 1) / chunk
	Parallel(chunks, func(lo, hi int) {
		for c := lo; c < hi; c++ {
			for part := range 2 {
				dgamma, dbeta := partial[(2*part*chunks+c)*n:][:n], partial[((2*part+1)*chunks+c)*n:][:n]
				clear(dgamma)
				clear(dbeta)
				for t := c * chunk; t < min(tokens, (c+1)*chunk); t++ {
					for h := range heads {
						first, r := ((t*3+part)*heads+h)*n, (part*tokens+t)*heads+h
						for i := range n {
							dgamma[i] += dy[first+i] * (x[first+i] - mean[r]) * rstd[r]
							dbeta[i] += dy[first+i]
						}
					}
				}
			}
		}
	})
}
