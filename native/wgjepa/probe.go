package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"wgjepa/checkpoint"
	"wgjepa/data"
	"wgjepa/gpu"
	"wgjepa/internal/config"
	"wgjepa/internal/evaluate"
	"wgjepa/jepa"
)

// probeFlags adds the flags of the probes.
func probeFlags(cmd *cobra.Command, f *configFlags) {
	f.set.String("features", "", "of which encoder: context or target (probe.encoder)")
	f.set.String("pooling", "", "of a sample's patch features: mean or mean+std (probe.pooling)")
	f.set.Float64("label-fraction", 0, "share of the training labels that the probe may see (probe.label_fraction)")
	f.set.Int("folds", 0, "cross-validate classes and numbers in so many folds of subjects; 0: the split decides (probe.folds)")
	f.set.Float64Slice("curve", nil, "shares of the training labels to probe classes with, such as 0.01,0.05,0.1,1 (probe.curve)")
	f.set.Int("neighbours", 0, "nearest training samples that vote on a class; 0: none do (probe.neighbours)")
	f.set.Int("dense-volumes", 0, "most training volumes of the dense probe; 0: no dense probe (probe.dense_volumes)")
	for flag, key := range map[string]string{"features": "probe.encoder", "pooling": "probe.pooling", "label-fraction": "probe.label_fraction", "dense-volumes": "probe.dense_volumes",
		"folds": "probe.folds", "curve": "probe.curve", "neighbours": "probe.neighbours"} {
		f.keys[flag] = key
	}
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
  wgjepa probe runs/scans labelled/ --set data.labels=participants.tsv --folds 5
  wgjepa probe runs/scans --curve 0.01,0.05,0.1,1
  wgjepa probe runs/scans labelled/ --label-fraction 0.05
  wgjepa probe weights.safetensors set.npz --features target --pooling mean+std`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file, conf, err := openRun(flags, args[0])
			if err != nil {
				return err
			}
			defer file.Close()
			if err := setPaths(&conf, args[1:]); err != nil {
				return err
			}
			d, err := c.open()
			if err != nil {
				return err
			}
			defer d.Close()
			ds, err := openData(c, &conf)
			if err != nil {
				return err
			}
			if err := c.warnMoved(args[0], ds); err != nil {
				return err
			}
			if batch < 1 {
				batch = conf.BatchSize
			}
			return c.evaluate(d, ds, &conf, args[0], batch, evaluate.Lend(d, func() (*jepa.Features, error) {
				return jepa.LoadFeatures(d, file, conf.Probe.Network(), batch)
			}))
		},
	}
	flags = dataFlags(cmd)
	probeFlags(cmd, flags)
	cmd.Flags().IntVar(&batch, "batch-size", 0, "samples at once (default: the run's)")
	return cmd
}

// evaluate probes the trained encoder beside the untrained one and reports.
func (c *console) evaluate(d *gpu.Device, ds data.Dataset, conf *config.Config, run string, batch int, trained evaluate.Encoder) error {
	untrained := evaluate.Lend(d, func() (*jepa.Features, error) { return jepa.UntrainedFeatures(d, conf.Config, batch) })
	r, err := c.ask(ds, conf, trained, untrained)
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

// openRun opens the weights of a run, given as its folder or as a file, and the
// configuration that they belong to: their own, and the paths of the data from
// config.toml beside them.
func openRun(flags *configFlags, path string) (*checkpoint.File, config.Config, error) {
	folder := runFolder(path)
	s, err := os.Stat(path)
	if err != nil {
		return nil, config.Config{}, err
	}
	if s.IsDir() {
		path = folder.path(jepa.WeightsFile)
		if _, err := os.Stat(path); err != nil {
			path = folder.path(jepa.StateFile) // not finished yet
		}
		if _, err := os.Stat(path); err != nil {
			return nil, config.Config{}, fmt.Errorf("%s holds neither %s nor %s: train first, or name a file of weights", folder, jepa.WeightsFile, jepa.StateFile)
		}
	} else {
		folder = runFolder(filepath.Dir(path))
	}
	file, err := checkpoint.Open(path)
	if err != nil {
		return nil, config.Config{}, err
	}
	conf, err := configOf(flags, file, folder)
	if err != nil {
		file.Close()
	}
	return file, conf, err
}

func configOf(flags *configFlags, file *checkpoint.File, folder runFolder) (config.Config, error) {
	trained, err := jepa.ReadConfig(file)
	if err != nil {
		return config.Config{}, err
	}
	layers := []config.Text{{Name: "the configuration in " + file.Path(), TOML: []byte(jepa.ReadNote(file))}}
	if text, err := os.ReadFile(folder.path(configFile)); err == nil {
		layers = append(layers, config.Text{Name: folder.path(configFile), TOML: text})
	}
	if layers, err = flags.over(layers); err != nil {
		return config.Config{}, err
	}
	conf, err := config.Parse(layers...)
	conf.Config = trained // what the weights belong to, whatever the file says
	return conf, err
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

func printTask(w io.Writer, t *evaluate.Task) {
	units, penalty := "samples", "C"
	if t.Name == "dense" {
		units = "volumes"
	}
	if t.Regression {
		penalty = "penalty"
	}
	what := ""
	if n := len(t.Classes); n > 0 {
		what = fmt.Sprintf(", %d classes", n)
	}
	if t.Note != "" {
		what += ", " + t.Note
	}
	fmt.Fprintf(w, "%s%s: %d training, %d validation, %d test %s; %s %g trained, %g untrained\n", t.Name, what, t.Units[0], t.Units[1], t.Units[2], units, penalty, t.Chosen[0], t.Chosen[1])
	rows := [][]string{scoreColumns("", &t.Scores[0])}
	for _, s := range t.Scores {
		rows = append(rows, scoreRow(s.Metric, &s))
	}
	printColumns(w, rows)
	fmt.Fprintln(w)
}

// scoreColumns heads a table of scores like s.
func scoreColumns(first string, s *evaluate.Score) []string {
	columns := []string{first, "trained", "untrained", "trained − untrained"}
	if s.Intensities != nil {
		columns = append(columns, "intensities")
	}
	if s.PositionOnly != nil {
		columns = append(columns, "position only")
	}
	return columns
}

func scoreRow(first string, s *evaluate.Score) []string {
	row := []string{first, intervalText(s.Trained, false), intervalText(s.Untrained, false), differenceText(s.Difference)}
	for _, i := range []*evaluate.Interval{s.Intensities, s.PositionOnly} {
		if i != nil {
			row = append(row, intervalText(*i, false))
		}
	}
	return row
}

// printCurve prints the label-fraction curve.
func printCurve(w io.Writer, curve []evaluate.Point) {
	if len(curve) == 0 {
		return
	}
	for i, s := range curve[0].Scores {
		rows := [][]string{scoreColumns("labels", &s)}
		for _, p := range curve {
			rows = append(rows, scoreRow(fmt.Sprintf("%g %%, %d samples", 100*p.Fraction, p.Samples), &p.Scores[i]))
		}
		fmt.Fprintf(w, "%s by share of the training labels\n", s.Metric)
		printColumns(w, rows)
		fmt.Fprintln(w)
	}
}

// printColumns prints rows of cells, each column as wide as its widest cell.
func printColumns(w io.Writer, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString("  " + cell + strings.Repeat(" ", widths[i]-len([]rune(cell))))
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// differenceText marks a difference whose interval does not hold 0.
func differenceText(d evaluate.Interval) string {
	star := " "
	if d.Low > 0 || d.High < 0 {
		star = "*"
	}
	return intervalText(d, true) + star
}

func intervalText(i evaluate.Interval, sign bool) string {
	if math.IsNaN(i.Value) {
		return "-" // such as the Dice of a class that neither occurs nor is predicted
	}
	if sign {
		return fmt.Sprintf("%+.3f (%+.3f to %+.3f)", i.Value, i.Low, i.High)
	}
	return fmt.Sprintf("%.3f (%.3f to %.3f)", i.Value, i.Low, i.High)
}
