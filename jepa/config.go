package jepa

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"wgjepa/internal/toml"
	"wgjepa/maskgen"
	"wgjepa/model"
)

// Config describes a training run. Names are those of nidl's IJEPA class; a
// zero value of a number that cannot be zero means "as the preset has it".
type Config struct {
	Preset string `toml:"preset"` // default, nidl or paper
	Seed   uint64 `toml:"seed"`

	Encoder model.ViT `toml:"encoder"`

	// Masks (the paper's §3, "Targets" and "Context").
	ContextBlockScale [2]float64 `toml:"context_block_scale"` // share of the patches
	TargetBlockScale  [2]float64 `toml:"target_block_scale"`
	AspectRatio       [2]float64 `toml:"aspect_ratio"`
	NumTargetBlocks   int        `toml:"num_target_blocks"` // M
	MinKeep           int        `toml:"min_keep"`          // a mask keeps more patches than this
	AllowOverlap      bool       `toml:"allow_overlap"`     // the context may see targets

	PredictorEmbedDim int `toml:"predictor_embed_dim"` // D′
	PredictorDepth    int `toml:"predictor_depth"`
	PredictorNumHeads int `toml:"predictor_num_heads"` // 0: the encoder's

	Optimizer             string     `toml:"optimizer"` // adamW, adam or sgd
	LearningRate          float64    `toml:"learning_rate"`
	WeightDecay           float64    `toml:"weight_decay"`
	WeightDecayEnd        float64    `toml:"weight_decay_end"` // cosine from weight_decay to this; equal: constant
	ExcludeBiasAndNormWD  bool       `toml:"exclude_bias_and_norm_wd"`
	Betas                 [2]float64 `toml:"betas"`                   // adam, adamW
	Eps                   float64    `toml:"eps"`                     // adam, adamW
	AMSGrad               bool       `toml:"amsgrad"`                 // adam, adamW
	Momentum              float64    `toml:"momentum"`                // sgd
	Dampening             float64    `toml:"dampening"`               // sgd
	Nesterov              bool       `toml:"nesterov"`                // sgd
	GradientClipVal       float64    `toml:"gradient_clip_val"`       // largest global gradient norm; 0: no clipping
	AccumulateGradBatches int        `toml:"accumulate_grad_batches"` // batches an update

	LRScheduler   string  `toml:"lr_scheduler"`    // none or warmup_cosine
	WarmupEpochs  float64 `toml:"warmup_epochs"`   //
	WarmupStartLR float64 `toml:"warmup_start_lr"` //
	MinLR         float64 `toml:"min_lr"`          //
	Interval      string  `toml:"interval"`        // step or epoch: when the learning rate moves
	ScheduleScale float64 `toml:"schedule_scale"`  // schedules run as if training were this much longer (the paper's code: 1.25)

	EMAStart    float64 `toml:"ema_start"`
	EMAEnd      float64 `toml:"ema_end"`
	EMASchedule string  `toml:"ema_schedule"` // cosine or linear

	// Anti-collapse terms of the context encoder's features, added to the loss.
	RegularizeTokens Regularizer `toml:"regularize_tokens"` // on all tokens of the batch (B·K, D)
	RegularizePooled Regularizer `toml:"regularize_pooled"` // on each sample's mean token (B, D)
	SIGRegDirections int         `toml:"sigreg_directions"` // random projections a step

	BatchSize int `toml:"batch_size"`
	MaxEpochs int `toml:"max_epochs"`
	MaxSteps  int `toml:"max_steps"` // updates; 0: by max_epochs alone
}

// Regularizer weighs the terms that keep features from collapsing; 0 leaves a
// term out.
type Regularizer struct {
	Variance   float64 `toml:"variance"`   // VICReg (Bardes et al. 2022): each feature's deviation is at least 1
	Covariance float64 `toml:"covariance"` // VICReg: features are uncorrelated
	SIGReg     float64 `toml:"sigreg"`     // LeJEPA (Balestriero & LeCun 2025): random projections are standard normal
}

// on reports whether any term is.
func (r Regularizer) on() bool { return r != Regularizer{} }

