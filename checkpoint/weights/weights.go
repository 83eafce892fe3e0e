// Package weights reads the weights of a Vision Transformer from the files that
// other programs write, and writes files that those programs load.
//
// # In
//
// [Load] takes a file or folder and recognises it by its content, not by its
// name:
//
//   - timm: .safetensors or .pth, a folder with timm's config.json;
//   - Hugging Face: the folder of an IJepaModel or ViTModel, in one file or in
//     shards; query, key and value are merged into qkv;
//   - the released code of the I-JEPA paper: .pth.tar with encoder,
//     target_encoder and predictor, names prefixed by "module.";
//   - nidl: the state_dict (.pt) or the Lightning checkpoint (.ckpt) of its IJEPA;
//   - this program: weights.safetensors and the training state.
//
// All become [Weights]: tensors under timm's names, and a [Config] with what
// file and names tell. What they do not tell, such as the number of heads in a
// bare state dictionary, is taken as is usual for that program and width and
// listed in Config.Assumed, or left zero and listed in Config.Unknown;
// [Options] supplies it. LayerScale (DINOv2) is multiplied into the projections before
// it. A tensor that the encoder has no place for is an error.
//
// Files of torch.save are pickles: programs for a stack machine that can call
// anything. The reader here builds numbers, text, lists and dictionaries; it
// knows Python's objects by name only, refuses a name that has no place in a
// weight file, and calls nothing. Its memory is bounded whatever the file says;
// tensors are read from their place when they are wanted.
//
// # Fitting another shape
//
// [Weights.Adapt] changes the input: other channels, another size, or a volume
// for an image (inflation).
//
// # Out
//
// [Weights.Save] writes timm's, Hugging Face's, nidl's and the paper's layout,
// and ONNX.
package weights

import (
	"fmt"
	"io"
	"os"
	"slices"
)

// Tensor is a named array of float32 numbers, row-major.
type Tensor struct {
	Name  string // timm's
	Shape []int
	Data  []float32
}

// Config is what a file tells about an encoder, in timm's terms. Zero means
// that it does not tell.
type Config struct {
	ImgSize      []int   // per axis: (H, W) or (H, W, D)
	PatchSize    []int   // per axis
	InChans      int     //
	EmbedDim     int     // D
	Depth        int     // blocks
	NumHeads     int     //
	MLPRatio     float64 // hidden width of the MLP over D
	QKVBias      bool    //
	QKNorm       bool    //
	ClassToken   bool    //
	RegTokens    int     //
	NoEmbedClass bool    // class and register tokens have no position
	PosEmbed     string  // learned, sincos or none; "" where unknown
	PosOrder     string  // of sincos, encoder's and predictor's: hwd or nidl
	PreNorm      bool    //
	NormEps      float64 //
	Predictor    PredictorConfig

	// Settings that the file does not tell, by their names in a configuration:
	// left zero, and taken as is usual.
	Unknown, Assumed []string
}

// PredictorConfig is what a file tells about a predictor; zero where it has none.
type PredictorConfig struct {
	EmbedDim int // D′
	Depth    int
	NumHeads int
	NormEps  float64
}

// Dim is the number of axes of the input, 2 or 3.
func (c *Config) Dim() int { return len(c.PatchSize) }

// Prefix is the number of class and register tokens.
func (c *Config) Prefix() int {
	if c.ClassToken {
		return 1 + c.RegTokens
	}
	return c.RegTokens
}

// Grid is the number of patches per axis; nil where the image's size is unknown.
func (c *Config) Grid() []int {
	if c.ImgSize == nil {
		return nil
	}
	grid := make([]int, len(c.ImgSize))
	for i, s := range c.ImgSize {
		grid[i] = s / c.PatchSize[i]
	}
	return grid
}

// Weights are an encoder's tensors, and those of the networks trained with it.
type Weights struct {
	Source    string   // which program's file it was
	Encoder   []Tensor // the context encoder, or the only one
	Target    []Tensor // the target encoder; nil where the file has none
	Predictor []Tensor // nidl's names; nil where the file has none
	Config    Config
	Ignored   []string // tensors that are no part of an encoder, such as a classifier's
}

