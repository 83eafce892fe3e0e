package weights

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"wgjepa/checkpoint"
	"wgjepa/internal/atomicfile"
)

// Layout is a program whose names and nesting a file follows.
type Layout string

const (
	TimmLayout     Layout = "timm"        // the encoder alone: .safetensors, .pth
	HubLayout      Layout = "huggingface" // a folder for transformers' IJepaModel
	NIDLLayout     Layout = "nidl"        // the state_dict of nidl's IJEPA: .pt, .safetensors; .ckpt for Lightning
	OriginalLayout Layout = "original"    // the paper's code: .pth.tar, .safetensors
	ONNXLayout     Layout = "onnx"        // the encoder as a program: .onnx
)

// Layouts lists what Save writes.
var Layouts = []Layout{TimmLayout, HubLayout, NIDLLayout, OriginalLayout, ONNXLayout}

// Save writes the weights to path in the layout of a program: a folder for
// Hugging Face, otherwise a file, of safetensors where path ends so and of
// torch.save (or ONNX) where not. The file appears at once and whole.
//
// nidl computes fixed sin-cos positions of volumes itself and stores none; its
// layout then leaves them out, unless their order is hwd, which nidl cannot
// compute: construct its encoder with pos_embed "learned" then. A layout that stores three networks leaves out those that
// the weights do not have, save that a missing target encoder is a copy of the
// context encoder.
func (w *Weights) Save(path string, l Layout) error {
	var err error
	switch l {
	case HubLayout:
		if err = os.MkdirAll(path, 0o755); err == nil {
			err = w.WriteHub(func(name string, write func(io.Writer) error) error {
				return atomicfile.Write(filepath.Join(path, name), write)
			})
		}
	case ONNXLayout:
		err = atomicfile.Write(path, w.WriteONNX)
	default:
		switch {
		case strings.HasSuffix(path, ".safetensors"):
			err = atomicfile.Write(path, func(out io.Writer) error { return w.WriteSafetensors(out, l) })
		case l == NIDLLayout && strings.HasSuffix(path, ".ckpt"):
			err = atomicfile.Write(path, w.WriteLightning)
		default:
			err = atomicfile.Write(path, func(out io.Writer) error { return w.WriteTorch(out, l) })
		}
	}
	if err != nil {
		return fmt.Errorf("weights: writing %s: %w", path, err)
	}
	return nil
}

// group is one dictionary of a layout.
type group struct {
	key     string // its key where the layout nests, "" where it is flat
	prefix  string // of the names in it
	tensors []Tensor
}

// groups arranges the networks as the layout does.
func (w *Weights) groups(l Layout) ([]group, error) {
	target := w.Target
	if target == nil {
		target = w.Encoder
	}
	switch l {
	case TimmLayout:
		return []group{{"", "", w.Encoder}}, nil
	case NIDLLayout:
		encoder := w.Encoder
		if w.Config.PosEmbed == "sincos" && w.Config.PosOrder == "nidl" && w.Config.Dim() == 3 {
			encoder, target = without(encoder, "pos_embed"), without(target, "pos_embed")
		}
		g := []group{{"", "target_encoder.vit.", target}, {"", "context_encoder.vit.", encoder}}
		if w.Predictor != nil {
			g = append(g, group{"", "predictor.", w.Predictor})
		}
		return g, nil
	case OriginalLayout:
		g := []group{{"encoder", "module.", w.Encoder}}
		if w.Predictor != nil {
			g = append(g, group{"predictor", "module.", w.Predictor})
		}
		return append(g, group{"target_encoder", "module.", target}), nil
	}
	return nil, fmt.Errorf("there is no layout %q for one file of tensors: choose %s, %s or %s", l, TimmLayout, NIDLLayout, OriginalLayout)
}

func without(list []Tensor, name string) []Tensor {
	var out []Tensor
	for _, t := range list {
		if t.Name != name {
			out = append(out, t)
		}
	}
	return out
}

// WriteSafetensors writes one safetensors file; nested layouts join their keys
// with dots.
func (w *Weights) WriteSafetensors(out io.Writer, l Layout) error {
	groups, err := w.groups(l)
	if err != nil {
		return err
	}
	var entries []checkpoint.Entry
	for _, g := range groups {
		prefix := g.prefix
		if g.key != "" {
			prefix = g.key + "." + prefix
		}
		for _, t := range g.tensors {
			entries = append(entries, checkpoint.Entry{Name: prefix + t.Name, Shape: t.Shape, Data: t.Data})
		}
	}
	return checkpoint.Encode(out, entries, map[string]string{"format": "pt"})
}