// Default returns the preset's parameters, those of the masks as maskgen has
// them; the encoder's sizes are left to the caller.
func Default(preset string) (Config, error) {
	c := Config{
		Preset: preset, Encoder: model.DefaultViT(),
		PredictorEmbedDim: 384, PredictorDepth: 6,
		Optimizer: "adamW", LearningRate: 3e-4, WeightDecay: 5e-4, WeightDecayEnd: 5e-4, ExcludeBiasAndNormWD: true,
		Betas: [2]float64{0.9, 0.999}, Eps: 1e-8, AccumulateGradBatches: 1,
		LRScheduler: "warmup_cosine", WarmupEpochs: 10, WarmupStartLR: 1e-6, Interval: "step", ScheduleScale: 1,
		EMAStart: 0.996, EMAEnd: 1, EMASchedule: "cosine",
		SIGRegDirections: 32,
		BatchSize:        16, MaxEpochs: 100,
	}
	masks := maskgen.Default()
	switch preset {
	case "default":
	case "nidl":
		masks = maskgen.Nidl()
		c.Encoder.PosOrder = "nidl"
	case "paper":
		masks = maskgen.Paper()
		c.PredictorDepth = 12
		c.LearningRate, c.WarmupStartLR, c.MinLR = 1e-3, 2e-4, 1e-6
		c.WeightDecay, c.WeightDecayEnd = 0.04, 0.4
		c.EMASchedule, c.ScheduleScale, c.WarmupEpochs, c.MaxEpochs = "linear", 1.25, 40, 300
		c.Encoder.NormEps, c.Encoder.PosEmbed, c.Encoder.ClassToken = 1e-6, "sincos", false
	default:
		return c, fmt.Errorf("preset is %q: it must be default, nidl or paper", preset)
	}
	c.ContextBlockScale, c.TargetBlockScale, c.AspectRatio = masks.ContextScale, masks.TargetScale, masks.AspectRatio
	c.NumTargetBlocks, c.MinKeep = masks.Targets, masks.MinKeep
	return c, nil
}

// ParseConfig reads TOML over the defaults of the preset that it names (or of
// "default"). An unknown key is refused with the nearest known one.
func ParseConfig(text []byte) (Config, error) {
	var head struct {
		Preset string `toml:"preset"`
	}
	if err := toml.DecodeKnown(text, &head); err != nil {
		return Config{}, fmt.Errorf("config: %w", err)
	}
	if head.Preset == "" {
		head.Preset = "default"
	}
	c, err := Default(head.Preset)
	if err != nil {
		return c, fmt.Errorf("config: %w", err)
	}
	err = c.Overlay(func() error { return DecodeTOML(text, &c) })
	return c, err // not in one line: Go leaves open whether c is read before the call
}

// Overlay lets decode write over c, the defaults of a preset. weight_decay alone
// then means a constant one, as in nidl, where the preset's is constant.
func (c *Config) Overlay(decode func() error) error {
	end, constant := c.WeightDecayEnd, c.WeightDecayEnd == c.WeightDecay
	c.WeightDecayEnd = math.NaN()
	if err := decode(); err != nil {
		return err
	}
	if math.IsNaN(c.WeightDecayEnd) {
		if c.WeightDecayEnd = end; constant {
			c.WeightDecayEnd = c.WeightDecay
		}
	}
	return nil
}

// TOML writes the whole config, as ParseConfig reads it.
func (c Config) TOML() []byte { return toml.Encode(c) }

// Masks is the sampler's part of the config.
func (c *Config) Masks() maskgen.Config {
	return maskgen.Config{
		Grid: c.Encoder.Grid(), ContextScale: c.ContextBlockScale, TargetScale: c.TargetBlockScale, AspectRatio: c.AspectRatio,
		Targets: c.NumTargetBlocks, MinKeep: c.MinKeep, AllowOverlap: c.AllowOverlap, Preset: maskgen.Preset(c.Preset),
	}
}

// Predictor is the predictor's part of the config.
func (c *Config) Predictor() model.Predictor {
	p := model.Predictor{
		Grid: c.Encoder.Grid(), InDim: c.Encoder.EmbedDim, EmbedDim: c.PredictorEmbedDim, Depth: c.PredictorDepth,
		NumHeads: c.PredictorNumHeads, MLPRatio: 4, NormEps: 1e-5, PosOrder: c.Encoder.PosOrder, Rescale: true,
	}
	if p.NumHeads == 0 {
		p.NumHeads = c.Encoder.NumHeads
	}
	if c.Preset == "paper" {
		p.NormEps, p.Rescale = 1e-6, false
	}
	return p
}

