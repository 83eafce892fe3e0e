package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"wgjepa/checkpoint/weights"
	"wgjepa/internal/config"
)

// trainOptions are the flags of train that are not part of the configuration.
type trainOptions struct {
	out               string
	checkpointEvery   int
	healthEvery       int
	probeEvery        int
	resume, overwrite bool
	pictures          bool
	init              string           // path of weights to begin from
	from              weightsFlags     // what to take from it
	start             *weights.Weights // what was read from it, nil without
}

func trainCommand(c *console) *cobra.Command {
	o := trainOptions{}
	var flags *configFlags
	cmd := &cobra.Command{
		Use:   "train DATA…",
		Short: "Train an encoder on images or volumes, without labels",
		Long: `Trains I-JEPA on the training split of DATA: folders of NIfTI files, DICOM series, NRRD
or MetaImage volumes, or pictures, such files themselves, NPZ and NPY sets, or the word
phantoms for generated volumes. Everything lies in the folder of the run: config.toml (complete, to train the same again), splits.csv,
metrics.jsonl, checkpoint.safetensors (exact state), pictures, and at the end
weights.safetensors. Ctrl-C finishes the step at hand and saves; --resume goes on
bit for bit as if nothing had happened.

--init begins from the weights of another run or program (timm, Hugging Face, nidl,
the paper's code) in place of random ones. The encoder's configuration is then theirs,
and they are fitted to the channels and the size of the data, images to volumes too.
The target encoder and the predictor are the file's where it has them.`,
		Example: `  wgjepa train phantoms --config demo --out runs/phantoms --max-steps 200
  wgjepa train scans/ --size 64,64,64 --encoder vit_small --out runs/scans
  wgjepa train set.npz --config my.toml --set learning_rate=1e-3
  wgjepa train scans/ --init vit_small.safetensors --out runs/continued
  wgjepa train --resume --out runs/scans`,
		RunE: func(_ *cobra.Command, paths []string) error {
			if o.resume && o.overwrite {
				return usagef("--resume continues a run and --overwrite removes it: give one of them")
			}
			if o.resume && o.out == "" {
				return usagef("--resume needs --out DIR, the folder of the run to continue")
			}
			if o.init != "" && o.resume {
				return usagef("--init begins a run and --resume continues one: give one of them")
			}
			return train(c, flags, paths, o)
		},
	}
	flags = trainFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.out, "out", "", "`folder` of the run (default runs/NAME, after the data)")
	completeFiles(cmd, "out")
	f.IntVar(&o.checkpointEvery, "checkpoint-every", 100, "updates between two checkpoints; 0: only at the end or when interrupted")
	f.IntVar(&o.healthEvery, "health-every", 0, "updates between two looks at the health of held-out features; 0: ten in all, negative: none")
	f.IntVar(&o.probeEvery, "probe-every", 0, "updates between two probes of labelled data, beside the untrained encoder; 0: none")
	f.BoolVar(&o.resume, "resume", false, "continue the run in --out")
	f.BoolVar(&o.overwrite, "overwrite", false, "remove the run in --out and begin anew")
	f.BoolVar(&o.pictures, "pictures", true, "draw curves, masks and features at the end")
	f.StringVar(&o.init, "init", "", "begin from the weights at this `path`, of a run or of another program")
	o.from.addNetwork(cmd, "init-")
	o.from.add(cmd, "init-")
	return cmd
}

// train runs the command.
func train(c *console, flags *configFlags, paths []string, o trainOptions) error {
	if o.init != "" {
		w, err := o.from.load(c, o.init)
		if err != nil {
			return err
		}
		if err := o.from.complete(&w.Config, "num_heads", "pos_embed"); err != nil {
			return err
		}
		o.start, flags.base = w, []config.Text{encoderLayer(w, o.init)}
	}
	conf, folder, err := prepareRun(flags, paths, o)
	if err != nil {
		return err
	}
	d, err := c.open()
	if err != nil {
		return err
	}
	defer d.Close()
	ds, err := readData(c, &conf)
	if err != nil {
		return err
	}
	channels, size := ds.Shape()
	if o.start != nil {
		choosePatch(o.start, &conf, size)
	}
	if err := conf.Complete(channels, size); err != nil {
		return err
	}
	if o.start != nil {
		if o.start, err = o.from.adapt(c, o.start, &conf); err != nil {
			return err
		}
	}
	t, err := newTraining(c, d, ds, &conf, folder, o)
	if err != nil {
		return err
	}
	defer t.close()
	return t.run()
}

// prepareRun reads the configuration and finds the folder.
func prepareRun(flags *configFlags, paths []string, o trainOptions) (config.Config, runFolder, error) {
	if o.resume {
		folder := runFolder(o.out)
		text, err := os.ReadFile(folder.path(configFile))
		if errors.Is(err, fs.ErrNotExist) {
			return config.Config{}, folder, fmt.Errorf("%s holds no run to resume: there is no %s in it", folder, configFile)
		}
		if err != nil {
			return config.Config{}, folder, err
		}
		layers, err := flags.over([]config.Text{{Name: folder.path(configFile), TOML: text}})
		if err != nil {
			return config.Config{}, folder, err
		}
		conf, err := config.Parse(layers...)
		if err != nil {
			return conf, folder, err
		}
		return conf, folder, setPaths(&conf, paths)
	}
	conf, err := flags.parse(paths)
	if err != nil {
		return conf, "", err
	}
	if len(conf.Data.Paths) == 0 {
		return conf, "", usagef("train: no data: name files or folders, or the word %s for generated volumes", config.GeneratedData)
	}
	if o.out == "" {
		name := filepath.Base(conf.Data.Paths[0])
		name, _, _ = strings.Cut(name, ".")
		o.out = filepath.Join("runs", name)
	}
	folder := runFolder(o.out)
	if !o.overwrite {
		err = folder.vacant()
	}
	return conf, folder, err
}
