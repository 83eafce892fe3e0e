package weights

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// network is one network of a file: its tensors under timm's names.
type network struct {
	prefix  string // of its names in the file
	entries map[string]entry
}

type networks struct {
	source                     string
	context, target, predictor *network
	ignored                    []string
	hub                        bool // names are transformers'
}

// Tensors that tell where a network begins.
const (
	timmMarker      = "patch_embed.proj.weight"
	hubMarker       = "embeddings.patch_embeddings.projection.weight"
	predictorMarker = "predictor_embed.weight"
)

// networks finds the networks of a file by the tensors that every one has,
// whatever stands before their names.
func (c *contents) networks() (*networks, error) {
	n := &networks{}
	set := func(dst **network, role string, found *network) error {
		if *dst != nil {
			return fmt.Errorf("it holds two networks that could be the %s, at %q and %q: save one of them alone", role, (*dst).prefix, found.prefix)
		}
		*dst = found
		return nil
	}
	var prefixes []string
	for _, e := range c.entries {
		if strings.HasPrefix(e.name, "optimizer.") {
			continue
		}
		var err error
		if p, ok := suffix(e.name, predictorMarker); ok {
			prefixes = append(prefixes, p)
			err = set(&n.predictor, "predictor", &network{prefix: p})
		} else if p, hub, ok := encoderPrefix(e.name); ok {
			n.hub = n.hub || hub
			prefixes = append(prefixes, p)
			if strings.Contains(p, TargetEncoder) || strings.Contains(p, "teacher") {
				err = set(&n.target, "target encoder", &network{prefix: p})
			} else {
				err = set(&n.context, "encoder", &network{prefix: p})
			}
		}
		if err != nil {
			return nil, err
		}
	}
	if n.context == nil && n.target == nil {
		if len(c.entries) == 0 {
			return nil, errors.New("it holds no tensors")
		}
		if n.predictor != nil {
			return nil, errors.New("it holds a predictor but no encoder: give the file of the whole model")
		}
		return nil, fmt.Errorf("none of its %d tensors is a patch embedding (%s): not a Vision Transformer in a known layout", len(c.entries), timmMarker)
	}
	for _, m := range []*network{n.context, n.target} {
		if m == nil {
			continue
		}
		names := c.under(m.prefix, prefixes)
		var err error
		if n.hub {
			names, err = fromHub(names)
		} else {
			names, err = foldLayerScale(names)
		}
		if err != nil {
			return nil, err
		}
		m.entries = n.drop(names)
	}
	if n.predictor != nil {
		n.predictor.entries = c.under(n.predictor.prefix, prefixes)
	}
	n.source = c.source(n)
	return n, nil
}

// suffix cuts a marker that is a whole name or follows a dot.
func suffix(name, marker string) (prefix string, ok bool) {
	p, ok := strings.CutSuffix(name, marker)
	return p, ok && (p == "" || strings.HasSuffix(p, "."))
}

func encoderPrefix(name string) (prefix string, hub, ok bool) {
	if p, ok := suffix(name, timmMarker); ok {
		return p, false, true
	}
	p, ok := suffix(name, hubMarker)
	return p, true, ok
}

// under lists the entries below a prefix, but not those below a longer one.
func (c *contents) under(prefix string, prefixes []string) map[string]entry {
	list := map[string]entry{}
	for _, e := range c.entries {
		rest, ok := strings.CutPrefix(e.name, prefix)
		if !ok || slices.ContainsFunc(prefixes, func(p string) bool { return len(p) > len(prefix) && strings.HasPrefix(e.name, p) }) {
			continue
		}
		list[rest] = e
	}
	return list
}

// heads are what models carry beside the encoder: they change none of its features.
var heads = []string{"head", "head_dist", "fc_norm", "attn_pool", "mask_token", "pooler", "classifier", "optimizer"}

func ofHead(name string) bool {
	first, _, _ := strings.Cut(name, ".")
	return slices.Contains(heads, first) || strings.HasPrefix(first, "decoder") || strings.HasPrefix(name+".", "embeddings.mask_token.")
}

// cutBlock cuts "blocks.7.norm1.weight" into "blocks.7" and "norm1.weight".
func cutBlock(name string) (block, rest string, ok bool) {
	list, rest, _ := strings.Cut(name, ".")
	number, rest, ok := strings.Cut(rest, ".")
	ok = ok && list == "blocks" && number != "" && strings.Trim(number, "0123456789") == ""
	return list + "." + number, rest, ok
}

// drop sets aside what is not the encoder's.
func (n *networks) drop(names map[string]entry) map[string]entry {
	kept := map[string]entry{}
	for name, e := range names {
		if ofHead(name) {
			n.ignored = append(n.ignored, e.name)
		} else {
			kept[name] = e
		}
	}
	slices.Sort(n.ignored)
	return kept
}

