// Package bench measures operations and a whole training step on a device. The
// command and the wasm program print its rows, so that the figures of every
// driver stand in the same table.
package bench

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"wgjepa/gpu"
	"wgjepa/internal/config"
	"wgjepa/jepa"
	"wgjepa/model"
)

// Options say what is measured and for how long.
type Options struct {
	Only    []string // operations of gpu.Table, "block" or "step"; empty: everything
	Seconds float64  // of each measurement; a step takes four times as long
}

// Row is one line of the table.
type Row struct {
	Op      string  `json:"op"` // or "step"
	Shape   []int   `json:"shape"`
	GFLOPS  float64 `json:"gflops,omitempty"`
	GBytes  float64 `json:"gbytes_per_s,omitempty"`
	Seconds float64 `json:"seconds"` // of one repetition: of an operation the fastest, of a step the mean
	Device  string  `json:"device"`
	Kind    string  `json:"kind"`
	*Step
}

// Step is what else is known of a whole step.
type Step struct {
	First      float64            `json:"seconds_to_first_step"` // from an open device, pipelines included
	Memory     uint64             `json:"memory"`                // bytes on the device
	Dispatches int                `json:"dispatches"`
	Replay     float64            `json:"seconds_of_replay"` // of the host, in all dispatches; 0 where it is not counted
	Fraction   map[string]float64 `json:"fraction"`          // of the time in kernels, by kernel
	Clock      string             `json:"clock"`             // that told the kernels apart
}

// block is a transformer block forward and backward, beside the operations of
// gpu.Table that it is made of. tools/peers compares the same one.
var block = gpu.Op{Name: "block", Bench: []gpu.Bench{{
	Shape: []int{4, 64, 128, 4, 512}, // batch, tokens, width, heads, MLP
	FLOP:  3*2*4*64*128*(4*128+2*512) + 9*2*4*4*64*64*32,
	Record: func(d *gpu.Device) func(*gpu.Encoder) {
		b := model.NewBlock(d, 4, 64, 128, 4, 512, 1e-5)
		x, dy := d.Tensor("x", 4, 64, 128), d.Tensor("dy", 4, 64, 128)
		return func(e *gpu.Encoder) {
			b.Forward(e, x)
			b.Backward(e, dy, x)
		}
	},
}}}

// operations are those of gpu.Table that are measured, and the block.
func operations() (list []gpu.Op) {
	for _, op := range append(gpu.Table(), block) {
		if len(op.Bench) > 0 {
			list = append(list, op)
		}
	}
	return list
}

// Check refuses options that name what is not measured.
func (o Options) Check() error {
	var known []string
	for _, op := range operations() {
		known = append(known, op.Name)
	}
	for _, name := range o.Only {
		if name != "step" && !slices.Contains(known, name) {
			return fmt.Errorf("no operation called %q is measured: choose step or one of %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}

func (o Options) wants(name string) bool { return len(o.Only) == 0 || slices.Contains(o.Only, name) }

// Run measures and calls report with each row as it comes.
func Run(d *gpu.Device, o Options, report func(Row)) error {
	for _, op := range operations() {
		if !o.wants(op.Name) {
			continue
		}
		for _, b := range op.Bench {
			r, err := operation(d, op.Name, b, o.Seconds)
			if err != nil {
				return err
			}
			report(r)
		}
	}
	if !o.wants("step") {
		return nil
	}
	r, err := step(d, o.Seconds)
	if err != nil {
		return err
	}
	report(r)
	return nil
}

// operation measures one shape: groups of repetitions in one submit, the
// fastest group counts.
func operation(d *gpu.Device, name string, b gpu.Bench, seconds float64) (Row, error) {
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
		return Row{}, fmt.Errorf("%s %v: %w", name, b.Shape, err)
	}
	return Row{
		Op: name, Shape: b.Shape, GFLOPS: b.FLOP / best / 1e9, GBytes: b.Bytes / best / 1e9, Seconds: best,
		Device: d.Info().Name, Kind: string(d.Info().Kind),
	}, nil
}

// step measures a whole step of the demo's recipe.
func step(d *gpu.Device, seconds float64) (Row, error) {
	conf, err := config.Parse(config.Demo())
	if err != nil {
		return Row{}, err
	}
	if err := conf.Complete(1, conf.Encoder.ImgSize); err != nil {
		return Row{}, err
	}
	before := d.Allocated()
	start := time.Now()
	t, err := jepa.New(d, conf.Config, 1)
	if err != nil {
		return Row{}, err
	}
	n := conf.BatchSize
	for _, s := range conf.Encoder.ImgSize {
		n *= s
	}
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i%17)/8 - 1
	}
	// steps takes n steps, or those that fit into the time, and waits.
	steps := func(n int, seconds float64) (each float64, err error) {
		start, done := time.Now(), 0
		for done < n || time.Since(start).Seconds() < seconds {
			if err := t.Step(x); err != nil {
				return 0, err
			}
			done++
		}
		err = d.Wait()
		return time.Since(start).Seconds() / float64(done), err
	}
	if _, err := steps(1, 0); err != nil {
		return Row{}, err
	}
	first := time.Since(start).Seconds()
	if _, err := steps(2, 0); err != nil {
		return Row{}, err
	}
	ops, host := d.Replayed()
	each, err := steps(1, 4*seconds)
	if err != nil {
		return Row{}, err
	}
	opsAfter, hostAfter := d.Replayed()
	profile, err := t.Profile(x)
	if err != nil {
		return Row{}, err
	}
	total := 0.0
	for _, s := range profile.Seconds {
		total += s
	}
	details := &Step{First: first, Memory: d.Allocated() - before, Fraction: map[string]float64{}, Clock: profile.Clock}
	details.Dispatches, details.Replay = opsAfter-ops, hostAfter-host
	for k, s := range profile.Seconds {
		details.Fraction[k] = s / max(total, 1e-12)
	}
	return Row{
		Op: "step", Shape: append([]int{conf.BatchSize}, conf.Encoder.ImgSize...), Seconds: each, Step: details,
		Device: d.Info().Name, Kind: string(d.Info().Kind),
	}, nil
}

// String is the row as a person reads it: one line, of a step several.
func (r Row) String() string {
	if r.Step == nil {
		speed := fmt.Sprintf("%8.2f GB/s   ", r.GBytes)
		if r.GFLOPS > 0 {
			speed = fmt.Sprintf("%8.2f GFLOP/s", r.GFLOPS)
		}
		return fmt.Sprintf("%-22s %-20s %s  %10s", r.Op, fmt.Sprint(r.Shape), speed, time.Duration(r.Seconds*1e9).Round(time.Microsecond))
	}
	s := r.Step
	var b strings.Builder
	fmt.Fprintf(&b, "step of the demo %v: %.1f ms, %.1f MiB of memory; %.2f s from an open device to the end of the first\n",
		r.Shape, 1e3*r.Seconds, float64(s.Memory)/(1<<20), s.First)
	if s.Dispatches > 0 {
		fmt.Fprintf(&b, "  %.3f µs of the host for each dispatch in the replay\n", 1e6*s.Replay/float64(s.Dispatches))
	}
	fmt.Fprintf(&b, "  by kernel (%s):", s.Clock)
	kernels := slices.SortedFunc(maps.Keys(s.Fraction), func(a, b string) int {
		if s.Fraction[a] != s.Fraction[b] {
			if s.Fraction[a] > s.Fraction[b] {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	for _, k := range kernels {
		fmt.Fprintf(&b, "\n  %5.1f %%  %s", 100*s.Fraction[k], k)
	}
	return b.String()
}
