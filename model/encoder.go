package model

import (
	"fmt"
	"math/rand/v2"

	"wgjepa/gpu"
)

// EncoderWeights are the parameters of an encoder.
type EncoderWeights struct {
	*Arena
	Config ViT

	patch    linear
	cls, reg *Parameter
	pos      *Parameter
	normPre  norm
	blocks   []*block
	norm     norm
}

func (v *ViT) blockSpec() blockSpec {
	return blockSpec{width: v.EmbedDim, heads: v.NumHeads, hidden: int(float64(v.EmbedDim) * v.MLPRatio), qkvBias: v.QKVBias, qkNorm: v.QKNorm, eps: v.NormEps}
}

// NewEncoderWeights allocates an encoder's parameters, with gradients where
// it is to be trained. They are zero until Initialize, Set or CopyFrom.
func NewEncoderWeights(d *gpu.Device, label string, c ViT, trained bool) *EncoderWeights {
	w := &EncoderWeights{Arena: newArena(d), Config: c}
	a, width := w.Arena, c.EmbedDim
	kernel := append([]int{width, c.InChans}, c.PatchSize...)
	w.patch.weight = a.declare("patch_embed.proj.weight", truncNormal(initStd), kernel...)
	if !c.PreNorm {
		w.patch.bias = a.declare("patch_embed.proj.bias", nil, width)
	}
	if c.ClassToken {
		w.cls = a.declare("cls_token", truncNormal(initStd), 1, 1, width)
	}
	if c.RegTokens > 0 {
		w.reg = a.declare("reg_token", truncNormal(initStd), 1, c.RegTokens, width)
	}
	if c.PosEmbed == "learned" {
		w.pos = a.declare("pos_embed", truncNormal(initStd), 1, w.posRows(), width)
	}
	if c.PreNorm {
		w.normPre = a.norm("norm_pre", width, c.NormEps)
	}
	for i := range c.Depth {
		b := a.block(fmt.Sprintf("blocks.%d", i), c.blockSpec())
		if c.Depth > 1 {
			b.dropPath = c.DropPathRate * float64(i) / float64(c.Depth-1)
		}
		w.blocks = append(w.blocks, b)
	}
	w.norm = a.norm("norm", width, c.NormEps)
	a.allocate(label, trained)
	if c.PosEmbed == "sincos" {
		w.pos = a.fix("pos_embed", func() []float32 {
			table := make([]float32, w.posRows()*width)
			copy(table[(w.posRows()-c.Patches())*width:], sinCos(c.Grid(), width, c.PosOrder))
			return table
		}, 1, w.posRows(), width)
		w.pos.Value = w.pos.Value.Reshape(w.posRows(), width)
	}
	return w
}

// posRows is the number of embedded positions: prefix tokens have one too,
// unless no_embed_class.
func (w *EncoderWeights) posRows() int {
	n := w.Config.Patches()
	if w.prefixPos() {
		n += w.Config.Prefix()
	}
	return n
}

func (w *EncoderWeights) prefixPos() bool { return !w.Config.NoEmbedClass }

// Encoder runs an encoder's weights on up to Batch samples of up to Tokens
// patches.
type Encoder struct {
	*EncoderWeights
	Batch, Tokens int

	patches gpu.Tensor // (B, N, C·∏patch)
	embed   gpu.Tensor // (B, N, D)
	tokens  gpu.Tensor // (B, R+N, D)
	pre     saved      // of norm_pre
	stack   *stack
	window  gpu.Tensor // (B, N, D): the last block's output without prefix
	out     saved      // (B, N, D) of the final norm

	dWindow, dTokens gpu.Tensor // in training

	scales []float32 // host copy of stochastic depth's factors, (branches, B)
	draws  *rand.PCG
}

// NewEncoder allocates the workspace for w. With train, activations of every
// block are kept for Backward.
func NewEncoder(w *EncoderWeights, label string, batch, tokens int, train bool) *Encoder {
	d, c := w.device, w.Config
	width, n := c.EmbedDim, batch*tokens
	all := batch * (c.Prefix() + tokens)
	m := &Encoder{EncoderWeights: w, Batch: batch, Tokens: tokens}
	m.patches = d.Tensor(label+" patches", n, c.Geometry().PatchLen())
	m.embed = d.Tensor(label+" patch embedding", n, width)
	m.tokens = d.Tensor(label+" tokens", all, width)
	if c.PreNorm {
		m.pre = newSaved(d, label+" norm_pre", all, width)
	}
	m.stack = newStack(d, label, w.blocks, c.blockSpec(), batch, c.Prefix()+tokens, train)
	m.window = d.Tensor(label+" last tokens", n, width)
	m.out = newSaved(d, label+" features", n, width)
	if train {
		m.dWindow, m.dTokens = d.Tensor(label+" d last tokens", n, width), d.Tensor(label+" d tokens", all, width)
	}
	return m
}

