package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"wgjepa/data"
	"wgjepa/internal/atomicfile"
	"wgjepa/internal/config"
	"wgjepa/internal/embed"
	"wgjepa/internal/patchmap"
	"wgjepa/internal/picture"
	"wgjepa/jepa"
)

// Files of predict's folder, besides the maps.
const (
	surpriseTable   = "surprise.csv"
	surprisePicture = "surprise.png"
)

// surprisePictures is how many samples the picture shows.
const surprisePictures = 12

type predictOptions struct {
	out, grid string
	draws     int
	overwrite bool
}

func predictCommand(c *console) *cobra.Command {
	o := predictOptions{}
	var flags *configFlags
	cmd := &cobra.Command{
		Use:   "predict RUN SCAN…",
		Short: "Show where scans are not as the predictor expects",
		Long: `Hides blocks of each scan, predicts their features from the rest, and maps the error
of each patch: the smooth L1 loss that training lowers, the mean over --draws draws of
masks, the same for every scan. What is usual in the training data, and can be told from
its surroundings, has a small error. A large one means surprise, not disease: edges and
noise surprise too, and a scan must be compared with others of its kind.

The folder --out holds, for each scan, a NIfTI file SCAN.surprise.nii.gz of the scan's
own voxels (NaN where the encoder did not look), surprise.csv with the scans
in order of their mean error, the most surprising first, and surprise.png, which shows
the first ` + strconv.Itoa(surprisePictures) + ` of them on planes through their most surprising patch.

surprise.csv appears when all is complete. Until then surprise.csv.part grows, and after
an interruption the same command goes on from there.

RUN is the folder of a run, or its weights or checkpoint. Scans are prepared as the run's
own. A run whose mask ratio leaves a patch out of every draw has no error there: raise
--draws.`,
		Example: `  wgjepa predict runs/scans new/ --out surprise/
  wgjepa predict runs/scans patient.nii.gz --draws 256 --out surprise/`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			switch {
			case o.out == "":
				return usagef("predict needs --out FOLDER")
			case o.draws < 1:
				return usagef("--draws is %d: it must be at least 1", o.draws)
			}
			return predict(c, flags, args[0], args[1:], o)
		},
	}
	flags = dataFlags(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.out, "out", "o", "", "`folder` for maps, table and picture")
	completeFiles(cmd, "out")
	o.grid = "scan"
	oneOf(cmd, &o.grid, "maps-grid", "voxels of a map: those of the scan, or patches", "scan", "patches")
	hide(cmd, "splits", "label-column") // scans of all parts are shown
	f.IntVar(&o.draws, "draws", 64, "number of draws of masks")
	f.BoolVar(&o.overwrite, "overwrite", false, "replace what is in the folder, and what an interrupted prediction of other scans or weights left")
	return cmd
}

// predict runs the command.
func predict(c *console, flags *configFlags, run string, paths []string, o predictOptions) error {
	if _, err := os.Stat(filepath.Join(o.out, surpriseTable)); err == nil && !o.overwrite {
		return fmt.Errorf("%s holds a %s already: choose another --out, or replace it with --overwrite", o.out, surpriseTable)
	}
	if r, err := inspect(run); err != nil {
		return err
	} else if r.Source != "wgjepa" {
		return fmt.Errorf("%s: predict needs the predictor and the masks of a run of wgjepa, these weights are of %s: train --init goes on from them", run, r.Source)
	}
	s, err := c.openRunOn(flags, run, paths, reading{once: true})
	if err != nil {
		return err
	}
	defer s.close()
	spaced, ok := s.ds.(data.Spaced)
	if !ok {
		return errors.New("these data have no place in space")
	}
	s.d.Scope(func() {
		var found *jepa.Surprise
		if found, err = jepa.LoadSurprise(s.d, s.file); err == nil {
			p := &prediction{c: c, ds: spaced, conf: &s.conf, surprise: found, o: o, names: newFileNames(s.ds, ".surprise.nii.gz")}
			p.of = map[string]string{
				"weights": s.file.Checksum(), "data": s.ds.Fingerprint(), "adapter": s.d.Info().Name, "preparation": preparation(&s.conf.Data),
				"number of draws": strconv.Itoa(o.draws), "voxels of maps": o.grid,
			}
			err = p.run()
		}
	})
	return err
}

