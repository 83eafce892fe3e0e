package model

import (
	"fmt"
	"math"

	"wgjepa/gpu"
)

// initStd is the standard deviation of weights and tokens (timm, nidl, paper).
const initStd = 0.02

// linear is y = x·weightᵀ + bias, weight (out, in).
type linear struct{ weight, bias *Parameter }

func (l linear) w() gpu.Tensor  { return l.weight.Value }
func (l linear) b() gpu.Tensor  { return value(l.bias) }
func (l linear) dw() gpu.Tensor { return l.weight.Grad }

func value(p *Parameter) gpu.Tensor {
	if p == nil {
		return gpu.Tensor{}
	}
	return p.Value
}

// grad is none for a parameter that is absent or never trained.
func grad(p *Parameter) gpu.Tensor {
	if p == nil {
		return gpu.Tensor{}
	}
	return p.Grad
}

func (a *Arena) linear(name string, in, out int, bias bool) linear {
	l := linear{weight: a.declare(name+".weight", truncNormal(initStd), out, in)}
	if bias {
		l.bias = a.declare(name+".bias", nil, out)
	}
	return l
}

// gradParams adds the gradients of weight and bias for y's gradient dy.
func (l linear) gradParams(e *gpu.Encoder, dy, x gpu.Tensor) {
	e.LinearGradWeight(l.dw(), dy, x)
	if l.bias != nil {
		e.LinearGradBias(l.bias.Grad, dy)
	}
}

// norm is a layer norm over the last axis.
type norm struct {
	weight, bias *Parameter
	eps          float64
}

func (a *Arena) norm(name string, width int, eps float64) norm {
	return norm{a.declare(name+".weight", ones, width), a.declare(name+".bias", nil, width), eps}
}

// saved are a layer norm's output and what its gradient needs.
type saved struct{ y, mean, rstd gpu.Tensor }

func newSaved(d *gpu.Device, label string, rows, width int) saved {
	return saved{d.Tensor(label, rows, width), d.Tensor(label+" mean", rows), d.Tensor(label+" rstd", rows)}
}

// like gives the tensors the shape (…, rows, width) of x.
func (s saved) like(x gpu.Tensor) saved {
	return saved{s.y.Reshape(x.Dims()...), s.mean.Reshape(x.Rows()), s.rstd.Reshape(x.Rows())}
}

func (n norm) forward(e *gpu.Encoder, s saved, x gpu.Tensor) gpu.Tensor {
	e.LayerNorm(s.y, s.mean, s.rstd, x, n.weight.Value, n.bias.Value, n.eps)
	return s.y
}

func (n norm) gradParams(e *gpu.Encoder, dy, x gpu.Tensor, s saved) {
	e.LayerNormGradParams(n.weight.Grad, n.bias.Grad, dy, x, s.mean, s.rstd)
}

// block is one pre-norm transformer block:
//
//	x ← x + proj(attention(norm1 x)), x ← x + fc2(gelu(fc1(norm2 x)))
type block struct {
	norm1, norm2 norm
	qkv, proj    linear
	fc1, fc2     linear
	qNorm, kNorm norm // where qkNorm
	qkNorm       bool
	heads        int
	dropPath     float64 // probability that a sample skips a branch in training
}

type blockSpec struct {
	width, heads, hidden int
	qkvBias, qkNorm      bool
	eps                  float64
}

func (a *Arena) block(name string, s blockSpec) *block {
	b := &block{heads: s.heads, qkNorm: s.qkNorm}
	b.norm1 = a.norm(name+".norm1", s.width, s.eps)
	b.qkv = a.linear(name+".attn.qkv", s.width, 3*s.width, s.qkvBias)
	if s.qkNorm {
		b.qNorm = a.norm(name+".attn.q_norm", s.width/s.heads, s.eps)
		b.kNorm = a.norm(name+".attn.k_norm", s.width/s.heads, s.eps)
	}
	b.proj = a.linear(name+".attn.proj", s.width, s.width, true)
	b.norm2 = a.norm(name+".norm2", s.width, s.eps)
	b.fc1 = a.linear(name+".mlp.fc1", s.width, s.hidden, true)
	b.fc2 = a.linear(name+".mlp.fc2", s.hidden, s.width, true)
	return b
}

// rescale divides the initial output weights of block l (from 1) by √(2l), as
// the predictor's initialisation does.
func (b *block) rescale(l int) {
	std := initStd / math.Sqrt(2*float64(l))
	b.proj.weight.init = truncNormal(std)
	b.fc2.weight.init = truncNormal(std)
}