// Names of the networks.
const (
	ContextEncoder = "context_encoder"
	TargetEncoder  = "target_encoder"
	Predictor      = "predictor"
)

// Options say what to take, and what the file does not tell.
type Options struct {
	// Network takes one encoder, ContextEncoder or TargetEncoder, and leaves the
	// rest; "" takes all there is.
	Network  string
	ImgSize  []int // the size that it was trained at, for grids that are not square
	NumHeads int
	NormEps  float64
	PosEmbed string // sincos or none, where positions are not stored
}

// Load reads the weights of the file or folder at path.
func Load(path string, o Options) (*Weights, error) {
	c, err := openContents(path)
	if err == nil {
		defer c.close()
		var w *Weights
		if w, err = c.weights(o); err == nil {
			return w, nil
		}
	}
	return nil, fmt.Errorf("weights: %s: %w", path, err)
}

func openContents(path string) (*contents, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		return readFolder(osFolder(path), path)
	}
	r, size, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	c, err := readContents(r, size, path)
	if err != nil {
		closeReader(r)
		return nil, err
	}
	c.closers = append(c.closers, r.(io.Closer))
	return c, nil
}

// weights reads the networks of a file.
func (c *contents) weights(o Options) (*Weights, error) {
	if o.Network != "" && o.Network != ContextEncoder && o.Network != TargetEncoder {
		return nil, fmt.Errorf("there is no network %q: take %s or %s", o.Network, ContextEncoder, TargetEncoder)
	}
	n, err := c.networks()
	if err != nil {
		return nil, err
	}
	w := &Weights{Source: n.source}
	first, second := n.context, n.target
	if first == nil || o.Network == TargetEncoder {
		first, second = n.target, nil
	}
	if first == nil || o.Network == ContextEncoder && n.context == nil {
		return nil, fmt.Errorf("it has no %s", o.Network)
	}
	if o.Network != "" {
		second, n.predictor = nil, nil
	}
	if w.Config, err = c.configure(n, first, o); err != nil {
		return nil, err
	}
	budget := c.size // every number takes at least a byte of the file
	if w.Encoder, err = read(first, encoderShapes(&w.Config), &budget); err != nil {
		return nil, err
	}
	if second != nil {
		if w.Target, err = read(second, encoderShapes(&w.Config), &budget); err != nil {
			return nil, fmt.Errorf("target encoder: %w", err)
		}
	}
	if n.predictor != nil {
		if w.Predictor, err = read(n.predictor, predictorShapes(&w.Config), &budget); err != nil {
			return nil, fmt.Errorf("predictor: %w", err)
		}
	}
	w.Ignored = n.ignored
	w.complete()
	return w, nil
}

// complete adds the fixed positions that a file leaves to be computed.
func (w *Weights) complete() {
	c := &w.Config
	if c.PosEmbed != "sincos" || c.ImgSize == nil || has(w.Encoder, "pos_embed") {
		return
	}
	rows := c.Prefix()
	if c.NoEmbedClass {
		rows = 0
	}
	pos := sinCos("pos_embed", rows, c.Grid(), c.EmbedDim, c.PosOrder)
	w.Encoder = append(w.Encoder, pos)
	if w.Target != nil {
		w.Target = append(w.Target, pos)
	}
}

// shape is what a tensor has to look like; −1 fits any length.
type shape struct {
	name string
	dims []int
}

// encoderShapes lists an encoder's tensors in the order of its layers.
func encoderShapes(c *Config) []shape {
	D := c.EmbedDim
	hidden := int(float64(D) * c.MLPRatio)
	list := []shape{{"patch_embed.proj.weight", append([]int{D, c.InChans}, c.PatchSize...)}}
	if !c.PreNorm {
		list = append(list, shape{"patch_embed.proj.bias", []int{D}})
	}
	if c.ClassToken {
		list = append(list, shape{"cls_token", []int{1, 1, D}})
	}
	if c.RegTokens > 0 {
		list = append(list, shape{"reg_token", []int{1, c.RegTokens, D}})
	}
	list = append(list, shape{"pos_embed", []int{1, -1, D}})
	if c.PreNorm {
		list = append(list, normShapes("norm_pre", D)...)
	}
	for i := range c.Depth {
		b := blockSpec{D, hidden, c.QKVBias, 0}
		if c.QKNorm {
			b.qkNorm = -1
		}
		list = append(list, b.shapes(fmt.Sprintf("blocks.%d", i))...)
	}
	return append(list, normShapes("norm", D)...)
}

