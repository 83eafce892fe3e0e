package gpu

import "wgjepa/internal/ref"

var (
	tokensKernel = registerVectors("tokens", "tokens.wgsl", "patches cls reg pos index dst", func(p ref.TokensParams, b []ref.Buffer) {
		ref.Tokens(p, b[0].F, b[1].F, b[2].F, b[3].F, b[4].U, b[5].F)
	})
	tokensGrad = registerVectors("tokens_grad", "tokens_grad.wgsl", "dtokens inverse dst", func(p ref.TokensGradParams, b []ref.Buffer) {
		ref.TokensGrad(p, b[0].F, b[1].U, b[2].F)
	})
	window = registerVectors("window", "window.wgsl", "src dst", func(p ref.WindowParams, b []ref.Buffer) {
		ref.Window(p, b[0].F, b[1].F)
	})
	windowGrad = registerVectors("window_grad", "window_grad.wgsl", "ddst dsrc", func(p ref.WindowParams, b []ref.Buffer) {
		ref.WindowGrad(p, b[0].F, b[1].F)
	})
	predictorTokensKernel = registerVectors("predictor_tokens", "predictor_tokens.wgsl", "z mask pos contexts targets dst", func(p ref.PredictorTokensParams, b []ref.Buffer) {
		ref.PredictorTokens(p, b[0].F, b[1].F, b[2].F, b[3].U, b[4].U, b[5].F)
	})
	predictorTokensGrad = registerVectors("predictor_tokens_grad", "predictor_tokens_grad.wgsl", "dtokens dz", func(p ref.PredictorTokensParams, b []ref.Buffer) {
		ref.PredictorTokensGrad(p, b[0].F, b[1].F)
	})
)

// Absent marks, in an inverse index, a patch that is not among the kept ones.
const Absent = ref.Absent

// Tokens assembles a ViT's sequence dst (B, R + N, D): the class token cls
// (1, D) and the register tokens reg (r, D), if any, then patches (B, N, D).
// A patch gets the row of pos that belongs to its place, index (B, N), nil
// meaning all in order; with prefixPos pos is (R + P, D) and its first rows
// are the prefix tokens', else it is (P, D). pos may be nil.
func (e *Encoder) Tokens(dst, patches, cls, reg, pos, index Tensor, prefixPos bool) {
	batch, kept, width := patches.Dim(0), patches.Dim(1), patches.Dim(2)
	p := ref.TokensParams{
		Batch: uint32(batch), Kept: uint32(kept), Width: uint32(width),
		Pos: flag(!pos.IsNil()), PrefixPos: flag(prefixPos), Indexed: flag(!index.IsNil()),
	}
	if !cls.IsNil() {
		p.Classes = uint32(cls.Rows())
	}
	p.Prefix = p.Classes
	if !reg.IsNil() {
		p.Prefix += uint32(reg.Rows())
	}
	rows := kept // of pos at least
	if prefixPos {
		rows += int(p.Prefix)
	}
	if dst.Len() != batch*(int(p.Prefix)+kept)*width || dst.Cols() != width ||
		!cls.IsNil() && cls.Cols() != width || !reg.IsNil() && reg.Cols() != width ||
		!pos.IsNil() && (pos.Cols() != width || pos.Rows() < rows || index.IsNil() && pos.Rows() != rows) ||
		!index.IsNil() && index.Len() != batch*kept {
		panic(shapes("Tokens", "dst", dst, "patches", patches, "cls", cls, "reg", reg, "pos", pos, "index", index, "prefixPos", prefixPos))
	}
	launchElements(e, tokensKernel, dst.Len(), width, p,
		patches, e.orNone(cls, true), e.orNone(reg, true), e.orNone(pos, true), e.orNone(index, false), dst)
}

