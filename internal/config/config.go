// Package config is the TOML file of a run, the same for the command and for
// wasm: the keys of jepa.Config at the top and tables for what they add, [data],
// [probe] and [finetune].
//
// Values come from the preset, then from a file, then from flags, each over the
// one before. What the data decide (their size and channels) and
// what nobody said is filled in by [Config.Complete].
package config

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"

	"wgjepa/data"
	"wgjepa/data/phantom"
	"wgjepa/data/transform"
	"wgjepa/internal/toml"
	"wgjepa/jepa"
)

// Config is a whole run.
type Config struct {
	jepa.Config
	Data     Data          `toml:"data"`
	Probe    Probe         `toml:"probe"`
	Finetune jepa.Finetune `toml:"finetune"`
}

// Data says what is read and how it is brought to the encoder.
type Data struct {
	Paths            []string   `toml:"paths"`
	Size             []int      `toml:"size"`
	Fit              string     `toml:"fit"`
	Pad              string     `toml:"pad"`
	Normalize        string     `toml:"normalize"`
	Reorient         bool       `toml:"reorient"`
	Spacing          []float64  `toml:"spacing"`
	Frame            int        `toml:"frame"`
	FramesAsChannels bool       `toml:"frames_as_channels"`
	Stack            bool       `toml:"stack"`
	ZeroNonFinite    bool       `toml:"zero_nonfinite"`
	SkipBad          bool       `toml:"skip_bad"`
	CacheMiB         int        `toml:"cache_mib"`
	Val              float64    `toml:"val"`
	Test             float64    `toml:"test"`
	SplitByOrder     bool       `toml:"split_by_order"`
	SplitSeed        uint64     `toml:"split_seed"`
	Stratify         bool       `toml:"stratify"`
	Splits           string     `toml:"splits"`
	Labels           string     `toml:"labels"`
	LabelColumn      string     `toml:"label_column"`
	LabelKind        string     `toml:"label_kind"`
	SubjectColumn    string     `toml:"subject_column"`
	SubjectFrom      string     `toml:"subject_from"`
	CropScale        [2]float64 `toml:"crop_scale"`
	CropRatio        [2]float64 `toml:"crop_ratio"`
	Flip             []float64  `toml:"flip"`
	Rotate           float64    `toml:"rotate"`
	Blur             [2]float64 `toml:"blur"`
	Noise            [2]float64 `toml:"noise"`
	Erase            [2]float64 `toml:"erase"`
	AugmentChance    float64    `toml:"augment_chance"`
	Resident         string     `toml:"resident"`
	Phantoms         Phantoms   `toml:"phantoms"`
}

// Phantoms says which torsos the word "phantoms" stands for among the paths.
type Phantoms struct {
	Count int     `toml:"count"`
	Size  int     `toml:"size"`
	Noise float64 `toml:"noise"`
	Seed  uint64  `toml:"seed"`
}

// Probe says how features are read out and judged.
type Probe struct {
	Encoder       string    `toml:"encoder" json:"encoder"`
	Pooling       string    `toml:"pooling" json:"pooling"`
	Cs            []float64 `toml:"cs" json:"cs"`
	LabelFraction float64   `toml:"label_fraction" json:"label_fraction"`
	DenseVolumes  int       `toml:"dense_volumes" json:"dense_volumes"`
	Resamples     int       `toml:"resamples" json:"resamples"`
	Intensities   bool      `toml:"intensities" json:"intensities"`
	Neighbours    int       `toml:"neighbours" json:"neighbours"`
	Folds         int       `toml:"folds" json:"folds"`
	Curve         []float64 `toml:"curve" json:"curve"`
}

// Network is the name, in files of weights, of the encoder that is probed.
func (p Probe) Network() string {
	if p.Encoder == "target" {
		return jepa.TargetEncoder
	}
	return jepa.ContextEncoder
}

// GeneratedData is the path that stands for phantoms, made in memory.
const GeneratedData = "phantoms"

// Text is one layer of a configuration.
type Text struct {
	Name string // what an error calls it, such as a file's name
	TOML []byte
}

// Parse reads layers of TOML, each over the one before, over the defaults of
// the preset that the last of them names.
func Parse(layers ...Text) (Config, error) {
	preset := "default"
	for _, l := range layers {
		var head struct {
			Preset string `toml:"preset"`
		}
		if err := toml.DecodeKnown(l.TOML, &head); err == nil && head.Preset != "" {
			preset = head.Preset
		}
	}
	c, err := Default(preset)
	if err != nil {
		return c, fmt.Errorf("config: %w", err)
	}
	c.Encoder.InChans = 0 // comes from the data
	err = c.Overlay(func() error {
		for _, l := range layers {
			if err := jepa.DecodeTOML(l.TOML, &c); err != nil {
				return fmt.Errorf("%s: %w", l.Name, err)
			}
		}
		return nil
	})
	return c, err
}

