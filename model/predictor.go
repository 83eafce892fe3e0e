package model

import (
	"fmt"

	"wgjepa/gpu"
)

// Predictor describes the predictor.
type Predictor struct {
	Grid     []int   // patches per axis, of the encoder
	InDim    int     // D
	EmbedDim int     // D′
	Depth    int     // blocks
	NumHeads int     //
	MLPRatio float64 //
	NormEps  float64 //
	PosOrder string  // hwd or nidl
	Rescale  bool    // divide the initial output weights of block l by √(2l): nidl; the paper's released code does, its text does not
}

// Validate refuses what cannot be built and says what to change.
func (c Predictor) Validate() error {
	switch {
	case c.EmbedDim < 1 || c.NumHeads < 1 || c.EmbedDim%c.NumHeads != 0:
		return fmt.Errorf("predictor: predictor_embed_dim %d is not a multiple of its %d heads", c.EmbedDim, c.NumHeads)
	case c.EmbedDim > 1<<14:
		return fmt.Errorf("predictor: predictor_embed_dim %d is above %d", c.EmbedDim, 1<<14)
	case c.EmbedDim/c.NumHeads > gpu.MaxHeadDim:
		return fmt.Errorf("predictor: heads of %d are wider than %d: raise the number of heads", c.EmbedDim/c.NumHeads, gpu.MaxHeadDim)
	case len(c.Grid) == 2 && c.EmbedDim%4 != 0:
		return fmt.Errorf("predictor: predictor_embed_dim %d is not a multiple of 4, as 2-D positions need", c.EmbedDim)
	case c.Depth < 1 || c.Depth > 1000:
		return fmt.Errorf("predictor: predictor_depth is %d: it must be between 1 and 1000", c.Depth)
	}
	return nil
}

// PredictorWeights are the parameters of a predictor.
type PredictorWeights struct {
	*Arena
	Config Predictor

	embed  linear // D → D′
	mask   *Parameter
	pos    *Parameter
	blocks []*block
	norm   norm
	proj   linear // D′ → D
}

func (c Predictor) blockSpec() blockSpec {
	return blockSpec{width: c.EmbedDim, heads: c.NumHeads, hidden: int(float64(c.EmbedDim) * c.MLPRatio), qkvBias: true, eps: c.NormEps}
}

// NewPredictorWeights allocates a predictor's parameters, with gradients where
// it is to be trained. They are zero until Initialize or Set.
func NewPredictorWeights(d *gpu.Device, c Predictor, trained bool) *PredictorWeights {
	w := &PredictorWeights{Arena: newArena(d), Config: c}
	a := w.Arena
	w.embed = a.linear("predictor_embed", c.InDim, c.EmbedDim, true)
	w.mask = a.declare("mask_token", truncNormal(initStd), 1, 1, c.EmbedDim)
	for i := range c.Depth {
		b := a.block(fmt.Sprintf("predictor_blocks.%d", i), c.blockSpec())
		if c.Rescale {
			b.rescale(i + 1)
		}
		w.blocks = append(w.blocks, b)
	}
	w.norm = a.norm("predictor_norm", c.EmbedDim, c.NormEps)
	w.proj = a.linear("predictor_proj", c.EmbedDim, c.InDim, true)
	a.allocate("predictor", trained)
	P := product(c.Grid)
	w.pos = a.fix("predictor_pos_embed", func() []float32 { return sinCos(c.Grid, c.EmbedDim, c.PosOrder) }, 1, P, c.EmbedDim)
	w.pos.Value = w.pos.Value.Reshape(P, c.EmbedDim)
	return w
}

// PredictorRunner runs a predictor's weights on up to M·B sequences of up to
// K context and L target tokens.
type PredictorRunner struct {
	*PredictorWeights

	z      gpu.Tensor // (B, K, D′)
	tokens gpu.Tensor // (M·B, K+L, D′)
	stack  *stack
	window gpu.Tensor // (M·B, L, D′)
	normed saved
	out    gpu.Tensor // (M·B, L, D)

	dNormed, dWindow, dTokens gpu.Tensor
	dzNarrow                  gpu.Tensor // (B, K, D′)
	dz                        gpu.Tensor // (B, K, D)
	context                   gpu.Tensor // the last Forward's input (B, K, D)
	K                         int
}

