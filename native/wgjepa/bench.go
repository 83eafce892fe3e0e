package main

import (
	"github.com/spf13/cobra"

	"wgjepa/internal/bench"
)

func benchCommand(c *console) *cobra.Command {
	var o bench.Options
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure kernels and a whole training step",
		Long: `Measures each operation at several shapes (GFLOP/s, and bytes moved a second), then a
whole step of the demo's configuration: its time, its memory, and the share of each
kernel. --json prints one object a line.`,
		Example: `  wgjepa bench
  wgjepa bench --json --adapter llvmpipe > bench.jsonl
  wgjepa bench --only matmul,step`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := o.Check(); err != nil {
				return usagef("--only: %w", err)
			}
			d, err := c.open()
			if err != nil {
				return err
			}
			defer d.Close()
			return bench.Run(d, o, func(r bench.Row) { c.result(r, "%s\n", r) })
		},
	}
	cmd.Flags().Float64Var(&o.Seconds, "seconds", 0.5, "time for each measurement")
	cmd.Flags().StringSliceVar(&o.Only, "only", nil, "measure these `operations` alone; step is the whole step")
	cmd.AddCommand(benchDataCommand(c))
	return cmd
}
