package model

import (
	"fmt"
	"sort"
	"strings"

	"wgjepa/gpu"
)

// ViT describes an encoder in timm's terms.
type ViT struct {
	ImgSize      []int   `toml:"img_size"`       // per axis: (H, W) or (H, W, D)
	PatchSize    []int   `toml:"patch_size"`     // per axis, or one number for all
	InChans      int     `toml:"in_chans"`       // C
	EmbedDim     int     `toml:"embed_dim"`      // D
	Depth        int     `toml:"depth"`          // blocks
	NumHeads     int     `toml:"num_heads"`      // H
	MLPRatio     float64 `toml:"mlp_ratio"`      // hidden width of the MLP over D
	QKVBias      bool    `toml:"qkv_bias"`       //
	QKNorm       bool    `toml:"qk_norm"`        // layer norm of each head's queries and keys
	ClassToken   bool    `toml:"class_token"`    //
	RegTokens    int     `toml:"reg_tokens"`     // register tokens
	NoEmbedClass bool    `toml:"no_embed_class"` // prefix tokens get no position
	PosEmbed     string  `toml:"pos_embed"`      // learned, sincos or none
	PosOrder     string  `toml:"pos_order"`      // of sincos: hwd (token order) or nidl
	PreNorm      bool    `toml:"pre_norm"`       // layer norm before the blocks; the patch embedding then has no bias
	DropPathRate float64 `toml:"drop_path_rate"` // of the last block; earlier ones linearly less
	NormEps      float64 `toml:"norm_eps"`       // 0: 1e-6 in 2-D (timm), 1e-5 in 3-D (nidl)
}

// sizes are the named encoders of the ViT paper (width, depth, heads).
var sizes = map[string][3]int{
	"vit_tiny":  {192, 12, 3},
	"vit_small": {384, 12, 6},
	"vit_base":  {768, 12, 12},
	"vit_large": {1024, 24, 16},
	"vit_huge":  {1280, 32, 16},
}

// SizeNames lists the named sizes.
func SizeNames() []string {
	var names []string
	for n := range sizes {
		names = append(names, n)
	}
	sort.Slice(names, func(i, j int) bool { return sizes[names[i]][0] < sizes[names[j]][0] })
	return names
}

// SetSize gives v the width, depth and heads of a named size.
func (v *ViT) SetSize(name string) error {
	s, ok := sizes[name]
	if !ok {
		return fmt.Errorf("model: no encoder is called %q: choose one of %s", name, strings.Join(SizeNames(), ", "))
	}
	v.EmbedDim, v.Depth, v.NumHeads = s[0], s[1], s[2]
	return nil
}

// DefaultViT has the options that timm's VisionTransformer and nidl's
// VisionTransformer3D begin with; sizes are the caller's.
func DefaultViT() ViT {
	return ViT{InChans: 1, MLPRatio: 4, QKVBias: true, ClassToken: true, PosEmbed: "learned", PosOrder: "hwd"}
}

// Dim is the number of axes, 2 or 3.
func (v *ViT) Dim() int { return len(v.ImgSize) }

// Complete spreads a single patch size over the axes and fills in what
// depends on the number of axes, then validates.
func (v *ViT) Complete() error {
	if len(v.PatchSize) == 1 && v.Dim() > 1 {
		p := v.PatchSize[0]
		v.PatchSize = nil
		for range v.ImgSize {
			v.PatchSize = append(v.PatchSize, p)
		}
	}
	if v.NormEps == 0 {
		v.NormEps = 1e-6 // timm vision_transformer.py
		if v.Dim() == 3 {
			v.NormEps = 1e-5 // torch.nn.LayerNorm's default, nidl vit3d.py
		}
	}
	return v.Validate()
}

// What an encoder may have at most: far above what trains, low enough that no
// product of sizes overflows.
const (
	maxSample    = 1 << 31 // numbers in a sample
	maxMLPRatio  = 64
	maxRegTokens = 1 << 12
)

// SampleLen is C·H·W·D, the numbers of a sample, of sides and channels that are each
// in bounds.
func (v *ViT) SampleLen() int {
	n := v.InChans
	for _, s := range v.ImgSize {
		n *= s
	}
	return n
}

