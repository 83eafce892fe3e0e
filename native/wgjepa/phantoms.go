package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"wgjepa/data/phantom"
)

func phantomsCommand(c *console) *cobra.Command {
	p := phantom.Default()
	var count int
	var seed uint64
	cmd := &cobra.Command{
		Use:   "phantoms DIR",
		Short: "Write generated volumes with labels as NIfTI files",
		Long: `Writes generated 3-D torsos: DIR/images, DIR/labels (a label for each voxel) and
DIR/labels.csv (one for each volume). The same seed gives the same files.`,
		Example: `  wgjepa phantoms torsos --count 300
  wgjepa train torsos --out runs/torsos`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := args[0]
			if count < 1 {
				return usagef("--count is %d: at least one is needed", count)
			}
			if err := p.Validate(); err != nil {
				return usageError{err}
			}
			if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
				return fmt.Errorf("%s is not empty: name a new folder", dir)
			}
			if err := p.Write(dir, count, seed); err != nil {
				return err
			}
			c.result(map[string]any{"dir": dir, "count": count, "size": p.Size, "seed": seed, "classes": phantom.Classes},
				"%d torsos of %d³ voxels in %s\n", count, p.Size, dir)
			return nil
		},
	}
	f := cmd.Flags()
	f.IntVar(&count, "count", 100, "number of volumes")
	f.Uint64Var(&seed, "seed", 0, "seed of the series")
	f.IntVar(&p.Size, "size", p.Size, "voxels along each axis")
	f.Float64Var(&p.Noise, "noise", p.Noise, "strength of noise; organs stand out by 0.45")
	return cmd
}
