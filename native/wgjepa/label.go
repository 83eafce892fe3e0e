package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"wgjepa/internal/atomicfile"
	"wgjepa/internal/evaluate"
	"wgjepa/jepa"
)

func labelCommand(c *console) *cobra.Command {
	out, batch, overwrite := "", 0, false
	var flags *configFlags
	cmd := &cobra.Command{
		Use:   "label FINETUNED DATA…",
		Short: "Predict the labels of new data with a finetuned network",
		Long: `Applies the network of wgjepa finetune (its folder or its weights) to every sample of
DATA, read as the training data were, and writes the predicted class with the
probability of each, or the predicted number, one row a sample.`,
		Example: `  wgjepa label runs/finetuned new/ --out labels.csv`,
		Args:    cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			switch {
			case filepath.Ext(out) != ".csv":
				return usagef("label needs --out FILE.csv")
			case batch < 0:
				return usagef("--batch-size is %d: it must be at least 1", batch)
			}
			if err := unused(out, overwrite); err != nil {
				return err
			}
			if err := writable(out); err != nil {
				return err
			}
			return label(c, flags, args[0], args[1:], out, batch)
		},
	}
	flags = dataFlags(cmd)
	f := cmd.Flags()
	f.StringVarP(&out, "out", "o", "", "the table: `FILE`.csv")
	completeFiles(cmd, "out", "csv")
	hide(cmd, "labels", "label-column", "splits") // labels are what is asked for
	f.IntVar(&batch, "batch-size", 0, "samples at once (default: finetuning's)")
	f.BoolVar(&overwrite, "overwrite", false, "replace the table")
	return cmd
}

// label runs the command.
func label(c *console, flags *configFlags, path string, paths []string, out string, batch int) error {
	s, err := c.openRunOn(flags, path, paths, reading{})
	if err != nil {
		return err
	}
	defer s.close()
	head, err := evaluate.OpenHead(s.file)
	if err != nil {
		return err
	}
	ds := s.ds
	if batch == 0 {
		batch = s.conf.Finetune.BatchSize
	}
	ctx, stop := interruptible(nil)
	defer stop()
	bar := c.bar("label", ds.Len(), 0)
	defer bar.end()
	var b strings.Builder
	w := csv.NewWriter(&b)
	if err := w.Write(evaluate.PredictionHeader(head.Classes)); err != nil {
		return err
	}
	features, err := jepa.LoadFeatures(s.d, s.file, jepa.ContextEncoder, min(batch, max(1, ds.Len())))
	if err != nil {
		return err
	}
	counts := make(map[string]int)
	err = head.Apply(ds, features, func(i int, output []float64) error {
		row := evaluate.PredictionRow(ds.Name(i), head.Classes, output)
		counts[row[1]]++
		bar.set(i + 1)
		return errors.Join(ctx.Err(), w.Write(row))
	})
	w.Flush()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted: %s was not written", out)
	case err != nil:
		return err
	}
	bar.end()
	if err := atomicfile.WriteBytes(out, []byte(b.String())); err != nil {
		return err
	}
	found := ""
	for _, k := range head.Classes {
		found += fmt.Sprintf("; %s %d", k, counts[k])
	}
	result := map[string]any{"file": out, "samples": ds.Len()}
	if len(head.Classes) > 0 {
		result["classes"] = counts
	}
	c.result(result, "%s: %d predictions%s\n", out, ds.Len(), found)
	return nil
}
