package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"wgjepa/data"
	"wgjepa/gpu"
	"wgjepa/internal/atomicfile"
	"wgjepa/internal/config"
	"wgjepa/internal/evaluate"
	"wgjepa/jepa"
)

// predictionsFile lists what a finetuned network says of each labelled sample.
const predictionsFile = "predictions.csv"

type finetuneOptions struct {
	out               string
	resume, overwrite bool
	from              weightsFlags
}

func finetuneCommand(c *console) *cobra.Command {
	o := finetuneOptions{}
	var flags *configFlags
	cmd := &cobra.Command{
		Use:   "finetune RUN_OR_WEIGHTS [DATA…]",
		Short: "Train encoder and a linear head on labels",
		Long: `Trains an encoder and a linear head on its pooled features to the classes or the
numbers that label DATA (data.label_kind says which; the run's data unless others are
named). The head begins fitted to the frozen features, layers near the input move
less (finetune.layer_decay), rare classes count as much as common ones, and the weights
that validate best are kept, those at the start among them. The test samples then judge
it beside the frozen encoder's probe and that of an untrained encoder, with 95 %
bootstrap intervals; a * marks a difference whose interval does not hold 0.

The folder holds config.toml, splits.csv, metrics.jsonl, curves.png, predictions.csv,
checkpoint.safetensors and at the end weights.safetensors, which embed, export and the
other commands take like any encoder's, and label applies to new data. Ctrl-C saves;
--resume goes on bit for bit.`,
		Example: `  wgjepa finetune runs/scans labelled/ --out runs/finetuned
  wgjepa finetune runs/scans labelled/ --head-only --label-fraction 0.1
  wgjepa finetune vit_small.safetensors scans/ --labels people.csv --label-column age
  wgjepa label runs/finetuned new/ --out labels.csv`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if o.resume && o.overwrite {
				return usagef("--resume continues a run and --overwrite removes it: give one of them")
			}
			return finetune(c, flags, args[0], args[1:], o)
		},
	}
	flags = dataFlags(cmd)
	f := cmd.Flags()
	f.Bool("head-only", false, "keep the encoder frozen (finetune.head_only)")
	f.Int("epochs", 0, "most epochs (finetune.epochs)")
	f.Float64("learning-rate", 0, "highest learning rate, of the head (finetune.learning_rate)")
	f.Int("batch-size", 0, "samples in a batch (finetune.batch_size)")
	f.Float64("label-fraction", 0, "share of the training labels to use (probe.label_fraction)")
	featureFlags(cmd, flags)
	for flag, key := range map[string]string{
		"head-only": "finetune.head_only", "epochs": "finetune.epochs", "learning-rate": "finetune.learning_rate", "batch-size": "finetune.batch_size",
		"label-fraction": "probe.label_fraction",
	} {
		flags.keys[flag] = key
	}
	f.StringVar(&o.out, "out", "", "`folder` of the run (default runs/finetuned-NAME)")
	completeFiles(cmd, "out")
	f.BoolVar(&o.resume, "resume", false, "continue the run in --out")
	f.BoolVar(&o.overwrite, "overwrite", false, "remove the run in --out and begin anew")
	o.from.add(cmd, "weights-")
	return cmd
}

// finetune runs the command.
func finetune(c *console, flags *configFlags, path string, paths []string, o finetuneOptions) error {
	if o.out == "" {
		name, _, _ := strings.Cut(filepath.Base(filepath.Clean(path)), ".")
		o.out = filepath.Join("runs", "finetuned-"+name)
	}
	folder := runFolder(o.out)
	if !o.resume && !o.overwrite {
		if err := folder.vacant(); err != nil {
			return err
		}
	}
	if o.resume && !folder.holdsRun() {
		return fmt.Errorf("%s holds no run to resume", folder)
	}
	s, err := c.openEncoderOn(flags, path, paths, &o.from, reading{judged: true})
	if err != nil {
		return err
	}
	defer s.close()
	unlock, err := folder.begin(o.resume, o.overwrite)
	if err != nil {
		return err
	}
	defer unlock()
	if o.overwrite {
		if err := folder.remove(predictionsFile); err != nil {
			return err
		}
	}
	t := &tuning{c: c, d: s.d, ds: s.ds, conf: &s.conf, folder: folder, o: o}
	if err := t.open(); err != nil {
		return err
	}
	defer t.close()
	batch := min(s.conf.Finetune.BatchSize, s.ds.Len())
	return t.run(evaluate.Lend(s.d, func() (*jepa.Features, error) { return jepa.ImportedFeatures(s.d, s.weights, batch) }),
		untrained(s.d, &s.conf, batch))
}