// activations are what one block keeps between forward and backward, each
// sized for batch·tokens rows.
type activations struct {
	norm1, norm2   saved
	qkv            gpu.Tensor // (B, T, 3D)
	qkvNormed      saved      // with q/k norm
	o, lse         gpu.Tensor // attention output (B, T, D), log-sum-exp (B, H, T)
	x1             gpu.Tensor // after the attention branch
	pre, act       gpu.Tensor // MLP before and after GELU (B, T, hidden)
	x2             gpu.Tensor // output
	branch         gpu.Tensor // of stochastic depth
	scale1, scale2 gpu.Tensor // its factors (B) for the two branches
}

func newActivations(d *gpu.Device, label string, batch, tokens int, s blockSpec, stochastic bool) *activations {
	n := batch * tokens
	t := func(name string, width int) gpu.Tensor { return d.Tensor(label+" "+name, n, width) }
	a := &activations{
		norm1: newSaved(d, label+" norm1", n, s.width), norm2: newSaved(d, label+" norm2", n, s.width),
		qkv: t("qkv", 3*s.width), o: t("attention", s.width), lse: d.Tensor(label+" lse", batch*s.heads*tokens),
		x1: t("x1", s.width), pre: t("mlp pre", s.hidden), act: t("mlp", s.hidden), x2: t("x2", s.width),
	}
	if s.qkNorm {
		a.qkvNormed = saved{t("qk norm", 3*s.width), d.Tensor(label+" qk mean", 2*n*s.heads), d.Tensor(label+" qk rstd", 2*n*s.heads)}
	}
	if stochastic {
		a.branch = t("branch", s.width)
		a.scale1, a.scale2 = d.Tensor(label+" scale1", batch), d.Tensor(label+" scale2", batch)
	}
	return a
}

// forward records the block on x (B, T, D) and returns its output in a.x2.
func (b *block) forward(e *gpu.Encoder, a *activations, x gpu.Tensor, drop bool) gpu.Tensor {
	B, T, D := x.Dim(0), x.Dim(1), x.Dim(2)
	y := b.norm1.forward(e, a.norm1.like(x), x)
	qkv := a.qkv.Reshape(B, T, 3*D)
	e.Linear(qkv, y, b.qkv.w(), b.qkv.b())
	if b.qkNorm {
		s := b.normed(a, B, T, D)
		e.QKNorm(s.y, s.mean, s.rstd, qkv, b.qNorm.weight.Value, b.qNorm.bias.Value, b.kNorm.weight.Value, b.kNorm.bias.Value, b.heads, b.qNorm.eps)
		qkv = s.y
	}
	o := a.o.Reshape(B, T, D)
	e.Attention(o, a.lse.Reshape(B, b.heads, T), qkv, b.heads)
	x1 := a.x1.Reshape(B, T, D)
	b.residual(e, a, x1, o, b.proj, x, a.scale1, drop)

	y = b.norm2.forward(e, a.norm2.like(x1), x1)
	hidden := b.fc1.weight.Shape[0]
	act := a.act.Reshape(B, T, hidden)
	e.LinearGELU(act, a.pre.Reshape(B, T, hidden), y, b.fc1.w(), b.fc1.b())
	x2 := a.x2.Reshape(B, T, D)
	b.residual(e, a, x2, act, b.fc2, x1, a.scale2, drop)
	return x2
}

func (b *block) normed(a *activations, B, T, D int) saved {
	return saved{a.qkvNormed.y.Reshape(B, T, 3*D), a.qkvNormed.mean.Reshape(2, B, T, b.heads), a.qkvNormed.rstd.Reshape(2, B, T, b.heads)}
}

// residual records dst = x + l(in), the branch scaled per sample under
// stochastic depth.
func (b *block) residual(e *gpu.Encoder, a *activations, dst, in gpu.Tensor, l linear, x, scale gpu.Tensor, drop bool) {
	if !drop {
		e.LinearResidual(dst, in, l.w(), l.b(), x)
		return
	}
	branch := a.branch.Reshape(x.Dims()...)
	e.Linear(branch, in, l.w(), l.b())
	e.ScaleRowsAdd(dst, x, branch, scale)
}

// gradients is scratch that the blocks of one network share in backward.
type gradients struct {
	hidden gpu.Tensor // (B, T, hidden)
	qkv    gpu.Tensor // (B, T, 3D)
	normed gpu.Tensor // (B, T, 3D), with q/k norm
	x      gpu.Tensor // (B, T, D): of a norm's or of attention's output
	branch gpu.Tensor // of stochastic depth
}

func newGradients(d *gpu.Device, label string, n int, s blockSpec, stochastic bool) *gradients {
	g := &gradients{hidden: d.Tensor(label+" d mlp", n, s.hidden), qkv: d.Tensor(label+" d qkv", n, 3*s.width), x: d.Tensor(label+" d x", n, s.width)}
	if s.qkNorm {
		g.normed = d.Tensor(label+" d qk norm", n, 3*s.width)
	}
	if stochastic {
		g.branch = d.Tensor(label+" d branch", n, s.width)
	}
	return g
}

