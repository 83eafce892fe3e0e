package weights

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"wgjepa/internal/toml"
)

// configure infers the configuration of an encoder from the shapes of its
// tensors, the names, and what lies beside them.
func (c *contents) configure(n *networks, enc *network, o Options) (Config, error) {
	var g Config
	kernel, ok := enc.entries["patch_embed.proj.weight"]
	if !ok {
		return g, errors.New("the patch embedding is missing")
	}
	if len(kernel.shape) != 4 && len(kernel.shape) != 5 {
		return g, fmt.Errorf("tensor %s has shape %v: the patch embedding must be a convolution over 2 or 3 axes", kernel.name, kernel.shape)
	}
	if _, ok := kernel.len(); !ok || slices.Contains(kernel.shape, 0) {
		return g, fmt.Errorf("tensor %s has shape %v", kernel.name, kernel.shape)
	}
	g.EmbedDim, g.InChans, g.PatchSize = kernel.shape[0], kernel.shape[1], slices.Clone(kernel.shape[2:])
	var err error
	if g.Depth, err = enc.depth("blocks"); err != nil {
		return g, err
	}
	has := func(name string) bool { _, ok := enc.entries[name]; return ok }
	g.ClassToken = has("cls_token")
	g.QKVBias = has("blocks.0.attn.qkv.bias")
	g.QKNorm = has("blocks.0.attn.q_norm.weight")
	g.PreNorm = has("norm_pre.weight")
	if r, ok := enc.entries["reg_token"]; ok {
		if len(r.shape) != 3 {
			return g, fmt.Errorf("tensor %s has shape %v, want [1 tokens %d]", r.name, r.shape, g.EmbedDim)
		}
		g.RegTokens = r.shape[1]
	}
	fc1, ok := enc.entries["blocks.0.mlp.fc1.weight"]
	if !ok || len(fc1.shape) != 2 || fc1.shape[1] != g.EmbedDim {
		return g, fmt.Errorf("blocks.0.mlp.fc1.weight is missing or not (hidden, %d)", g.EmbedDim)
	}
	g.MLPRatio = ratio(fc1.shape[0], g.EmbedDim)

	// What the program uses by default, then what is written beside the weights.
	g.NormEps = 1e-6 // timm vision_transformer.py, facebookresearch/ijepa helper.py
	g.Predictor.NormEps = 1e-6
	fromNIDL := strings.HasPrefix(n.source, "nidl")
	g.PosOrder = "hwd"
	if fromNIDL {
		g.Predictor.NormEps, g.PosOrder = 1e-5, "nidl" // torch.nn.LayerNorm's default
	}
	if g.Dim() == 3 {
		g.NormEps = 1e-5 // nidl vit3d.py, whatever the layout
	}
	told, err := c.beside(&g, n.hub)
	if err != nil {
		return g, err
	}
	if o.NormEps > 0 {
		g.NormEps = o.NormEps
	} else if !told {
		g.Assumed = append(g.Assumed, "norm_eps")
	}
	if err := override(&g, enc, o); err != nil {
		return g, err
	}
	if n.predictor != nil {
		if err := g.configurePredictor(n.predictor); err != nil {
			return g, err
		}
	} else {
		g.Predictor = PredictorConfig{}
	}
	if err := g.positions(enc, n.predictor, o); err != nil {
		return g, err
	}
	if g.NumHeads == 0 {
		g.Unknown = append(g.Unknown, "num_heads")
	}
	if g.ImgSize == nil {
		g.Unknown = append(g.Unknown, "img_size")
	}
	if g.PosEmbed == "" {
		g.Unknown = append(g.Unknown, "pos_embed")
	}
	return g, nil
}

// ratio is hidden/D such that the product rounds down to hidden again.
func ratio(hidden, D int) float64 {
	r := float64(hidden) / float64(D)
	for int(float64(D)*r) < hidden {
		r = math.Nextafter(r, math.Inf(1))
	}
	return r
}

