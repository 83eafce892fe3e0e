package ref

// Absent marks, in an inverse index, a patch that is not among the kept ones.
const Absent = 0xffffffff

// TokensParams mirrors tokens.wgsl.
type TokensParams struct {
	Batch, Kept, Width uint32
	Classes, Prefix    uint32 // class tokens (0 or 1), class and register tokens
	Pos, PrefixPos     uint32
	Indexed            uint32
}

// Tokens assembles a ViT's sequence dst (batch, prefix + kept, width): the
// class token, the register tokens, then the patches (batch, kept, width).
// With Pos each patch gets the row of pos of its place in the grid, index[b, n]
// or n itself; with PrefixPos pos begins with a row for each prefix token.
func Tokens(p TokensParams, patches, cls, reg, pos []float64, index []uint32, dst []float64) {
	n, kept, prefix := int(p.Width), int(p.Kept), int(p.Prefix)
	Parallel(int(p.Batch), func(lo, hi int) {
		for b := lo; b < hi; b++ {
			for t := range prefix + kept {
				var src, add []float64
				switch {
				case t < int(p.Classes):
					src = cls
				case t < prefix:
					src = reg[(t-int(p.Classes))*n:]
				default:
					src = patches[(b*kept+t-prefix)*n:]
				}
				if row, ok := posRow(p, index, b, t); ok {
					add = pos[row*n:]
				}
				out := dst[(b*(prefix+kept)+t)*n:][:n]
				for i := range out {
					out[i] = src[i]
					if add != nil {
						out[i] += add[i]
					}
				}
			}
		}
	})
}

// posRow is the row of the position table that token t of sample b gets.
func posRow(p TokensParams, index []uint32, b, t int) (row int, ok bool) {
	prefix := int(p.Prefix)
	switch {
	case p.Pos == 0 || t < prefix && p.PrefixPos == 0:
		return 0, false
	case t < prefix:
		return t, true
	}
	patch := t - prefix
	if p.Indexed != 0 {
		patch = int(index[b*int(p.Kept)+patch])
	}
	if p.PrefixPos != 0 {
		patch += prefix
	}
	return patch, true
}

// TokensGradParams mirrors tokens_grad.wgsl.
type TokensGradParams struct {
	Batch, Tokens, Width uint32
	First, Rows, Row     uint32
	Patches, Indexed     uint32
}

// TokensGrad sums the gradients of tokens over the batch and adds them to the
// rows of a parameter: row Row + r of dst takes token First + r of every sample,
// or with Indexed token First + inverse[b, r] of those that have it, inverse
// being (batch, Patches).
func TokensGrad(p TokensGradParams, dtokens []float64, inverse []uint32, dst []float64) {
	n := int(p.Width)
	Parallel(int(p.Rows), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			out := dst[(int(p.Row)+r)*n:][:n]
			for b := range int(p.Batch) {
				t := r
				if p.Indexed != 0 {
					at := inverse[b*int(p.Patches)+r]
					if at == Absent {
						continue
					}
					t = int(at)
				}
				for i, v := range dtokens[(b*int(p.Tokens)+int(p.First)+t)*n:][:n] {
					out[i] += v
				}
			}
		}
	})
}

// WindowParams mirrors window.wgsl and window_grad.wgsl.
type WindowParams struct {
	Batch, Tokens, Width, First, Kept uint32
}

// Window keeps tokens First to First + Kept of src (batch, tokens, width).
func Window(p WindowParams, src, dst []float64) {
	tokens, first, kept, n := int(p.Tokens), int(p.First), int(p.Kept), int(p.Width)
	for b := range int(p.Batch) {
		copy(dst[b*kept*n:][:kept*n], src[(b*tokens+first)*n:])
	}
}

// WindowGrad is the gradient of Window: zero outside.
func WindowGrad(p WindowParams, ddst, dsrc []float64) {
	tokens, first, kept, n := int(p.Tokens), int(p.First), int(p.Kept), int(p.Width)
	clear(dsrc[:int(p.Batch)*tokens*n])
	for b := range int(p.Batch) {
		copy(dsrc[(b*tokens+first)*n:], ddst[b*kept*n:][:kept*n])
	}
}

// PredictorTokensParams mirrors predictor_tokens.wgsl.
type PredictorTokensParams struct {
	Blocks, Batch, Context, PerBlock, Width uint32
}

// PredictorTokens assembles the predictor's sequences dst (blocks·batch,
// context + per block, width): the context tokens z (batch, context, width) with
// the positions of their patches, repeated for every target block, then a mask
// token with its position for every patch of the block. targets is (blocks,
// batch, per block).
func PredictorTokens(p PredictorTokensParams, z, mask, pos []float64, context, targets []uint32, dst []float64) {
	batch, k, l, n := int(p.Batch), int(p.Context), int(p.PerBlock), int(p.Width)
	Parallel(int(p.Blocks)*batch, func(lo, hi int) {
		for s := lo; s < hi; s++ {
			b := s % batch
			for t := range k + l {
				src, patch := mask, uint32(0)
				if t < k {
					src, patch = z[(b*k+t)*n:], context[b*k+t]
				} else {
					patch = targets[s*l+t-k]
				}
				out := dst[(s*(k+l)+t)*n:][:n]
				for i := range out {
					out[i] = src[i] + pos[int(patch)*n+i]
				}
			}
		}
	})
}

// PredictorTokensGrad is the gradient of PredictorTokens in z: the sum over
// the target blocks. That of the mask token is a ColumnChunks.
func PredictorTokensGrad(p PredictorTokensParams, dtokens, dz []float64) {
	batch, k, l, n := int(p.Batch), int(p.Context), int(p.PerBlock), int(p.Width)
	Parallel(batch, func(lo, hi int) {
		for b := lo; b < hi; b++ {
			out := dz[b*k*n:][:k*n]
			clear(out)
			for m := range int(p.Blocks) {
				for i, v := range dtokens[(m*batch+b)*(k+l)*n:][:k*n] {
					out[i] += v
				}
			}
		}
	})
}
