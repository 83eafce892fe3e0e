package main

import (
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"slices"

	"wgjepa/data"
	"wgjepa/internal/atomicfile"
	"wgjepa/internal/config"
	"wgjepa/internal/evaluate"
	"wgjepa/internal/picture"
	"wgjepa/internal/view"
	"wgjepa/jepa"
	"wgjepa/jepa/probe"
)

// pictureSamples is how many samples a picture shows.
const pictureSamples = 3

// writePNG writes an image whole or not at all.
func writePNG(path string, m image.Image) error {
	return atomicfile.Write(path, func(w io.Writer) error { return png.Encode(w, m) })
}

// drawCurves draws the metrics file.
func (r runFolder) drawCurves() error {
	m, err := curvesPicture(r)
	if err != nil {
		return err
	}
	return writePNG(r.path(curvesFile), m)
}

// curvesPicture draws the metrics file of a run.
func curvesPicture(folder runFolder) (image.Image, error) {
	list, err := folder.readMetrics()
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(list, func(m metric) bool { return m.Finetune != nil }) {
		return picture.Curves("epoch", tunedPanels(list))
	}
	var loss, validation, lr, momentum, std, norm, rank, pooled picture.Series
	add := func(s *picture.Series, step int, v float64) {
		s.X, s.Y = append(s.X, float64(step)), append(s.Y, v)
	}
	for _, m := range list {
		if s := m.Stats; s != nil {
			add(&loss, s.Step, s.Loss)
			add(&lr, s.Step, s.LR)
			add(&momentum, s.Step, s.Momentum)
			add(&std, s.Step, s.FeatureStd)
			add(&norm, s.Step, s.GradNorm)
		}
		if h := m.Health; h != nil {
			add(&rank, h.Step, float64(h.RankMe))
			add(&pooled, h.Step, float64(h.PooledStd))
			if h.ValidationLoss != nil {
				add(&validation, h.Step, float64(*h.ValidationLoss))
			}
		}
	}
	panels := probePanels(list)
	loss.Name, validation.Name, std.Name, pooled.Name = "training", "validation", "of patches", "of held-out samples"
	return picture.Curves("update", append([]picture.Panel{
		{Title: "loss (smooth L1)", Series: []picture.Series{loss, validation}},
		{Title: "deviation of features", Series: []picture.Series{std, pooled}},
		{Title: "RankMe of held-out samples", Series: []picture.Series{rank}},
		{Title: "gradient norm", Series: []picture.Series{norm}},
		{Title: "learning rate", Series: []picture.Series{lr}},
		{Title: "momentum of the target encoder", Series: []picture.Series{momentum}},
	}, panels...))
}

// tunedPanels are the figures of finetuning.
func tunedPanels(list []metric) []picture.Panel {
	loss, validation, lr := picture.Series{Name: "training"}, picture.Series{Name: "validation"}, picture.Series{}
	for _, m := range list {
		f := m.Finetune
		if f == nil {
			continue
		}
		validation.X, validation.Y = append(validation.X, f.Epoch), append(validation.Y, f.Validation)
		if f.Step > 0 {
			loss.X, loss.Y = append(loss.X, f.Epoch), append(loss.Y, f.Loss)
			lr.X, lr.Y = append(lr.X, f.Epoch), append(lr.Y, f.LR)
		}
	}
	return []picture.Panel{{Title: "loss", Series: []picture.Series{loss, validation}}, {Title: "learning rate", Series: []picture.Series{lr}}}
}

// probePanels are the probes during training, one panel a question.
func probePanels(list []metric) []picture.Panel {
	var panels []picture.Panel
	at := map[string]int{}
	for _, m := range list {
		if m.Probe == nil || m.Probe.Result == nil {
			continue
		}
		for _, task := range m.Probe.Result.Tasks {
			if len(task.Scores) == 0 {
				continue
			}
			s := task.Decisive()
			name := fmt.Sprintf("probe: %s, %s", task.Name, s.Metric)
			i, known := at[name]
			if !known {
				i = len(panels)
				at[name] = i
				panels = append(panels, picture.Panel{Title: name, Series: []picture.Series{{Name: "trained"}, {Name: "untrained"}}})
			}
			for k, v := range []float64{s.Trained.Value, s.Untrained.Value} {
				series := &panels[i].Series[k]
				series.X, series.Y = append(series.X, float64(m.Probe.Step)), append(series.Y, v)
			}
		}
	}
	return panels
}

