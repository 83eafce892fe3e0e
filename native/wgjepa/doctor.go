package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"wgjepa/checkpoint"
	"wgjepa/gpu"
	"wgjepa/jepa"
)

// goldenStep is step3d_plain of the golden data: one training step of nidl
// (commit efb1343) under torch 2.15.0, computed in double precision.
//
//go:embed golden_step.safetensors
var goldenStep []byte

func doctorCommand(c *console) *cobra.Command {
	var list bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "List adapters and test that one computes rightly",
		Long: `Lists the adapters of this machine, then tests the chosen one: every kernel against
its float64 twin in plain Go, and one whole training step against the reference.`,
		Example: `  wgjepa doctor
  wgjepa doctor --list
  wgjepa doctor --adapter 1`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			adapters := gpu.Adapters()
			for _, i := range adapters {
				printAdapter(c, i)
			}
			if list {
				return nil
			}
			d, err := c.open()
			if err != nil {
				return err
			}
			defer d.Close()
			return selfTest(c, d)
		},
	}
	cmd.Flags().BoolVar(&list, "list", false, "list adapters and test none")
	return cmd
}

type adapterReport struct {
	Index    int        `json:"index"`
	Name     string     `json:"name"`
	Kind     gpu.Kind   `json:"kind"`
	Backend  string     `json:"backend"`
	Driver   string     `json:"driver"`
	Binding  string     `json:"binding"`
	Memory   uint64     `json:"memory"`
	Limits   gpu.Limits `json:"limits"`
	Features []string   `json:"features"`
}

func printAdapter(c *console, i gpu.Info) {
	if c.json {
		c.emit(adapterReport{i.Index, i.Name, i.Kind, i.Backend, i.Driver, i.Binding, i.Memory, i.Limits, i.Features})
		return
	}
	fmt.Fprintf(c.out, "%d  %s\n", i.Index, describe(i))
	if i.Kind == gpu.Twins {
		fmt.Fprintf(c.out, "   float64 in plain Go: the yardstick; asked for by --adapter cpu\n")
		return
	}
	memory := "not told"
	if i.Memory > 0 {
		memory = bytesText(i.Memory)
	}
	l := i.Limits
	fmt.Fprintf(c.out, "   memory %s; buffers to %s, bindings to %s; %d storage bindings, workgroups of %d with %s\n",
		memory, bytesText(l.BufferSize), bytesText(l.BindingSize), l.StorageBuffers, l.Invocations, bytesText(uint64(l.WorkgroupMemory)))
	features := "none"
	if len(i.Features) > 0 {
		features = strings.Join(i.Features, ", ")
	}
	fmt.Fprintf(c.out, "   features: %s\n   through %s\n", features, i.Binding)
}

type doctorReport struct {
	Adapter string   `json:"adapter"`
	Kernels int      `json:"kernel_cases"`
	Failed  []string `json:"failed"`
	Golden  string   `json:"golden_step"`
	Error   number   `json:"golden_error"`
	OK      bool     `json:"ok"`
}

// selfTest runs every kernel case and the golden step on d.
func selfTest(c *console, d *gpu.Device) error {
	total := 0
	for _, op := range gpu.Table() {
		total += len(op.Cases)
	}
	r := doctorReport{Adapter: d.Info().Name, Kernels: total, Failed: []string{}}
	bar := c.bar("kernels", total, 0)
	done := 0
	worst, worstName := 0.0, ""
	for _, op := range gpu.Table() {
		for _, k := range op.Cases {
			bar.note("testing", op.Name)
			w, err := k.Check(d, 1)
			if err != nil {
				r.Failed = append(r.Failed, fmt.Sprintf("%s: %v", op.Name, err))
			} else if w > worst {
				worst, worstName = w, op.Name+", "+k.Name
			}
			done++
			bar.set(done)
			if d.Err() != nil {
				bar.end()
				return fmt.Errorf("%s stopped working at kernel %s: %w", d.Info().Name, op.Name, d.Err())
			}
		}
	}
	bar.end()
	f, err := checkpoint.NewReader(bytes.NewReader(goldenStep), int64(len(goldenStep)))
	if err != nil {
		return err
	}
	rows, err := jepa.Verify(d, f)
	if err != nil {
		return err
	}
	row := jepa.WorstRow(rows)
	r.Golden, r.Error = row.Name, number(row.Error)
	goldenFailed := 0
	for _, row := range rows {
		if row.Failed() {
			goldenFailed++
		}
	}
	r.OK = len(r.Failed) == 0 && goldenFailed == 0
	if c.json {
		c.emit(r)
	} else {
		for _, f := range r.Failed {
			fmt.Fprintf(c.out, "FAIL  %s\n", f)
		}
		fmt.Fprintf(c.out, "kernels: %d cases, %d failed", total, len(r.Failed))
		if worst > 0 {
			fmt.Fprintf(c.out, "; nearest to its bound: %s, %.0f %% of it", worstName, 100*worst)
		}
		fmt.Fprintln(c.out)
		fmt.Fprintf(c.out, "golden step: %d tensors, %d above their bound; nearest: %s %.2g of %.0e\n", len(rows), goldenFailed, row.Name, row.Error, row.Bound)
	}
	if !r.OK {
		return fmt.Errorf("%s does not compute rightly: try another adapter or a newer driver, and report the lines above", d.Info().Name)
	}
	c.say("all right: this machine can train")
	return nil
}
