//go:build js && wasm

package main

import (
	"encoding/base64"
	"fmt"
	"math"
	"os"

	"wgjepa/data"
	"wgjepa/internal/evaluate"
	"wgjepa/internal/view"
	"wgjepa/jepa"
	"wgjepa/jepa/probe"
)

// picture posts an event of a sample.
func picture(c command, kind string, fields map[string]any) {
	fields["picture"], fields["sample"] = kind, c.Sample
	post(c.ID, "picture", fields)
}

// view writes a sample, and the labels of its voxels, as bytes.
func (s *session) view(c command) (any, error) {
	if c.Out == "" {
		return nil, commandError("view needs out, the file to write")
	}
	x, err := s.sample(c.Sample)
	if err != nil {
		return nil, err
	}
	b, low, high := view.Bytes(x)
	if err := os.WriteFile(c.Out, b, 0o644); err != nil {
		return nil, err
	}
	channels, size := s.ds.Shape()
	labelled := false
	if c.LabelsOut != "" {
		labels := make([]uint8, product(size))
		if labelled, err = s.ds.VoxelLabels(c.Sample, labels); err != nil {
			return nil, err
		}
		if labelled {
			if err := os.WriteFile(c.LabelsOut, labels, 0o644); err != nil {
				return nil, err
			}
		}
	}
	return map[string]any{
		"name": s.ds.Name(c.Sample), "class": s.class(c.Sample), "channels": channels, "size": size, "grid": s.conf.Encoder.Grid(),
		"spacing": s.spacing(c.Sample), "low": low, "high": high, "labels": labelled,
	}, nil
}

// spacing is in mm a voxel of a sample as it is viewed: turned, resampled and resized.
func (s *session) spacing(i int) []float64 {
	_, size := s.ds.Shape()
	mm := make([]float64, len(size))
	affine := s.ds.(data.Spaced).Space(i).Affine
	for axis := range mm {
		mm[axis] = math.Hypot(math.Hypot(affine[0][axis], affine[1][axis]), affine[2][axis])
	}
	return mm
}

// masks posts what training at a step would draw for a sample, as if it stood
// in the batch at its number modulo the batch size.
func (s *session) masks(c command) error {
	if err := s.exists(c.Sample); err != nil {
		return err
	}
	if c.Step < 0 {
		return commandError(fmt.Sprintf("step is %d: steps count from 0", c.Step))
	}
	list, err := view.DrawMasks(&s.conf.Config, c.Step)
	if err != nil {
		return err
	}
	m := list[c.Sample%len(list)]
	picture(c, "masks", map[string]any{"grid": s.conf.Encoder.Grid(), "context": m.Context, "targets": m.Targets})
	return nil
}

// handful is how many samples colours are computed from.
const handful = 8

// features posts the colours of a sample's patches, by the encoder before and
// after training.
func (s *session) features(c command) error {
	if err := s.exists(c.Sample); err != nil {
		return err
	}
	e, err := s.encoder(c)
	if err == errUntrained {
		e, err = s.untrainedEncoder(c)
	}
	if err != nil {
		return err
	}
	grid := e.conf.Encoder.Grid()
	if s.kept.colorsOf[0] != string(e.conf.Config.TOML()) {
		s.kept.untrainedColors = map[int][]byte{}
	}
	before, ok := s.kept.untrainedColors[c.Sample]
	if !ok {
		if before, err = s.colors(0, string(e.conf.Config.TOML()), e.untrained, c.Sample); err != nil {
			return err
		}
		s.kept.untrainedColors[c.Sample] = before
	}
	picture(c, "features", map[string]any{"encoder": "untrained", "step": 0, "grid": grid, "colours": base64.StdEncoding.EncodeToString(before)})
	if e.trained == nil {
		return nil
	}
	after, err := s.colors(1, e.name, e.trained, c.Sample)
	if err != nil {
		return err
	}
	picture(c, "features", map[string]any{"encoder": "trained", "step": e.step, "grid": grid, "colours": base64.StdEncoding.EncodeToString(after)})
	return nil
}

