//go:build js && wasm

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"syscall/js"
	"time"

	"wgjepa/checkpoint"
	"wgjepa/data"
	"wgjepa/gpu"
	"wgjepa/internal/config"
	"wgjepa/jepa"
)

// session is the state between commands. Everything in it belongs to the main
// goroutine but the queue.
type session struct {
	queue  chan command
	turned chan struct{}
	onTurn js.Func

	device  *gpu.Device
	adapter string // that device was opened with

	conf   config.Config
	ds     data.Dataset // nil until open
	loader *data.Loader

	trainer  *jepa.Trainer // of the last training
	state    string        // file to continue from
	training bool
	paused   bool
}

// errStopped ends a training that was told to stop.
var errStopped = errors.New("stopped")

// commandError is an error of the command itself, not of its execution.
type commandError string

func (e commandError) Error() string { return string(e) }

// answer executes c and posts its done.
func (s *session) answer(c command) {
	result, err := s.try(c)
	if err == nil {
		post(c.ID, "done", map[string]any{"result": result})
		return
	}
	kind := "other"
	var wrong commandError
	switch {
	case errors.As(err, &wrong):
		kind = "command"
	case errors.Is(err, gpu.ErrLost):
		kind = "lost"
	case errors.Is(err, gpu.ErrMemory):
		kind = "memory"
	}
	if s.device != nil && s.device.Err() != nil && !s.training {
		s.closeDevice() // it answers nothing but its first error from now on
	}
	post(c.ID, "done", map[string]any{"error": map[string]string{"kind": kind, "message": err.Error()}})
}

// try executes c. A panic is a defect of this program; it costs the command
// and the device, not the page.
func (s *session) try(c command) (result any, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("a defect of this program, please report it: %v\n%s", r, debug.Stack())
			s.training, s.paused = false, false
			s.closeDevice()
		}
	}()
	if s.training {
		switch c.Command {
		case "pause":
			s.paused = true
			return nil, nil
		case "resume":
			s.paused = false
			return nil, nil
		case "save":
			return s.save(c)
		case "embed":
			return s.embed(c)
		}
		return nil, commandError(c.Command + " is not possible while a training runs: stop it first")
	}
	switch c.Command {
	case "adapters":
		return map[string]any{"adapters": gpu.Adapters()}, nil
	case "open":
		return s.open(c)
	case "estimate":
		return s.estimate(c)
	case "load":
		return s.load(c)
	case "train":
		return s.train(c)
	case "save":
		return s.save(c)
	case "embed":
		return s.embed(c)
	case "verify":
		return s.verify(c)
	case "bench":
		return s.benchmark(c)
	case "doctor":
		return s.doctor(c)
	case "pause", "resume", "stop":
		return nil, commandError("no training runs")
	}
	return nil, commandError(fmt.Sprintf("there is no command %q", c.Command))
}

// use opens the adapter of choice, or goes on with the one that is open.
func (s *session) use(choice string) (*gpu.Device, error) {
	if s.device != nil && s.adapter == choice && s.device.Err() == nil {
		return s.device, nil
	}
	s.closeDevice()
	d, err := gpu.Open(choice)
	if err != nil {
		return nil, err
	}
	s.device, s.adapter = d, choice
	return d, nil
}

func (s *session) closeDevice() {
	s.trainer = nil
	if s.device != nil {
		s.device.Close()
		s.device = nil
	}
}

// layered reads the layers of configuration in c, then its settings.
func layered(c command) (config.Config, error) {
	var layers []config.Text
	for i, text := range c.Config {
		layers = append(layers, config.Text{Name: fmt.Sprintf("config[%d]", i), TOML: []byte(text)})
	}
	for _, assignment := range c.Set {
		line, err := config.Setting(assignment)
		if err != nil {
			return config.Config{}, err
		}
		layers = append(layers, line)
	}
	return config.Parse(layers...)
}

// open reads data and completes the configuration for them.
func (s *session) open(c command) (any, error) {
	conf, err := layered(c)
	if err != nil {
		return nil, err
	}
	if len(c.Paths) > 0 {
		conf.Data.Paths = c.Paths
	}
	if len(conf.Data.Paths) == 0 {
		return nil, commandError("no data: name files or folders, or the word phantoms for generated volumes")
	}
	ds, report, err := conf.Open()
	result := map[string]any{}
	if report != nil {
		result["report"], result["refused"] = report.String(), report.Refused
		for _, r := range report.Refused {
			post(c.ID, "warning", map[string]any{"message": fmt.Sprintf("%s was refused: %s", r.Name, r.Reason)})
		}
	}
	if err != nil {
		return nil, err
	}
	channels, size := ds.Shape()
	if err := conf.Complete(channels, size); err != nil {
		return nil, err
	}
	s.closeData()
	s.ds, s.conf, s.state = ds, conf, ""
	splits := map[string]int{}
	for _, name := range []string{"train", "val", "test"} {
		splits[name] = len(ds.Split(name))
	}
	result["samples"], result["channels"], result["size"], result["classes"] = ds.Len(), channels, size, ds.Classes()
	result["splits"], result["fingerprint"], result["config"] = splits, ds.Fingerprint(), string(conf.TOML())
	return result, nil
}

