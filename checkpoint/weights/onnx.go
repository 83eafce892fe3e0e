package weights

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// ONNX operator set 17 is the first with LayerNormalization; 8 is the version
// of the file format that came with it.
const (
	onnxOpset = 17
	onnxIR    = 8
)

// Element types and attribute kinds of onnx.proto.
const (
	onnxFloat    = 1
	onnxInt64    = 7
	attrFloat    = 1
	attrInt      = 2
	attrInts     = 7
	onnxMaxBytes = 1<<31 - 1 // of one protocol buffer
)

// graph collects an ONNX graph: nodes, and initializers whose numbers are
// written from where they lie.
type graph struct {
	nodes  []byte // encoded GraphProto.node fields
	inits  []initializer
	names  int
	shared map[string]string // constants by content
}

type initializer struct {
	head []byte // of TensorProto, up to raw_data's length
	data []float32
	ints []int64
}

func (i initializer) rawLen() int { return 4*len(i.data) + 8*len(i.ints) }

func (g *graph) fresh(what string) string {
	g.names++
	return fmt.Sprintf("%s_%d", what, g.names)
}

func appendText(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func appendInt(b []byte, field protowire.Number, v int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(v))
}

func appendMessage(b []byte, field protowire.Number, m []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), m)
}

// attribute is one AttributeProto.
type attribute struct {
	name  string
	value any // int, float64 or []int
}

func (a attribute) encode() []byte {
	b := appendText(nil, 1, a.name)
	switch v := a.value.(type) {
	case int:
		return appendInt(appendInt(b, 3, int64(v)), 20, attrInt)
	case float64:
		b = protowire.AppendFixed32(protowire.AppendTag(b, 2, protowire.Fixed32Type), math.Float32bits(float32(v)))
		return appendInt(b, 20, attrFloat)
	case []int:
		for _, n := range v {
			b = appendInt(b, 8, int64(n))
		}
		return appendInt(b, 20, attrInts)
	}
	panic(fmt.Sprintf("weights: attribute %s is a %T", a.name, a.value))
}

// node adds an operation and returns the name of its result.
func (g *graph) node(op string, inputs []string, attrs ...attribute) string {
	out := g.fresh(strings.ToLower(op))
	g.named(op, out, inputs, attrs...)
	return out
}

func (g *graph) named(op, out string, inputs []string, attrs ...attribute) {
	var b []byte
	for _, in := range inputs {
		b = appendText(b, 1, in)
	}
	b = appendText(b, 2, out)
	b = appendText(b, 3, out)
	b = appendText(b, 4, op)
	for _, a := range attrs {
		b = appendMessage(b, 5, a.encode())
	}
	g.nodes = appendMessage(g.nodes, 1, b)
}

func (g *graph) addInit(name string, dtype int64, dims []int, i initializer) string {
	var head []byte
	for _, d := range dims {
		head = appendInt(head, 1, int64(d))
	}
	head = appendInt(head, 2, dtype)
	head = appendText(head, 8, name)
	head = protowire.AppendTag(head, 9, protowire.BytesType)
	i.head = protowire.AppendVarint(head, uint64(i.rawLen()))
	g.inits = append(g.inits, i)
	return name
}

func (g *graph) weight(name string, dims []int, data []float32) string {
	return g.addInit(name, onnxFloat, dims, initializer{data: data})
}

// ints is a constant vector of integers.
func (g *graph) ints(v ...int64) string {
	key := fmt.Sprint(v)
	if g.shared[key] == "" {
		g.shared[key] = g.addInit(g.fresh("shape"), onnxInt64, []int{len(v)}, initializer{ints: v})
	}
	return g.shared[key]
}

func (g *graph) scalar(v float64) string {
	key := fmt.Sprint("scalar ", v)
	if g.shared[key] == "" {
		g.shared[key] = g.addInit(g.fresh("constant"), onnxFloat, nil, initializer{data: []float32{float32(v)}})
	}
	return g.shared[key]
}

