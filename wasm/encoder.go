//go:build js && wasm

package main

import (
	"fmt"
	"strconv"

	"wgjepa/checkpoint"
	"wgjepa/internal/config"
	"wgjepa/internal/evaluate"
	"wgjepa/jepa"
	"wgjepa/jepa/probe"
)

// encoder is what a command looks at: the trainer's networks, or a file's.
type encoder struct {
	conf               config.Config // of the run that it is from
	step               int           // updates
	name               string        // of the state that it is in
	trained, untrained evaluate.Encoder
	surprise           func(use func(*jepa.Surprise) error) error
}

var errUntrained = commandError("nothing was trained yet: train first, or name a file of weights")

// encoder finds the networks that c names. Those of a file are opened on a
// device for as long as they are used.
func (s *session) encoder(c command) (*encoder, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	if c.Encoder == "" {
		c.Encoder = s.conf.Probe.Network()
	}
	if c.Encoder != jepa.ContextEncoder && c.Encoder != jepa.TargetEncoder {
		return nil, commandError(fmt.Sprintf("encoder is %q: it must be %s or %s", c.Encoder, jepa.ContextEncoder, jepa.TargetEncoder))
	}
	if file, _ := c.Weights.(string); file != "" {
		return s.fileEncoder(c, file)
	}
	if s.trainer == nil {
		return nil, errUntrained
	}
	t := s.trainer
	e := &encoder{conf: s.run, step: t.Updates(), untrained: t.Untrained}
	e.name = fmt.Sprintf("%s of run %d, step %d", c.Encoder, s.runs, t.Steps())
	e.trained = func(use func(*jepa.Features) error) error { return use(t.Features(c.Encoder == jepa.TargetEncoder)) }
	e.surprise = func(use func(*jepa.Surprise) error) error { return use(t.Surprise()) }
	e.conf.Probe = s.conf.Probe
	return e, nil
}

func (s *session) fileEncoder(c command, path string) (*encoder, error) {
	if s.training {
		return nil, commandError("a training runs: look at its encoder, or stop it first")
	}
	e := &encoder{conf: s.conf, name: c.Encoder + " of " + path}
	open := func() (*checkpoint.File, error) { return checkpoint.OpenVerified(path) }
	f, err := open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if e.conf.Config, err = jepa.ReadConfig(f); err != nil {
		return nil, err
	}
	step, _ := strconv.Atoi(f.Metadata()["step"])
	e.step = step / e.conf.AccumulateGradBatches
	channels, size := s.ds.Shape()
	if got, want := fmt.Sprint(channels, size), fmt.Sprint(e.conf.Encoder.InChans, e.conf.Encoder.ImgSize); got != want {
		return nil, fmt.Errorf("%s takes samples of (channels, size) %s and the data have %s", path, want, got)
	}
	d, err := s.use(c.Adapter)
	if err != nil {
		return nil, err
	}
	batch := min(e.conf.BatchSize, s.ds.Len())
	e.trained = evaluate.Lend(d, func() (*jepa.Features, error) {
		f, err := open()
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return jepa.LoadFeatures(d, f, c.Encoder, batch)
	})
	e.untrained = evaluate.Lend(d, func() (*jepa.Features, error) { return jepa.UntrainedFeatures(d, e.conf.Config, batch) })
	e.surprise = evaluate.Lend(d, func() (*jepa.Surprise, error) {
		f, err := open()
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return jepa.LoadSurprise(d, f)
	})
	return e, nil
}

// pooled computes the embeddings (n, D) of samples.
func (s *session) pooled(with evaluate.Encoder, ids []int, progress func(done, total int) error) (x probe.Matrix, err error) {
	err = with(func(f *jepa.Features) error {
		x = probe.Matrix{Rows: len(ids), Cols: f.Config.EmbedDim, Data: make([]float32, len(ids)*f.Config.EmbedDim)}
		return s.batches(f, ids, progress, func(from, n int, samples []float32) error {
			return f.Pooled(samples, n, x.Data[from*x.Cols:(from+n)*x.Cols])
		})
	})
	return x, err
}

// tokens computes the patch features (n·P, D) of samples.
func (s *session) tokens(with evaluate.Encoder, ids []int) (x probe.Matrix, err error) {
	err = with(func(f *jepa.Features) error {
		P, D := f.Config.Patches(), f.Config.EmbedDim
		x = probe.Matrix{Rows: len(ids) * P, Cols: D, Data: make([]float32, len(ids)*P*D)}
		return s.batches(f, ids, func(int, int) error { return nil }, func(from, n int, samples []float32) error {
			return f.Tokens(samples, n, x.Data[from*P*D:(from+n)*P*D])
		})
	})
	return x, err
}

// batches reads samples and gives them to do, as many at once as f takes.
func (s *session) batches(f *jepa.Features, ids []int, progress func(done, total int) error, do func(from, n int, x []float32) error) error {
	return evaluate.Batches(s.ds, ids, f.Batch, func(x []float32, from, n int) error {
		if err := do(from, n, x); err != nil {
			return err
		}
		return progress(from+n, len(ids))
	})
}