// ownConfig is what this program writes beside its weights.
type ownConfig struct {
	Preset            string `toml:"preset"`
	PredictorNumHeads int    `toml:"predictor_num_heads"`
	Encoder           struct {
		ImgSize      []int   `toml:"img_size"`
		NumHeads     int     `toml:"num_heads"`
		NoEmbedClass bool    `toml:"no_embed_class"`
		PosEmbed     string  `toml:"pos_embed"`
		PosOrder     string  `toml:"pos_order"`
		NormEps      float64 `toml:"norm_eps"`
	} `toml:"encoder"`
}

// beside takes what the metadata or a config.json tell, and whether they tell
// the norms' epsilon.
func (c *contents) beside(g *Config, hub bool) (told bool, err error) {
	if text := c.metadata["config"]; text != "" && strings.HasPrefix(c.metadata["format"], "wgjepa") {
		var own ownConfig
		if err := toml.DecodeKnown([]byte(text), &own); err != nil {
			return false, fmt.Errorf("its configuration cannot be read: %w", err)
		}
		e := own.Encoder
		if len(e.ImgSize) != g.Dim() || e.NumHeads < 1 {
			return false, fmt.Errorf("its configuration (img_size %v, num_heads %d) is not that of its weights", e.ImgSize, e.NumHeads)
		}
		g.ImgSize, g.NumHeads, g.NoEmbedClass = e.ImgSize, e.NumHeads, e.NoEmbedClass
		g.PosEmbed, g.PosOrder = e.PosEmbed, e.PosOrder
		if e.NormEps > 0 {
			g.NormEps, told = e.NormEps, true
		}
		g.Predictor.NumHeads = own.PredictorNumHeads
		g.Predictor.NormEps = 1e-5
		if own.Preset == "paper" {
			g.Predictor.NormEps = 1e-6
		}
	}
	switch h := c.config; {
	case h == nil:
	case hub:
		if h.HiddenSize != 0 && h.HiddenSize != g.EmbedDim || h.Layers != 0 && h.Layers != g.Depth {
			return false, fmt.Errorf("config.json tells of width %d and %d layers, the tensors of %d and %d", h.HiddenSize, h.Layers, g.EmbedDim, g.Depth)
		}
		if h.HiddenAct != "" && h.HiddenAct != "gelu" {
			return false, fmt.Errorf("config.json has hidden_act %q: only gelu is known here", h.HiddenAct)
		}
		told = true
		g.NumHeads, g.ImgSize = h.Heads, axes(h.ImageSize, g.Dim())
		if h.LayerNormEps > 0 {
			g.NormEps = h.LayerNormEps
		} else {
			g.NormEps = 1e-12 // the default of transformers' ViTConfig and IJepaConfig
		}
	default:
		for size, heads := range map[string]int{"_tiny_": 3, "_small_": 6, "_base_": 12, "_large_": 16, "_huge_": 16, "_giant_": 16} {
			if strings.Contains(h.Architecture, size) {
				g.NumHeads = heads
			}
		}
		if h.Architecture == "vit_giant_patch14_dinov2" || h.Architecture == "vit_giant_patch14_reg4_dinov2" {
			g.NumHeads = 24
		}
	}
	return told, nil
}

// usualHeads are those of the published ViTs of a width.
var usualHeads = map[int]int{192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16, 1408: 16, 1536: 24, 1664: 16}

