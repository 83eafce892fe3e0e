//go:build js && wasm

package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path"
	"time"

	"wgjepa/data"
	"wgjepa/gpu"
	"wgjepa/internal/resident"
	"wgjepa/jepa"
)

// configFile is the native command's name for the configuration of a run.
const configFile = "config.toml"

// train runs a whole training.
func (s *session) train(c command) (any, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	if c.Dir != "" {
		if err := os.MkdirAll(c.Dir, 0o755); err != nil {
			return nil, err
		}
	}
	t, err := s.newTrainer(c)
	if err != nil {
		return nil, err
	}
	saved := true
	unsaved := func(err error) error {
		saved = t.Updates() < t.Schedule.Total && s.ctx.Err() == nil // not the last state
		post(c.ID, "warning", map[string]any{"kind": "save", "message": err.Error()})
		return nil
	}
	if c.Dir != "" {
		if err := os.WriteFile(path.Join(c.Dir, configFile), s.run.TOML(), 0o644); err != nil {
			unsaved(err)
			saved = true // the state is yet to come
		}
	}
	s.training, s.paused = true, false
	defer func() { s.training = false }()
	var alarm jepa.Alarm
	start, first := time.Now(), t.Updates()
	interval := time.Duration(c.StatsMS) * time.Millisecond
	if interval == 0 {
		interval = 500 * time.Millisecond
	}
	p := &probing{command: c, every: time.Duration(c.ProbeEveryMS) * time.Millisecond, last: start}
	err = t.Run(s.ctx, s.heard(), jepa.RunOptions{
		Dir: c.Dir, Fingerprint: s.ds.Fingerprint(), CheckpointEvery: c.CheckpointEvery, StatsEvery: interval, OnUnsaved: unsaved,
		OnStats: func(st jepa.Stats) {
			progress := map[string]any{"stats": finite(st), "total": t.Schedule.Total}
			if done := st.Step - first; done > 0 {
				rate := float64(done) / time.Since(start).Seconds()
				progress["steps_per_second"], progress["seconds_left"] = rate, float64(t.Schedule.Total-st.Step)/rate
			}
			post(c.ID, "progress", progress)
			if warning := alarm.Watch(st); warning != "" {
				post(c.ID, "warning", map[string]any{"message": warning})
			}
		},
		OnUpdate: func(u int) error {
			if u == t.Schedule.Total {
				return nil // it ends by itself
			}
			since := time.Now()
			defer func() { start = start.Add(time.Since(since)) }() // the rate is that of training alone
			if err := s.between(); err != nil {
				return err
			}
			return s.probeNow(p)
		},
	})
	stopped := errors.Is(err, jepa.ErrInterrupted)
	if err != nil && !stopped {
		return nil, err
	}
	return map[string]any{"step": t.Updates(), "total": t.Schedule.Total, "stopped": stopped, "saved": saved}, nil
}

// restore makes the trainer of the last training anew, on any adapter, from a state that
// it saved.
func (s *session) restore(c command) (any, error) {
	if s.runs == 0 {
		return nil, commandError("nothing was trained yet: there is nothing to restore")
	}
	if err := s.ready(); err != nil {
		return nil, err
	}
	conf, seen := s.conf, s.seen // both may be of other settings and labels than the training's
	defer func() { s.conf, s.seen, s.state = conf, seen, "" }()
	s.conf, s.state = s.run, c.Path
	t, err := s.newTrainer(c)
	if err != nil {
		return nil, err
	}
	return map[string]any{"step": t.Updates(), "total": t.Schedule.Total}, nil
}

// heard is the source of batches that hears stop between those of one update.
func (s *session) heard() jepa.Source {
	if d, ok := s.feed.(jepa.DeviceSource); ok {
		return hearingDevice{d, s}
	}
	return hearing{s.feed, s}
}

func (s *session) hear(step int) {
	if step%s.run.AccumulateGradBatches != 0 {
		s.turn()
	}
}

type hearing struct {
	jepa.Source
	s *session
}

func (h hearing) Batch(step int, x []float32) error {
	h.s.hear(step)
	return h.Source.Batch(step, x)
}

type hearingDevice struct {
	jepa.DeviceSource
	s *session
}

