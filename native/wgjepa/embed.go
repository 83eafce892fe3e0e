package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"wgjepa/checkpoint/weights"
	"wgjepa/data"
	"wgjepa/gpu"
	"wgjepa/internal/config"
	"wgjepa/internal/embed"
	"wgjepa/jepa"
)

// embedOptions are the flags of embed that are not part of the configuration.
type embedOptions struct {
	out       string
	batch     int
	patches   bool
	window    bool
	overlap   float64
	maps      mapOptions
	stats     bool
	overwrite bool
	from      weightsFlags
}

func embedCommand(c *console) *cobra.Command {
	o := embedOptions{}
	var flags *configFlags
	cmd := &cobra.Command{
		Use:   "embed RUN_OR_WEIGHTS DATA…",
		Short: "Write the features of each sample to a table, and maps of them",
		Long: `Computes the frozen features of every sample of DATA, whatever its split, and writes
their mean over the patches, or mean and standard deviation, as one row a sample;
with --patches the features of each patch. The table's name says its format:

  FILE.npy      float32, (n, D), or (n, P, D) with --patches; the names of the samples,
                and what else is known (subject, class, target), in FILE.ids.csv
  FILE.csv      columns name, subject, class, target, the place i,j,k of a patch, z0, …
  FILE.parquet  the same, the numbers as a list in the column embedding

Weights are a run's or those of any file that wgjepa inspect recognises. Data are read
as the weights of a run say; for weights of other programs as for training, at the size
that they were trained at, or at --size, to which they are then fitted.

--window takes samples of any size whole: windows of the encoder's size are slid over
them, each is embedded as an input of its own, and a patch's features are averaged over
the windows that hold it, those near its middle weighing more (a Gaussian).

--maps writes a NIfTI file of features for each sample, which lies where the scan lies:
one voxel a patch, or with --maps-grid scan the voxels of the scan. Its channels are
the first principal components of patch features, the same for all samples
(components.safetensors beside the maps), or with --channels 0 all features.

Samples stream through in batches: a million need no more memory than ten, but for the
list of their names. FILE appears when it is complete. Until then FILE.part grows, and
after an interruption the same command goes on from there, to the same bytes. The batch
size changes an embedding by float32 rounding at most.`,
		Example: `  wgjepa embed runs/scans scans/ --out scans.npy
  wgjepa embed runs/scans new/ --out new.parquet --features target --pooling mean+std
  wgjepa embed runs/scans whole/ --window --out whole.csv --maps maps/
  wgjepa embed vit_small.safetensors pictures/ --weights-heads 6 --out pictures.npy`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			switch ext := filepath.Ext(o.out); {
			case o.out == "":
				return usagef("embed needs --out FILE.npy, FILE.csv or FILE.parquet")
			case ext != ".npy" && ext != ".csv" && ext != ".parquet":
				return usagef("--out is %q: its name must end in .npy, .csv or .parquet", o.out)
			case o.batch < 0:
				return usagef("--batch-size is %d: it must be at least 1", o.batch)
			case !(o.overlap >= 0 && o.overlap <= 0.9):
				return usagef("--overlap is %g: it must be 0 to 0.9 of a window", o.overlap)
			case o.maps.channels < 0:
				return usagef("--channels is %d: it must be 0 (all features) or more", o.maps.channels)
			case o.patches && flags.set.Changed("pooling"):
				return usagef("--patches are not pooled: leave --pooling out")
			}
			return embedData(c, flags, args[0], args[1:], o)
		},
	}
	flags = dataFlags(cmd)
	f := cmd.Flags()
	featureFlags(cmd, flags)
	poolingFlags(cmd, flags)
	hide(cmd, "splits") // samples of all parts are embedded
	f.StringVarP(&o.out, "out", "o", "", "the table: `FILE`.npy, FILE.csv or FILE.parquet")
	completeFiles(cmd, "out", "npy", "csv", "parquet")
	f.BoolVar(&o.patches, "patches", false, "a row for each patch in place of their mean")
	f.BoolVar(&o.window, "window", false, "slide over samples of any size in place of fitting them to the encoder's")
	f.Float64Var(&o.overlap, "overlap", 0.5, "overlap of neighbouring windows, a share of their length")
	f.StringVar(&o.maps.dir, "maps", "", "`folder` for feature maps as NIfTI")
	completeFiles(cmd, "maps")
	f.IntVar(&o.maps.channels, "channels", 3, "principal components in a map; 0: all features")
	o.maps.grid = "patches"
	oneOf(cmd, &o.maps.grid, "maps-grid", "voxels of a map: patches, or those of the scan", "patches", "scan")
	f.IntVar(&o.batch, "batch-size", 0, "samples at once (default: the run's)")
	f.BoolVar(&o.stats, "stats", false, "measure the encoder alone too, and say where the time went")
	f.BoolVar(&o.overwrite, "overwrite", false, "replace the table, and what an interrupted one of other data or weights left")
	o.from.add(cmd, "weights-")
	return cmd
}