// TokensGrad adds the gradients of Tokens, summed over the batch, to dcls,
// dreg and dpos, each of which may be nil. prefix is R; inverse (B, P) is the
// position of each patch among the kept ones or Absent, nil meaning that all
// are kept in order. That of the patches is Window(dtokens, R).
func (e *Encoder) TokensGrad(dcls, dreg, dpos, dtokens, inverse Tensor, prefix int, prefixPos bool) {
	batch, tokens, width := dtokens.Dim(0), dtokens.Dim(1), dtokens.Dim(2)
	registers, classes := 0, 0
	switch {
	case !dreg.IsNil():
		registers = dreg.Rows()
		classes = prefix - registers
	case !dcls.IsNil():
		classes = dcls.Rows()
	}
	patches := tokens - prefix
	if !inverse.IsNil() {
		patches = inverse.Dim(-1)
	}
	rows := patches // of dpos
	if prefixPos {
		rows += prefix
	}
	if classes < 0 || classes+registers > prefix || prefix > tokens ||
		!dcls.IsNil() && (dcls.Rows() != classes || dcls.Cols() != width) || !dreg.IsNil() && dreg.Cols() != width ||
		!dpos.IsNil() && (dpos.Rows() != rows || dpos.Cols() != width) || !inverse.IsNil() && inverse.Len() != batch*patches {
		panic(shapes("TokensGrad", "dcls", dcls, "dreg", dreg, "dpos", dpos, "dtokens", dtokens, "inverse", inverse, "prefix", prefix, "prefixPos", prefixPos))
	}
	add := func(dst, inverse Tensor, first, rows, row int) {
		if dst.IsNil() {
			return
		}
		launchElements(e, tokensGrad, rows*width, width, ref.TokensGradParams{
			Batch: uint32(batch), Tokens: uint32(tokens), Width: uint32(width),
			First: uint32(first), Rows: uint32(rows), Row: uint32(row),
			Patches: uint32(patches), Indexed: flag(!inverse.IsNil()),
		}, dtokens, e.orNone(inverse, false), dst)
	}
	add(dcls, Tensor{}, 0, classes, 0)
	add(dreg, Tensor{}, classes, registers, 0)
	if prefixPos {
		add(dpos, Tensor{}, 0, prefix, 0)
		add(dpos, inverse, prefix, patches, prefix)
	} else {
		add(dpos, inverse, prefix, patches, 0)
	}
}

// Window keeps dst's number of tokens of src (B, T, D) from the one numbered
// first.
func (e *Encoder) Window(dst, src Tensor, first int) {
	p := windowParams("Window", dst, src, first)
	launchElements(e, window, dst.Len(), int(p.Width), p, src, dst)
}

// WindowGrad sets dsrc (B, T, D) to the gradient of Window: ddst inside, zero
// outside.
func (e *Encoder) WindowGrad(dsrc, ddst Tensor, first int) {
	p := windowParams("WindowGrad", ddst, dsrc, first)
	launchElements(e, windowGrad, dsrc.Len(), int(p.Width), p, ddst, dsrc)
}

func windowParams(name string, dst, src Tensor, first int) ref.WindowParams {
	batch, tokens, width := src.Dim(0), src.Dim(1), src.Dim(2)
	kept := dst.Len() / (batch * width)
	if dst.Len() != batch*kept*width || dst.Cols() != width || first < 0 || first+kept > tokens {
		panic(shapes(name, "window", dst, "of", src, "first", first))
	}
	return ref.WindowParams{Batch: uint32(batch), Tokens: uint32(tokens), Width: uint32(width), First: uint32(first), Kept: uint32(kept)}
}

// PredictorTokens assembles the predictor's sequences dst (M·B, K + L, D), all
// samples of block 0, then of block 1, …: z (B, K, D) plus pos at context
// (B, K), then the mask token (1, D) plus pos at target (M, B, L).
func (e *Encoder) PredictorTokens(dst, z, mask, pos, context, target Tensor) {
	blocks, batch, l := target.Dim(0), target.Dim(1), target.Dim(2)
	k, width := z.Dim(1), z.Dim(2)
	if z.Dim(0) != batch || context.Len() != batch*k || mask.Len() != width || pos.Cols() != width ||
		dst.Len() != blocks*batch*(k+l)*width || dst.Cols() != width {
		panic(shapes("PredictorTokens", "dst", dst, "z", z, "mask", mask, "pos", pos, "context", context, "target", target))
	}
	launchElements(e, predictorTokensKernel, dst.Len(), width, ref.PredictorTokensParams{
		Blocks: uint32(blocks), Batch: uint32(batch), Context: uint32(k), PerBlock: uint32(l), Width: uint32(width),
	}, z, mask, pos, context, target, dst)
}

// PredictorTokensGrad sets dz (B, K, D) to the gradient of PredictorTokens in
// z, the sum over the blocks, and adds that of the mask token to dmask (1, D).
func (e *Encoder) PredictorTokensGrad(dz, dmask, dtokens Tensor) {
	batch, k, width := dz.Dim(0), dz.Dim(1), dz.Dim(2)
	tokens := dtokens.Dim(1)
	blocks := dtokens.Dim(0) / batch
	if dtokens.Dim(0) != blocks*batch || dtokens.Dim(2) != width || tokens < k || dmask.Len() != width {
		panic(shapes("PredictorTokensGrad", "dz", dz, "dmask", dmask, "dtokens", dtokens))
	}
	l := tokens - k
	launchElements(e, predictorTokensGrad, dz.Len(), width, ref.PredictorTokensParams{
		Blocks: uint32(blocks), Batch: uint32(batch), Context: uint32(k), PerBlock: uint32(l), Width: uint32(width),
	}, dtokens, dz)
	e.windowSums(dmask, dtokens, Tensor{}, ref.ColumnChunksParams{
		Rows: uint32(blocks * batch * l), Cols: uint32(width), Take: uint32(l), Stride: uint32(tokens), First: uint32(k),
	}, true, 1)
}