func (h hearingDevice) Record(e *gpu.Encoder, step int, x gpu.Tensor) error {
	h.s.hear(step)
	return h.DeviceSource.Record(e, step, x)
}

// finite makes figures that JSON cannot hold into ones that it can: the run ends
// with an error that says so.
func finite(st jepa.Stats) jepa.Stats {
	for _, v := range []*float64{&st.Loss, &st.GradNorm, &st.FeatureStd} {
		if math.IsNaN(*v) || math.IsInf(*v, 0) {
			*v = math.MaxFloat64
		}
	}
	return st
}

// newTrainer makes the trainer of a training and loads what it continues from.
func (s *session) newTrainer(c command) (*jepa.Trainer, error) {
	// A new one begins with an empty device, so that two never need memory at once.
	// What was compiled stays.
	s.trainer = nil
	if s.device != nil {
		s.device.Clear()
		s.device.Wait() // a device that was lost meanwhile is replaced
	}
	s.kept.forget()
	d, err := s.use(c.Adapter)
	if err != nil {
		return nil, err
	}
	split := s.ds.Split("train")
	if len(split) == 0 {
		return nil, fmt.Errorf("the split leaves none of %d samples to train on: lower data.val (%g) and data.test (%g)", s.ds.Len(), s.conf.Data.Val, s.conf.Data.Test)
	}
	if s.loader != nil {
		s.loader.Close()
	}
	s.loader, err = data.NewLoader(s.ds, data.LoaderOptions{Batch: s.conf.BatchSize, Seed: s.conf.Seed, Indices: split, Augment: s.conf.Augment()})
	if err != nil {
		return nil, err
	}
	if s.state == "" && resident.Loads(&s.conf, d.Info(), 0, s.ds) {
		s.loader.Prepare(0) // while kernels compile
	}
	t, err := jepa.New(d, s.conf.Config, s.loader.StepsPerEpoch()/s.conf.AccumulateGradBatches)
	if err != nil {
		return nil, err
	}
	t.Note = s.conf.Note()
	if s.feed, _, err = resident.Choose(&s.conf, d, s.ds, s.loader, split); err != nil {
		return nil, err
	}
	if s.state != "" {
		f, _, err := jepa.OpenState(s.state)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if err := t.Load(f, s.ds.Fingerprint()); err != nil {
			return nil, err
		}
		s.state = ""
	}
	s.trainer, s.run, s.seen = t, s.conf, map[string]bool{}
	for _, i := range split {
		s.seen[s.ds.Name(i)] = true
	}
	s.runs++
	return t, nil
}

// between answers what came in during an update, and waits while paused.
func (s *session) between() error {
	s.turn()
	for {
		var c command
		if s.paused {
			c = <-s.queue
		} else {
			select {
			case c = <-s.queue:
			default:
				return nil
			}
		}
		s.answer(c)
		if s.device == nil {
			return errors.New("the device was closed")
		}
		if err := s.device.Err(); err != nil {
			return err
		}
	}
}

// probing is when the next probe of a training is due.
type probing struct {
	command command
	every   time.Duration // 0: never
	last    time.Time
}

// probeNow probes where it is due. What keeps it from being done is told once.
func (s *session) probeNow(p *probing) error {
	if p.every == 0 || time.Since(p.last) < p.every || s.ctx.Err() != nil {
		return nil
	}
	result, err := s.evaluate(command{}, func(int, int) error {
		s.turn()
		return s.ctx.Err()
	})
	p.last = time.Now()
	switch {
	case err == nil:
		post(p.command.ID, "probe", map[string]any{"step": s.trainer.Updates(), "result": result})
	case s.device.Err() != nil:
		return err
	case s.ctx.Err() == nil:
		p.every = 0
		post(p.command.ID, "warning", map[string]any{"message": "no more probes during this training: " + err.Error()})
	}
	return nil
}

// save writes the state, or the weights alone.
func (s *session) save(c command) error {
	if s.trainer == nil {
		return commandError("nothing was trained yet: there is nothing to save")
	}
	if c.Path == "" {
		return commandError("save needs a path")
	}
	s.kept.forget()
	if weights, _ := c.Weights.(bool); weights {
		return s.trainer.Export(c.Path)
	}
	return s.trainer.Save(c.Path, s.ds.Fingerprint())
}
