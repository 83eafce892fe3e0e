package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"wgjepa/internal/config"
	"wgjepa/jepa"
)

// demoConfigName stands for the demo's recipe where a configuration is asked for.
const demoConfigName = "demo"

func demoCommand(c *console) *cobra.Command {
	o := trainOptions{out: "runs/demo", checkpointEvery: 100, overwrite: true, pictures: true}
	var flags *configFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Train on generated volumes, compare with an untrained encoder, draw pictures",
		Long: `The whole story in a few minutes: generates 3-D torsos in memory, trains I-JEPA on
them without labels, then asks the frozen features which organ is too small and which
organ each patch belongs to, beside the same encoder untrained, and draws curves,
masks and features. An older demo in the same folder is replaced.`,
		Example: `  wgjepa demo
  wgjepa demo --out runs/demo-seed-1 --seed 1`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			start := time.Now()
			layers, err := flags.over([]config.Text{config.Demo()})
			if err != nil {
				return err
			}
			conf, err := config.Parse(layers...)
			if err != nil {
				return err
			}
			conf.Data.Paths = []string{config.GeneratedData}
			folder := runFolder(o.out)
			if folder.holdsRun() && !folder.holdsPhantoms() {
				return fmt.Errorf("%s holds a run that is not a demo: choose another --out", folder)
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
			t, err := newTraining(c, d, ds, &conf, folder, o)
			if err != nil {
				return err
			}
			defer t.close()
			if err := t.run(); err != nil {
				return err
			}
			if err := c.evaluate(d, ds, &conf, o.out, conf.BatchSize, func(use func(*jepa.Features) error) error {
				return use(t.trainer.Features(conf.Probe.Encoder == "target"))
			}); err != nil {
				return err
			}
			c.say("%s in all; pictures: %s, %s, %s", duration(time.Since(start)), t.folder.path(curvesFile), t.folder.path(masksFile), t.folder.path(pcaFile))
			return nil
		},
	}
	flags = trainFlags(cmd)
	probeFlags(cmd, flags)
	hide(cmd, "config", "preset", "size", "fit", "normalize", "skip-bad", "labels", "label-column", "splits")
	cmd.Flags().StringVar(&o.out, "out", o.out, "`folder` of the run")
	completeFiles(cmd, "out")
	return cmd
}