// embedData runs the command.
func embedData(c *console, flags *configFlags, path string, paths []string, o embedOptions) error {
	if err := unused(o.out, o.overwrite); err != nil {
		return err
	}
	s, err := c.openEncoderOn(flags, path, paths, &o.from, reading{once: true})
	if err != nil {
		return err
	}
	defer s.close()
	if o.batch == 0 {
		o.batch = s.conf.BatchSize
	}
	if !o.window {
		o.batch = min(o.batch, s.ds.Len())
	}
	e := &embedding{c: c, d: s.d, ds: s.ds, conf: &s.conf, weights: fingerprintOf(s.weights), o: o}
	s.d.Scope(func() {
		if e.features, err = jepa.ImportedFeatures(s.d, s.weights, o.batch); err == nil {
			err = e.run()
		}
	})
	return err
}

// fingerprintOf is a hash of an encoder.
func fingerprintOf(w *weights.Weights) string {
	h := sha256.New()
	fmt.Fprintf(h, "%+v", w.Config)
	bytes := make([]byte, 0, 1<<16)
	for _, t := range w.Encoder {
		fmt.Fprintf(h, "%s %v", t.Name, t.Shape)
		for part := range slices.Chunk(t.Data, 1<<14) {
			bytes = bytes[:0]
			for _, v := range part {
				bits := math.Float32bits(v)
				bytes = append(bytes, byte(bits), byte(bits>>8), byte(bits>>16), byte(bits>>24))
			}
			h.Write(bytes)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// embedding is one run of embed.
type embedding struct {
	c        *console
	d        *gpu.Device
	ds       data.Dataset
	conf     *config.Config
	weights  string // hash
	o        embedOptions
	features *jepa.Features
	stream   *embed.Stream
	maps     *featureMaps // nil without
}

// of says what the rows of a table belong to, so that no others are added to them.
func (e *embedding) of() map[string]string {
	of := map[string]string{
		"weights": e.weights, "encoder": e.conf.Probe.Encoder, "data": e.ds.Fingerprint(), "adapter": e.d.Info().Name, "batch size": fmt.Sprint(e.o.batch),
		"preparation": preparation(&e.conf.Data), "pooling": e.conf.Probe.Pooling, "window": "none", "maps": "none",
	}
	if e.o.patches {
		of["pooling"] = "none: patches"
	}
	if e.o.window {
		of["window"] = fmt.Sprintf("overlap %g", e.o.overlap)
	}
	if m := e.o.maps; m.dir != "" {
		of["maps"] = fmt.Sprintf("%s, %d channels on the grid of the %s", m.dir, m.channels, m.grid)
	}
	return of
}

// run writes maps and table.
func (e *embedding) run() (err error) {
	ctx, stop := interruptible(nil)
	defer stop()
	e.stream, err = embed.New(e.ds, e.features, e.features.Config, embed.Options{
		Batch: e.o.batch, Std: e.conf.Probe.Pooling == "mean+std" && !e.o.patches, Tokens: e.o.patches || e.o.maps.dir != "", Window: e.o.window, Overlap: e.o.overlap, Measure: e.o.stats,
	})
	if err != nil {
		return err
	}
	table, width := embed.NewTable(e.ds), e.stream.Width()
	if e.o.patches {
		table.Patches = func(i int) []int { return e.stream.Grid(i).Size }
		width = e.stream.Dim()
		if err := e.oneGrid(); err != nil {
			return err
		}
	}
	unlock, err := lock(runFolder(filepath.Dir(e.o.out)).path("."+filepath.Base(e.o.out)+".lock"), e.o.out)
	if err != nil {
		return err
	}
	defer unlock()
	p, err := embed.OpenPartial(e.o.out, e.of(), width, e.o.overwrite)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if p.Done() > 0 {
		e.c.say("continuing after %d of %d samples", p.Done(), e.ds.Len())
	}
	if e.o.maps.dir != "" {
		if e.maps, err = e.openMaps(ctx); err != nil {
			return ended(err, p, e.ds.Len(), "samples")
		}
	}
	if err := e.write(ctx, p); err != nil {
		return ended(err, p, e.ds.Len(), "samples")
	}
	if p.Rows() == 0 {
		return fmt.Errorf("none of %d samples could be embedded: %s", e.ds.Len(), p.Skipped()[0].Reason)
	}
	samples, skipped := e.ds.Len()-len(p.Skipped()), p.Skipped()
	switch filepath.Ext(e.o.out) {
	case ".npy":
		err = table.FinishNPY(p)
	case ".csv":
		err = table.Finish(p, table.CSV)
	default:
		err = table.Finish(p, newParquet)
	}
	if err != nil {
		return err
	}
	return e.report(samples, width, skipped)
}

// ended says how work on n samples that stopped goes on.
func ended(err error, p *embed.Partial, n int, what string) error {
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	if closeErr := p.Close(); closeErr != nil {
		return errors.Join(err, closeErr)
	}
	return fmt.Errorf("%w after %d of %d %s: the same command again goes on from there", err, p.Done(), n, what)
}

// oneGrid refuses an array of patches where samples have different numbers of them.
func (e *embedding) oneGrid() error {
	if filepath.Ext(e.o.out) != ".npy" || !e.o.window {
		return nil
	}
	first := e.stream.Grid(0).Size
	for i := range e.ds.Len() {
		if g := e.stream.Grid(i).Size; !slices.Equal(g, first) {
			return fmt.Errorf("%s has %v patches and %s has %v: an .npy holds samples of one size: choose a .csv or .parquet", e.ds.Name(0), first, e.ds.Name(i), g)
		}
	}
	return nil
}

// write embeds the samples that the table lacks.
func (e *embedding) write(ctx context.Context, p *embed.Partial) error {
	bar := e.c.bar("embed", e.ds.Len(), p.Done())
	defer bar.end()
	return e.stream.Run(ctx, p.Done(), func(s embed.Sample) error {
		if err := e.add(p, s); err != nil {
			return err
		}
		bar.set(p.Done())
		return nil
	})
}

func (e *embedding) add(p *embed.Partial, s embed.Sample) error {
	if s.Err != nil {
		if !e.conf.Data.SkipBad {
			return fmt.Errorf("%w\nwith --skip-bad such samples are left out; stopped", s.Err)
		}
		return p.Skip(e.ds.Name(s.Index), s.Err)
	}
	if e.maps != nil {
		if err := e.maps.write(s); err != nil {
			return err
		}
	}
	if e.o.patches {
		return p.Add(s.Tokens)
	}
	return p.Add(s.Embedding)
}

// report prints the result.
func (e *embedding) report(samples, width int, skipped []embed.Skipped) error {
	result := map[string]any{
		"file": e.o.out, "samples": samples, "width": width, "encoder": e.conf.Probe.Encoder, "pooling": e.of()["pooling"], "skipped": len(skipped),
	}
	for _, s := range skipped {
		e.c.warn("left out: %s: %s", s.Name, s.Reason)
	}
	what := fmt.Sprintf("%d embeddings of %d numbers", samples, width)
	if e.o.patches {
		what = fmt.Sprintf("features of the patches of %d samples, %d numbers each", samples, width)
	}
	text := fmt.Sprintf("%s: %s", e.o.out, what)
	if filepath.Ext(e.o.out) == ".npy" {
		text += ", their names in " + embed.IDsFile(e.o.out)
	}
	if e.maps != nil {
		result["maps"] = e.o.maps.dir
		text += fmt.Sprintf("\n%s: feature maps of %d channels", e.o.maps.dir, e.maps.channels())
	}
	if e.o.stats {
		text += "\n" + e.rates(result)
	}
	e.c.result(result, "%s\n", text)
	return nil
}

// rates says where the time went.
func (e *embedding) rates(result map[string]any) string {
	s, units := e.stream.Stats(), "samples"
	if e.o.window {
		units = "windows"
	}
	waited := s.Waited.Seconds() / max(s.Elapsed.Seconds(), 1e-9)
	result["units"], result["rate"], result["waited"] = units, s.Rate(), waited
	text := fmt.Sprintf("%.4g %s/s; %.1f %% of the time spent waiting for samples", s.Rate(), units, 100*waited)
	if s.AloneInputs == 0 {
		return text + "; too few batches to measure the encoder alone"
	}
	result["forward_rate"] = s.AloneRate()
	return text + fmt.Sprintf("; the encoder alone: %.4g/s, of which embedding reaches %.1f %%", s.AloneRate(), 100*s.Rate()/s.AloneRate())
}
