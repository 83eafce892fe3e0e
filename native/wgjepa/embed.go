package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"github.com/spf13/cobra"

	"wgjepa/checkpoint/weights"
	"wgjepa/data"
	"wgjepa/internal/config"
	"wgjepa/internal/evaluate"
	"wgjepa/jepa"
)

// embedOptions are the flags of embed that are not part of the configuration.
type embedOptions struct {
	out       string
	batch     int
	overwrite bool
	from      weightsFlags
}

func embedCommand(c *console) *cobra.Command {
	o := embedOptions{}
	var flags *configFlags
	cmd := &cobra.Command{
		Use:   "embed RUN_OR_WEIGHTS DATA…",
		Short: "Write the embedding of each sample to a table",
		Long: `Computes the frozen features of every sample of DATA, whatever its split, and writes
their mean over the patches, or mean and standard deviation, as one row a sample:
FILE.npy with the names of the samples in FILE.names.txt, line by line, or FILE.csv
with the names in the first column. Weights are a run's or those of any file that
wgjepa inspect recognises. Data are read as the weights of a run say; for weights of
other programs as for training, at the size that they were trained at, or at --size,
to which they are then fitted.

Samples stream through in batches: a million need no more memory than ten, but for the
list of their names. FILE appears when it is complete; Ctrl-C leaves nothing. The batch size
changes an embedding by float32 rounding at most.`,
		Example: `  wgjepa embed runs/scans scans/ --out scans.npy
  wgjepa embed runs/scans new/ --out new.csv --features target --pooling mean+std
  wgjepa embed vit_small.safetensors pictures/ --weights-heads 6 --out pictures.npy`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			switch ext := filepath.Ext(o.out); {
			case o.out == "":
				return usagef("embed needs --out FILE.npy or FILE.csv")
			case ext != ".npy" && ext != ".csv":
				return usagef("--out is %q: its name must end in .npy or .csv", o.out)
			case o.batch < 0:
				return usagef("--batch-size is %d: it must be at least 1", o.batch)
			}
			return embed(c, flags, args[0], args[1:], o)
		},
	}
	flags = dataFlags(cmd)
	f := cmd.Flags()
	f.String("features", "", "of which encoder: context or target (probe.encoder)")
	f.String("pooling", "", "of a sample's patch features: mean or mean+std (probe.pooling)")
	flags.keys["features"], flags.keys["pooling"] = "probe.encoder", "probe.pooling"
	f.StringVarP(&o.out, "out", "o", "", "the table: FILE.npy or FILE.csv")
	f.IntVar(&o.batch, "batch-size", 0, "samples at once (default: the run's)")
	f.BoolVar(&o.overwrite, "overwrite", false, "replace the table")
	o.from.add(cmd, "weights-")
	return cmd
}

// embed runs the command.
func embed(c *console, flags *configFlags, path string, paths []string, o embedOptions) error {
	if _, err := os.Stat(o.out); err == nil && !o.overwrite {
		return fmt.Errorf("%s is there already: choose another name, or replace it with --overwrite", o.out)
	}
	w, conf, err := openWeights(c, flags, path, &o.from)
	if err != nil {
		return err
	}
	if err := setPaths(&conf, paths); err != nil {
		return err
	}
	conf.Data.CacheMiB = 0 // every sample is read once
	d, err := c.open()
	if err != nil {
		return err
	}
	defer d.Close()
	ds, err := readData(c, &conf)
	if err != nil {
		return err
	}
	if w, err = fitToData(c, w, &conf, ds, &o.from); err != nil {
		return err
	}
	if o.batch == 0 {
		o.batch = conf.BatchSize
	}
	e := &embedding{c: c, ds: ds, std: conf.Probe.Pooling == "mean+std"}
	d.Scope(func() {
		if e.features, err = jepa.ImportedFeatures(d, w, min(o.batch, ds.Len())); err == nil {
			err = e.write(o.out)
		}
	})
	if err != nil {
		return err
	}
	names := ""
	if filepath.Ext(o.out) == ".npy" {
		names = ", their names in " + namesFile(o.out)
	}
	c.result(map[string]any{"file": o.out, "samples": ds.Len(), "width": e.width(), "encoder": conf.Probe.Encoder, "pooling": conf.Probe.Pooling, "weights": path},
		"%s: %d embeddings of %d numbers%s\n", o.out, ds.Len(), e.width(), names)
	return nil
}