// untrainedEncoder is that of the configuration, before any training.
func (s *session) untrainedEncoder(c command) (*encoder, error) {
	d, err := s.use(c.Adapter)
	if err != nil {
		return nil, err
	}
	conf := s.conf
	batch := min(conf.BatchSize, handful)
	return &encoder{conf: conf, untrained: evaluate.Lend(d, func() (*jepa.Features, error) { return jepa.UntrainedFeatures(d, conf.Config, batch) })}, nil
}

// colors are the bytes (P, 3) of a sample. The basis is that of the handful of
// samples; it is computed once for each state of an encoder, and follows the one
// before.
func (s *session) colors(which int, of string, with evaluate.Encoder, sample int) ([]byte, error) {
	ids := []int{sample}
	fresh := s.kept.colorsOf[which] != of
	if fresh {
		ids = append(ids, s.handful()...)
	}
	x, err := s.tokens(with, ids)
	if err != nil {
		return nil, err
	}
	P := x.Rows / len(ids)
	if fresh {
		basis, err := view.NewColors(probe.Matrix{Rows: x.Rows - P, Cols: x.Cols, Data: x.Data[P*x.Cols:]})
		if err != nil {
			return nil, err
		}
		if before := s.kept.colors[which]; before != nil {
			basis.Follow(before)
		}
		s.kept.colors[which], s.kept.colorsOf[which] = basis, of
	}
	b := make([]byte, 0, 3*P)
	for _, c := range s.kept.colors[which].Of(probe.Matrix{Rows: P, Cols: x.Cols, Data: x.Data[:P*x.Cols]}) {
		b = append(b, c[:]...)
	}
	return b, nil
}

// handful are samples that were held out, as far as there are any.
func (s *session) handful() []int {
	var ids []int
	for _, split := range []string{"test", "val", "train"} {
		ids = append(ids, s.ds.Split(split)...)
	}
	return ids[:min(len(ids), handful)]
}

// surprise posts where the predictor errs on a sample.
func (s *session) surprise(c command) error {
	x, err := s.sample(c.Sample)
	if err != nil {
		return err
	}
	if c.Draws == 0 {
		c.Draws = 16
	}
	if c.Draws < 1 || c.Draws > 1024 {
		return commandError(fmt.Sprintf("draws is %d: it must be 1 to 1024", c.Draws))
	}
	e, err := s.encoder(c)
	if err != nil {
		return err
	}
	errs := make([]float32, e.conf.Encoder.Patches())
	if err := e.surprise(func(p *jepa.Surprise) error { return p.Patches(x, c.Draws, errs) }); err != nil {
		return err
	}
	values := make([]*float32, len(errs)) // JSON has no NaN
	low, high := float32(math.Inf(1)), float32(math.Inf(-1))
	for i, v := range errs {
		if v == v {
			values[i], low, high = &errs[i], min(low, v), max(high, v)
		}
	}
	picture(c, "surprise", map[string]any{"step": e.step, "grid": e.conf.Encoder.Grid(), "values": values, "low": low, "high": high})
	return nil
}

// neighbour is a sample near another.
type neighbour struct {
	Sample int     `json:"sample"`
	Name   string  `json:"name"`
	Class  string  `json:"class"`
	Cosine float64 `json:"cosine"`
}

// similar finds the samples that an encoder sees as nearest.
func (s *session) similar(c command) (any, error) {
	if err := s.exists(c.Sample); err != nil {
		return nil, err
	}
	if c.K == 0 {
		c.K = 5
	}
	if c.K < 1 {
		return nil, commandError(fmt.Sprintf("k is %d: it must be 1 or more", c.K))
	}
	e, err := s.encoder(c)
	if err != nil {
		return nil, err
	}
	if s.kept.similarOf != e.name {
		ids, err := s.ids("")
		if err != nil {
			return nil, err
		}
		x, err := s.pooled(e.trained, ids, s.progress(c.ID))
		if err != nil {
			return nil, err
		}
		s.kept.similar, s.kept.similarOf = x, e.name
	}
	list := []neighbour{}
	for _, n := range view.Nearest(s.kept.similar, c.Sample, c.K) {
		list = append(list, neighbour{n.Row, s.ds.Name(n.Row), s.class(n.Row), n.Cosine})
	}
	return map[string]any{"neighbours": list}, nil
}
