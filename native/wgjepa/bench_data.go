package main

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wgjepa/data"
	"wgjepa/internal/config"
)

// dataStages are what bench data measures, in order.
var dataStages = []string{"read", "prepare", "augment", "load"}

// dataRow is one measurement of bench data.
type dataRow struct {
	Stage   string  `json:"stage"`
	Samples int     `json:"samples"` // that were read, again and again
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"rate"` // samples a second
	Cores   int     `json:"cores"`
	MiB     float64 `json:"mib"`     // float32 a second
	Corners float64 `json:"corners"` // of read: the sum of each sample's first and last voxel in one pass
}

func (r dataRow) String() string {
	what := map[string]string{
		"read":    "read files",
		"prepare": "read, bring to size, normalise",
		"augment": "the same, augmented as training does",
		"load":    "batches for training",
	}[r.Stage]
	return fmt.Sprintf("%-38s %9.1f samples/s on %d cores  %8.1f MiB/s of float32", what, r.Rate, r.Cores, r.MiB)
}

func benchDataCommand(c *console) *cobra.Command {
	var seconds float64
	var passes int
	var only []string
	var flags *configFlags
	cmd := &cobra.Command{
		Use:   "data DATA…",
		Short: "Measure reading, preprocessing and augmentation",
		Long: `Measures how many samples a second are read from their files, prepared and augmented
on one core, and how many the loader gives with all. Nothing is cached between reads but
by the operating system. Takes the flags of train.`,
		Example: `  wgjepa bench data scans/
  wgjepa bench data scans/ --config run.toml --seconds 5`,
		RunE: func(_ *cobra.Command, paths []string) error {
			for _, s := range only {
				if !slices.Contains(dataStages, s) {
					return usagef("--only %s: it must be among %v", s, dataStages)
				}
			}
			conf, err := flags.parse(paths)
			if err != nil {
				return err
			}
			ds, err := openUncached(c, &conf)
			if err != nil {
				return err
			}
			for _, stage := range dataStages {
				if len(only) > 0 && !slices.Contains(only, stage) {
					continue
				}
				row, err := benchData(ds, &conf, stage, seconds, passes)
				if err != nil {
					return err
				}
				c.result(row, "%s\n", row)
			}
			return nil
		},
	}
	flags = trainFlags(cmd)
	cmd.Flags().Float64Var(&seconds, "seconds", 2, "time for each measurement")
	cmd.Flags().IntVar(&passes, "passes", 0, "read all samples so often instead")
	cmd.Flags().StringSliceVar(&only, "only", nil, "measure these `stages` alone: "+orList(dataStages))
	complete(cmd, "only", dataStages...)
	return cmd
}

// openUncached opens data without reading pixels; images of several sizes are brought to
// the one that would be proposed for them.
func openUncached(c *console, conf *config.Config) (data.Dataset, error) {
	o := conf.Options()
	o.CacheBytes, o.HeadersOnly = -1, true
	ds, report, err := conf.OpenWith(o)
	var differ *data.SizesError
	if errors.As(err, &differ) {
		o.Size = config.SuggestSize(differ.Sizes)
		c.say("samples are of several sizes: brought to %v", o.Size)
		ds, report, err = conf.OpenWith(o)
	}
	if err != nil {
		return nil, adviseData(err, report, conf)
	}
	c.say("data: %s", strings.ReplaceAll(report.String(), "\n", "\n      "))
	return ds, nil
}

// benchData measures one stage: whole passes where their number is given, else as many
// samples as the time allows.
func benchData(ds data.Dataset, conf *config.Config, stage string, seconds float64, passes int) (dataRow, error) {
	channels, size := ds.Shape()
	n := channels
	for _, s := range size {
		n *= s
	}
	row := dataRow{Stage: stage, Samples: ds.Len(), Cores: 1}
	x := make([]float32, n)
	var raw []float32
	one := func(k int) (int, error) { // returns samples
		i := k % ds.Len()
		var err error
		switch stage {
		case "read":
			if raw, err = ds.ReadRaw(i, raw[:0]); err == nil && k < ds.Len() {
				row.Corners += float64(raw[0]) + float64(raw[len(raw)-1])
			}
			n = len(raw)
		case "prepare":
			err = ds.Read(i, x)
		case "augment":
			err = data.Augmented(ds, conf.Augment(), conf.Seed, k/ds.Len(), i, x)
		}
		return 1, err
	}
	if stage == "load" {
		row.Cores = runtime.GOMAXPROCS(0)
		batch := min(conf.BatchSize, ds.Len())
		l, err := data.NewLoader(ds, data.LoaderOptions{Batch: batch, Seed: conf.Seed, Augment: conf.Augment()})
		if err != nil {
			return row, err
		}
		defer l.Close()
		all := make([]float32, l.Len())
		one = func(k int) (int, error) { return batch, l.Batch(k, all) }
	}
	samples, values := 0, 0.0
	start := time.Now()
	for k := 0; ; k++ {
		m, err := one(k)
		if err != nil {
			return row, err
		}
		samples += m
		values += float64(m) * float64(n)
		row.Seconds = time.Since(start).Seconds()
		if passes > 0 && samples >= passes*ds.Len() || passes == 0 && row.Seconds >= seconds {
			break
		}
	}
	row.Rate, row.MiB = float64(samples)/row.Seconds, 4*values/row.Seconds/(1<<20)
	return row, nil
}
