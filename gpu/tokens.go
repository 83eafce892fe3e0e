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
	launchGrid(e, tokensKernel, width, int(p.Prefix)+kept, batch, p,
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
	launchGrid(e, windowGrad, int(p.Width), int(p.Tokens), int(p.Batch), p, ddst, dsrc)
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
	launchGrid(e, predictorTokensKernel, width, k+l, blocks*batch, ref.PredictorTokensParams{
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

// tokenShapes are batch, kept, patches, width.
var tokenShapes = [][4]int{{1, 1, 1, 1}, {2, 3, 5, 3}, {3, 5, 7, 4}, {2, 16, 20, 63}, {1, 9, 9, 64}, {4, 11, 12, 65}}

func tokens() Op {
	return Op{
		Name: "tokens",
		Cases: []Case{
			{"forward", func(t *Trial) {
				for _, s := range tokenShapes {
					batch, kept, total, width := s[0], s[1], s[2], s[3]
					for _, prefix := range [][2]int{{0, 0}, {1, 0}, {0, 2}, {1, 3}} {
						var cls, reg Tensor
						r := prefix[0] + prefix[1]
						if prefix[0] > 0 {
							cls = t.In("cls", 1, width)
						}
						if prefix[1] > 0 {
							reg = t.In("reg", prefix[1], width)
						}
						index, some, all := t.choice("index", total, batch, kept), t.In("some", batch, kept, width), t.In("all", batch, total, width)
						for _, prefixPos := range []bool{false, true} {
							rows := total
							if prefixPos {
								rows += r
							}
							pos := t.In("pos", rows, width)
							dst := t.Out("dst", batch, r+kept, width)
							t.E.Tokens(dst, some, cls, reg, pos, index, prefixPos)
							t.Exact(dst)
							dst = t.Out("dst", batch, r+total, width)
							t.E.Tokens(dst, all, cls, reg, pos, Tensor{}, prefixPos)
							t.Exact(dst)
						}
						dst := t.Out("dst", batch, r+kept, width)
						t.E.Tokens(dst, some, cls, reg, Tensor{}, index, false)
						t.Exact(dst)
					}
				}
			}},
			{"gradient", func(t *Trial) {
				for _, s := range tokenShapes {
					batch, kept, total, width := s[0], s[1], s[2], s[3]
					for _, prefix := range [][2]int{{0, 0}, {1, 0}, {0, 2}, {1, 3}} {
						r := prefix[0] + prefix[1]
						inverse := t.inverse("inverse", batch, kept, total)
						for _, indexed := range []bool{false, true} {
							for _, prefixPos := range []bool{false, true} {
								n, index := total, Tensor{}
								if indexed {
									n, index = kept, inverse
								}
								d := t.In("dtokens", batch, r+n, width)
								column := make([]float64, width) // Σ over all tokens bounds every row's sum
								for i, v := range t.magnitudes(d) {
									column[i%width] += v
								}
								rows := total
								if prefixPos {
									rows += r
								}
								grads := [3]Tensor{{}, {}, t.In("dpos", rows, width)}
								for i, count := range prefix {
									if count > 0 {
										grads[i] = t.In([2]string{"dcls", "dreg"}[i], count, width)
									}
								}
								var before [3][]float64
								for i, g := range grads {
									if !g.IsNil() {
										before[i] = t.magnitudes(g)
									}
								}
								t.E.TokensGrad(grads[0], grads[1], grads[2], d, index, r, prefixPos)
								for n, g := range grads {
									if !g.IsNil() {
										t.Within(g, func(i int) float64 {
											return float64(batch+1) * Epsilon * (before[n][i] + column[i%width])
										})
									}
								}
							}
						}
					}
				}
			}},
			{"window", func(t *Trial) {
				for _, s := range tokenShapes {
					batch, kept, total, width := s[0], s[1], s[2], s[3]
					for _, first := range []int{0, (total - kept) / 2, total - kept} {
						src, dst := t.In("src", batch, total, width), t.Out("dst", batch, kept, width)
						t.E.Window(dst, src, first)
						t.Exact(dst)
						dsrc, ddst := t.Out("dsrc", batch, total, width), t.In("ddst", batch, kept, width)
						t.E.WindowGrad(dsrc, ddst, first)
						t.Exact(dsrc)
					}
				}
			}},
		},
		Bench: []Bench{{Shape: []int{16, 512, 384}, Bytes: 4 * 2 * 16 * 512 * 384, Record: func(d *Device) func(*Encoder) {
			patches, pos, dst := d.Tensor("patches", 16, 512, 384), d.Tensor("pos", 512, 384), d.Tensor("tokens", 16, 513, 384)
			cls := d.Tensor("cls", 1, 384)
			return func(e *Encoder) { e.Tokens(dst, patches, cls, Tensor{}, pos, Tensor{}, false) }
		}}},
	}
}

// inverse makes an inverse index of kept patches of each sample.
func (t *Trial) inverse(name string, batch, kept, total int) Tensor {
	var place []int
	return t.Indices(name, func(i int) uint32 {
		if i%total == 0 {
			place = t.values.Perm(total)
		}
		if p := place[i%total]; p < kept {
			return uint32(p)
		}
		return Absent
	}, batch, total)
}

func predictorTokens() Op {
	return Op{
		Name: "predictor_tokens",
		Cases: []Case{{"forward and gradient", func(t *Trial) {
			for _, s := range [][5]int{{1, 1, 1, 1, 1}, {2, 3, 4, 5, 6}, {4, 2, 9, 3, 64}, {3, 1, 1, 7, 65}, {4, 5, 17, 13, 20}} { // blocks, batch, context, target, width
				blocks, batch, k, l, width := s[0], s[1], s[2], s[3], s[4]
				total := k + l
				z, mask, pos := t.In("z", batch, k, width), t.In("mask", 1, width), t.In("pos", total, width)
				context, target := t.choice("context", total, batch, k), t.choice("target", total, blocks, batch, l)
				dst := t.Out("dst", blocks*batch, k+l, width)
				t.E.PredictorTokens(dst, z, mask, pos, context, target)
				t.Exact(dst)

				dz, dmask, d := t.Out("dz", batch, k, width), t.In("dmask", 1, width), t.In("dtokens", blocks*batch, k+l, width)
				sums, masks := make([]float64, dz.Len()), t.magnitudes(dmask)
				for i, v := range t.magnitudes(d) {
					sequence, token := i/(width*(k+l)), i/width%(k+l)
					if token < k {
						sums[(sequence%batch*k+token)*width+i%width] += v
					} else {
						masks[i%width] += v
					}
				}
				t.E.PredictorTokensGrad(dz, dmask, d)
				t.Within(dz, func(i int) float64 { return float64(blocks) * Epsilon * sums[i] })
				t.Within(dmask, func(i int) float64 { return chain(blocks*batch*l) * Epsilon * masks[i] })
			}
		}}},
	}
}
