package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"wgjepa/maskgen"
)

func masksCommand(c *console) *cobra.Command {
	var out string
	var step int
	var flags *configFlags
	cmd := &cobra.Command{
		Use:   "masks DATA…",
		Short: "Draw what context and targets will be on real samples",
		Long: `Draws the masks of a training step on the first samples of the data: the image, what
the context encoder sees of it, and the blocks whose features are to be predicted.
Takes the flags of train, so that a configuration can be looked at before it is
trained.`,
		Example: `  wgjepa masks scans/ --out masks.png
  wgjepa masks phantoms --set num_target_blocks=2 --step 7`,
		RunE: func(_ *cobra.Command, paths []string) error {
			conf, err := flags.parse(paths)
			if err != nil {
				return err
			}
			if step < 0 {
				return usagef("--step is %d: steps count from 0", step)
			}
			ds, err := openData(c, &conf)
			if err != nil {
				return err
			}
			m, err := maskPicture(ds, &conf, step)
			if err != nil {
				return err
			}
			if err := writePNG(out, m); err != nil {
				return fmt.Errorf("%s: %w", out, err)
			}
			sampler, err := maskgen.New(conf.Masks())
			if err != nil {
				return err
			}
			c.result(map[string]any{"picture": out, "grid": conf.Encoder.Grid(), "patches": conf.Encoder.Patches(), "longest_context": sampler.MaxContext(), "longest_target": sampler.MaxTarget()},
				"%s: a grid of %v patches, contexts of up to %d and targets of up to %d\n", filepath.Clean(out), conf.Encoder.Grid(), sampler.MaxContext(), sampler.MaxTarget())
			return nil
		},
	}
	flags = trainFlags(cmd)
	cmd.Flags().StringVarP(&out, "out", "o", "masks.png", "the picture, a `file`")
	completeFiles(cmd, "out", "png")
	cmd.Flags().IntVar(&step, "step", 0, "the training step whose masks are drawn")
	return cmd
}