// override takes the options, and what is left to infer.
func override(g *Config, enc *network, o Options) error {
	if o.ImgSize != nil {
		if len(o.ImgSize) != g.Dim() {
			return fmt.Errorf("its patches have %d axes, the image size %v has %d", g.Dim(), o.ImgSize, len(o.ImgSize))
		}
		g.ImgSize = slices.Clone(o.ImgSize)
	}
	for i, s := range g.ImgSize {
		if s < 1 || s > 1<<16 || s < g.PatchSize[i] {
			return fmt.Errorf("an image of %v cannot be cut into patches of %v", g.ImgSize, g.PatchSize)
		}
	}
	if o.NumHeads != 0 {
		g.NumHeads = o.NumHeads
	}
	if e, ok := enc.entries["blocks.0.attn.q_norm.weight"]; ok && len(e.shape) == 1 && e.shape[0] > 0 && g.EmbedDim%e.shape[0] == 0 {
		g.NumHeads = g.EmbedDim / e.shape[0]
	}
	if g.NumHeads == 0 && usualHeads[g.EmbedDim] > 0 {
		g.NumHeads = usualHeads[g.EmbedDim]
		g.Assumed = append(g.Assumed, "num_heads")
	}
	if g.NumHeads < 0 || g.NumHeads > 0 && g.EmbedDim%g.NumHeads != 0 {
		return fmt.Errorf("its width %d is not a multiple of %d heads: give num_heads", g.EmbedDim, g.NumHeads)
	}
	return nil
}

func (g *Config) configurePredictor(p *network) error {
	e := p.entries["predictor_embed.weight"]
	if len(e.shape) != 2 || e.shape[1] != g.EmbedDim || e.shape[0] == 0 {
		return fmt.Errorf("tensor %s has shape %v, want [width %d]", e.name, e.shape, g.EmbedDim)
	}
	g.Predictor.EmbedDim = e.shape[0]
	var err error
	if g.Predictor.Depth, err = p.depth("predictor_blocks"); err != nil {
		return fmt.Errorf("predictor: %w", err)
	}
	if g.Predictor.NumHeads == 0 && g.NumHeads > 0 && g.Predictor.EmbedDim%g.NumHeads == 0 {
		g.Predictor.NumHeads = g.NumHeads // the rule of the paper's code and of nidl
	}
	if g.Predictor.NumHeads == 0 {
		g.Unknown = append(g.Unknown, "predictor_num_heads")
	}
	return nil
}

// positions finds the kind of the position embedding and the grid of patches.
func (g *Config) positions(enc, pred *network, o Options) error {
	pos, stored := enc.entries["pos_embed"]
	rows := 0
	var patches []int // candidates for P
	if stored {
		if len(pos.shape) != 3 || pos.shape[2] != g.EmbedDim {
			return fmt.Errorf("tensor %s has shape %v, want [1 tokens %d]", pos.name, pos.shape, g.EmbedDim)
		}
		rows = pos.shape[1]
		patches = []int{rows - g.Prefix(), rows}
	} else {
		if o.PosEmbed != "" && o.PosEmbed != "sincos" && o.PosEmbed != "none" {
			return fmt.Errorf("its positions are not stored: they can be sincos or none, not %q", o.PosEmbed)
		}
		if g.PosEmbed != "none" { // own files tell
			g.PosEmbed = o.PosEmbed
		}
	}
	var table entry
	if pred != nil {
		if e, ok := pred.entries["predictor_pos_embed"]; ok && len(e.shape) == 3 && e.shape[2] == g.Predictor.EmbedDim {
			table = e
			if !stored {
				patches = []int{e.shape[1]}
			}
		}
	}
	if g.ImgSize != nil {
		P, ok := product(g.Grid())
		if !ok || patches != nil && !slices.Contains(patches, P) {
			return fmt.Errorf("an image of %v in patches of %v has %d patches, the file has positions for %d", g.ImgSize, g.PatchSize, P, patches[0])
		}
		patches = []int{P}
	}
	for _, P := range patches {
		if P > 0 && P <= 1<<22 && g.locate(P, pos, table, stored) {
			g.NoEmbedClass = stored && P == rows && g.Prefix() > 0
			break
		}
	}
	if stored && g.PosEmbed == "" {
		g.PosEmbed = "learned"
	}
	return nil
}

