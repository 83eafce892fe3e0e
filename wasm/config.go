//go:build js && wasm

package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"wgjepa/data"
	"wgjepa/data/phantom"
	"wgjepa/data/transform"
	"wgjepa/jepa"
)

// config is the TOML file of a run, with the keys of the native command's.
type config struct {
	jepa.Config
	Data  dataConfig  `toml:"data"`
	Probe probeConfig `toml:"probe"`
}

type dataConfig struct {
	Paths            []string   `toml:"paths"`
	Size             []int      `toml:"size"`
	Fit              string     `toml:"fit"`
	Pad              string     `toml:"pad"`
	Normalize        string     `toml:"normalize"`
	Reorient         bool       `toml:"reorient"`
	Spacing          []float64  `toml:"spacing"`
	Frame            int        `toml:"frame"`
	FramesAsChannels bool       `toml:"frames_as_channels"`
	ZeroNonFinite    bool       `toml:"zero_nonfinite"`
	SkipBad          bool       `toml:"skip_bad"`
	CacheMiB         int        `toml:"cache_mib"`
	Val              float64    `toml:"val"`
	Test             float64    `toml:"test"`
	SplitByOrder     bool       `toml:"split_by_order"`
	SplitSeed        uint64     `toml:"split_seed"`
	CropScale        [2]float64 `toml:"crop_scale"`
	CropRatio        [2]float64 `toml:"crop_ratio"`
	Flip             []float64  `toml:"flip"`
	Phantoms         struct {
		Count int     `toml:"count"`
		Size  int     `toml:"size"`
		Noise float64 `toml:"noise"`
		Seed  uint64  `toml:"seed"`
	} `toml:"phantoms"`
}

// probeConfig is carried for the native command.
type probeConfig struct {
	Encoder       string    `toml:"encoder"`
	Pooling       string    `toml:"pooling"`
	Cs            []float64 `toml:"cs"`
	LabelFraction float64   `toml:"label_fraction"`
	DenseVolumes  int       `toml:"dense_volumes"`
	Resamples     int       `toml:"resamples"`
}

// generated is the path that stands for phantoms, made in memory.
const generated = "phantoms"

// parseConfig reads layers of TOML and then settings key=value, each over the
// one before, over the defaults of the preset that the last of them names.
func parseConfig(layers, set []string) (config, error) {
	for _, assignment := range set {
		line, err := setting(assignment)
		if err != nil {
			return config{}, err
		}
		layers = append(slices.Clone(layers), line)
	}
	preset := "default"
	for _, l := range layers {
		var head struct {
			Preset string `toml:"preset"`
		}
		if err := toml.Unmarshal([]byte(l), &head); err == nil && head.Preset != "" {
			preset = head.Preset
		}
	}
	j, err := jepa.Default(preset)
	if err != nil {
		return config{}, fmt.Errorf("config: %w", err)
	}
	c := config{Config: j}
	p := phantom.Default()
	c.Data = dataConfig{Fit: string(data.FitCropOrPad), Pad: string(data.PadEdge), Normalize: string(data.NormalizeZ), CacheMiB: 1024, Val: data.DefaultSplit.Val, Test: data.DefaultSplit.Test}
	c.Data.Phantoms.Count, c.Data.Phantoms.Size, c.Data.Phantoms.Noise = 256, p.Size, p.Noise
	c.Probe = probeConfig{Encoder: "context", Pooling: "mean", Cs: []float64{0.01, 0.1, 1, 10}, LabelFraction: 1, DenseVolumes: 200, Resamples: 1000}
	// NaN and 0 are seen through all layers: weight_decay alone means a constant
	// one, and in_chans comes from the data.
	end, constant := c.WeightDecayEnd, c.WeightDecayEnd == c.WeightDecay
	c.WeightDecayEnd, c.Encoder.InChans = math.NaN(), 0
	for _, l := range layers {
		if err := jepa.DecodeTOML([]byte(l), &c); err != nil {
			return c, err
		}
	}
	if math.IsNaN(c.WeightDecayEnd) {
		if c.WeightDecayEnd = end; constant {
			c.WeightDecayEnd = c.WeightDecay
		}
	}
	return c, nil
}

