package main

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"wgjepa/internal/atomicfile"
	"wgjepa/internal/evaluate"
	"wgjepa/internal/picture"
	"wgjepa/internal/report"
	"wgjepa/internal/view"
	"wgjepa/jepa"
	"wgjepa/jepa/probe"
)

const reportFile = "report.html"

// reportMap is the most samples of the map of embeddings, reportQueries how many
// are shown beside their reportNearest nearest.
const (
	reportMap     = 1500
	reportQueries = 4
	reportNearest = 5
	reportDraws   = 48 // of masks, for the map of errors
)

// reportShares are those of the label-fraction curve, where the configuration
// has none.
var reportShares = []float64{0.01, 0.05, 0.1, 0.25, 1}

func reportCommand(c *console) *cobra.Command {
	out, overwrite := "", false
	var flags *configFlags
	cmd := &cobra.Command{
		Use:   "report RUN [DATA…]",
		Short: "Write what a run learnt as one HTML page",
		Long: `Writes one page that opens without a network: what probes of the frozen features find
beside the untrained encoder, with ever fewer labels; the curves of training; principal
components of patch features; the masks; a map of the embeddings; the nearest scans of
some; where the predictor errs; the data and the configuration. It shows scans and the
names of files: think before you pass it on.`,
		Example: `  wgjepa report runs/scans
  wgjepa report runs/scans labelled/ --out labelled.html`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if out == "" {
				out, overwrite = folderOf(args[0]).path(reportFile), true
			}
			if err := unused(out, overwrite); err != nil {
				return err
			}
			if _, err := os.Stat(args[0]); err != nil {
				return err
			}
			if err := writable(out); err != nil {
				return err
			}
			return writeReport(c, flags, args[0], args[1:], out)
		},
	}
	flags = dataFlags(cmd)
	probeFlags(cmd, flags)
	f := cmd.Flags()
	f.StringVarP(&out, "out", "o", "", "the page, a `file` (default report.html in the folder of the run)")
	completeFiles(cmd, "out", "html")
	f.BoolVar(&overwrite, "overwrite", false, "replace the page that --out names")
	return cmd
}

// writeReport runs the command.
func writeReport(c *console, flags *configFlags, run string, paths []string, out string) error {
	s, err := c.openRunOn(flags, run, paths, reading{judged: true})
	if err != nil {
		return err
	}
	defer s.close()
	if len(s.conf.Probe.Curve) == 0 {
		s.conf.Probe.Curve = reportShares
	}
	r := &reporter{c: c, session: s, run: run}
	if err := r.collect(); err != nil {
		return err
	}
	var page bytes.Buffer
	if err := r.page.Write(&page); err != nil {
		return err
	}
	if err := atomicfile.WriteBytes(out, page.Bytes()); err != nil {
		return err
	}
	c.result(map[string]any{"file": out, "bytes": page.Len()}, "%s: %s\n", out, bytesText(uint64(page.Len())))
	return nil
}

// reporter collects a page.
type reporter struct {
	*session
	c    *console
	run  string
	page report.Report
}

// collect makes every section. One that fails says why in its place; only if
// all do is the report an error.
func (r *reporter) collect() error {
	r.facts()
	var failed []error
	_, err := evaluate.OpenHead(r.file)
	finetuned := err == nil
	sections := []struct {
		title string
		make  func(s *report.Section) error
	}{
		{"What the features hold", r.probes},
		{"Training", r.curves},
		{"Features of patches", r.features},
		{"A map of the embeddings", r.embeddings},
		{"Where the predictor errs", r.surprise},
		{"Masks", r.masks},
		{"Configuration", func(s *report.Section) error { s.Code = string(r.conf.TOML()); return nil }},
	}
	if finetuned { // such a run has no masks and no predictor
		sections = slices.Delete(sections, 4, 6)
	}
	for _, section := range sections {
		r.c.say("report: %s", strings.ToLower(section.title[:1])+section.title[1:])
		s := report.Section{Title: section.title}
		if err := section.make(&s); err != nil {
			if r.d.Err() != nil {
				return err
			}
			failed = append(failed, err)
			r.c.warn("%s: %v", section.title, err)
			s = report.Section{Title: section.title, Text: "Not shown: " + err.Error()}
		}
		r.page.Sections = append(r.page.Sections, s)
	}
	if len(failed) == len(sections)-1 {
		return errors.Join(failed...)
	}
	return nil
}

