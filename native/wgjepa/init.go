package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"wgjepa/checkpoint/weights"
	"wgjepa/internal/config"
)

// encoderLayer is the configuration that weights tell, as the layer beneath
// what a person says. The data decide img_size and in_chans, and in choosePatch
// the patch size.
func encoderLayer(w *weights.Weights, path string) config.Text {
	c := &w.Config
	encoder := map[string]any{
		"embed_dim": c.EmbedDim, "depth": c.Depth, "num_heads": c.NumHeads, "mlp_ratio": c.MLPRatio, "qkv_bias": c.QKVBias, "qk_norm": c.QKNorm,
		"class_token": c.ClassToken, "reg_tokens": c.RegTokens, "no_embed_class": c.NoEmbedClass, "pre_norm": c.PreNorm, "norm_eps": c.NormEps,
		"pos_embed": c.PosEmbed,
	}
	if c.PosEmbed == "sincos" || w.Predictor != nil {
		encoder["pos_order"] = c.PosOrder
	}
	all := map[string]any{"encoder": encoder}
	if p := c.Predictor; p.EmbedDim > 0 {
		all["predictor_embed_dim"], all["predictor_depth"] = p.EmbedDim, p.Depth
		if p.NumHeads > 0 {
			all["predictor_num_heads"] = p.NumHeads
		}
	}
	text, err := toml.Marshal(all)
	if err != nil {
		panic(err) // plain values
	}
	return config.Text{Name: "the encoder of " + path, TOML: text}
}

// choosePatch takes the weights' patch size where nobody chose one; for a
// volume from an encoder of images, as deep as it is high, or the most below
// that divides the depth.
func choosePatch(w *weights.Weights, conf *config.Config, size []int) {
	if len(conf.Encoder.PatchSize) > 0 {
		return
	}
	p := slices.Clone(w.Config.PatchSize)
	if len(p) == 2 && len(size) == 3 {
		deep := min(p[0], size[2])
		for size[2]%deep != 0 {
			deep--
		}
		p = append(p, deep)
	}
	conf.Encoder.PatchSize = p
}

// adapt fits the weights to the shape of the data, and says so.
func (f *weightsFlags) adapt(c *console, w *weights.Weights, conf *config.Config) (*weights.Weights, error) {
	v, had := &conf.Encoder, &w.Config
	if w.Predictor != nil && had.Predictor.NumHeads == 0 {
		had.Predictor.NumHeads = conf.PredictorNumHeads // who names a number for these weights knows it
	}
	if slices.Equal(had.ImgSize, v.ImgSize) && slices.Equal(had.PatchSize, v.PatchSize) && had.InChans == v.InChans {
		return w, nil
	}
	adapted, err := w.Adapt(v.ImgSize, v.PatchSize, v.InChans)
	if err != nil {
		if had.ImgSize == nil && strings.Contains(err.Error(), "grid") {
			return nil, fmt.Errorf("%w: --%ssize gives it", err, f.prefix)
		}
		return nil, err
	}
	var changes []string
	change := func(name string, from, to any) {
		if fmt.Sprint(from) != fmt.Sprint(to) {
			changes = append(changes, fmt.Sprintf("%s %v → %v", name, from, to))
		}
	}
	if had.ImgSize != nil {
		change("img_size", had.ImgSize, v.ImgSize)
	}
	change("patch_size", had.PatchSize, v.PatchSize)
	change("in_chans", had.InChans, v.InChans)
	if had.PosEmbed != adapted.Config.PosEmbed && v.PosEmbed == had.PosEmbed {
		change("pos_embed", had.PosEmbed, adapted.Config.PosEmbed)
		v.PosEmbed = adapted.Config.PosEmbed
	}
	if changes != nil {
		c.say("init: adapted to the data: %s", strings.Join(changes, ", "))
	}
	return adapted, nil
}