// WriteONNX writes the encoder as an ONNX model of one file: input x
// (batch, C, H, W[, D]), outputs features (batch, P, D), the patch features
// after the final norm, and embedding (batch, D), their mean. The batch is any.
func (w *Weights) WriteONNX(out io.Writer) error {
	c := &w.Config
	if c.NumHeads == 0 || c.ImgSize == nil {
		return fmt.Errorf("ONNX needs what is not known of these weights: %s", strings.Join(c.Unknown, ", "))
	}
	if c.PosEmbed != "none" && !has(w.Encoder, "pos_embed") {
		return errors.New("ONNX needs the position embedding, which these weights do not store")
	}
	g := &graph{shared: map[string]string{}}
	w.encoderGraph(g)

	// GraphProto around nodes and initializers, ModelProto around that: lengths
	// come first, so they are added up before anything is written.
	var tail []byte
	tail = appendText(tail, 2, "encoder")
	dims := append([]int{c.InChans}, c.ImgSize...)
	P, _ := product(c.Grid())
	tail = appendMessage(tail, 11, valueInfo("x", dims))
	tail = appendMessage(tail, 12, valueInfo("features", []int{P, c.EmbedDim}))
	tail = appendMessage(tail, 12, valueInfo("embedding", []int{c.EmbedDim}))
	size := len(g.nodes) + len(tail)
	for _, i := range g.inits {
		n := len(i.head) + i.rawLen()
		size += protowire.SizeTag(5) + protowire.SizeBytes(n)
	}
	model := appendInt(nil, 1, onnxIR)
	model = appendText(model, 2, "wgjepa")
	model = appendMessage(model, 8, appendInt(nil, 2, onnxOpset))
	model = protowire.AppendTag(model, 7, protowire.BytesType)
	model = protowire.AppendVarint(model, uint64(size))
	if len(model)+size > onnxMaxBytes {
		return errors.New("the encoder is larger than the 2 GiB that one ONNX file can hold: export safetensors")
	}
	for _, b := range [][]byte{model, g.nodes, tail} {
		if _, err := out.Write(b); err != nil {
			return err
		}
	}
	for _, i := range g.inits {
		b := protowire.AppendTag(nil, 5, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(len(i.head)+i.rawLen()))
		b = append(b, i.head...)
		for _, v := range i.ints {
			b = protowire.AppendFixed64(b, uint64(v))
		}
		if _, err := out.Write(b); err != nil {
			return err
		}
		if err := writeFloats(out, i.data); err != nil {
			return err
		}
	}
	return nil
}

// valueInfo describes an input or output of float numbers: a batch of dims.
func valueInfo(name string, dims []int) []byte {
	shape := appendMessage(nil, 1, appendText(nil, 2, "batch"))
	for _, d := range dims {
		shape = appendMessage(shape, 1, appendInt(nil, 1, int64(d)))
	}
	tensor := appendMessage(appendInt(nil, 1, onnxFloat), 2, shape)
	return appendMessage(appendText(nil, 1, name), 2, appendMessage(nil, 1, tensor))
}