func (r *reporter) facts() {
	channels, size := r.ds.Shape()
	v := r.conf.Encoder
	name := filepath.Base(filepath.Clean(r.run))
	r.page.Title = "wgjepa: " + name
	r.page.Lead = "An encoder trained without labels, and what can be read from it."
	steps := r.file.Metadata()["step"]
	if n, err := strconv.Atoi(steps); err == nil {
		steps = fmt.Sprint(n / r.conf.AccumulateGradBatches)
	}
	parts := ""
	for _, s := range []string{"train", "val", "test"} {
		parts += fmt.Sprintf(", %d %s", len(r.ds.Split(s)), s)
	}
	r.page.Facts = []report.Fact{
		{Name: "data", Value: fmt.Sprintf("%d samples of %s, %d channels%s; fingerprint %s", r.ds.Len(), sizeText(size), channels, parts, r.ds.Fingerprint())},
		{Name: "encoder", Value: fmt.Sprintf("Vision Transformer, width %d, %d blocks, %d heads, patches of %s", v.EmbedDim, v.Depth, v.NumHeads, sizeText(v.PatchSize))},
		{Name: "training", Value: fmt.Sprintf("%s updates of %d samples, seed %d", steps, r.conf.BatchSize*r.conf.AccumulateGradBatches, r.conf.Seed)},
		{Name: "computed on", Value: describe(r.d.Info())},
	}
}

// probes are the tables of wgjepa probe and the label-fraction curve.
func (r *reporter) probes(s *report.Section) error {
	result, err := r.c.ask(r.ds, &r.conf, r.trained(r.conf.BatchSize), untrained(r.d, &r.conf, r.conf.BatchSize))
	if err != nil {
		return err
	}
	s.Text = "Frozen features are read out by the simplest models and judged on the test samples, with 95 % bootstrap intervals, beside the same encoder untrained and the intensities themselves. A * marks a difference whose interval does not hold 0."
	var better []string // by the one figure that stands for a task: of many some are always better
	for _, t := range result.Tasks {
		table := report.Table{Caption: fmt.Sprintf("%s: %d training, %d validation, %d test %s", t.Name, t.Units[0], t.Units[1], t.Units[2], map[bool]string{true: "volumes", false: "samples"}[t.Name == "dense"]), Columns: scoreColumns("", &t.Scores[0])}
		if t.Note != "" {
			table.Caption += "; " + t.Note
		}
		for _, score := range t.Scores {
			table.Rows = append(table.Rows, scoreRow(score.Metric, &score))
		}
		if s := t.Decisive(); s.Difference.Low > 0 {
			better = append(better, fmt.Sprintf("%s (%s) %.3f, untrained %.3f", s.Metric, t.Name, s.Trained.Value, s.Untrained.Value))
		}
		s.Tables = append(s.Tables, table)
	}
	switch asked := len(result.Tasks); {
	case len(better) > 0:
		r.page.Lead = fmt.Sprintf("On test samples it is better than the untrained encoder in %d of %d questions: %s.", len(better), asked, strings.Join(better, "; "))
	case asked > 0:
		r.page.Lead = "On test samples it cannot be told from the untrained encoder, or is worse."
	}
	for _, n := range result.Notes {
		s.Text += " Note: " + n + "."
	}
	if len(result.Curve) == 0 {
		return nil
	}
	for i, score := range result.Curve[0].Scores {
		lines := []report.Line{{Name: "trained"}, {Name: "untrained"}, {Name: "intensities"}}
		for _, p := range result.Curve {
			for k, in := range []*evaluate.Interval{&p.Scores[i].Trained, &p.Scores[i].Untrained, p.Scores[i].Intensities} {
				if in == nil {
					continue
				}
				l := &lines[k]
				l.X, l.Y, l.Low, l.High = append(l.X, float64(p.Samples)), append(l.Y, in.Value), append(l.Low, in.Low), append(l.High, in.High)
			}
		}
		lines = slices.DeleteFunc(lines, func(l report.Line) bool { return len(l.X) == 0 })
		s.Charts = append(s.Charts, report.Lines(score.Metric+" by the number of labels", "labelled training samples", score.Metric, lines))
	}
	return nil
}

func (r *reporter) curves(s *report.Section) error {
	m, err := curvesPicture(folderOf(r.run))
	if err != nil {
		return err
	}
	s.Pictures = []report.Picture{{Image: m, Alt: "Curves of training: the loss, the learning rate and what else was recorded", Caption: "Figures in the course of training."}}
	return nil
}

func (r *reporter) features(s *report.Section) error {
	return untrained(r.d, &r.conf, 1)(func(before *jepa.Features) error {
		return r.trained(1)(func(trained *jepa.Features) error {
			m, err := featurePicture(r.ds, &r.conf, before, trained)
			if err != nil {
				return err
			}
			s.Pictures = []report.Picture{{Image: m, Alt: "Slices of samples beside the colours of their patches, untrained and trained", Caption: "Patches of like colour have like features."}}
			return nil
		})
	})
}