// WriteHub writes the files of a folder for transformers' IJepaModel: create
// makes a file of that name and fills it with what write writes.
func (w *Weights) WriteHub(create func(name string, write func(io.Writer) error) error) error {
	c := &w.Config
	switch {
	case c.Dim() != 2:
		return errors.New("transformers' IJepaModel takes images, this encoder takes volumes: export it for nidl or as ONNX")
	case c.Prefix() > 0:
		return errors.New("transformers' IJepaModel has no class or register tokens, this encoder has: export it for timm")
	case c.PreNorm || c.QKNorm:
		return errors.New("transformers' IJepaModel has neither pre_norm nor qk_norm, this encoder has: export it for timm")
	case c.NumHeads == 0 || c.ImgSize == nil:
		return fmt.Errorf("config.json needs what is not known here: %s", strings.Join(c.Unknown, ", "))
	case !has(w.Encoder, "pos_embed"):
		return errors.New("transformers' IJepaModel stores its positions, these weights have none: export them for nidl")
	}
	one := func(v []int) any {
		if v[0] == v[1] {
			return v[0]
		}
		return v
	}
	config, err := json.MarshalIndent(map[string]any{
		"architectures": []string{"IJepaModel"}, "model_type": "ijepa", "dtype": "float32",
		"hidden_size": c.EmbedDim, "num_hidden_layers": c.Depth, "num_attention_heads": c.NumHeads,
		"intermediate_size": int(float64(c.EmbedDim) * c.MLPRatio), "hidden_act": "gelu",
		"image_size": one(c.ImgSize), "patch_size": one(c.PatchSize), "num_channels": c.InChans,
		"layer_norm_eps": c.NormEps, "qkv_bias": c.QKVBias, "pooler_output_size": c.EmbedDim, "pooler_act": "tanh",
		"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.02,
	}, "", "  ")
	if err != nil {
		return err
	}
	var entries []checkpoint.Entry
	for _, t := range w.Encoder {
		entries = append(entries, hubEntries(t)...)
	}
	if err := create("model.safetensors", func(out io.Writer) error {
		return checkpoint.Encode(out, entries, map[string]string{"format": "pt"})
	}); err != nil {
		return err
	}
	return create("config.json", func(out io.Writer) error {
		_, err := out.Write(append(config, '\n'))
		return err
	})
}

func has(list []Tensor, name string) bool { return find(list, name) != nil }

func find(list []Tensor, name string) *Tensor {
	for i := range list {
		if list[i].Name == name {
			return &list[i]
		}
	}
	return nil
}

// toHub is the reverse of hubNames.
var toHub = strings.NewReplacer(
	"patch_embed.proj.", "embeddings.patch_embeddings.projection.",
	"pos_embed", "embeddings.position_embeddings",
	"blocks.", "encoder.layer.",
	".norm1.", ".layernorm_before.",
	".norm2.", ".layernorm_after.",
	".attn.proj.", ".attention.output.dense.",
	".mlp.fc1.", ".intermediate.dense.",
	".mlp.fc2.", ".output.dense.",
)

// hubEntries renames a tensor, and splits qkv in three.
func hubEntries(t Tensor) []checkpoint.Entry {
	if rest, ok := strings.CutPrefix(t.Name, "norm."); ok {
		return []checkpoint.Entry{{Name: "layernorm." + rest, Shape: t.Shape, Data: t.Data}}
	}
	name := toHub.Replace(t.Name)
	block, part, ok := strings.Cut(name, ".attn.qkv.")
	if !ok {
		return []checkpoint.Entry{{Name: name, Shape: t.Shape, Data: t.Data}}
	}
	var list []checkpoint.Entry
	n := len(t.Data) / 3
	shape := append([]int{t.Shape[0] / 3}, t.Shape[1:]...)
	for i, which := range []string{"query", "key", "value"} {
		list = append(list, checkpoint.Entry{Name: block + ".attention.attention." + which + "." + part, Shape: shape, Data: t.Data[i*n : (i+1)*n]})
	}
	return list
}

// WriteTorch writes a file that torch.load reads, with weights_only too: the
// layout's dictionaries of float32 tensors.
func (w *Weights) WriteTorch(out io.Writer, l Layout) error {
	groups, err := w.groups(l)
	if err != nil {
		return err
	}
	p := newPickler()
	if groups[0].key == "" {
		p.stateDict(groups...)
	} else {
		p.dict(func() {
			p.text("epoch") // the paper's code asks for it before it loads the networks
			p.int(0)
			for _, g := range groups {
				p.text(g.key)
				p.stateDict(g)
			}
		})
	}
	return p.write(out)
}

// WriteLightning writes a Lightning checkpoint of nidl's IJEPA: what its
// load_from_checkpoint needs, given the encoder.
func (w *Weights) WriteLightning(out io.Writer) error {
	groups, err := w.groups(NIDLLayout)
	if err != nil {
		return err
	}
	if w.Predictor == nil {
		return errors.New("a Lightning checkpoint of nidl's IJEPA holds a predictor, these weights have none: write a .pt")
	}
	p := newPickler()
	p.dict(func() {
		p.text("epoch")
		p.int(0)
		p.text("global_step")
		p.int(0)
		p.text("pytorch-lightning_version")
		p.text("2.0.0") // the oldest whose layout this is; newer ones read it
		p.text("state_dict")
		p.stateDict(groups...)
		p.text("hyper_parameters")
		p.dict(func() {
			for _, h := range []struct {
				name  string
				value int
			}{{"dim", w.Config.Dim()}, {"predictor_embed_dim", w.Config.Predictor.EmbedDim}, {"predictor_depth_pred", w.Config.Predictor.Depth}} {
				p.text(h.name)
				p.int(h.value)
			}
		})
	})
	return p.write(out)
}