// openWeights reads one encoder, and how data are to be read for it.
func openWeights(c *console, flags *configFlags, path string, from *weightsFlags) (*weights.Weights, config.Config, error) {
	r, err := inspect(path)
	if err != nil {
		return nil, config.Config{}, err
	}
	var conf config.Config
	if r.Source == "wgjepa" {
		file, own, err := openRun(flags, path)
		if err != nil {
			return nil, conf, err
		}
		if err := file.Close(); err != nil {
			return nil, conf, err
		}
		conf = own
	} else if conf, err = flags.parse(nil); err != nil {
		return nil, conf, err
	}
	switch p := &conf.Probe; {
	case p.Encoder != "context" && p.Encoder != "target":
		return nil, conf, usagef("--features is %q: it must be context or target", p.Encoder)
	case p.Pooling != "mean" && p.Pooling != "mean+std":
		return nil, conf, usagef("--pooling is %q: it must be mean or mean+std", p.Pooling)
	}
	from.network = conf.Probe.Encoder
	w, err := from.load(c, path)
	if err != nil {
		return nil, conf, err
	}
	if len(conf.Data.Size) == 0 {
		conf.Data.Size = slices.Clone(w.Config.ImgSize)
	}
	return w, conf, from.complete(&w.Config, "num_heads", "pos_embed")
}

// fitToData fits weights to the shape that the samples have.
func fitToData(c *console, w *weights.Weights, conf *config.Config, ds data.Dataset, from *weightsFlags) (*weights.Weights, error) {
	if ds.Len() == 0 {
		return nil, errors.New("the data hold no samples")
	}
	channels, size := ds.Shape()
	v, err := jepa.EncoderOf(w)
	if err != nil && !slices.Contains(w.Config.Unknown, "img_size") {
		return nil, err
	}
	conf.Encoder = v
	conf.Encoder.InChans, conf.Encoder.ImgSize, conf.Encoder.PatchSize = channels, slices.Clone(size), nil
	choosePatch(w, conf, size)
	return from.adapt(c, w, conf)
}

// embedding is one run of embed.
type embedding struct {
	c        *console
	ds       data.Dataset
	features *jepa.Features
	std      bool // beside the mean
}

func (e *embedding) width() int {
	if e.std {
		return 2 * e.features.Config.EmbedDim
	}
	return e.features.Config.EmbedDim
}

func namesFile(out string) string { return strings.TrimSuffix(out, filepath.Ext(out)) + ".names.txt" }

// write writes the table: under other names until it is complete.
func (e *embedding) write(out string) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second Ctrl-C ends the process
	tmp, tmpNames := out+".tmp", namesFile(out)+".tmp"
	defer func() {
		if err != nil {
			os.Remove(tmp)
			os.Remove(tmpNames)
		}
	}()
	table, err := newTable(tmp, tmpNames, out, e.ds.Len(), e.width())
	if err != nil {
		return err
	}
	err = e.stream(ctx, table.row)
	if err = errors.Join(err, table.close()); err != nil {
		return err
	}
	if filepath.Ext(out) == ".npy" {
		// A table beside names always belongs to them.
		if err := os.Remove(out); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := os.Rename(tmpNames, namesFile(out)); err != nil {
			return err
		}
	}
	return os.Rename(tmp, out)
}

// stream embeds sample after sample, the next batch being read meanwhile.
func (e *embedding) stream(ctx context.Context, row func(name string, z []float32) error) error {
	f := e.features
	N, B, D, W := e.ds.Len(), f.Batch, f.Config.EmbedDim, e.width()
	channels, size := e.ds.Shape()
	n := channels
	for _, s := range size {
		n *= s
	}
	type batch struct {
		first int
		x     []float32
		err   error
	}
	free, full := make(chan []float32, 2), make(chan batch)
	free <- make([]float32, B*n)
	free <- make([]float32, B*n)
	ended := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for first := 0; first < N; first += B {
			var x []float32
			select {
			case x = <-free:
			case <-ended:
				return
			}
			ids := make([]int, min(B, N-first))
			for i := range ids {
				ids[i] = first + i
			}
			x = x[:len(ids)*n]
			select {
			case full <- batch{first, x, evaluate.ReadSamples(e.ds, ids, x)}:
			case <-ended:
				return
			}
		}
	}()
	defer func() {
		close(ended)
		<-done
	}()
	bar := e.c.bar("embed", N, 0)
	defer bar.end()
	z := make([]float32, B*W)
	var tokens []float32
	if e.std {
		tokens = make([]float32, B*f.Config.Patches()*D)
	}
	for at := 0; at < N; {
		var b batch
		select {
		case b = <-full:
		case <-ctx.Done():
			return errors.New("interrupted: nothing was written")
		}
		if b.err != nil {
			return b.err
		}
		count := len(b.x) / n
		if err := e.pooled(b.x, count, z, tokens); err != nil {
			return err
		}
		for i := range count {
			name, v := e.ds.Name(b.first+i), z[i*W:(i+1)*W]
			for _, x := range v {
				if x != x || math.IsInf(float64(x), 0) {
					return fmt.Errorf("the embedding of %s is not finite: look at its voxels, or leave it out", name)
				}
			}
			if err := row(name, v); err != nil {
				return err
			}
		}
		free <- b.x[:cap(b.x)]
		at = b.first + count
		bar.set(at)
	}
	return nil
}

