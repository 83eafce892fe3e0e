// Package maskgen samples the multi-block masks of I-JEPA (Assran et al.,
// CVPR 2023, §3 and appendix A) on 2-D images and 3-D volumes.
//
// A sample is a grid of P patches, numbered row-major in token order. A mask
// is a list of patch indices in ascending order. For a batch of B samples,
// [Sampler.Sample] gives
//
//	context (B, K)     what the context encoder sees
//	target  (M, B, L)  the M blocks whose features the predictor must predict
//
// # Block sizes
//
// One target size and one context size are drawn per batch, the target's
// first. A single draw r ~ U[0, 1) sets the scale and the aspect ratio of a
// block together,
//
//	s = s₀ + r(s₁ − s₀)    a = a₀ + r(a₁ − a₀)    m = ⌊P·s⌋
//
// and from them the sides: √(m·a), √(m/a) in 2-D; ∛(m·a), ∛(m/a), ∛m in a
// random axis order in 3-D; each rounded and held to one less than the grid's
// axis. The context block has aspect ratio 1.
//
// # Masks
//
// Every sample draws its own positions, uniform over all that fit. Its context
// is the context block without the patches of its target blocks. A mask must
// keep more than MinKeep patches; after 20 positions that do not, the
// constraint by the last target block is dropped, after 20 more that by the
// one before, and so on ([Masks].Relaxed counts the samples where it came to
// that). Then every context is cut to the shortest of the batch.
//
// # Presets
//
// All three share what is said above; they differ where their sources do.
//
//   - default: a cut context keeps a random subset, so that no part of the
//     image is favoured.
//   - nidl: as nidl.estimators.ssl.ijepa (commit efb1343) computes. It inverts
//     an integer mask, which voids the constraint: the context sees its
//     targets. A cut keeps the lowest indices, which favours the top of the
//     image.
//   - paper: as facebookresearch/ijepa computes. Targets are dropped from the
//     context; a cut keeps the lowest indices; no block ever reaches the last
//     patch of an axis. MinKeep is 10. The paper is 2-D; in 3-D the same holds
//     of each axis.
//
// # Randomness
//
// Masks are a function of (seed, step, sample) and of nothing else: block
// sizes of (seed, step), positions of (seed, step, sample) whatever the batch
// size, and the cut of these and of K. So they can be resumed, replayed and
// shown, and are the same bits on every platform.
package maskgen

import "slices"

// Preset names the source whose behaviour a [Sampler] follows.
type Preset string

// The presets; the package documentation says how they differ.
const (
	PresetDefault Preset = "default"
	PresetNidl    Preset = "nidl"
	PresetPaper   Preset = "paper"
)

// behaviour is what a preset does differently.
type behaviour struct {
	keepsTargets bool // the context keeps the patches of its targets
	cutsHighest  bool // a cut drops the highest indices
	avoidsLast   bool // blocks never reach the last patch of an axis
}

var behaviours = map[Preset]behaviour{
	PresetDefault: {},
	PresetNidl:    {keepsTargets: true, cutsHighest: true},
	PresetPaper:   {cutsHighest: true, avoidsLast: true},
}

// Config says which masks to sample. The comments name the keys by which
// errors and configuration files call the fields.
type Config struct {
	Grid         []int      // patches along each axis in token order, 2 or 3 axes
	ContextScale [2]float64 // context_block_scale: share of P in the context block, from, to
	TargetScale  [2]float64 // target_block_scale: share of P in a target block, from, to
	AspectRatio  [2]float64 // aspect_ratio: of a target block, from, to
	Targets      int        // num_target_blocks: M
	MinKeep      int        // min_keep: a mask keeps more patches than this
	AllowOverlap bool       // allow_overlap: leave the targets' patches in the context
	Preset       Preset
}

// Default returns the default preset with nidl's default parameters.
func Default(grid ...int) Config {
	return Config{
		Grid:         slices.Clone(grid),
		ContextScale: [2]float64{0.85, 1},
		TargetScale:  [2]float64{0.15, 0.2},
		AspectRatio:  [2]float64{0.75, 1.5},
		Targets:      4,
		MinKeep:      4,
		Preset:       PresetDefault,
	}
}

// Nidl returns the preset nidl with nidl's default parameters.
func Nidl(grid ...int) Config {
	c := Default(grid...)
	c.Preset = PresetNidl
	return c
}

// Paper returns the preset paper with the parameters of the paper's
// configurations.
func Paper(grid ...int) Config {
	c := Default(grid...)
	c.Preset = PresetPaper
	c.MinKeep = 10
	return c
}

// Masks are the masks of one batch.
type Masks struct {
	B, K, M, L int      // samples, context patches, target blocks, patches in a target block
	Context    []uint32 // (B, K) patch indices, ascending in each row
	Target     []uint32 // (M, B, L) patch indices, ascending in each row
	Relaxed    int      // samples whose context may meet a target, because no context free of all was found

	blocks []block // target blocks of the sample at hand
	kept   []int   // context patches of each sample before the cut
}