// Forward records the encoder on x (B, C, …). index (B, K) names the patches
// that it sees; without it, it sees all P. It returns their features (B, K, D)
// after the final norm, prefix tokens dropped; they last until the next
// Forward.
func (m *Encoder) Forward(e *gpu.Encoder, x, index gpu.Tensor) gpu.Tensor {
	c := m.Config
	B, K, D, R := x.Dim(0), c.Patches(), c.EmbedDim, c.Prefix()
	if !index.IsNil() {
		K = index.Dim(1)
	}
	if B > m.Batch || K > m.Tokens {
		panic(fmt.Sprintf("model: Forward: %d samples of %d patches, the workspace holds %d of %d", B, K, m.Batch, m.Tokens))
	}
	g := c.Geometry()
	patches := m.patches.Reshape(B, K, g.PatchLen())
	e.Patches(patches, x, index, g)
	embed := m.embed.Reshape(B, K, D)
	e.Linear(embed, patches, m.patch.w(), m.patch.b())
	tokens := m.tokens.Reshape(B, R+K, D)
	e.Tokens(tokens, embed, value(m.cls), value(m.reg), value(m.pos), index, m.prefixPos())
	if c.PreNorm {
		tokens = m.normPre.forward(e, m.pre.like(tokens), tokens)
	}
	h := m.stack.forward(e, tokens)
	if R > 0 {
		window := m.window.Reshape(B, K, D)
		e.Window(window, h, R)
		h = window
	}
	return m.norm.forward(e, m.out.like(h), h)
}

// Backward records the gradient of the last Forward: dz (B, K, D) is that of
// its result, inverse (B, P) the place of each patch among the kept ones (see
// gpu.TokensGrad). Gradients are added to the arena's.
func (m *Encoder) Backward(e *gpu.Encoder, dz, inverse gpu.Tensor) {
	c := m.Config
	B, K, D, R := dz.Dim(0), dz.Dim(1), c.EmbedDim, c.Prefix()
	last := m.stack.acts[len(m.blocks)-1].x2.Reshape(B, R+K, D)
	d := m.dTokens.Reshape(B, R+K, D)
	if R > 0 {
		dw, window := m.dWindow.Reshape(B, K, D), m.window.Reshape(B, K, D)
		m.finalNormGrad(e, dw, dz, window)
		e.WindowGrad(d, dw, R)
	} else {
		m.finalNormGrad(e, d, dz, last)
	}
	m.stack.backward(e, d)
	if c.PreNorm {
		tokens := m.tokens.Reshape(B, R+K, D)
		s := m.pre.like(tokens)
		m.normPre.gradParams(e, d, tokens, s)
		dx := m.stack.grads.x.Reshape(B, R+K, D)
		e.LayerNormGrad(dx, d, tokens, m.normPre.weight.Value, s.mean, s.rstd)
		d = dx
	}
	e.TokensGrad(grad(m.cls), grad(m.reg), grad(m.pos), d, inverse, R, m.prefixPos())
	dEmbed := d
	if R > 0 {
		dEmbed = m.dWindow.Reshape(B, K, D)
		e.Window(dEmbed, d, R)
	}
	m.patch.gradParams(e, dEmbed, m.patches.Reshape(B, K, c.Geometry().PatchLen()))
}

func (m *Encoder) finalNormGrad(e *gpu.Encoder, dx, dz, x gpu.Tensor) {
	s := m.out.like(x)
	m.norm.gradParams(e, dz, x, s)
	e.LayerNormGrad(dx, dz, x, m.norm.weight.Value, s.mean, s.rstd)
}

// DrawStochasticDepth draws which samples skip which branches for a batch of
// B, a function of (seed, step, sample). It does nothing when drop_path_rate
// is 0.
func (m *Encoder) DrawStochasticDepth(seed, step uint64, B int) {
	if !m.stack.drop {
		return
	}
	branches := 2 * len(m.blocks)
	if m.scales == nil {
		m.scales, m.draws = make([]float32, branches*m.Batch), rand.NewPCG(0, 0)
	}
	r := rand.New(m.draws)
	for s := range B {
		// One stream a sample, so that a sample's draws do not depend on the batch.
		m.draws.Seed(seed^0x9e3779b97f4a7c15, step<<20|uint64(s))
		for i := range branches {
			scale := float32(0)
			if p := m.blocks[i/2].dropPath; r.Float64() >= p {
				scale = float32(1 / (1 - p))
			}
			m.scales[i*B+s] = scale
		}
	}
	for i, a := range m.stack.acts {
		m.device.Write(a.scale1, m.scales[2*i*B:(2*i+1)*B])
		m.device.Write(a.scale2, m.scales[(2*i+1)*B:(2*i+2)*B])
	}
}

// With runs other weights of the same configuration in this workspace.
func (m *Encoder) With(w *EncoderWeights) *Encoder {
	n := *m
	s := *m.stack
	s.blocks = w.blocks
	n.EncoderWeights, n.stack = w, &s
	return &n
}

// SetTraining turns stochastic depth on or off for the next Forward. An encoder that
// was not made for training has none.
func (m *Encoder) SetTraining(on bool) {
	m.stack.drop = on && m.stack.grads != nil && m.stack.stochastic()
}
