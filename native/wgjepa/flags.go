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

	"wgjepa/data"
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
	f.set.IntSlice("size", nil, "bring every sample to this size, such as 32,48,32 (data.size)")
	f.set.String("fit", "", "how: crop-or-pad or resize (data.fit)")
	f.set.String("normalize", "", "intensities: z, z-foreground, robust or none (data.normalize)")
	f.set.Bool("skip-bad", false, "leave unreadable files out (data.skip_bad)")
	f.set.String("labels", "", "CSV or TSV with a label or a subject for each image (data.labels)")
	f.set.String("label-column", "", "its column that holds the labels, where that is not called label, class or group (data.label_column)")
	f.set.String("splits", "", "CSV that says which image is for train, val and test, such as a run's splits.csv (data.splits)")
	f.set.StringArrayVar(&f.sets, "set", nil, "set any key of the configuration, such as --set optimizer=sgd")
	f.keys["size"], f.keys["fit"], f.keys["normalize"], f.keys["skip-bad"] = "data.size", "data.fit", "data.normalize", "data.skip_bad"
	f.keys["labels"], f.keys["label-column"], f.keys["splits"] = "data.labels", "data.label_column", "data.splits"
	return f
}

// trainFlags adds the flags of a training.
func trainFlags(cmd *cobra.Command) *configFlags {
	f := dataFlags(cmd)
	f.set.StringVar(&f.file, "config", "", "TOML file of the run (wgjepa config writes one), or demo for the demo's")
	f.set.String("preset", "", "default, nidl or paper")
	f.set.String("encoder", "", "a named encoder: "+strings.Join(model.SizeNames(), ", "))
	f.set.IntSlice("patch", nil, "patch size (encoder.patch_size)")
	f.set.Int("max-steps", 0, "updates (max_steps)")
	f.set.Int("epochs", 0, "length of training (max_epochs)")
	f.set.Int("batch-size", 0, "samples a batch (batch_size)")
	f.set.Float64("learning-rate", 0, "its highest value (learning_rate)")
	f.set.Uint64("seed", 0, "of everything random (seed)")
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
		if flag.Value.Type() == "string" {
			value = fmt.Sprintf("%q", value)
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

// openData opens the data, says what was found and completes the configuration
// with it.
func openData(c *console, conf *config.Config) (data.Dataset, error) {
	ds, err := readData(c, conf)
	if err != nil {
		return nil, err
	}
	channels, size := ds.Shape()
	return ds, conf.Complete(channels, size)
}

// readData opens the data and says what was found.
func readData(c *console, conf *config.Config) (data.Dataset, error) {
	return readDataWith(c, conf, conf.Options())
}

// readDataWith is readData with options beyond those of the configuration.
func readDataWith(c *console, conf *config.Config, o data.Options) (data.Dataset, error) {
	if len(conf.Data.Paths) == 0 {
		return nil, usagef("no data: name files or folders, or the word %s for generated volumes", config.GeneratedData)
	}
	ds, report, err := conf.OpenWith(o)
	if err != nil {
		return nil, adviseData(err, report, conf)
	}
	c.say("data: %s", strings.ReplaceAll(report.String(), "\n", "\n      "))
	if n := len(report.Refused); n > 0 {
		c.warn("%d files could not be used and were left out", n)
	}
	return ds, nil
}

// adviseData adds to an error of reading which flag would help.
func adviseData(err error, report *data.Report, conf *config.Config) error {
	var differ *data.SizesError
	switch {
	case report == nil:
	case errors.Is(err, data.ErrAxes):
		return fmt.Errorf("%w\n--size H,W,D (or H,W) says which are wanted, with --skip-bad the others are left out", err)
	case len(report.Refused) > 0 && !conf.Data.SkipBad:
		missing := func(r data.Refusal) bool { return slices.Contains(conf.Data.Paths, r.Name) }
		if !slices.ContainsFunc(report.Refused, missing) {
			err = fmt.Errorf("%w\nwith --skip-bad they are left out", err)
		}
		if strings.Contains(err.Error(), "NaN or Inf") {
			err = fmt.Errorf("%w\nwith --set data.zero_nonfinite=true voxels that are NaN or Inf are read as 0", err)
		}
	case errors.As(err, &differ):
		size := strings.ReplaceAll(sizeText(config.SuggestSize(differ.Sizes)), "×", ",")
		return fmt.Errorf("%w\nwith --size %s, say, every sample is cropped or padded to that size, with --fit resize too it is scaled", err, size)
	}
	return err
}
