package weights

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"unicode"
)

// Report says what a weight file is, as far as its names and shapes tell.
type Report struct {
	Format   Format
	Bytes    int64
	Tensors  int
	Numbers  int64 // in all tensors together
	Source   string
	Networks []string // context_encoder, target_encoder, predictor: those that it has
	Config   Config   // where it has an encoder
	Problem  string   // why the weights cannot be taken as an encoder; "" where they can
	Values   []string // plain values beside the tensors: epoch, version, …
	Metadata []string
	Ignored  []string
}

// Inspect says what the file or folder at path is. Tensors other than
// positions are not read. It fails where the file is no weights at all.
func Inspect(path string) (*Report, error) {
	c, err := openContents(path)
	if err != nil {
		return nil, fmt.Errorf("weights: %s: %w", path, err)
	}
	defer c.close()
	return c.report(), nil
}

func (c *contents) report() *Report {
	r := &Report{Format: c.format, Bytes: c.size, Tensors: len(c.entries)}
	for _, e := range c.entries {
		if n, ok := e.len(); ok {
			r.Numbers += int64(n)
		}
	}
	for k, v := range c.values {
		if text := fmt.Sprint(v); len(text) < 80 && (!strings.Contains(k, ".") || strings.HasPrefix(k, "hyper_parameters.")) {
			r.Values = append(r.Values, k+" = "+text)
		}
	}
	for k, v := range c.metadata {
		if line, _, _ := strings.Cut(v, "\n"); line == v && len(v) < 80 {
			r.Metadata = append(r.Metadata, k+" = "+v)
		}
	}
	sort.Strings(r.Values)
	sort.Strings(r.Metadata)
	n, err := c.networks()
	if err == nil {
		r.Source, r.Ignored = n.source, n.ignored
		for _, m := range []struct {
			name string
			n    *network
		}{{ContextEncoder, n.context}, {TargetEncoder, n.target}, {Predictor, n.predictor}} {
			if m.n != nil {
				r.Networks = append(r.Networks, m.name)
			}
		}
		first := n.context
		if first == nil {
			first = n.target
		}
		r.Config, err = c.configure(n, first, Options{})
	}
	if err != nil {
		r.Problem = err.Error()
	}
	return r
}

// String writes the report in lines for people.
func (r *Report) String() string {
	var b strings.Builder
	line := func(what, format string, a ...any) { fmt.Fprintf(&b, "%-12s %s\n", what, fmt.Sprintf(format, a...)) }
	line("format", "%s, %d bytes, %d tensors of %d numbers", r.Format, r.Bytes, r.Tensors, r.Numbers)
	if r.Source != "" {
		line("source", "%s", r.Source)
	}
	if r.Networks != nil {
		line("networks", "%s", strings.Join(r.Networks, ", "))
	}
	if r.Problem != "" {
		line("problem", "%s", r.Problem)
	} else {
		c := &r.Config
		known := func(name, value string) string {
			if slices.Contains(c.Unknown, name) {
				return "unknown"
			}
			return value
		}
		line("encoder", "%d-D, width %d, depth %d, heads %s, mlp_ratio %.4g, norm_eps %g", c.Dim(), c.EmbedDim, c.Depth, known("num_heads", fmt.Sprint(c.NumHeads)), c.MLPRatio, c.NormEps)
		line("input", "img_size %s, patch_size %v, in_chans %d", known("img_size", fmt.Sprint(c.ImgSize)), c.PatchSize, c.InChans)
		pos := known("pos_embed", c.PosEmbed)
		if c.PosEmbed == "sincos" {
			pos += ", order " + c.PosOrder
		}
		line("positions", "%s", pos)
		var extras []string
		if c.ClassToken {
			extras = append(extras, "class token")
		}
		if c.RegTokens > 0 {
			extras = append(extras, fmt.Sprintf("%d register tokens", c.RegTokens))
		}
		for _, o := range []struct {
			on   bool
			name string
		}{{c.NoEmbedClass, "no_embed_class"}, {c.PreNorm, "pre_norm"}, {c.QKNorm, "qk_norm"}, {!c.QKVBias, "no qkv_bias"}} {
			if o.on {
				extras = append(extras, o.name)
			}
		}
		if extras != nil {
			line("options", "%s", strings.Join(extras, ", "))
		}
		if c.Assumed != nil {
			line("assumed", "%s: what is usual, the file does not tell", strings.Join(c.Assumed, ", "))
		}
		if p := c.Predictor; p.EmbedDim > 0 {
			line("predictor", "width %d, depth %d, norm_eps %g", p.EmbedDim, p.Depth, p.NormEps)
		}
	}
	if r.Ignored != nil {
		line("ignored", "%s", strings.Join(r.Ignored, ", "))
	}
	for _, v := range r.Values {
		line("value", "%s", v)
	}
	for _, v := range r.Metadata {
		line("metadata", "%s", v)
	}
	return printable(b.String())
}

// printable replaces what could move a terminal's cursor: the text is the file's.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}