// drawMasks draws the masks of the first step.
func (t *training) drawMasks() error {
	m, err := maskPicture(t.ds, t.conf, 0)
	if err != nil {
		return err
	}
	return writePNG(t.folder.path(masksFile), m)
}

// sampleImage reads a sample for a picture.
func sampleImage(ds data.Dataset, id int, grid []int) (picture.Image, error) {
	channels, size := ds.Shape()
	m := picture.Image{Name: ds.Name(id), Channels: channels, Size: size, Grid: grid, Values: make([]float32, evaluate.SampleLen(ds))}
	return m, ds.Read(id, m.Values)
}

// maskPicture draws the masks of a step on the first training samples.
func maskPicture(ds data.Dataset, conf *config.Config, step int) (image.Image, error) {
	masks, err := view.DrawMasks(&conf.Config, step)
	if err != nil {
		return nil, err
	}
	ids := ds.Split("train")
	var samples []picture.Masked
	for b := range min(pictureSamples, len(masks), len(ids)) {
		m, err := sampleImage(ds, ids[b], conf.Encoder.Grid())
		if err != nil {
			return nil, err
		}
		samples = append(samples, picture.Masked{Image: m, Context: masks[b].Context, Targets: masks[b].Targets})
	}
	if len(samples) == 0 {
		return nil, errors.New("there are no training samples")
	}
	title := fmt.Sprintf("Masks of step %d: the context encoder sees %d of %d patches, the predictor predicts %d blocks of %d", step, len(masks[0].Context), conf.Encoder.Patches(), len(masks[0].Targets), len(masks[0].Targets[0]))
	return picture.Masks(title, samples), nil
}

// drawFeatures draws what the encoder's patch features say, before and after
// training.
func (t *training) drawFeatures() error {
	d := t.trainer.Device()
	trained := t.trainer.Features(t.conf.Probe.Encoder == "target")
	return untrained(d, t.conf, 1)(func(untrained *jepa.Features) error {
		m, err := featurePicture(t.ds, t.conf, untrained, trained)
		if err != nil {
			return err
		}
		return writePNG(t.folder.path(pcaFile), m)
	})
}

// featurePicture shows the first three principal components of patch features
// as red, green and blue: one basis an encoder, over all samples shown.
func featurePicture(ds data.Dataset, conf *config.Config, untrained, trained *jepa.Features) (image.Image, error) {
	ids := ds.Split("test")
	for _, other := range []string{"val", "train"} {
		if len(ids) < pictureSamples {
			ids = append(slices.Clone(ids), ds.Split(other)...)
		}
	}
	ids = ids[:min(len(ids), pictureSamples)]
	if len(ids) == 0 {
		return nil, errors.New("there are no samples")
	}
	samples := make([]picture.Colored, len(ids))
	for i, id := range ids {
		var err error
		if samples[i].Image, err = sampleImage(ds, id, conf.Encoder.Grid()); err != nil {
			return nil, err
		}
	}
	for _, f := range []*jepa.Features{untrained, trained} {
		P, D := f.Config.Patches(), f.Config.EmbedDim
		x := probe.Matrix{Rows: len(ids) * P, Cols: D, Data: make([]float32, len(ids)*P*D)}
		for i := range samples {
			if err := f.Tokens(samples[i].Values, 1, x.Data[i*P*D:(i+1)*P*D]); err != nil {
				return nil, err
			}
		}
		basis, err := view.NewColors(x)
		if err != nil {
			return nil, err
		}
		colors := basis.Of(x)
		for i := range samples {
			samples[i].Maps = append(samples[i].Maps, colors[i*P:(i+1)*P])
		}
	}
	return picture.Features("First three principal components of patch features as red, green, blue (one basis an encoder)", []string{"untrained", "trained"}, samples), nil
}
