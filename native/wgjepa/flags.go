package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"wgjepa/internal/config"
	"wgjepa/model"
)

// configFlags are the flags that stand for keys of the configuration; those
// given lie over the file.
type configFlags struct {
	file string
	base []config.Text // layers beneath the file
	sets []string
	keys map[string]string // flag → key
	set  *pflag.FlagSet
}

// dataFlags adds the flags of reading data.
func dataFlags(cmd *cobra.Command) *configFlags {
	f := &configFlags{set: cmd.Flags(), keys: map[string]string{}}
	f.set.IntSlice("size", nil, "bring every sample to this `size`, such as 32,48,32 (data.size)")
	oneOf(cmd, new(string), "fit", "how samples are brought to --size (data.fit)", "crop-or-pad", "resize")
	oneOf(cmd, new(string), "normalize", "what is done to intensities (data.normalize)", "z", "z-foreground", "robust", "none")
	f.set.Bool("skip-bad", false, "leave unreadable files out (data.skip_bad)")
	f.set.String("labels", "", "CSV or TSV `file` with a label or a subject for each image (data.labels)")
	f.set.String("label-column", "", "`column` of --labels with the labels, where it is not called label, class or group (data.label_column)")
	f.set.String("splits", "", "CSV `file` that says which image is for train, val and test, such as a run's splits.csv (data.splits)")
	completeFiles(cmd, "labels", "csv", "tsv")
	completeFiles(cmd, "splits", "csv")
	f.set.StringArrayVar(&f.sets, "set", nil, "set any `key=value` of the configuration, such as --set optimizer=sgd")
	f.keys["size"], f.keys["fit"], f.keys["normalize"], f.keys["skip-bad"] = "data.size", "data.fit", "data.normalize", "data.skip_bad"
	f.keys["labels"], f.keys["label-column"], f.keys["splits"] = "data.labels", "data.label_column", "data.splits"
	return f
}

// trainFlags adds the flags of a training.
func trainFlags(cmd *cobra.Command) *configFlags {
	f := dataFlags(cmd)
	f.set.StringVar(&f.file, "config", "", "TOML `file` of the run (wgjepa config writes one), or demo for the demo's")
	completeFiles(cmd, "config", "toml")
	oneOf(cmd, new(string), "preset", "whose defaults hold (preset)", presets...)
	oneOf(cmd, new(string), "encoder", "`size` of the encoder: "+orList(model.SizeNames()), model.SizeNames()...)
	f.set.IntSlice("patch", nil, "`size` of a patch, such as 8 or 8,8,4 (encoder.patch_size)")
	f.set.Int("max-steps", 0, "number of updates (max_steps)")
	f.set.Int("epochs", 0, "number of epochs (max_epochs)")
	f.set.Int("batch-size", 0, "samples in a batch (batch_size)")
	f.set.Float64("learning-rate", 0, "highest learning rate (learning_rate)")
	f.set.Uint64("seed", 0, "seed of everything random (seed)")
	for flag, key := range map[string]string{
		"preset": "preset", "patch": "encoder.patch_size", "max-steps": "max_steps", "epochs": "max_epochs", "batch-size": "batch_size", "learning-rate": "learning_rate", "seed": "seed",
	} {
		f.keys[flag] = key
	}
	return f
}

// layers are the configuration's layers above the preset: the file, then what
// was given as flags.
func (f *configFlags) layers() ([]config.Text, error) {
	layers := slices.Clone(f.base)
	switch f.file {
	case "":
	case demoConfigName:
		layers = append(layers, config.Demo())
	default:
		text, err := os.ReadFile(f.file)
		if err != nil {
			return nil, fmt.Errorf("the configuration: %w", err)
		}
		layers = append(layers, config.Text{Name: f.file, TOML: text})
	}
	return f.over(layers)
}

// over adds the flags to layers.
func (f *configFlags) over(layers []config.Text) ([]config.Text, error) {
	var failed error
	f.set.Visit(func(flag *pflag.Flag) {
		value := flag.Value.String()
		if flag.Name == "encoder" && f.keys["encoder"] == "" { // a name of an encoder
			var v model.ViT
			if err := v.SetSize(value); err != nil {
				failed = errors.Join(failed, usageError{err})
			}
			layers = append(layers, config.Text{Name: "--encoder", TOML: fmt.Appendf(nil, "[encoder]\nembed_dim = %d\ndepth = %d\nnum_heads = %d\n", v.EmbedDim, v.Depth, v.NumHeads)})
			return
		}
		key, ok := f.keys[flag.Name]
		if !ok {
			return
		}
		if _, word := flag.Value.(*choice); word || flag.Value.Type() == "string" {
			value = config.Quote(value)
		}
		layers = append(layers, config.Text{Name: "--" + flag.Name, TOML: fmt.Appendf(nil, "%s = %s\n", key, value)})
	})
	for _, s := range f.sets {
		l, err := config.Setting(s)
		if err != nil {
			failed = errors.Join(failed, usageError{err})
			continue
		}
		layers = append(layers, l)
	}
	return layers, failed
}

// gives reports whether a flag sets a key.
func (f *configFlags) gives(key string) bool {
	for flag, k := range f.keys {
		if k == key && f.set.Changed(flag) {
			return true
		}
	}
	return slices.ContainsFunc(f.sets, func(s string) bool {
		name, _, _ := strings.Cut(s, "=")
		return strings.TrimSpace(name) == key
	})
}

// ofTraining is the first --set of a key that belongs to a training; "" without.
func (f *configFlags) ofTraining() string {
	for _, s := range f.sets {
		key, _, _ := strings.Cut(s, "=")
		key = strings.TrimSpace(key)
		if table, _, _ := strings.Cut(key, "."); !slices.Contains([]string{"data", "probe", "finetune"}, table) {
			return key
		}
	}
	return ""
}

// parse reads the whole configuration, with the data of the command line.
func (f *configFlags) parse(paths []string) (config.Config, error) {
	layers, err := f.layers()
	if err != nil {
		return config.Config{}, err
	}
	c, err := config.Parse(layers...)
	if err != nil {
		return c, err
	}
	return c, setPaths(&c, paths)
}

// setPaths gives the configuration the data of the command line, absolute as its
// tables so that a resumed run finds them from anywhere.
func setPaths(c *config.Config, paths []string) error {
	for _, table := range []*string{&c.Data.Labels, &c.Data.Splits} {
		if *table != "" {
			full, err := filepath.Abs(*table)
			if err != nil {
				return err
			}
			*table = full
		}
	}
	if len(paths) == 0 {
		return nil
	}
	c.Data.Paths = nil
	for _, p := range paths {
		if p != config.GeneratedData {
			full, err := filepath.Abs(p)
			if err != nil {
				return err
			}
			p = full
		}
		c.Data.Paths = append(c.Data.Paths, p)
	}
	return nil
}