// Validate refuses what cannot be built and says what to change.
func (v *ViT) Validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("encoder: "+format, args...)
	}
	if d := v.Dim(); d != 2 && d != 3 {
		return bad("img_size has %d axes: give two for images (H, W) or three for volumes (H, W, D)", d)
	}
	if len(v.PatchSize) != v.Dim() {
		return bad("patch_size has %d axes and img_size %d: give one number or one an axis", len(v.PatchSize), v.Dim())
	}
	for i, s := range v.ImgSize {
		p := v.PatchSize[i]
		if p < 1 || s < 1 || s > 1<<16 {
			return bad("img_size %v and patch_size %v must be positive", v.ImgSize, v.PatchSize)
		}
		if s%p != 0 {
			return bad("img_size %v is not a multiple of patch_size %v on axis %d: use %d or %d there", v.ImgSize, v.PatchSize, i, max(s/p, 1)*p, (s/p+1)*p)
		}
	}
	switch {
	case v.InChans < 1 || v.InChans > 4096:
		return bad("in_chans is %d: it must be between 1 and 4096", v.InChans)
	case v.SampleLen() > maxSample:
		return bad("a sample of img_size %v and in_chans %d is %d numbers, above %d: resize or crop", v.ImgSize, v.InChans, v.SampleLen(), maxSample)
	case v.EmbedDim < 1 || v.NumHeads < 1 || v.EmbedDim%v.NumHeads != 0:
		return bad("embed_dim %d is not a multiple of num_heads %d", v.EmbedDim, v.NumHeads)
	case v.EmbedDim > 1<<14:
		return bad("embed_dim %d is above %d", v.EmbedDim, 1<<14)
	case v.EmbedDim/v.NumHeads > gpu.MaxHeadDim:
		return bad("heads of %d are wider than %d: raise num_heads", v.EmbedDim/v.NumHeads, gpu.MaxHeadDim)
	case v.Depth < 1 || v.Depth > 1000:
		return bad("depth is %d: it must be between 1 and 1000", v.Depth)
	case !(float64(v.EmbedDim)*v.MLPRatio >= 1 && v.MLPRatio <= maxMLPRatio):
		return bad("mlp_ratio is %g: it must be positive and at most %d", v.MLPRatio, maxMLPRatio)
	case v.RegTokens < 0 || v.RegTokens > maxRegTokens:
		return bad("reg_tokens is %d: it must be between 0 and %d", v.RegTokens, maxRegTokens)
	case v.PosEmbed != "learned" && v.PosEmbed != "sincos" && v.PosEmbed != "none":
		return bad("pos_embed is %q: it must be learned, sincos or none", v.PosEmbed)
	case v.PosEmbed == "sincos" && v.Dim() == 2 && v.EmbedDim%4 != 0:
		return bad("embed_dim %d is not a multiple of 4, as 2-D sincos positions need", v.EmbedDim)
	case v.PosOrder != "hwd" && v.PosOrder != "nidl":
		return bad("pos_order is %q: it must be hwd or nidl", v.PosOrder)
	case v.DropPathRate < 0 || v.DropPathRate >= 1:
		return bad("drop_path_rate is %g: it must be in [0, 1)", v.DropPathRate)
	case !(v.NormEps > 0):
		return bad("norm_eps is %g: it must be positive", v.NormEps)
	}
	return nil
}

// Geometry is how a sample is cut into patches; an image has a third axis of 1.
func (v *ViT) Geometry() gpu.Geometry {
	g := gpu.Geometry{Channels: v.InChans, Size: [3]int{1, 1, 1}, Patch: [3]int{1, 1, 1}}
	copy(g.Size[:], v.ImgSize)
	copy(g.Patch[:], v.PatchSize)
	return g
}

// Grid is the number of patches per axis.
func (v *ViT) Grid() []int {
	var grid []int
	for i, s := range v.ImgSize {
		grid = append(grid, s/v.PatchSize[i])
	}
	return grid
}

// Patches is P.
func (v *ViT) Patches() int { return v.Geometry().Patches() }

// Prefix is R, the number of class and register tokens.
func (v *ViT) Prefix() int {
	if v.ClassToken {
		return 1 + v.RegTokens
	}
	return v.RegTokens
}