// setting turns key=value into a line of TOML: a value that is not TOML by
// itself is a string.
func setting(assignment string) (string, error) {
	key, value, ok := strings.Cut(assignment, "=")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	if !ok || key == "" || value == "" {
		return "", fmt.Errorf("config: %q: write it as key=value, such as learning_rate=1e-3", assignment)
	}
	var any map[string]any
	line := key + " = " + value + "\n"
	if toml.Unmarshal([]byte(line), &any) == nil {
		return line, nil
	}
	quoted := fmt.Sprintf("%s = %q\n", key, value)
	if err := toml.Unmarshal([]byte(quoted), &any); err != nil {
		return "", fmt.Errorf("config: %q: %w", assignment, err)
	}
	return quoted, nil
}

func (c *config) options() data.Options {
	d := &c.Data
	var size []int // nil: the files' own
	switch {
	case len(d.Size) > 0:
		size = slices.Clone(d.Size)
	case len(c.Encoder.ImgSize) > 0:
		size = slices.Clone(c.Encoder.ImgSize)
	}
	cache := int64(d.CacheMiB) << 20
	if cache == 0 {
		cache = -1
	}
	return data.Options{
		Size: size, Fit: data.Fit(d.Fit), Pad: data.Pad(d.Pad), Normalize: data.Normalization(d.Normalize),
		Reorient: d.Reorient, Spacing: d.Spacing, Frame: d.Frame, FramesAsChannels: d.FramesAsChannels,
		ZeroNonFinite: d.ZeroNonFinite, SkipBad: d.SkipBad, CacheBytes: cache,
		Split: &data.SplitPlan{Val: d.Val, Test: d.Test, ByOrder: d.SplitByOrder, Seed: d.SplitSeed},
	}
}

func (c *config) augment() transform.Augment {
	return transform.Augment{Scale: c.Data.CropScale, Ratio: c.Data.CropRatio, Flip: c.Data.Flip}
}

// open opens the data that the paths name.
func (c *config) open() (data.Dataset, *data.Report, error) {
	paths := c.Data.Paths
	switch {
	case len(paths) == 0:
		return nil, nil, commandError("no data: name files or folders, or the word phantoms for generated volumes")
	case !slices.Contains(paths, generated):
		return data.Open(paths, c.options())
	case len(paths) > 1:
		return nil, nil, commandError("phantoms are generated and cannot be mixed with files: name one or the other")
	}
	p := c.Data.Phantoms
	return data.Phantoms(phantom.Config{Size: p.Size, Noise: p.Noise}, p.Count, p.Seed, c.options())
}

// complete fills in what the data decide and what nobody chose, and validates
// the whole.
func (c *config) complete(channels int, size []int) error {
	v := &c.Encoder
	if len(v.ImgSize) == 0 {
		v.ImgSize = slices.Clone(size)
	}
	if !slices.Equal(v.ImgSize, size) {
		return fmt.Errorf("config: encoder.img_size is %v and the samples are brought to %v: make data.size equal to it, or leave one out", v.ImgSize, size)
	}
	if v.InChans == 0 {
		v.InChans = channels
	}
	if v.InChans != channels {
		return fmt.Errorf("config: encoder.in_chans is %d and the samples have %d channels", v.InChans, channels)
	}
	if len(v.PatchSize) == 0 {
		p := min(16, slices.Min(size)/6)
		for p >= 2 && slices.ContainsFunc(size, func(s int) bool { return s%p != 0 }) {
			p--
		}
		if p < 2 {
			return fmt.Errorf("config: no patch size divides %v well: choose data.size or encoder.patch_size", size)
		}
		v.PatchSize = []int{p}
	}
	if v.EmbedDim == 0 {
		v.EmbedDim = 256
	}
	if v.Depth == 0 {
		v.Depth = 6
	}
	if v.NumHeads == 0 {
		v.NumHeads = max(1, v.EmbedDim/32)
	}
	c.Data.Size = slices.Clone(size)
	if err := c.Validate(); err != nil {
		return err
	}
	if err := c.options().Validate(); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if err := c.augment().Validate(len(v.ImgSize)); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if c.Data.CacheMiB < 0 {
		return fmt.Errorf("config: data.cache_mib is %d: it must be 0 (no cache) or more", c.Data.CacheMiB)
	}
	return nil
}

// toml writes the whole config, as parseConfig and the native command read it.
func (c config) toml() []byte {
	text, err := toml.Marshal(c)
	if err != nil {
		panic(err) // every field is a plain value
	}
	return text
}