// Default is the preset with the command's own defaults. Sizes of the encoder
// are 0 until Complete.
func Default(preset string) (Config, error) {
	j, err := jepa.Default(preset)
	p := phantom.Default()
	return Config{
		Config: j,
		Data: Data{
			Fit: string(data.FitCropOrPad), Pad: string(data.PadEdge), Normalize: string(data.NormalizeZ), CacheMiB: 1024,
			Val: data.DefaultSplit.Val, Test: data.DefaultSplit.Test, Stratify: true, AugmentChance: 0.5,
			Resident: "auto", LabelKind: string(data.LabelAuto), SubjectFrom: string(data.SubjectAuto),
			Phantoms: Phantoms{Count: 256, Size: p.Size, Noise: p.Noise},
		},
		Probe:    Probe{Encoder: "context", Pooling: "mean", Cs: []float64{0.01, 0.1, 1, 10}, LabelFraction: 1, DenseVolumes: 200, Resamples: 1000, Intensities: true, Neighbours: 5, Curve: []float64{}},
		Finetune: jepa.DefaultFinetune(),
	}, err
}

// Options of opening the data. An img_size that is given without a data.size is
// the size to bring samples to, in_chans the channels to bring pictures to.
func (c *Config) Options() data.Options {
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
		Size: size, Dim: len(size), Fit: data.Fit(d.Fit), Pad: data.Pad(d.Pad), Normalize: data.Normalization(d.Normalize),
		Reorient: d.Reorient, Spacing: d.Spacing, Frame: d.Frame, FramesAsChannels: d.FramesAsChannels,
		Channels: c.Encoder.InChans,
		Stack:    d.Stack, ZeroNonFinite: d.ZeroNonFinite, SkipBad: d.SkipBad, CacheBytes: cache,
		Split:  &data.SplitPlan{Val: d.Val, Test: d.Test, ByOrder: d.SplitByOrder, Mixed: !d.Stratify, Seed: d.SplitSeed},
		Splits: d.Splits, Labels: d.Labels, LabelColumn: d.LabelColumn, LabelKind: data.LabelKind(d.LabelKind),
		SubjectColumn: d.SubjectColumn, Subjects: data.SubjectSource(d.SubjectFrom),
	}
}

// Augment is what training does to each sample.
func (c *Config) Augment() transform.Augment {
	d := &c.Data
	return transform.Augment{Scale: d.CropScale, Ratio: d.CropRatio, Flip: d.Flip, Rotate: d.Rotate, Blur: d.Blur, Noise: d.Noise, Erase: d.Erase, Chance: d.AugmentChance}
}

// Open opens the data that Paths name.
func (c *Config) Open() (data.Dataset, *data.Report, error) { return c.OpenWith(c.Options()) }

// OpenWith is Open with options beyond those of the file.
func (c *Config) OpenWith(o data.Options) (data.Dataset, *data.Report, error) {
	paths := c.Data.Paths
	if slices.Contains(paths, GeneratedData) {
		if len(paths) > 1 {
			return nil, nil, fmt.Errorf("config: %s are generated and cannot be mixed with files: name one or the other", GeneratedData)
		}
		p := c.Data.Phantoms
		return data.Phantoms(phantom.Config{Size: p.Size, Noise: p.Noise}, p.Count, p.Seed, o)
	}
	return data.Open(paths, o)
}

// Complete fills in what the data decide and what nobody chose, and validates
// the whole.
func (c *Config) Complete(channels int, size []int) error {
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
		p, err := choosePatch(size)
		if err != nil {
			return err
		}
		v.PatchSize = p
	}
	// The sizes of nidl's example on OrganMNIST3D.
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
		return c.suggestSize(err)
	}
	return c.ValidateOwn()
}

// choosePatch is the largest patch size that leaves six patches or more along
// every axis, or where there is none, one for each axis; a short axis may have
// fewer.
func choosePatch(size []int) ([]int, error) {
	if p := evenPatch(size); p > 0 {
		return []int{p}, nil
	}
	var patch []int
	for _, n := range size {
		p := axisPatch(n)
		if p == 0 {
			return nil, &PatchError{Size: size, Suggest: SuggestSize([][]int{size})}
		}
		patch = append(patch, p)
	}
	return patch, nil
}

// axisPatch is the largest patch size that divides n into six or more, or where n
// is short, into two or more; 0 where there is none.
func axisPatch(n int) int {
	for p := min(16, max(2, n/6)); p >= 2; p-- {
		if n%p == 0 && n >= 2*p {
			return p
		}
	}
	return 0
}

// evenPatch is the largest patch size, equal along all axes, that leaves six
// patches or more along each; 0 where there is none.
func evenPatch(size []int) int {
	for p := min(16, slices.Min(size)/6); p >= 2; p-- {
		if !slices.ContainsFunc(size, func(s int) bool { return s%p != 0 }) {
			return p
		}
	}
	return 0
}

// PatchError says that no patch size divides samples well.
type PatchError struct{ Size, Suggest []int }

func (e *PatchError) Error() string {
	return fmt.Sprintf("config: no patch size divides %v well: bring the samples to another size, such as data.size = %s, or choose encoder.patch_size", e.Size, intsText(e.Suggest))
}