// backward turns d, the gradient of the block's output (B, T, D), into that
// of its input x in place, and adds the gradients of the parameters.
func (b *block) backward(e *gpu.Encoder, a *activations, g *gradients, d, x gpu.Tensor, drop bool) {
	B, T, D := x.Dim(0), x.Dim(1), x.Dim(2)
	hidden := b.fc1.weight.Shape[0]
	dx, x1 := g.x.Reshape(B, T, D), a.x1.Reshape(B, T, D)

	dy := b.branchGrad(e, g, d, a.scale2, drop)
	dHidden, act := g.hidden.Reshape(B, T, hidden), a.act.Reshape(B, T, hidden)
	b.fc2.gradParams(e, dy, act)
	e.LinearGradInputGELU(dHidden, dy, b.fc2.w(), a.pre.Reshape(B, T, hidden))
	n2 := a.norm2.like(x1)
	b.fc1.gradParams(e, dHidden, n2.y)
	e.LinearGradInput(dx, dHidden, b.fc1.w())
	b.norm2.gradParams(e, dx, x1, n2)
	e.LayerNormGradAdd(d, dx, x1, b.norm2.weight.Value, n2.mean, n2.rstd)

	dy = b.branchGrad(e, g, d, a.scale1, drop)
	o, qkv, dqkv := a.o.Reshape(B, T, D), a.qkv.Reshape(B, T, 3*D), g.qkv.Reshape(B, T, 3*D)
	lse := a.lse.Reshape(B, b.heads, T)
	b.proj.gradParams(e, dy, o)
	e.LinearGradInput(dx, dy, b.proj.w())
	if b.qkNorm {
		s, dn := b.normed(a, B, T, D), g.normed.Reshape(B, T, 3*D)
		e.AttentionGrad(dn, dx, s.y, o, lse, b.heads)
		e.QKNormGrad(dqkv, b.qNorm.weight.Grad, b.qNorm.bias.Grad, b.kNorm.weight.Grad, b.kNorm.bias.Grad, dn, qkv, b.qNorm.weight.Value, b.kNorm.weight.Value, s.mean, s.rstd, b.heads)
	} else {
		e.AttentionGrad(dqkv, dx, qkv, o, lse, b.heads)
	}
	n1 := a.norm1.like(x)
	b.qkv.gradParams(e, dqkv, n1.y)
	e.LinearGradInput(dx, dqkv, b.qkv.w())
	b.norm1.gradParams(e, dx, x, n1)
	e.LayerNormGradAdd(d, dx, x, b.norm1.weight.Value, n1.mean, n1.rstd)
}

// branchGrad is the gradient that enters a branch: d, scaled per sample under
// stochastic depth.
func (b *block) branchGrad(e *gpu.Encoder, g *gradients, d, scale gpu.Tensor, drop bool) gpu.Tensor {
	if !drop {
		return d
	}
	dy := g.branch.Reshape(d.Dims()...)
	e.ScaleRows(dy, d, scale)
	return dy
}

// stack is a sequence of blocks with its activations.
type stack struct {
	blocks []*block
	acts   []*activations // one a block in training; two by turns in inference
	grads  *gradients     // nil in inference
	input  gpu.Tensor     // of the last forward
	drop   bool           // stochastic depth is on in training
}

func newStack(d *gpu.Device, label string, blocks []*block, s blockSpec, batch, tokens int, train bool) *stack {
	t := &stack{blocks: blocks}
	t.drop = train && t.stochastic()
	n := 2
	if train {
		n = len(blocks)
		t.grads = newGradients(d, label, batch*tokens, s, t.drop)
	}
	for i := range min(n, len(blocks)) {
		t.acts = append(t.acts, newActivations(d, fmt.Sprintf("%s block %d", label, i), batch, tokens, s, t.drop))
	}
	return t
}

// stochastic reports whether any block may skip a branch; the rate grows with depth.
func (t *stack) stochastic() bool { return t.blocks[len(t.blocks)-1].dropPath > 0 }

func (t *stack) act(i int) *activations { return t.acts[i%len(t.acts)] }

func (t *stack) forward(e *gpu.Encoder, x gpu.Tensor) gpu.Tensor {
	t.input = x
	for i, b := range t.blocks {
		x = b.forward(e, t.act(i), x, t.drop)
	}
	return x
}

func (t *stack) backward(e *gpu.Encoder, d gpu.Tensor) {
	for i := len(t.blocks) - 1; i >= 0; i-- {
		x := t.input
		if i > 0 {
			x = t.acts[i-1].x2.Reshape(d.Dims()...)
		}
		t.blocks[i].backward(e, t.acts[i], t.grads, d, x, t.drop)
	}
}
