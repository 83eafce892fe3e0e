package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"wgjepa/data"
	"wgjepa/gpu"
	"wgjepa/internal/config"
	"wgjepa/internal/evaluate"
)

// probeFlags adds the flags of the probes.
func probeFlags(cmd *cobra.Command, f *configFlags) {
	featureFlags(cmd, f)
	poolingFlags(cmd, f)
	f.set.Float64("label-fraction", 0, "share of the training labels that the probe may see (probe.label_fraction)")
	f.set.Int("folds", 0, "cross-validate classes and numbers in so many folds of subjects; 0: the split decides (probe.folds)")
	f.set.Float64Slice("curve", nil, "`shares` of the training labels to probe classes with, such as 0.01,0.05,0.1,1 (probe.curve)")
	f.set.Lookup("curve").DefValue = "" // the configuration's
	f.set.Int("neighbours", 0, "nearest training samples that vote on a class; 0: none do (probe.neighbours)")
	f.set.Int("dense-volumes", 0, "most training volumes of the dense probe; 0: no dense probe (probe.dense_volumes)")
	for flag, key := range map[string]string{"label-fraction": "probe.label_fraction", "dense-volumes": "probe.dense_volumes",
		"folds": "probe.folds", "curve": "probe.curve", "neighbours": "probe.neighbours"} {
		f.keys[flag] = key
	}
}

// featureFlags adds the flag that chooses the encoder whose features are taken.
func featureFlags(cmd *cobra.Command, f *configFlags) {
	oneOf(cmd, new(string), "features", "whose features: the context or the target encoder's (probe.encoder)", "context", "target")
	f.keys["features"] = "probe.encoder"
}

// poolingFlags adds the flag that says how the features of patches become a sample's.
func poolingFlags(cmd *cobra.Command, f *configFlags) {
	oneOf(cmd, new(string), "pooling", "what is taken of a sample's patch features (probe.pooling)", "mean", "mean+std")
	f.keys["pooling"] = "probe.pooling"
}

func probeCommand(c *console) *cobra.Command {
	var flags *configFlags
	batch := 0
	cmd := &cobra.Command{
		Use:   "probe RUN [DATA…]",
		Short: "Measure what frozen features hold, beside the untrained encoder",
		Long: `Freezes the encoder of a run (its folder, or a weights or checkpoint file) and fits
logistic regressions on its features: from a sample's pooled features to its class,
and from each patch's features to the label of its voxels; ridge regression where
labels are numbers. The strength of the penalty is chosen on validation samples,
figures are of the test samples, with 95 % bootstrap intervals, always beside the same
encoder untrained and the intensities themselves. A * marks a difference whose
interval does not hold 0. Data, their preprocessing and their split are the run's
unless said otherwise; --folds cross-validates instead, by subject, and --curve asks
with ever fewer labels.`,
		Example: `  wgjepa probe runs/phantoms
  wgjepa probe runs/scans labelled/ --labels participants.tsv --folds 5
  wgjepa probe runs/scans --curve 0.01,0.05,0.1,1
  wgjepa probe runs/scans labelled/ --label-fraction 0.05
  wgjepa probe weights.safetensors set.npz --features target --pooling mean+std`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := c.openRunOn(flags, args[0], args[1:], reading{judged: true})
			if err != nil {
				return err
			}
			defer s.close()
			if batch < 1 {
				batch = s.conf.BatchSize
			}
			return c.evaluate(s.d, s.ds, &s.conf, args[0], batch, s.trained(batch))
		},
	}
	flags = dataFlags(cmd)
	probeFlags(cmd, flags)
	cmd.Flags().IntVar(&batch, "batch-size", 0, "samples at once (default: the run's)")
	return cmd
}

// evaluate probes the trained encoder beside the untrained one and reports.
func (c *console) evaluate(d *gpu.Device, ds data.Dataset, conf *config.Config, run string, batch int, trained evaluate.Encoder) error {
	r, err := c.ask(ds, conf, trained, untrained(d, conf, batch))
	if err != nil {
		return err
	}
	return c.report(d.Info(), run, conf, r)
}

// ask runs the probes and shows how far they are.
func (c *console) ask(ds data.Dataset, conf *config.Config, trained, untrained evaluate.Encoder) (*evaluate.Result, error) {
	bar := (*bar)(nil)
	defer func() { bar.end() }()
	return evaluate.Run(ds, conf, trained, untrained, func(done, total int) error {
		if bar == nil {
			bar = c.bar("features", total, 0)
		}
		bar.set(done)
		if done == total {
			bar.end()
			c.say("fitting the probes")
		}
		return nil
	})
}

// probeReport is the JSON output of probe.
type probeReport struct {
	Run     string       `json:"run"`
	Adapter string       `json:"adapter"`
	Probe   config.Probe `json:"probe"`
	*evaluate.Result
}

func (c *console) report(i gpu.Info, run string, conf *config.Config, r *evaluate.Result) error {
	if len(r.Tasks) == 0 {
		return errors.New("there was nothing to probe")
	}
	if c.json {
		c.emit(probeReport{run, i.Name, conf.Probe, r})
		return nil
	}
	for _, t := range r.Tasks {
		printTask(c.out, &t)
	}
	printCurve(c.out, r.Curve)
	fmt.Fprintf(c.out, "pooled features of the test samples: RankMe %.1f trained, %.1f untrained; deviation %.3g, %.3g\n", r.Health.RankMe[0], r.Health.RankMe[1], r.Health.FeatureStd[0], r.Health.FeatureStd[1])
	for _, n := range r.Notes {
		fmt.Fprintf(c.out, "note: %s\n", n)
	}
	return nil
}