// source says whose layout it is.
func (c *contents) source(n *networks) string {
	first := n.context
	if first == nil {
		first = n.target
	}
	switch {
	case strings.HasPrefix(c.metadata["format"], "wgjepa"):
		return "wgjepa"
	case n.hub:
		return "Hugging Face"
	case strings.Contains(first.prefix, "_encoder.vit."):
		if c.values["pytorch-lightning_version"] != nil {
			return "nidl (Lightning checkpoint)"
		}
		return "nidl"
	case strings.HasPrefix(first.prefix, "encoder.") || strings.HasPrefix(first.prefix, "target_encoder."):
		return "facebookresearch/ijepa"
	}
	return "timm"
}

// hubNames maps transformers' names of an IJepaModel or ViTModel to timm's.
var hubNames = strings.NewReplacer(
	"embeddings.patch_embeddings.projection.", "patch_embed.proj.",
	"embeddings.position_embeddings", "pos_embed",
	"embeddings.cls_token", "cls_token",
	"encoder.layer.", "blocks.",
	".layernorm_before.", ".norm1.",
	".layernorm_after.", ".norm2.",
	".attention.output.dense.", ".attn.proj.",
	".intermediate.dense.", ".mlp.fc1.",
	".output.dense.", ".mlp.fc2.",
)

// hubQKV tells that name is the query, key or value (0, 1, 2) of block; part is
// weight or bias.
func hubQKV(name string) (block string, i int, part string, ok bool) {
	block, rest, inBlock := cutBlock(name)
	rest, attention := strings.CutPrefix(rest, "attention.attention.")
	which, part, _ := strings.Cut(rest, ".")
	i = slices.Index([]string{"query", "key", "value"}, which)
	return block, i, part, inBlock && attention && i >= 0 && (part == "weight" || part == "bias")
}

// fromHub renames, and stacks query, key and value.
func fromHub(names map[string]entry) (map[string]entry, error) {
	list := map[string]entry{}
	parts := map[string]*[3]*entry{}
	for name, e := range names {
		name = hubNames.Replace(name)
		if rest, ok := strings.CutPrefix(name, "layernorm."); ok {
			name = "norm." + rest
		}
		if block, i, part, ok := hubQKV(name); ok {
			to := block + ".attn.qkv." + part
			if parts[to] == nil {
				parts[to] = new([3]*entry)
			}
			parts[to][i] = &e
			continue
		}
		list[name] = e
	}
	for to, p := range parts {
		if p[0] == nil || p[1] == nil || p[2] == nil {
			return nil, fmt.Errorf("%s: one of query, key and value is missing", to)
		}
		q := *p[0]
		for _, e := range p[1:] {
			if !slices.Equal(e.shape, q.shape) || len(q.shape) == 0 {
				return nil, fmt.Errorf("tensors %s and %s have shapes %v and %v", q.name, e.name, q.shape, e.shape)
			}
		}
		stacked := slices.Clone(q.shape)
		stacked[0] *= 3
		list[to] = entry{q.name, stacked, q.floating, func() ([]float32, error) {
			var all []float32
			for _, e := range p {
				v, err := e.read()
				if err != nil {
					return nil, err
				}
				all = append(all, v...)
			}
			return all, nil
		}}
	}
	return list, nil
}

// foldLayerScale multiplies LayerScale's gains into the linear layer before:
// γ ⊙ (W x + b) = (γ ⊙ W) x + γ ⊙ b.
func foldLayerScale(names map[string]entry) (map[string]entry, error) {
	for name, gamma := range names {
		block, rest, ok := cutBlock(name)
		layer := map[string]string{"ls1.gamma": ".attn.proj", "ls2.gamma": ".mlp.fc2"}[rest]
		if !ok || layer == "" {
			continue
		}
		layer = block + layer
		for _, part := range []string{".weight", ".bias"} {
			e, ok := names[layer+part]
			if !ok || len(e.shape) == 0 || !slices.Equal(gamma.shape, e.shape[:1]) || e.shape[0] == 0 {
				return nil, fmt.Errorf("tensor %s does not fit %s", gamma.name, layer+part)
			}
			scaled := e
			scaled.read = func() ([]float32, error) {
				v, err := e.read()
				if err != nil {
					return nil, err
				}
				g, err := gamma.read()
				if err != nil {
					return nil, err
				}
				cols := len(v) / len(g)
				for i := range v {
					v[i] *= g[i/cols]
				}
				return v, nil
			}
			names[layer+part] = scaled
		}
		delete(names, name)
	}
	return names, nil
}

// depth counts the blocks, which must be numbered from 0 without a gap.
func (n *network) depth(blocks string) (int, error) {
	seen := map[int]bool{}
	for name := range n.entries {
		rest, ok := strings.CutPrefix(name, blocks+".")
		if !ok {
			continue
		}
		number, _, _ := strings.Cut(rest, ".")
		i, err := strconv.Atoi(number)
		if err != nil || i < 0 || i >= maxDepth {
			return 0, fmt.Errorf("tensor %s belongs to no block from 0 to %d", n.prefix+name, maxDepth-1)
		}
		seen[i] = true
	}
	for i := range len(seen) {
		if !seen[i] {
			return 0, fmt.Errorf("block %d is missing: the file is incomplete", i)
		}
	}
	if len(seen) == 0 {
		return 0, errors.New("it has no transformer blocks")
	}
	return len(seen), nil
}

const maxDepth = 1000
