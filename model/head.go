package model

import (
	"strconv"
	"strings"

	"wgjepa/gpu"
)

// Head is a linear layer on pooled features: (B, D) to (B, K).
type Head struct {
	*Arena
	layer linear
}

// NewHead allocates a head's parameters and gradients; they are zero.
func NewHead(d *gpu.Device, width, outputs int) *Head {
	h := &Head{Arena: newArena(d)}
	h.layer = linear{weight: h.declare("head.weight", nil, outputs, width), bias: h.declare("head.bias", nil, outputs)}
	h.allocate("head", true)
	return h
}

// Forward records y (B, K) of the features x (B, D).
func (h *Head) Forward(e *gpu.Encoder, y, x gpu.Tensor) {
	e.Linear(y, x, h.layer.w(), h.layer.b())
}

// Backward adds the parameters' gradients for that of y, dy (B, K), and records
// that of x in dx unless it is nil.
func (h *Head) Backward(e *gpu.Encoder, dx, dy, x gpu.Tensor) {
	h.layer.gradParams(e, dy, x)
	if !dx.IsNil() {
		e.LinearGradInput(dx, dy, h.layer.w())
	}
}

// Run is a stretch of an arena whose parameters are of one layer and decay
// alike, so that one update does for all of them.
type Run struct {
	Layer, Offset, Len int
	Decays             bool
}

// LayerRuns divides an encoder's arena for learning rates that differ by layer:
// 0 is what comes before the blocks, l the l-th block, depth + 1 the final norm.
func (w *EncoderWeights) LayerRuns() []Run {
	var runs []Run
	for _, decays := range []bool{true, false} {
		for _, p := range w.Params {
			if p.Decays() != decays {
				continue
			}
			layer := w.layerOf(p.Name)
			end := p.offset + aligned(p.Len())
			if n := len(runs); n > 0 && runs[n-1].Layer == layer && runs[n-1].Decays == decays {
				runs[n-1].Len = end - runs[n-1].Offset
			} else {
				runs = append(runs, Run{Layer: layer, Offset: p.offset, Len: end - p.offset, Decays: decays})
			}
		}
	}
	return runs
}

func (w *EncoderWeights) layerOf(name string) int {
	if rest, ok := strings.CutPrefix(name, "blocks."); ok {
		number, _, _ := strings.Cut(rest, ".")
		l, _ := strconv.Atoi(number) // declared by this package
		return l + 1
	}
	if strings.HasPrefix(name, "norm.") {
		return w.Config.Depth + 1
	}
	return 0
}