// prediction is one run of predict.
type prediction struct {
	c        *console
	ds       data.Spaced
	conf     *config.Config
	surprise *jepa.Surprise
	o        predictOptions
	names    fileNames
	of       map[string]string // what the figures belong to
	grid     patchmap.Grid
	rows     []surprised // the largest mean first
}

// surprised is one row of the table.
type surprised struct {
	sample              int
	mean, most          float64
	missing             int       // patches without an error
	errors              []float32 // of the most surprising scans alone
	name, subject, file string
}

func (p *prediction) run() (err error) {
	ctx, stop := interruptible(nil)
	defer stop()
	unlock, err := runFolder(p.o.out).open()
	if err != nil {
		return err
	}
	defer unlock()
	table := filepath.Join(p.o.out, surpriseTable)
	if err := runFolder(p.o.out).remove(surpriseTable); err != nil { // maps beside it become others
		return err
	}
	v := p.surprise.Config.Encoder
	p.grid = patchmap.Whole(v.ImgSize, v.PatchSize)
	part, err := embed.OpenPartial(table, p.of, p.grid.Len(), p.o.overwrite)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, part.Close()) }()
	if err := p.mapped(part); err != nil {
		return err
	}
	if err := p.scans(ctx, part); err != nil {
		return ended(err, part, p.ds.Len(), "scans")
	}
	for _, s := range part.Skipped() {
		p.c.warn("left out: %s: %s", s.Name, s.Reason)
	}
	if len(p.rows) == 0 {
		return fmt.Errorf("none of %d scans could be read: %s", p.ds.Len(), part.Skipped()[0].Reason)
	}
	// The table last: where it is, all is.
	if err := p.picture(); err != nil {
		return err
	}
	if err := atomicfile.Write(table, p.writeTable); err != nil {
		return err
	}
	if err := errors.Join(part.Close(), embed.RemovePartial(table)); err != nil {
		return err
	}
	return p.report()
}

// mapped takes the errors of the scans that an interrupted run has mapped.
func (p *prediction) mapped(part *embed.Partial) error {
	if part.Done() == 0 {
		return nil
	}
	p.c.say("continuing after %d of %d scans", part.Done(), p.ds.Len())
	next, err := part.Reader()
	if err != nil {
		return err
	}
	return part.Each(func(i int) error {
		values, err := next()
		if err != nil {
			return err
		}
		return p.take(i, slices.Clone(values))
	})
}

// scans maps the scans that are left.
func (p *prediction) scans(ctx context.Context, part *embed.Partial) error {
	x := make([]float32, p.surprise.Config.Encoder.SampleLen())
	bar := p.c.bar("predict", p.ds.Len(), part.Done())
	defer bar.end()
	for i := part.Done(); i < p.ds.Len(); i++ {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := p.ds.Read(i, x); err != nil {
			if !p.conf.Data.SkipBad {
				return fmt.Errorf("%w\nwith --skip-bad such scans are left out; stopped", err)
			}
			if err := part.Skip(p.ds.Name(i), err); err != nil {
				return err
			}
			continue
		}
		values := make([]float32, p.grid.Len())
		if err := p.surprise.Patches(x, p.o.draws, values); err != nil {
			return err
		}
		if err := p.take(i, values); err != nil {
			return err
		}
		if err := p.writeMap(i, values); err != nil {
			return err
		}
		if err := part.Add(values); err != nil {
			return err
		}
		bar.set(i + 1)
	}
	return nil
}

// writeMap writes the map of scan i.
func (p *prediction) writeMap(i int, values []float32) error {
	s, path := p.ds.Space(i), filepath.Join(p.o.out, p.names.of(i))
	if p.o.grid == "scan" {
		return p.grid.WriteOnScan(path, values, 1, s.Affine, s.Stored, s.StoredAffine)
	}
	return p.grid.Write(path, values, 1, s.Affine)
}