// tuning is one run of finetune.
type tuning struct {
	c       *console
	d       *gpu.Device
	ds      data.Dataset
	conf    *config.Config
	folder  runFolder
	o       finetuneOptions
	bar     *bar
	metrics *metrics
}

// open writes what is known before training.
func (t *tuning) open() error {
	if t.o.resume {
		return nil
	}
	if err := atomicfile.WriteBytes(t.folder.path(configFile), t.conf.TOML()); err != nil {
		return err
	}
	return t.folder.writeSplit(t.ds)
}

// openMetrics opens the metrics file once it is known after which step training begins.
func (t *tuning) openMetrics(step int) (err error) {
	if t.metrics == nil {
		t.metrics, _, err = t.folder.openMetrics(step)
	}
	return err
}

func (t *tuning) close() {
	t.bar.end()
	if t.metrics != nil {
		t.metrics.close()
	}
}

func (t *tuning) run(encoder, untrained evaluate.Encoder) error {
	ctx, stop := interruptible(nil)
	defer stop()
	r, err := evaluate.Finetune(ctx, t.d, t.ds, t.conf, encoder, evaluate.FinetuneOptions{
		Dir: string(t.folder), Resume: t.o.resume, Untrained: untrained,
		Warn: func(message string) { t.c.warn("%s", message) },
		OnStep: func(step, total int) error {
			if t.bar == nil {
				t.bar = t.c.bar("finetune", total, step-1)
			}
			t.bar.set(step)
			return t.openMetrics(step - 1)
		},
		OnEpoch: func(s jepa.FinetuneStats, validation float64, best bool) {
			m := tuned{s, validation, best}
			if t.openMetrics(s.Step-1) == nil {
				_ = t.metrics.add(metric{Finetune: &m}) // the checkpoint on the same disk says more
			}
			if t.bar != nil {
				t.bar.note("loss", fmt.Sprintf("%.4f", s.Loss), "validation", fmt.Sprintf("%.4f", validation))
			}
			if t.c.json && finite(s.Loss, validation) {
				t.c.emit(struct {
					Event string `json:"event"`
					tuned
				}{"epoch", m})
			}
		},
	})
	t.bar.end()
	again := fmt.Sprintf("the same command with --resume --out %s", quote(string(t.folder)))
	switch {
	case errors.Is(err, jepa.ErrInterrupted):
		t.c.result(map[string]any{"event": "interrupted", "folder": string(t.folder)}, "interrupted; to continue: %s\n", again)
		return errSaid
	case err != nil && t.metrics == nil && !t.o.resume: // before the first step: there is nothing to resume
		return errors.Join(err, t.folder.remove(configFile), t.folder.remove(splitFile))
	case err != nil:
		return err
	}
	if err := t.folder.drawCurves(); err != nil {
		t.c.warn("%s could not be drawn: %v", curvesFile, err)
	}
	if err := t.writePredictions(r); err != nil {
		return err
	}
	t.report(r)
	return nil
}

// report prints the figures as probe does.
func (t *tuning) report(r *evaluate.Finetuned) {
	c := t.c
	if c.json {
		c.emit(struct {
			Event string `json:"event"`
			*evaluate.Finetuned
			Weights string `json:"weights"`
		}{"done", r, t.folder.path(jepa.WeightsFile)})
		return
	}
	what := "regression"
	if !r.Regression {
		what = fmt.Sprintf("%d classes", len(r.Classes))
	}
	fmt.Fprintf(c.out, "finetune, %s: %d training, %d validation, %d test samples; %d steps; validation loss %.4g frozen, %.4g finetuned\n", what, r.Units[0], r.Units[1], r.Units[2], r.Steps, r.Loss[0], r.Loss[1])
	rows := [][]string{{"", "finetuned", "frozen probe", "finetuned − frozen", "untrained probe"}}
	for _, s := range r.Scores {
		rows = append(rows, []string{s.Metric, intervalText(s.Finetuned, false), intervalText(s.Frozen, false), differenceText(s.Difference), intervalText(*s.Untrained, false)})
	}
	printColumns(c.out, rows)
	for _, n := range r.Notes {
		fmt.Fprintf(c.out, "note: %s\n", n)
	}
	fmt.Fprintf(c.out, "%s, %s\nnext: %s label %s NEW_DATA --out labels.csv\n", t.folder.path(jepa.WeightsFile), t.folder.path(predictionsFile), os.Args[0], quote(string(t.folder)))
}

func (t *tuning) writePredictions(r *evaluate.Finetuned) error {
	return atomicfile.Write(t.folder.path(predictionsFile), r.WritePredictions)
}
