package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"wgjepa/data"
	"wgjepa/internal/atomicfile"
)

func splitCommand(c *console) *cobra.Command {
	var out string
	var overwrite bool
	var flags *configFlags
	cmd := &cobra.Command{
		Use:   "split DATA…",
		Short: "Divide data into training, validation and test samples, once for all runs",
		Long: `Writes a CSV with the columns name, subject, class and split. Samples of one person
stay together, each part gets its share of each class, and the same seed gives the same
file. Persons are told by a table (--labels, column subject or patient), by sub-XX in
names as BIDS has it, or by the patient of DICOM files. train, probe and embed take the
file with --splits; it may be edited.`,
		Example: `  wgjepa split scans/ --labels scans/participants.tsv --out splits.csv
  wgjepa train scans/ --splits splits.csv`,
		RunE: func(_ *cobra.Command, paths []string) error {
			conf, err := flags.parse(paths)
			if err != nil {
				return err
			}
			if err := unused(out, overwrite); err != nil {
				return err
			}
			ds, err := readData(c, &conf)
			if err != nil {
				return err
			}
			if err := atomicfile.Write(out, func(w io.Writer) error { return data.WriteSplits(w, ds) }); err != nil {
				return err
			}
			parts := map[string]splitPart{}
			var lines []string
			for _, name := range []string{"train", "val", "test"} {
				p := partOf(ds, name)
				parts[name] = p
				line := fmt.Sprintf("%-5s %6d samples of %d subjects", name, p.Samples, p.Subjects)
				for k, class := range ds.Classes() {
					line += fmt.Sprintf("  %s %d", class, p.Classes[k])
				}
				lines = append(lines, line)
			}
			c.result(map[string]any{"splits": out, "parts": parts, "classes": ds.Classes()}, "%s:\n%s\n", out, strings.Join(lines, "\n"))
			return nil
		},
	}
	flags = dataFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&flags.file, "config", "", "TOML `file` whose [data] says how data are read and divided")
	f.StringVarP(&out, "out", "o", "splits.csv", "the table, a `file`")
	completeFiles(cmd, "config", "toml")
	completeFiles(cmd, "out", "csv")
	f.BoolVar(&overwrite, "overwrite", false, "replace the file")
	f.Float64("val", 0, "share or number of validation samples (data.val)")
	f.Float64("test", 0, "share or number of test samples (data.test)")
	f.Uint64("seed", 0, "seed of the division (data.split_seed)")
	flags.keys["val"], flags.keys["test"], flags.keys["seed"] = "data.val", "data.test", "data.split_seed"
	return cmd
}

// splitPart says what a part of a split holds.
type splitPart struct {
	Samples  int   `json:"samples"`
	Subjects int   `json:"subjects"`
	Classes  []int `json:"classes"` // samples of each
}

func partOf(ds data.Dataset, name string) splitPart {
	p := splitPart{Classes: make([]int, len(ds.Classes()))}
	subjects := map[string]bool{}
	for _, i := range ds.Split(name) {
		p.Samples++
		subjects[ds.Subject(i)] = true
		if k, ok := ds.Label(i); ok {
			p.Classes[k]++
		}
	}
	p.Subjects = len(subjects)
	return p
}