func (r *reporter) masks(s *report.Section) error {
	m, err := maskPicture(r.ds, &r.conf, 0)
	if err != nil {
		return err
	}
	s.Pictures = []report.Picture{{Image: m, Alt: "Slices of training samples, what the context encoder sees and the blocks that are predicted", Caption: "What training sees and predicts of the first training samples in its first step."}}
	return nil
}

// embeddings is the map of held-out samples first, and the nearest of some.
func (r *reporter) embeddings(s *report.Section) error {
	var ids []int
	for _, split := range []string{"test", "val", "train"} {
		ids = append(ids, r.ds.Split(split)...)
	}
	ids = ids[:min(len(ids), reportMap)]
	if len(ids) < 3 {
		return errors.New("there are fewer than three samples")
	}
	var x probe.Matrix
	if err := r.trained(r.conf.BatchSize)(func(f *jepa.Features) (err error) {
		x, err = evaluate.Pooled(r.ds, f, ids)
		return err
	}); err != nil {
		return err
	}
	components, err := probe.PCA(x, 2)
	if err != nil {
		return err
	}
	plane := components.Transform(x)
	total := 0.0
	for j := range x.Cols {
		for i := range x.Rows {
			d := float64(x.Row(i)[j]) - components.Mean[j]
			total += d * d / float64(max(1, x.Rows-1))
		}
	}
	var points []report.Point
	for i, id := range ids {
		p := report.Point{X: float64(plane.Row(i)[0]), Y: float64(plane.Row(i)[1]), Group: -1, Name: r.ds.Name(id)}
		if k, ok := r.ds.Label(id); ok {
			p.Group = k
			p.Name += ": " + r.ds.Classes()[k]
		}
		points = append(points, p)
	}
	axis := func(k int) string {
		return fmt.Sprintf("principal component %d (%.0f %% of the variance)", k+1, 100*components.Variance[k]/math.Max(total, 1e-30))
	}
	s.Text = fmt.Sprintf("The first two principal components of the pooled features of %d samples. Below, some samples and those whose features are nearest by the cosine.", len(ids))
	s.Charts = append(s.Charts, report.Scatter("embeddings", axis(0), axis(1), r.ds.Classes(), points))
	return r.nearest(s, ids, x)
}

func (r *reporter) nearest(s *report.Section, ids []int, x probe.Matrix) error {
	thumbnail := func(i int, caption string) (report.Picture, error) {
		m, err := sampleImage(r.ds, ids[i], r.conf.Encoder.Grid())
		if err != nil {
			return report.Picture{}, err
		}
		if k, ok := r.ds.Label(ids[i]); ok {
			caption += ", " + r.ds.Classes()[k]
		}
		return report.Picture{Image: picture.Thumbnail(m), Alt: r.ds.Name(ids[i]), Caption: caption}, nil
	}
	queries := min(reportQueries, x.Rows)
	for q := range queries {
		at := q * x.Rows / queries
		row := report.Row{Text: r.ds.Name(ids[at])}
		first, err := thumbnail(at, "itself")
		if err != nil {
			return err
		}
		row.Pictures = append(row.Pictures, first)
		for _, n := range view.Nearest(x, at, reportNearest) {
			p, err := thumbnail(n.Row, fmt.Sprintf("%s: %.3f", r.ds.Name(ids[n.Row]), n.Cosine))
			if err != nil {
				return err
			}
			row.Pictures = append(row.Pictures, p)
		}
		s.Rows = append(s.Rows, row)
	}
	return nil
}

func (r *reporter) surprise(s *report.Section) (err error) {
	ids := r.ds.Split("test")
	if len(ids) == 0 {
		ids = r.ds.Split("train")
	}
	var samples []picture.Surprised
	r.d.Scope(func() {
		var errors *jepa.Surprise
		if errors, err = jepa.LoadSurprise(r.d, r.file); err != nil {
			return
		}
		v := errors.Config.Encoder
		for _, id := range ids[:min(len(ids), pictureSamples)] {
			var m picture.Image
			if m, err = sampleImage(r.ds, id, v.Grid()); err != nil {
				return
			}
			values := make([]float32, v.Patches())
			if err = errors.Patches(m.Values, reportDraws, values); err != nil {
				return
			}
			samples = append(samples, picture.Surprised{Image: m, Errors: values})
		}
	})
	if err != nil {
		return err
	}
	low, high := picture.ErrorScale(samples)
	s.Text = "How wrong the predictor is about the features of each patch when that patch is hidden: what cannot be told from the rest of the sample."
	s.Pictures = []report.Picture{{Image: picture.Surprise("", low, high, samples), Alt: "Slices of samples with the predictor's error over them", Caption: fmt.Sprintf("Mean smooth L1 error over %d draws of masks.", reportDraws)}}
	return nil
}