// suggestSize adds to an error of a patch size that does not divide the image
// the size that would.
func (c *Config) suggestSize(err error) error {
	v := &c.Encoder
	if len(v.PatchSize) != len(v.ImgSize) {
		return err
	}
	good := make([]int, len(v.ImgSize))
	for i, s := range v.ImgSize {
		if v.PatchSize[i] < 1 {
			return err
		}
		good[i] = nearMultiple([]int{s}, v.PatchSize[i])[0]
	}
	if slices.Equal(good, v.ImgSize) {
		return err
	}
	return fmt.Errorf("%w; data.size = %s crops or pads every sample so that it fits", err, intsText(good))
}

// nearMultiple rounds each length up to a multiple of p, or down where that is
// nearer.
func nearMultiple(size []int, p int) []int {
	out := make([]int, len(size))
	for i, s := range size {
		out[i] = max(1, (s+p/2)/p) * p
	}
	return out
}

func intsText(v []int) string { return strings.ReplaceAll(fmt.Sprint(v), " ", ", ") }

// ValidateOwn checks the tables that are not jepa's.
func (c *Config) ValidateOwn() error {
	bad := func(format string, args ...any) error { return fmt.Errorf("config: "+format, args...) }
	d, p := &c.Data, &c.Probe
	if err := c.Options().Validate(); err != nil {
		return bad("%w", err)
	}
	if err := c.Augment().Validate(len(c.Encoder.ImgSize)); err != nil {
		return bad("%w", err)
	}
	if err := c.Finetune.Validate(); err != nil {
		return bad("%w", err)
	}
	switch {
	case !slices.Contains([]string{"auto", "on", "off"}, d.Resident):
		return bad("data.resident is %q: it must be auto, on or off", d.Resident)
	case d.CacheMiB < 0:
		return bad("data.cache_mib is %d: it must be 0 (no cache) or more", d.CacheMiB)
	case p.Encoder != "context" && p.Encoder != "target":
		return bad("probe.encoder is %q: it must be context or target", p.Encoder)
	case p.Pooling != "mean" && p.Pooling != "mean+std":
		return bad("probe.pooling is %q: it must be mean or mean+std", p.Pooling)
	case len(p.Cs) == 0 || slices.ContainsFunc(p.Cs, func(v float64) bool { return !(v > 0) || math.IsInf(v, 0) }):
		return bad("probe.cs is %v: it must list positive numbers", p.Cs)
	case !(p.LabelFraction > 0 && p.LabelFraction <= 1):
		return bad("probe.label_fraction is %g: it must be above 0 and at most 1", p.LabelFraction)
	case p.DenseVolumes < 0:
		return bad("probe.dense_volumes is %d: it must be 0 (no dense probe) or more", p.DenseVolumes)
	case p.Neighbours < 0:
		return bad("probe.neighbours is %d: it must be 0 (no nearest neighbours) or more", p.Neighbours)
	case p.Folds < 0 || p.Folds == 1 || p.Folds > 1000:
		return bad("probe.folds is %d: it must be 0 (the split decides) or 2 to 1000", p.Folds)
	case slices.ContainsFunc(p.Curve, func(v float64) bool { return !(v > 0 && v <= 1) }):
		return bad("probe.curve is %v: it must list shares above 0 and at most 1", p.Curve)
	case p.Resamples < 100 || p.Resamples > 1_000_000:
		return bad("probe.resamples is %d: it must be 100 to 1000000", p.Resamples)
	}
	return nil
}

// TOML writes the whole config with a comment on each key, as Parse reads it.
func (c Config) TOML() []byte {
	var out bytes.Buffer
	table := ""
	for line := range strings.Lines(string(toml.Encode(c))) {
		line = strings.TrimSuffix(line, "\n")
		key := ""
		switch name, _, isKey := strings.Cut(line, " = "); {
		case strings.HasPrefix(line, "["):
			table = strings.Trim(line, "[]") + "."
			key = strings.Trim(line, "[]")
		case isKey:
			key = table + name
		}
		if comment := comments[key]; comment != "" {
			line = fmt.Sprintf("%-40s # %s", line, comment)
		}
		out.WriteString(line + "\n")
	}
	return out.Bytes()
}

// Setting turns a flag KEY=VALUE into a line of TOML: a value that is not TOML
// by itself is a string.
func Setting(assignment string) (Text, error) {
	key, value, ok := strings.Cut(assignment, "=")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	if !ok || key == "" || value == "" {
		return Text{}, fmt.Errorf("--set %q: write it as key=value, such as --set learning_rate=1e-3", assignment)
	}
	line := key + " = " + value
	if err := toml.DecodeKnown([]byte(line), &struct{}{}); err != nil {
		quoted := key + " = " + Quote(value)
		if toml.DecodeKnown([]byte(quoted), &struct{}{}) != nil {
			return Text{}, fmt.Errorf("--set %q: %w", assignment, err)
		}
		line = quoted
	}
	return Text{"--set " + assignment, []byte(line + "\n")}, nil
}

// Quote writes a string as a value of TOML.
func Quote(s string) string { return toml.Quote(s) }
