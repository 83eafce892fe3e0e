package model

import "wgjepa/gpu"

// Block is one transformer block by itself, for measurements and comparisons
// with other programs. Encoders and predictors hold theirs within.
type Block struct {
	*Arena
	block *block
	acts  *activations
	grads *gradients
}

// NewBlock allocates a block of this width for (batch, tokens, width), its
// parameters and their gradients.
func NewBlock(d *gpu.Device, batch, tokens, width, heads, hidden int, eps float64) *Block {
	s := blockSpec{width: width, heads: heads, hidden: hidden, qkvBias: true, eps: eps}
	a := newArena(d)
	b := &Block{Arena: a, block: a.block("block", s)}
	a.allocate("block", true)
	b.acts = newActivations(d, "block", batch, tokens, s, false)
	b.grads = newGradients(d, "block", batch*tokens, s, false)
	return b
}

// Forward records the block on x (B, T, D) and returns its output.
func (b *Block) Forward(e *gpu.Encoder, x gpu.Tensor) gpu.Tensor {
	return b.block.forward(e, b.acts, x, false)
}

// Backward turns d, the gradient of the output of Forward on x, into that of x
// in place, and adds the gradients of the parameters.
func (b *Block) Backward(e *gpu.Encoder, d, x gpu.Tensor) {
	b.block.backward(e, b.acts, b.grads, d, x, false)
}
