package main

import (
	"fmt"
	"sort"
	"time"

	"github.com/spf13/cobra"

	"wgjepa/gpu"
	"wgjepa/internal/config"
	"wgjepa/jepa"
)

func benchCommand(c *console) *cobra.Command {
	var seconds float64
	var only string
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure kernels and a whole training step",
		Long: `Measures each operation at several shapes (GFLOP/s, and bytes moved a second), then a
whole step of the demo's configuration: its time, its memory, and the share of each
kernel. --json prints one object a line.`,
		Example: `  wgjepa bench
  wgjepa bench --json --adapter llvmpipe > bench.jsonl
  wgjepa bench --only matmul`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			d, err := c.open()
			if err != nil {
				return err
			}
			defer d.Close()
			rows := 0
			for _, op := range gpu.Table {
				if only != "" && only != op.Name {
					continue
				}
				for _, b := range op.Bench {
					if err := benchOp(c, d, op.Name, b, seconds); err != nil {
						return err
					}
					rows++
				}
			}
			if only == "" || only == "step" {
				return benchStep(c, d, seconds)
			}
			if rows == 0 {
				return usagef("--only %s: no operation of that name is measured", only)
			}
			return nil
		},
	}
	cmd.Flags().Float64Var(&seconds, "seconds", 0.5, "time for each measurement")
	cmd.Flags().StringVar(&only, "only", "", "measure this operation alone, or step")
	return cmd
}

// opReport is one measurement.
type opReport struct {
	Op      string `json:"op"`
	Shape   []int  `json:"shape"`
	GFLOPS  number `json:"gflops,omitempty"`
	GBytes  number `json:"gbytes_per_s,omitempty"`
	Seconds number `json:"seconds"` // of one repetition, the fastest of several groups
	Device  string `json:"device"`
	Kind    string `json:"kind"`
}

// stepReport is the measurement of a whole step.
type stepReport struct {
	Op       string            `json:"op"` // step
	Shape    []int             `json:"shape"`
	Seconds  number            `json:"seconds"`
	Start    number            `json:"seconds_to_first_step"` // from an open device, pipelines included
	Memory   uint64            `json:"memory"`
	Fraction map[string]number `json:"fraction"`
	Device   string            `json:"device"`
	Kind     string            `json:"kind"`
}

// benchOp measures one shape: groups of repetitions in one submit, the fastest
// group counts.
func benchOp(c *console, d *gpu.Device, name string, b gpu.Bench, seconds float64) error {
	best := 0.0
	var err error
	d.Scope(func() {
		record := b.Record(d)
		group := func(n int) float64 {
			e := d.Begin()
			for range n {
				record(e)
			}
			start := time.Now()
			if err = e.Submit(); err == nil {
				err = d.Wait()
			}
			return time.Since(start).Seconds()
		}
		group(1) // compiles
		if err != nil {
			return
		}
		once := group(1)
		n := max(1, min(256, int(seconds/4/max(once, 1e-9))))
		for spent, first := 0.0, true; err == nil && (first || spent < seconds); first = false {
			took := group(n)
			spent += took
			if each := took / float64(n); best == 0 || each < best {
				best = each
			}
		}
	})
	if err != nil {
		return fmt.Errorf("%s %v: %w", name, b.Shape, err)
	}
	r := opReport{Op: name, Shape: b.Shape, GFLOPS: number(b.FLOP / best / 1e9), GBytes: number(b.Bytes / best / 1e9), Seconds: number(best), Device: d.Info().Name, Kind: string(d.Info().Kind)}
	speed := fmt.Sprintf("%8.2f GB/s   ", float64(r.GBytes))
	if b.FLOP > 0 {
		speed = fmt.Sprintf("%8.2f GFLOP/s", float64(r.GFLOPS))
	}
	c.result(r, "%-22s %-20s %s  %10s\n", name, fmt.Sprint(b.Shape), speed, time.Duration(best*1e9).Round(time.Microsecond))
	return nil
}

// benchStep measures a whole step of the demo's configuration.
func benchStep(c *console, d *gpu.Device, seconds float64) error {
	conf, err := config.Parse(config.Demo())
	if err != nil {
		return err
	}
	if err := conf.Complete(1, conf.Encoder.ImgSize); err != nil {
		return err
	}
	before := d.Allocated()
	start := time.Now()
	t, err := jepa.New(d, conf.Config, 1)
	if err != nil {
		return err
	}
	n := conf.BatchSize
	for _, s := range conf.Encoder.ImgSize {
		n *= s
	}
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i%17)/8 - 1
	}
	step := func() error {
		if err := t.Step(x); err != nil {
			return err
		}
		return d.Wait()
	}
	if err := step(); err != nil {
		return err
	}
	first := time.Since(start).Seconds()
	for range 2 {
		if err := step(); err != nil {
			return err
		}
	}
	start = time.Now()
	steps := 0
	for steps == 0 || time.Since(start).Seconds() < 4*seconds {
		if err := t.Step(x); err != nil {
			return err
		}
		steps++
	}
	if err := d.Wait(); err != nil {
		return err
	}
	each := time.Since(start).Seconds() / float64(steps)
	kernels, err := t.Profile(x)
	if err != nil {
		return err
	}
	total := 0.0
	for _, s := range kernels {
		total += s
	}
	r := stepReport{Op: "step", Shape: append([]int{conf.BatchSize}, conf.Encoder.ImgSize...), Seconds: number(each), Start: number(first), Memory: d.Allocated() - before,
		Fraction: map[string]number{}, Device: d.Info().Name, Kind: string(d.Info().Kind)}
	names := make([]string, 0, len(kernels))
	for k, s := range kernels {
		names = append(names, k)
		r.Fraction[k] = number(s / total)
	}
	if c.json {
		c.emit(r)
		return nil
	}
	fmt.Fprintf(c.out, "step of the demo %v: %.1f ms, %s of memory; %.2f s from an open device to the end of the first\n", r.Shape, 1e3*each, bytesText(r.Memory), first)
	sort.Slice(names, func(i, j int) bool { return r.Fraction[names[i]] > r.Fraction[names[j]] })
	for _, k := range names {
		fmt.Fprintf(c.out, "  %5.1f %%  %s\n", 100*float64(r.Fraction[k]), k)
	}
	return nil
}
