package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"wgjepa/checkpoint/weights"
)

// weightsFlags are the flags that say what to take from a weight file, and what
// it does not tell.
type weightsFlags struct {
	network string
	options weights.Options
	prefix  string // of the flags' names
}

// addNetwork adds the flag that takes one encoder.
func (f *weightsFlags) addNetwork(cmd *cobra.Command, prefix string) {
	oneOf(cmd, &f.network, prefix+"network", "take one encoder of the file alone", "context", "target")
}

// add adds the flags of what a file does not tell, their names after prefix.
func (f *weightsFlags) add(cmd *cobra.Command, prefix string) {
	f.prefix = prefix
	s := cmd.Flags()
	s.IntVar(&f.options.NumHeads, prefix+"heads", 0, "attention heads, where the file does not tell")
	s.IntSliceVar(&f.options.ImgSize, prefix+"size", nil, "the `size` that it was trained at, such as 96,128, where the file does not tell")
	oneOf(cmd, &f.options.PosEmbed, prefix+"positions", "positions, where the file does not store them", "sincos", "none")
}

// load reads the weights of a run or of any program's file, and says what they
// are.
func (f *weightsFlags) load(c *console, path string) (*weights.Weights, error) {
	o := f.options
	switch f.network {
	case "":
	case "context":
		o.Network = weights.ContextEncoder
	case "target":
		o.Network = weights.TargetEncoder
	}
	path, err := weightsOf(path)
	if err != nil {
		return nil, err
	}
	w, err := weights.Load(path, o)
	if err != nil {
		return nil, err
	}
	c.say("weights: %s of %s (%s)", strings.Join(networksOf(w, o), ", "), path, w.Source)
	if w.Config.Assumed != nil {
		c.say("         assumed, for the file does not tell: %s", assumed(&w.Config))
	}
	if w.Ignored != nil {
		c.say("         left out, for an encoder has no use for it: %s", strings.Join(w.Ignored, ", "))
	}
	return w, nil
}

// complete refuses weights that lack one of the settings needed, naming the
// flag that gives it.
func (f *weightsFlags) complete(c *weights.Config, needed ...string) error {
	flags := map[string]string{"num_heads": "heads", "img_size": "size", "pos_embed": "positions"}
	var missing []string
	for _, name := range c.Unknown {
		if flag := flags[name]; slices.Contains(needed, name) {
			missing = append(missing, fmt.Sprintf("%s: give --%s%s", name, f.prefix, flag))
		}
	}
	if missing == nil {
		return nil
	}
	return fmt.Errorf("the weights do not tell their %s", strings.Join(missing, "; "))
}

func networksOf(w *weights.Weights, o weights.Options) []string {
	list := []string{"encoder"}
	if o.Network != "" {
		list = []string{o.Network}
	} else if w.Target != nil {
		list = []string{weights.ContextEncoder, weights.TargetEncoder}
	}
	if w.Predictor != nil {
		list = append(list, weights.Predictor)
	}
	return list
}

// assumed lists what was taken as is usual, with the values.
func assumed(c *weights.Config) string {
	values := map[string]any{"num_heads": c.NumHeads, "img_size": c.ImgSize, "norm_eps": c.NormEps}
	var list []string
	for _, name := range c.Assumed {
		list = append(list, fmt.Sprintf("%s %v", name, values[name]))
	}
	return strings.Join(list, ", ")
}

func exportCommand(c *console) *cobra.Command {
	from := weightsFlags{}
	layout := ""
	overwrite := false
	var names []string
	for _, l := range weights.Layouts {
		names = append(names, string(l))
	}
	cmd := &cobra.Command{
		Use:   "export RUN_OR_WEIGHTS OUT",
		Short: "Write weights so that another program loads them",
		Long: `Writes the weights of a run, or of any weight file that wgjepa inspect recognises, in
the layout of another program:

  timm         the encoder: .safetensors or .pth; of volumes, for nidl's encoder
  huggingface  a folder for transformers' IJepaModel (images, no class token)
  nidl         the encoders and the predictor: .pt, .safetensors, or .ckpt for Lightning
  original     the I-JEPA paper's code: .pth.tar or .safetensors
  onnx         the encoder as a program: features of each patch and their mean

timm, huggingface and onnx hold one encoder: the context encoder, or with --network
target the target encoder. The file appears at once and whole. A line of Python that
loads it is printed.`,
		Example: `  wgjepa export runs/scans encoder.onnx --layout onnx
  wgjepa export runs/scans encoder.safetensors --layout timm --network target
  wgjepa export runs/scans scans.ckpt --layout nidl
  wgjepa export IN1K-vit.h.14-300e.pth.tar vit_huge --layout huggingface --network target`,
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			l := weights.Layout(layout)
			if l == "" {
				return usagef("export needs --layout: %s", orList(names))
			}
			out := args[1]
			if err := unused(out, overwrite); err != nil {
				return err
			}
			w, err := from.load(c, args[0])
			if err != nil {
				return err
			}
			if l == weights.HubLayout || l == weights.ONNXLayout {
				if err := from.complete(&w.Config, "num_heads", "img_size", "pos_embed"); err != nil {
					return err
				}
			}
			if err := w.Save(out, l); err != nil {
				if l == weights.HubLayout && !overwrite {
					os.Remove(out) // a folder that is still empty
				}
				return err
			}
			size, err := sizeOf(out)
			if err != nil {
				return err
			}
			line := loadLine(w, l, out)
			c.result(map[string]any{"file": out, "layout": layout, "bytes": size, "load": line},
				"%s: %s, %s\nin Python:\n  %s\n", out, layout, bytesText(uint64(size)), line)
			return nil
		},
	}
	oneOf(cmd, &layout, "layout", "for which `program`: "+orList(names), names...)
	cmd.Flags().BoolVar(&overwrite, "overwrite", false, "replace what is at OUT")
	from.addNetwork(cmd, "")
	from.add(cmd, "")
	return cmd
}