// locate finds the grid of P patches, by the fixed tables that the file stores
// or, without any, as the square or cube; it also tells fixed positions from
// learned ones.
func (g *Config) locate(P int, pos, table entry, stored bool) bool {
	var own, pred []float32
	if stored && pos.floating {
		if all, err := pos.read(); err == nil && len(all) == pos.shape[1]*g.EmbedDim {
			own = all[(pos.shape[1]-P)*g.EmbedDim:]
		}
	}
	if table.read != nil && table.floating && table.shape[1] == P {
		if all, err := table.read(); err == nil && len(all) == P*g.Predictor.EmbedDim {
			pred = all
		}
	}
	grids := grids(P, g.Dim())
	if g.ImgSize != nil {
		grids = [][]int{g.Grid()}
	}
	set := func(grid []int) {
		if g.ImgSize == nil {
			for i, n := range grid {
				g.ImgSize = append(g.ImgSize, n*g.PatchSize[i])
			}
		}
	}
	for _, grid := range grids {
		for _, order := range []string{"hwd", "nidl"} {
			mine := own != nil && isSinCos(own, grid, g.EmbedDim, order)
			if mine && g.PosEmbed == "" {
				g.PosEmbed = "sincos"
			}
			if mine || pred != nil && isSinCos(pred, grid, g.Predictor.EmbedDim, order) {
				g.PosOrder = order
				set(grid)
				return true
			}
		}
	}
	if g.ImgSize != nil {
		return true
	}
	side := int(math.Round(math.Pow(float64(P), 1/float64(g.Dim()))))
	cube := slices.Repeat([]int{side}, g.Dim())
	if n, ok := product(cube); !ok || n != P {
		return false
	}
	set(cube)
	g.Assumed = append(g.Assumed, "img_size")
	return true
}

// grids lists the grids of P patches, the evenest first.
func grids(P, dim int) [][]int {
	var list [][]int
	for a := 1; a <= P; a++ {
		if P%a != 0 {
			continue
		}
		if dim == 2 {
			list = append(list, []int{a, P / a})
			continue
		}
		for b := 1; b <= P/a; b++ {
			if P/a%b == 0 {
				list = append(list, []int{a, b, P / a / b})
			}
		}
	}
	longest := func(g []int) int { return slices.Max(g) }
	slices.SortStableFunc(list, func(a, b []int) int { return longest(a) - longest(b) })
	return list
}

// sinCosAt is element i of the fixed position embedding of the patch with
// token index t on a grid, as the package that computes it defines it: parts
// of ⌈D/2a⌉ elements, [sin w, cos w, sin h, cos h] and in 3-D [sin d, cos d].
// order nidl enumerates the grid as (w, h, d), as that program does.
func sinCosAt(t, i int, grid []int, width int, order string) float64 {
	h, w, d, axes := grid[0], grid[1], 1, 2
	if len(grid) == 3 {
		d, axes = grid[2], 3
	}
	part := (width + 2*axes - 1) / (2 * axes)
	at := [3]int{t / d % w, t / (w * d), t % d}
	if order == "nidl" {
		at = [3]int{t / (h * d), t / d % h, t % d}
	}
	x := float64(at[i/part/2]) * math.Pow(10000, -float64(i%part)/float64(part))
	if i/part%2 == 0 {
		return math.Sin(x)
	}
	return math.Cos(x)
}

// sinCos is the fixed position embedding (1, rows+P, width) of a grid, after
// rows of zeros for tokens in front.
func sinCos(name string, rows int, grid []int, width int, order string) Tensor {
	P, _ := product(grid)
	data := make([]float32, (rows+P)*width)
	for i := range P * width {
		data[rows*width+i] = float32(sinCosAt(i/width, i%width, grid, width, order))
	}
	return Tensor{name, []int{1, rows + P, width}, data}
}

// isSinCos tells whether values (P, width) are the fixed embedding of a grid,
// up to the rounding of float32 and of half precision.
func isSinCos(values []float32, grid []int, width int, order string) bool {
	// From the last token: the first is the same on every grid.
	for i := len(values) - 1; i >= 0; i-- {
		if math.Abs(float64(values[i])-sinCosAt(i/width, i%width, grid, width, order)) > 2e-3 {
			return false
		}
	}
	return true
}