// Validate completes the encoder and refuses what cannot work, saying what to
// change.
func (c *Config) Validate() error {
	if err := c.validateAllButMasks(); err != nil {
		return err
	}
	if err := c.Masks().Validate(); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return nil
}

func (c *Config) validateAllButMasks() error {
	if _, err := Default(c.Preset); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if err := c.Encoder.Complete(); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	bad := func(format string, args ...any) error { return fmt.Errorf("config: "+format, args...) }
	oneOf := func(name, v string, allowed ...string) error {
		for _, a := range allowed {
			if v == a {
				return nil
			}
		}
		return bad("%s is %q: it must be one of %s", name, v, strings.Join(allowed, ", "))
	}
	checks := []error{
		oneOf("optimizer", c.Optimizer, "adamW", "adam", "sgd"),
		oneOf("lr_scheduler", c.LRScheduler, "none", "warmup_cosine"),
		oneOf("interval", c.Interval, "step", "epoch"),
		oneOf("ema_schedule", c.EMASchedule, "cosine", "linear"),
		between("learning_rate", c.LearningRate, 0, 1e6), between("weight_decay", c.WeightDecay, 0, 1e6), between("weight_decay_end", c.WeightDecayEnd, 0, 1e6),
		between("min_lr", c.MinLR, 0, 1e6), between("warmup_start_lr", c.WarmupStartLR, 0, 1e6), between("warmup_epochs", c.WarmupEpochs, 0, 1e9),
		between("schedule_scale", c.ScheduleScale, 1, 1e6),
		between("betas[0]", c.Betas[0], 0, 1-1e-12), between("betas[1]", c.Betas[1], 0, 1-1e-12), between("eps", c.Eps, 0, 1),
		between("momentum", c.Momentum, 0, 1), between("dampening", c.Dampening, 0, 1),
		between("gradient_clip_val", c.GradientClipVal, 0, 1e30),
		between("ema_start", c.EMAStart, 0, 1), between("ema_end", c.EMAEnd, 0, 1),
		c.RegularizeTokens.validate("regularize_tokens"), c.RegularizePooled.validate("regularize_pooled"),
		between("sigreg_directions", float64(c.SIGRegDirections), 1, 4096),
		between("batch_size", float64(c.BatchSize), 1, 1<<20), between("max_epochs", float64(c.MaxEpochs), 1, 1e9), between("max_steps", float64(c.MaxSteps), 0, 1e12),
		between("accumulate_grad_batches", float64(c.AccumulateGradBatches), 1, 1<<20),
	}
	if c.Nesterov && (c.Momentum <= 0 || c.Dampening != 0) {
		checks = append(checks, bad("nesterov needs a momentum above 0 and a dampening of 0"))
	}
	if c.RegularizePooled.on() && c.BatchSize < 2 {
		checks = append(checks, bad("regularize_pooled needs a batch_size of at least 2"))
	}
	if c.Seed > math.MaxInt64 {
		checks = append(checks, bad("seed is %d: TOML, in which checkpoints keep it, ends at %d", c.Seed, math.MaxInt64))
	}
	if r := c.RegularizeTokens; (r.Variance > 0 || r.Covariance > 0) && c.BatchSize == 1 && c.MinKeep == 0 {
		checks = append(checks, bad("regularize_tokens needs two tokens for a variance, and a context may be one patch: raise min_keep or batch_size"))
	}
	if c.Preset != "default" && (c.RegularizeTokens.on() || c.RegularizePooled.on()) {
		checks = append(checks, bad("preset %s has no anti-collapse terms: use preset default for them", c.Preset))
	}
	for _, err := range checks {
		if err != nil {
			return err
		}
	}
	if err := c.Predictor().Validate(); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return nil
}

func between(name string, v, lo, hi float64) error {
	if !(v >= lo && v <= hi) {
		return fmt.Errorf("config: %s is %s: it must lie between %s and %s", name, figure(v), figure(lo), figure(hi))
	}
	return nil
}

// figure writes v as one would in a configuration: counts with all of their digits.
func figure(v float64) string {
	if a := math.Abs(v); a == 0 || a >= 1e-4 && a < 1e15 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

func (r Regularizer) validate(name string) error {
	return errors.Join(between(name+".variance", r.Variance, 0, 1e6), between(name+".covariance", r.Covariance, 0, 1e6), between(name+".sigreg", r.SIGReg, 0, 1e6))
}