func (s *session) closeData() {
	if s.loader != nil {
		s.loader.Close()
		s.loader = nil
	}
	s.ds, s.trainer = nil, nil
}

var errNoData = commandError("no data are open: send open first")

// estimate answers whether the training fits.
func (s *session) estimate(c command) (any, error) {
	if s.ds == nil {
		return nil, errNoData
	}
	d, err := s.use(c.Adapter)
	if err != nil {
		return nil, err
	}
	info := d.Info()
	m, err := jepa.EstimateMemory(info, s.conf.Config)
	result := map[string]any{"memory": m, "total": m.Total(), "limit": info.Memory, "fits": err == nil && (info.Memory == 0 || m.Total() <= info.Memory)}
	if err != nil {
		if !errors.Is(err, gpu.ErrMemory) {
			return nil, err
		}
		result["why"] = err.Error()
	}
	return result, nil
}

// load chooses the state to continue from.
func (s *session) load(c command) (any, error) {
	f, note, err := jepa.OpenState(c.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if note != "" {
		post(c.ID, "warning", map[string]any{"message": note})
	}
	conf, err := jepa.ReadConfig(f)
	if err != nil {
		return nil, err
	}
	s.state = c.Path
	step, _ := strconv.Atoi(f.Metadata()["step"])
	return map[string]any{"config": string(conf.TOML()), "step": step}, nil
}

// train runs a whole training.
func (s *session) train(c command) (any, error) {
	if s.ds == nil {
		return nil, errNoData
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
	s.training, s.paused = true, false
	defer func() { s.training = false }()
	var alarm jepa.Alarm
	start, first := time.Now(), t.Updates()
	interval := time.Duration(c.StatsMS) * time.Millisecond
	if interval == 0 {
		interval = 500 * time.Millisecond
	}
	err = t.Run(context.Background(), s.loader, jepa.RunOptions{
		Dir: c.Dir, Fingerprint: s.ds.Fingerprint(), CheckpointEvery: c.CheckpointEvery, StatsEvery: interval,
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
			return s.between()
		},
	})
	stopped := errors.Is(err, errStopped)
	if stopped {
		err = nil
		if c.Dir != "" {
			err = t.Save(path.Join(c.Dir, jepa.StateFile), s.ds.Fingerprint())
		}
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{"step": t.Updates(), "total": t.Schedule.Total, "stopped": stopped}, nil
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
	s.closeDevice()
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
	t, err := jepa.New(d, s.conf.Config, s.loader.StepsPerEpoch()/s.conf.AccumulateGradBatches)
	if err != nil {
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
	s.trainer = t
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
		if c.Command == "stop" {
			s.paused = false
			post(c.ID, "done", map[string]any{"result": nil})
			return errStopped
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

// save writes the state, or the weights alone.
func (s *session) save(c command) (any, error) {
	if s.trainer == nil {
		return nil, commandError("nothing was trained yet: there is nothing to save")
	}
	if c.Path == "" {
		return nil, commandError("save needs a path")
	}
	if weights, _ := c.Weights.(bool); weights {
		return nil, s.trainer.Export(c.Path)
	}
	return nil, s.trainer.Save(c.Path, s.ds.Fingerprint())
}

// features of the trainer's encoder, or of a file's.
func (s *session) features(c command) (*jepa.Features, error) {
	if c.Encoder == "" {
		c.Encoder = jepa.ContextEncoder
	}
	if c.Encoder != jepa.ContextEncoder && c.Encoder != jepa.TargetEncoder {
		return nil, commandError(fmt.Sprintf("encoder is %q: it must be %s or %s", c.Encoder, jepa.ContextEncoder, jepa.TargetEncoder))
	}
	file, _ := c.Weights.(string)
	if file != "" && s.training {
		return nil, commandError("a training runs: embed by its encoder, or stop it first")
	}
	if file == "" {
		if s.trainer == nil {
			return nil, commandError("nothing was trained yet: name a file of weights")
		}
		return s.trainer.Features(c.Encoder == jepa.TargetEncoder), nil
	}
	d, err := s.use(c.Adapter)
	if err != nil {
		return nil, err
	}
	f, err := checkpoint.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.Verify(); err != nil {
		return nil, err
	}
	fs, err := jepa.LoadFeatures(d, f, c.Encoder, s.conf.BatchSize)
	if err != nil {
		return nil, err
	}
	channels, size := s.ds.Shape()
	if got, want := fmt.Sprint(channels, size), fmt.Sprint(fs.Config.InChans, fs.Config.ImgSize); got != want {
		return nil, fmt.Errorf("%s takes samples of (channels, size) %s and the data have %s", file, want, got)
	}
	return fs, nil
}