// pooled writes the embeddings of n samples to z; tokens has room for their
// patch features where the deviation is wanted.
func (e *embedding) pooled(x []float32, n int, z, tokens []float32) error {
	if !e.std {
		return e.features.Pooled(x, n, z)
	}
	if err := e.features.Tokens(x, n, tokens); err != nil {
		return err
	}
	P, D := e.features.Config.Patches(), e.features.Config.EmbedDim
	for i := range n {
		meanStd(z[i*2*D:(i+1)*2*D], tokens[i*P*D:(i+1)*P*D], D)
	}
	return nil
}

// meanStd writes the mean over the rows of tokens (P, D), then their standard
// deviation, to dst (2·D).
func meanStd(dst, tokens []float32, D int) {
	P := float64(len(tokens) / D)
	for j := range D {
		sum, squares := 0.0, 0.0
		for at := j; at < len(tokens); at += D {
			sum += float64(tokens[at])
		}
		mean := sum / P
		for at := j; at < len(tokens); at += D {
			d := float64(tokens[at]) - mean
			squares += d * d
		}
		dst[j], dst[D+j] = float32(mean), float32(math.Sqrt(squares/P))
	}
}

// table writes rows to a file, and where that is an array, names to another.
type table struct {
	files []*os.File
	bufs  []*bufio.Writer
	csv   *csv.Writer // nil for an array
	cells []string
	bytes []byte
}

func newTable(path, namesPath, out string, rows, width int) (*table, error) {
	t := &table{}
	open := func(path string) error {
		f, err := os.Create(path)
		if err == nil {
			t.files, t.bufs = append(t.files, f), append(t.bufs, bufio.NewWriterSize(f, 1<<20))
		}
		return err
	}
	if err := open(path); err != nil {
		return nil, err
	}
	if filepath.Ext(out) == ".csv" {
		t.csv = csv.NewWriter(t.bufs[0])
		t.cells = []string{"name"}
		for i := range width {
			t.cells = append(t.cells, fmt.Sprintf("z%d", i))
		}
		return t, t.csv.Write(t.cells)
	}
	if err := open(namesPath); err != nil {
		return t, errors.Join(err, t.close())
	}
	_, err := t.bufs[0].Write(npyHeader(rows, width))
	return t, err
}

// npyHeader is the head of an array of float32 (rows, width), version 1.0
// (numpy.lib.format).
func npyHeader(rows, width int) []byte {
	text := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", rows, width)
	const before, align = 10, 64
	text += strings.Repeat(" ", align-1-(before+len(text))%align) + "\n"
	head := binary.LittleEndian.AppendUint16([]byte("\x93NUMPY\x01\x00"), uint16(len(text)))
	return append(head, text...)
}

func (t *table) row(name string, z []float32) error {
	if t.csv != nil {
		t.cells = append(t.cells[:0], name)
		for _, v := range z {
			t.cells = append(t.cells, strconv.FormatFloat(float64(v), 'g', -1, 32))
		}
		return t.csv.Write(t.cells)
	}
	t.bytes = t.bytes[:0]
	for _, v := range z {
		t.bytes = binary.LittleEndian.AppendUint32(t.bytes, math.Float32bits(v))
	}
	if strings.ContainsFunc(name, unicode.IsControl) {
		name = strconv.Quote(name) // one line each
	}
	_, err := t.bufs[0].Write(t.bytes)
	_, nameErr := t.bufs[1].WriteString(name + "\n")
	return errors.Join(err, nameErr)
}

func (t *table) close() error {
	var errs []error
	if t.csv != nil {
		t.csv.Flush()
		errs = append(errs, t.csv.Error())
	}
	for i, f := range t.files {
		errs = append(errs, t.bufs[i].Flush(), f.Sync(), f.Close())
	}
	return errors.Join(errs...)
}