// take adds scan i to the rows.
func (p *prediction) take(i int, values []float32) error {
	row := surprised{sample: i, name: p.ds.Name(i), subject: p.ds.Subject(i), errors: values, file: p.names.of(i)}
	if err := row.summarise(); err != nil {
		return err
	}
	p.rows = keepMost(p.rows, row)
	return nil
}

// keepMost inserts a row, the largest mean first, and forgets the patches of those that no
// picture will show.
func keepMost(rows []surprised, row surprised) []surprised {
	at, _ := slices.BinarySearchFunc(rows, row, func(a, b surprised) int {
		if a.mean != b.mean {
			return map[bool]int{true: -1, false: 1}[a.mean > b.mean]
		}
		return a.sample - b.sample
	})
	rows = slices.Insert(rows, at, row)
	if len(rows) > surprisePictures {
		rows[surprisePictures].errors = nil
	}
	return rows
}

// summarise fills in the figures of the errors.
func (r *surprised) summarise() error {
	sum, n := 0.0, 0
	for _, e := range r.errors {
		if e != e {
			r.missing++
			continue
		}
		sum += float64(e)
		n++
		r.most = math.Max(r.most, float64(e))
	}
	r.mean = sum / float64(n)
	if n == 0 || math.IsInf(r.mean, 0) {
		return fmt.Errorf("the errors of %s are not finite: look at its voxels, or leave it out", r.name)
	}
	return nil
}

// writeTable writes the figures of every scan.
func (p *prediction) writeTable(to io.Writer) error {
	w := csv.NewWriter(to)
	if err := w.Write([]string{"rank", "name", "subject", "mean_error", "largest_error", "unpredicted_patches", "map"}); err != nil {
		return err
	}
	for i, r := range p.rows {
		number := func(v float64) string { return strconv.FormatFloat(v, 'g', 9, 64) }
		if err := w.Write([]string{strconv.Itoa(i + 1), r.name, r.subject, number(r.mean), number(r.most), strconv.Itoa(r.missing), filepath.ToSlash(r.file)}); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// picture draws the most surprising scans.
func (p *prediction) picture() error {
	v := p.surprise.Config.Encoder
	var samples []picture.Surprised
	for _, r := range p.rows[:min(len(p.rows), surprisePictures)] {
		m, err := sampleImage(p.ds, r.sample, v.Grid())
		if err != nil {
			return err
		}
		m.Name = fmt.Sprintf("%s: mean error %.3g", r.name, r.mean)
		samples = append(samples, picture.Surprised{Image: m, Errors: r.errors})
	}
	low, high := picture.ErrorScale(samples)
	title := fmt.Sprintf("Where the predictor errs: %d of %d scans, the most surprising first", len(samples), len(p.rows))
	return writePNG(filepath.Join(p.o.out, surprisePicture), picture.Surprise(title, low, high, samples))
}

// report prints the table's beginning, or all of it as JSON.
func (p *prediction) report() error {
	missing := 0
	for _, r := range p.rows {
		missing += r.missing
	}
	if missing > 0 {
		p.c.warn("%d patches of %d scans were a target of none of %d draws: raise --draws", missing, len(p.rows), p.o.draws)
	}
	if p.c.json {
		for i, r := range p.rows {
			p.c.emit(map[string]any{"rank": i + 1, "name": r.name, "subject": r.subject, "mean_error": r.mean, "largest_error": r.most, "unpredicted_patches": r.missing, "map": filepath.Join(p.o.out, r.file)})
		}
		return nil
	}
	fmt.Fprintf(p.c.out, "%s: %d maps, %s, %s\n", p.o.out, len(p.rows), surpriseTable, surprisePicture)
	return printSurprise(p.c.out, p.rows)
}

func printSurprise(w io.Writer, rows []surprised) error {
	const shown = 10
	fmt.Fprintf(w, "%-12s %-12s %s\n", "mean error", "largest", "scan")
	for i, r := range rows {
		if i == shown {
			_, err := fmt.Fprintf(w, "and %d more\n", len(rows)-shown)
			return err
		}
		fmt.Fprintf(w, "%-12.4g %-12.4g %s\n", r.mean, r.most, r.name)
	}
	return nil
}