// pickler writes a pickle of protocol 2 as torch.save does, and the numbers
// that it refers to.
type pickler struct {
	b       bytes.Buffer
	storage []Tensor // number i of data/i
}

func newPickler() *pickler {
	p := &pickler{}
	p.b.WriteString("\x80\x02")
	return p
}

func (p *pickler) text(s string) {
	p.b.WriteByte('X')
	p.b.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(s))))
	p.b.WriteString(s)
}

func (p *pickler) int(n int) {
	if n == int(int32(n)) {
		p.b.WriteByte('J')
		p.b.Write(binary.LittleEndian.AppendUint32(nil, uint32(n)))
		return
	}
	p.b.WriteString("\x8a\x08")
	p.b.Write(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

// dict writes the keys and values that fill writes as a dictionary.
func (p *pickler) dict(fill func()) {
	p.b.WriteString("}(")
	fill()
	p.b.WriteByte('u')
}

func (p *pickler) ints(list []int) {
	p.b.WriteByte('(')
	for _, n := range list {
		p.int(n)
	}
	p.b.WriteByte('t')
}

// stateDict writes names and tensors as one dictionary.
func (p *pickler) stateDict(groups ...group) {
	p.dict(func() {
		for _, g := range groups {
			for _, t := range g.tensors {
				p.text(g.prefix + t.Name)
				p.tensor(t)
			}
		}
	})
}

// tensor writes the call
// _rebuild_tensor_v2(storage, offset, shape, stride, requires_grad, hooks).
func (p *pickler) tensor(t Tensor) {
	stride := make([]int, len(t.Shape))
	n := 1
	for i := len(stride) - 1; i >= 0; i-- {
		stride[i] = n
		n *= t.Shape[i]
	}
	p.b.WriteString("ctorch._utils\n_rebuild_tensor_v2\n(")
	p.b.WriteByte('(')
	p.text("storage")
	p.b.WriteString("ctorch\nFloatStorage\n")
	p.text(fmt.Sprint(len(p.storage)))
	p.text("cpu")
	p.int(len(t.Data))
	p.b.WriteString("tQ")
	p.int(0)
	p.ints(t.Shape)
	p.ints(stride)
	p.b.WriteString("\x89ccollections\nOrderedDict\n)RtR")
	p.storage = append(p.storage, t)
}

// write ends the pickle and writes the archive: data.pkl, byteorder, data/0 …,
// version; nothing compressed, every entry at a multiple of 64 bytes, as torch
// maps them.
func (p *pickler) write(out io.Writer) error {
	p.b.WriteByte('.')
	z := &archive{zip: zip.NewWriter(out)}
	z.add("data.pkl", uint64(p.b.Len()), func(w io.Writer) error { _, err := w.Write(p.b.Bytes()); return err })
	z.add("byteorder", 6, func(w io.Writer) error { _, err := io.WriteString(w, "little"); return err })
	for i, t := range p.storage {
		z.add(fmt.Sprintf("data/%d", i), 4*uint64(len(t.Data)), func(w io.Writer) error { return writeFloats(w, t.Data) })
	}
	z.add("version", 2, func(w io.Writer) error { _, err := io.WriteString(w, "3\n"); return err })
	if z.err != nil {
		return z.err
	}
	return z.zip.Close()
}

// archive writes stored entries whose sizes and checksums stand before them.
type archive struct {
	zip *zip.Writer
	at  uint64 // bytes written so far
	err error
}

func (z *archive) add(name string, size uint64, content func(io.Writer) error) {
	if z.err != nil {
		return
	}
	sum := crc32.NewIEEE()
	if z.err = content(sum); z.err != nil {
		return
	}
	h := &zip.FileHeader{Name: "archive/" + name, Method: zip.Store, CRC32: sum.Sum32(), CompressedSize64: size, UncompressedSize64: size}
	const fixed, field = 30, 4 // bytes of a local header, and of an extra field's head
	pad := (64 - (z.at+fixed+uint64(len(h.Name))+field)%64) % 64
	h.Extra = binary.LittleEndian.AppendUint16([]byte("FB"), uint16(pad)) // the field torch pads with
	h.Extra = append(h.Extra, make([]byte, pad)...)
	w, err := z.zip.CreateRaw(h)
	if err == nil {
		err = content(w)
	}
	z.err = err
	z.at += fixed + uint64(len(h.Name)) + field + pad + size
}

// writeFloats writes little-endian float32 numbers through a small buffer.
func writeFloats(w io.Writer, data []float32) error {
	buf := make([]byte, 0, 1<<16)
	for i, v := range data {
		if buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(v)); len(buf) == cap(buf) || i == len(data)-1 {
			if _, err := w.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	return nil
}