// encoderGraph spells the encoder out.
func (w *Weights) encoderGraph(g *graph) {
	c := &w.Config
	D, R := c.EmbedDim, c.Prefix()
	get := func(name string) string {
		t := find(w.Encoder, name)
		return g.weight(t.Name, t.Shape, t.Data)
	}
	norm := func(x, name string) string {
		return g.node("LayerNormalization", []string{x, get(name + ".weight"), get(name + ".bias")}, attribute{"axis", -1}, attribute{"epsilon", c.NormEps})
	}
	linear := func(x, name string) string {
		t := find(w.Encoder, name+".weight")
		in, out := t.Shape[1], t.Shape[0]
		x = g.node("MatMul", []string{x, g.weight(t.Name, []int{in, out}, transpose(t.Data, out, in))})
		if has(w.Encoder, name+".bias") {
			x = g.node("Add", []string{x, get(name + ".bias")})
		}
		return x
	}

	// Patch embedding: (batch, D, grid…) to (batch, P, D).
	conv := []string{"x", get("patch_embed.proj.weight")}
	if !c.PreNorm {
		conv = append(conv, get("patch_embed.proj.bias"))
	}
	x := g.node("Conv", conv, attribute{"kernel_shape", c.PatchSize}, attribute{"strides", c.PatchSize})
	x = g.node("Reshape", []string{x, g.ints(0, int64(D), -1)})
	x = g.node("Transpose", []string{x}, attribute{"perm", []int{0, 2, 1}})

	// Class and register tokens in front, positions.
	pos := ""
	if c.PosEmbed != "none" {
		pos = get("pos_embed")
	}
	if pos != "" && (c.NoEmbedClass || R == 0) {
		x = g.node("Add", []string{x, pos})
	}
	if R > 0 {
		var tokens []float32
		for _, name := range []string{"cls_token", "reg_token"} {
			if t := find(w.Encoder, name); t != nil {
				tokens = append(tokens, t.Data...)
			}
		}
		batch := g.node("Slice", []string{g.node("Shape", []string{"x"}), g.ints(0), g.ints(1)})
		shape := g.node("Concat", []string{batch, g.ints(int64(R), int64(D))}, attribute{"axis", 0})
		front := g.node("Expand", []string{g.weight("prefix_tokens", []int{1, R, D}, tokens), shape})
		x = g.node("Concat", []string{front, x}, attribute{"axis", 1})
		if pos != "" && !c.NoEmbedClass {
			x = g.node("Add", []string{x, pos})
		}
	}
	if c.PreNorm {
		x = norm(x, "norm_pre")
	}

	H := c.NumHeads
	for i := range c.Depth {
		b := fmt.Sprintf("blocks.%d", i)
		// Attention: softmax(q kᵀ/√d) v for each head.
		qkv := linear(norm(x, b+".norm1"), b+".attn.qkv")
		qkv = g.node("Reshape", []string{qkv, g.ints(0, 0, 3, int64(H), int64(D/H))})
		part := func(i int64) string {
			p := g.node("Slice", []string{qkv, g.ints(i), g.ints(i + 1), g.ints(2)})
			p = g.node("Squeeze", []string{p, g.ints(2)})
			return g.node("Transpose", []string{p}, attribute{"perm", []int{0, 2, 1, 3}})
		}
		q, k, v := part(0), part(1), part(2)
		if c.QKNorm {
			q, k = norm(q, b+".attn.q_norm"), norm(k, b+".attn.k_norm")
		}
		q = g.node("Mul", []string{q, g.scalar(1 / math.Sqrt(float64(D/H)))})
		a := g.node("MatMul", []string{q, g.node("Transpose", []string{k}, attribute{"perm", []int{0, 1, 3, 2}})})
		a = g.node("MatMul", []string{g.node("Softmax", []string{a}, attribute{"axis", -1}), v})
		a = g.node("Reshape", []string{g.node("Transpose", []string{a}, attribute{"perm", []int{0, 2, 1, 3}}), g.ints(0, 0, int64(D))})
		x = g.node("Add", []string{x, linear(a, b+".attn.proj")})
		// MLP with GELU: h (1 + erf(h/√2))/2.
		h := linear(norm(x, b+".norm2"), b+".mlp.fc1")
		erf := g.node("Erf", []string{g.node("Mul", []string{h, g.scalar(math.Sqrt2 / 2)})})
		erf = g.node("Mul", []string{g.node("Add", []string{erf, g.scalar(1)}), g.scalar(0.5)})
		x = g.node("Add", []string{x, linear(g.node("Mul", []string{h, erf}), b+".mlp.fc2")})
	}
	if R > 0 {
		x = g.node("Slice", []string{x, g.ints(int64(R)), g.ints(math.MaxInt32), g.ints(1)})
	}
	g.named("LayerNormalization", "features", []string{x, get("norm.weight"), get("norm.bias")}, attribute{"axis", -1}, attribute{"epsilon", c.NormEps})
	g.named("ReduceMean", "embedding", []string{"features"}, attribute{"axes", []int{1}}, attribute{"keepdims", 0})
}

// transpose gives (rows, cols) as (cols, rows).
func transpose(data []float32, rows, cols int) []float32 {
	out := make([]float32, len(data))
	for r := range rows {
		for c := range cols {
			out[c*rows+r] = data[r*cols+c]
		}
	}
	return out
}