// NewPredictorRunner allocates the workspace for batch samples, blocks target
// blocks, at most maxK context and maxL target tokens. With train, activations
// of every block are kept for Backward.
func NewPredictorRunner(w *PredictorWeights, batch, blocks, maxK, maxL int, train bool) *PredictorRunner {
	d, c := w.device, w.Config
	n, targets := batch*blocks*(maxK+maxL), batch*blocks*maxL
	p := &PredictorRunner{PredictorWeights: w}
	p.z = d.Tensor("predictor context", batch*maxK, c.EmbedDim)
	p.tokens = d.Tensor("predictor tokens", n, c.EmbedDim)
	p.stack = newStack(d, "predictor", w.blocks, c.blockSpec(), batch*blocks, maxK+maxL, train)
	p.window = d.Tensor("predictor last tokens", targets, c.EmbedDim)
	p.normed = newSaved(d, "predictor norm", targets, c.EmbedDim)
	p.out = d.Tensor("predictions", targets, c.InDim)
	if !train {
		return p
	}
	p.dNormed = d.Tensor("d predictor norm", targets, c.EmbedDim)
	p.dWindow = d.Tensor("d predictor last tokens", targets, c.EmbedDim)
	p.dTokens = d.Tensor("d predictor tokens", n, c.EmbedDim)
	p.dzNarrow = d.Tensor("d predictor context", batch*maxK, c.EmbedDim)
	p.dz = d.Tensor("d context", batch*maxK, c.InDim)
	return p
}

// Forward records the predictor on the context features z (B, K, D) at the
// patches context (B, K), for the patches target (M, B, L). It returns the
// predictions (M·B, L, D), block-major.
func (p *PredictorRunner) Forward(e *gpu.Encoder, z, context, target gpu.Tensor) gpu.Tensor {
	B, K := z.Dim(0), z.Dim(1)
	MB, L, D := target.Dim(0)*B, target.Dim(2), p.Config.EmbedDim
	p.context, p.K = z, K
	narrow := p.z.Reshape(B, K, D)
	e.Linear(narrow, z, p.embed.w(), p.embed.b())
	tokens := p.tokens.Reshape(MB, K+L, D)
	e.PredictorTokens(tokens, narrow, p.mask.Value, p.pos.Value, context, target)
	h := p.stack.forward(e, tokens)
	window := p.window.Reshape(MB, L, D)
	e.Window(window, h, K)
	y := p.norm.forward(e, p.normed.like(window), window)
	out := p.out.Reshape(MB, L, p.Config.InDim)
	e.Linear(out, y, p.proj.w(), p.proj.b())
	return out
}

// Backward records the gradient of the last Forward for that of its result,
// d (M·B, L, D): it adds the parameters' and returns that of z (B, K, D).
func (p *PredictorRunner) Backward(e *gpu.Encoder, d gpu.Tensor) gpu.Tensor {
	MB, L, D := d.Dim(0), d.Dim(1), p.Config.EmbedDim
	B, K := p.context.Dim(0), p.K
	window := p.window.Reshape(MB, L, D)
	s := p.normed.like(window)
	p.proj.gradParams(e, d, s.y)
	dNormed, dWindow := p.dNormed.Reshape(MB, L, D), p.dWindow.Reshape(MB, L, D)
	e.LinearGradInput(dNormed, d, p.proj.w())
	p.norm.gradParams(e, dNormed, window, s)
	e.LayerNormGrad(dWindow, dNormed, window, p.norm.weight.Value, s.mean, s.rstd)
	dTokens := p.dTokens.Reshape(MB, K+L, D)
	e.WindowGrad(dTokens, dWindow, K)
	p.stack.backward(e, dTokens)
	narrow := p.dzNarrow.Reshape(B, K, D)
	e.PredictorTokensGrad(narrow, p.mask.Grad, dTokens)
	p.embed.gradParams(e, narrow, p.context)
	dz := p.dz.Reshape(B, K, p.Config.InDim)
	e.LinearGradInput(dz, narrow, p.embed.w())
	return dz
}