// sizeOf is the length of a file, or of those in a folder.
func sizeOf(path string) (int64, error) {
	s, err := os.Stat(path)
	if err != nil || !s.IsDir() {
		if err != nil {
			return 0, err
		}
		return s.Size(), nil
	}
	list, err := os.ReadDir(path)
	if err != nil {
		return 0, err
	}
	total := int64(0)
	for _, e := range list {
		i, infoErr := e.Info()
		err = errors.Join(err, infoErr)
		if infoErr == nil {
			total += i.Size()
		}
	}
	return total, err
}

// loadLine is the Python that loads an export.
func loadLine(w *weights.Weights, l weights.Layout, path string) string {
	file := pythonText(path)
	read := "torch.load(" + file + ", weights_only=True)"
	if strings.HasSuffix(path, ".safetensors") {
		read = "safetensors.torch.load_file(" + file + ")"
	}
	switch l {
	case weights.HubLayout:
		return "model = transformers.IJepaModel.from_pretrained(" + file + ")"
	case weights.ONNXLayout:
		return "features, embedding = onnxruntime.InferenceSession(" + file + `).run(None, {"x": x})`
	case weights.NIDLLayout:
		if strings.HasSuffix(path, ".ckpt") {
			return "model = nidl.estimators.ssl.IJEPA.load_from_checkpoint(" + file + ", encoder=" + pythonEncoder(&w.Config, l) + ")"
		}
		model := fmt.Sprintf("model = nidl.estimators.ssl.IJEPA(encoder=%s, dim=%d", pythonEncoder(&w.Config, l), w.Config.Dim())
		if p := w.Config.Predictor; p.EmbedDim > 0 {
			return model + fmt.Sprintf(", predictor_embed_dim=%d, predictor_depth_pred=%d); model.load_state_dict(%s)", p.EmbedDim, p.Depth, read)
		}
		return model + "); model.load_state_dict(" + read + ", strict=False)"
	case weights.OriginalLayout:
		// The nested keys of a safetensors file are joined with dots.
		if strings.HasSuffix(path, ".safetensors") {
			return `encoder.load_state_dict({k.removeprefix("target_encoder.module."): v for k, v in ` + read + `.items() if k.startswith("target_encoder.")})`
		}
		return `encoder.load_state_dict({k.removeprefix("module."): v for k, v in ` + read + `["target_encoder"].items()})`
	}
	return "encoder = " + pythonEncoder(&w.Config, l) + "; encoder.load_state_dict(" + read + ")"
}

// pythonEncoder constructs the encoder: timm's of images, nidl's of volumes.
func pythonEncoder(c *weights.Config, l weights.Layout) string {
	tuple := func(v []int) string {
		if v == nil {
			return "…" // unknown: for the reader to fill in
		}
		return "(" + strings.Trim(strings.ReplaceAll(fmt.Sprint(v), " ", ", "), "[]") + ")"
	}
	number := func(n int) string {
		if n == 0 {
			return "…"
		}
		return fmt.Sprint(n)
	}
	b := &strings.Builder{}
	class := "timm.models.vision_transformer.VisionTransformer"
	if c.Dim() == 3 {
		class = "nidl.volume.backbones.vit3d.VisionTransformer3D"
	}
	fmt.Fprintf(b, `%s(img_size=%s, patch_size=%s, in_chans=%d, num_classes=0, global_pool="", embed_dim=%d, depth=%d, num_heads=%s`,
		class, tuple(c.ImgSize), tuple(c.PatchSize), c.InChans, c.EmbedDim, c.Depth, number(c.NumHeads))
	if c.MLPRatio != 4 {
		fmt.Fprintf(b, ", mlp_ratio=%v", c.MLPRatio)
	}
	for _, o := range []struct {
		name         string
		value, usual bool
	}{{"qkv_bias", c.QKVBias, true}, {"qk_norm", c.QKNorm, false}, {"class_token", c.ClassToken, true}, {"no_embed_class", c.NoEmbedClass, false}, {"pre_norm", c.PreNorm, false}} {
		if o.value != o.usual {
			fmt.Fprintf(b, ", %s=%s", o.name, map[bool]string{true: "True", false: "False"}[o.value])
		}
	}
	if c.RegTokens > 0 {
		fmt.Fprintf(b, ", reg_tokens=%d", c.RegTokens)
	}
	usualEps := 1e-6
	switch {
	case c.Dim() == 3:
		usualEps = 1e-5
		switch {
		case c.PosEmbed == "none":
			b.WriteString(`, pos_embed="none"`)
		case l == weights.NIDLLayout && c.PosEmbed == "sincos" && c.PosOrder == "nidl":
			b.WriteString(`, pos_embed="sincos"`)
		}
	case c.PosEmbed == "none":
		b.WriteString(`, pos_embed="none"`)
	}
	if c.NormEps != usualEps {
		fmt.Fprintf(b, ", norm_layer=functools.partial(torch.nn.LayerNorm, eps=%g)", c.NormEps)
	}
	return b.String() + ")"
}

// pythonText is s as a string of Python.
func pythonText(s string) string { return fmt.Sprintf("%q", s) }