// predictorShapes lists a predictor's tensors.
func predictorShapes(c *Config) []shape {
	p := c.Predictor
	list := []shape{
		{"predictor_embed.weight", []int{p.EmbedDim, c.EmbedDim}}, {"predictor_embed.bias", []int{p.EmbedDim}},
		{"mask_token", []int{1, 1, p.EmbedDim}}, {"predictor_pos_embed", []int{1, -1, p.EmbedDim}},
	}
	for i := range p.Depth {
		list = append(list, blockSpec{p.EmbedDim, -1, true, 0}.shapes(fmt.Sprintf("predictor_blocks.%d", i))...)
	}
	list = append(list, normShapes("predictor_norm", p.EmbedDim)...)
	return append(list, shape{"predictor_proj.weight", []int{c.EmbedDim, p.EmbedDim}}, shape{"predictor_proj.bias", []int{c.EmbedDim}})
}

func normShapes(name string, D int) []shape {
	return []shape{{name + ".weight", []int{D}}, {name + ".bias", []int{D}}}
}

func linearShapes(name string, in, out int, bias bool) []shape {
	list := []shape{{name + ".weight", []int{out, in}}}
	if bias {
		list = append(list, shape{name + ".bias", []int{out}})
	}
	return list
}

type blockSpec struct {
	width, hidden int
	qkvBias       bool
	qkNorm        int // width of a head; 0 without
}

func (b blockSpec) shapes(name string) []shape {
	list := normShapes(name+".norm1", b.width)
	list = append(list, linearShapes(name+".attn.qkv", b.width, 3*b.width, b.qkvBias)...)
	if b.qkNorm != 0 {
		list = append(list, normShapes(name+".attn.q_norm", b.qkNorm)...)
		list = append(list, normShapes(name+".attn.k_norm", b.qkNorm)...)
	}
	list = append(list, linearShapes(name+".attn.proj", b.width, b.width, true)...)
	list = append(list, normShapes(name+".norm2", b.width)...)
	list = append(list, linearShapes(name+".mlp.fc1", b.width, b.hidden, true)...)
	return append(list, linearShapes(name+".mlp.fc2", b.hidden, b.width, true)...)
}

// optional tensors may be absent: positions are not stored where they are
// computed.
var optional = []string{"pos_embed", "predictor_pos_embed"}

// read reads a network's tensors and checks that it has these and no others.
func read(n *network, want []shape, budget *int64) ([]Tensor, error) {
	var out []Tensor
	for _, s := range want {
		e, ok := n.entries[s.name]
		if !ok {
			if slices.Contains(optional, s.name) {
				continue
			}
			return nil, fmt.Errorf("tensor %s%s is missing: the file is incomplete or not a plain ViT", n.prefix, s.name)
		}
		if !fits(e.shape, s.dims) {
			return nil, fmt.Errorf("tensor %s has shape %v, want %v", e.name, e.shape, s.dims)
		}
		count, ok := e.len()
		if !ok || int64(count) > *budget {
			return nil, fmt.Errorf("tensor %s has shape %v, more numbers than the file has bytes", e.name, e.shape)
		}
		*budget -= int64(count)
		data, err := e.read()
		if err != nil {
			return nil, fmt.Errorf("tensor %s: %w", e.name, err)
		}
		out = append(out, Tensor{s.name, slices.Clone(e.shape), data})
	}
	if len(out) != len(n.entries) {
		for name, e := range n.entries {
			if !slices.ContainsFunc(want, func(s shape) bool { return s.name == name }) {
				return nil, fmt.Errorf("tensor %s is none of a plain ViT's: this encoder has no place for it", e.name)
			}
		}
	}
	return out, nil
}

func fits(got, want []int) bool {
	return slices.EqualFunc(got, want, func(g, w int) bool { return g == w || w == -1 })
}
