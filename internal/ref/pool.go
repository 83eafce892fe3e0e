package ref

// MeanPoolParams mirrors mean_pool.wgsl and mean_pool_grad.wgsl.
type MeanPoolParams struct {
	Batch, Tokens, Width uint32
	Scale                float64 // 1/Tokens
}

// MeanPool is the mean over the tokens of x (batch, tokens, width).
func MeanPool(p MeanPoolParams, x, dst []float64) {
	tokens, n := int(p.Tokens), int(p.Width)
	for b := range int(p.Batch) {
		out := dst[b*n:][:n]
		clear(out)
		for t := range tokens {
			for i, v := range x[(b*tokens+t)*n:][:n] {
				out[i] += v
			}
		}
		for i := range out {
			out[i] *= p.Scale
		}
	}
}

// MeanPoolGrad adds the gradient of MeanPool to dx.
func MeanPoolGrad(p MeanPoolParams, dy, dx []float64) {
	tokens, n := int(p.Tokens), int(p.Width)
	for b := range int(p.Batch) {
		for t := range tokens {
			for i := range n {
				dx[(b*tokens+t)*n+i] += p.Scale * dy[b*n+i]
			}
		}
	}
}
