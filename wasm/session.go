//go:build js && wasm

package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall/js"
	"time"

	"wgjepa/data"
	"wgjepa/gpu"
	"wgjepa/internal/config"
	"wgjepa/internal/evaluate"
	"wgjepa/internal/view"
	"wgjepa/jepa"
	"wgjepa/jepa/probe"
	"wgjepa/model"
)

// session is the state between commands. Everything in it belongs to the main
// goroutine but the queue.
type session struct {
	queue  chan command
	turned chan struct{}
	onTurn js.Func

	device  *gpu.Device
	adapter string // that device was opened with

	ds          data.Dataset // nil until open
	report      *data.Report
	source      reading       // how ds was read
	ownSize     bool          // ds has the size of its files, which nobody asked for
	ownChannels bool          // ds has the channels of its files, which nobody asked for
	conf        config.Config // of the last open
	unfit       error         // why conf does not fit ds
	loader      *data.Loader
	feed        jepa.Source // of batches: the loader, or the device by it

	trainer  *jepa.Trainer   // of the last training
	run      config.Config   // that it was made with
	seen     map[string]bool // names of the samples that it trains on
	runs     int             // trainings so far
	state    string          // file to continue from
	training bool
	paused   bool
	ctx      context.Context // of what stop can end, nil without
	stop     func()

	kept kept
}

// kept is what was computed from one state of an encoder, to be used again.
type kept struct {
	similarOf string // the encoder that embeddings are of
	similar   probe.Matrix

	colorsOf          [2]string // untrained, trained
	colors            [2]*view.Colors
	untrainedColors   map[int][]byte // of samples
	untrainedPooledOf string
	untrainedPooled   probe.Matrix // of held-out samples
	baseline          evaluate.Baseline
}

// forget drops what a file of weights gave: it may be written over.
func (k *kept) forget() { k.similarOf, k.colorsOf[1] = "", "" }

// commandError is an error of the command itself, not of its execution.
type commandError string

func (e commandError) Error() string { return string(e) }

// failure is an error of a kind, with what else the host may want to know.
type failure struct {
	error
	kind string
	more map[string]any
}

func (f failure) Unwrap() error { return f.error }

// answer executes c and posts its done.
func (s *session) answer(c command) {
	result, err := s.try(c)
	if err == nil {
		post(c.ID, "done", map[string]any{"result": result})
		return
	}
	e := map[string]any{"kind": "other", "message": err.Error()}
	var wrong commandError
	var failed failure
	switch {
	case errors.As(err, &wrong):
		e["kind"] = "command"
	case errors.Is(err, context.Canceled):
		e["kind"], e["message"] = "stopped", c.Command+" was stopped"
	case errors.Is(err, gpu.ErrLost):
		e["kind"] = "lost"
	case errors.Is(err, gpu.ErrMemory):
		e["kind"] = "memory"
	case errors.As(err, &failed):
		e["kind"] = failed.kind
		for k, v := range failed.more {
			e[k] = v
		}
	}
	if s.device != nil && s.device.Err() != nil && !s.training {
		s.closeDevice() // it answers nothing but its first error from now on
	}
	post(c.ID, "done", map[string]any{"error": e})
}

// duringTraining are the commands that are possible while a training runs.
var duringTraining = []string{"adapters", "presets", "config", "columns", "view", "pause", "resume", "stop", "save", "embed", "masks", "features", "surprise", "similar", "probe", "health"}

// checks are the commands that test and measure the program itself. Only the
// program built with the tag checks has them: trainings need none of their code.
var checks = map[string]func(*session, command) (any, error){}

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
	if s.training && !slices.Contains(duringTraining, c.Command) {
		return nil, commandError(c.Command + " is not possible while a training runs: stop it first")
	}
	switch c.Command {
	case "adapters":
		return map[string]any{"adapters": gpu.Adapters()}, nil
	case "presets":
		return presets(), nil
	case "columns":
		columns, err := data.Columns(c.Path)
		return map[string]any{"columns": columns}, err
	case "config":
		return check(c)
	case "open":
		return s.endable(func() (any, error) { return s.open(c) })
	case "view":
		return s.view(c)
	case "estimate":
		return s.estimate(c)
	case "load":
		return s.load(c)
	case "restore":
		return s.restore(c)
	case "train":
		return s.endable(func() (any, error) { return s.train(c) })
	case "pause", "resume", "stop":
		return s.at(), s.steer(c)
	case "save":
		return s.at(), s.save(c)
	case "embed":
		return s.endable(func() (any, error) { return s.embed(c) })
	case "masks":
		return nil, s.masks(c)
	case "features":
		return nil, s.features(c)
	case "surprise":
		return nil, s.surprise(c)
	case "similar":
		return s.endable(func() (any, error) { return s.similar(c) })
	case "probe":
		return s.endable(func() (any, error) { return s.probe(c) })
	case "health":
		return s.endable(func() (any, error) { return s.health(c) })
	case "finetune":
		return s.endable(func() (any, error) { return s.finetune(c) })
	}
	if f := checks[c.Command]; f != nil {
		return f(s, c)
	}
	return nil, commandError(fmt.Sprintf("there is no command %q", c.Command))
}

// endable runs f so that stop ends it; within a training, stop ends that too.
func (s *session) endable(f func() (any, error)) (any, error) {
	if s.ctx == nil {
		s.ctx, s.stop = context.WithCancel(context.Background())
		defer func() {
			s.stop()
			s.ctx, s.stop = nil, nil
		}()
	}
	return f()
}

// at is where the trainer stands.
func (s *session) at() any {
	if s.trainer == nil {
		return nil
	}
	return map[string]any{"step": s.trainer.Updates()}
}

// steer answers pause, resume and stop.
func (s *session) steer(c command) error {
	switch {
	case s.training:
		s.paused = c.Command == "pause"
		if c.Command == "stop" {
			s.stop()
		}
	case !c.ended:
		return commandError("no training runs")
	}
	return nil
}

// progress tells the host how far a command is, not too often, and hears it.
func (s *session) progress(id int) func(done, total int) error {
	last := time.Time{}
	return func(done, total int) error {
		if done == total || time.Since(last) > 100*time.Millisecond {
			last = time.Now()
			post(id, "progress", map[string]any{"done": done, "total": total})
			s.turn()
		}
		return s.ctx.Err()
	}
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

// presets are what a configuration can start from.
func presets() any {
	type preset struct {
		Name string `json:"name"`
		Says string `json:"says"`
	}
	return map[string]any{
		"presets": []preset{
			{"default", "nidl's parameters, with its defects mended"},
			{"nidl", "exactly what nidl does, for parity and for its models"},
			{"paper", "what the paper and its released code do"},
		},
		"encoders": model.SizeNames(),
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
			return config.Config{}, failure{error: err, kind: "config"}
		}
		layers = append(layers, line)
	}
	conf, err := config.Parse(layers...)
	if err != nil {
		err = failure{error: err, kind: "config"}
	}
	return conf, err
}

// check validates a configuration without data.
func check(c command) (any, error) {
	conf, err := layered(c)
	if err != nil {
		return nil, err
	}
	conf, err = conf.Check()
	if err != nil {
		return nil, failure{error: err, kind: "config"}
	}
	return map[string]any{"config": string(conf.TOML())}, nil
}

// reading is how data are read: what is open is kept where nothing of it changed, and
// what was trained where the samples are the same.
type reading struct {
	samples string // what decides them
	labels  string // what decides their labels and splits
}

func readingOf(conf *config.Config, channels int, size []int) reading {
	o := conf.Options()
	labels := fmt.Sprintf("%q %q %q %q %q %q %v", o.Splits, o.Labels, o.LabelColumn, o.LabelKind, o.SubjectColumn, o.Subjects, *o.Split)
	o.Split, o.Splits, o.Labels, o.LabelColumn, o.LabelKind, o.SubjectColumn, o.Subjects = nil, "", "", "", "", "", ""
	if slices.Equal(o.Size, size) {
		o.Size = nil
	}
	if o.Dim == len(size) {
		o.Dim = 0
	}
	if o.Channels == channels {
		o.Channels = 0
	}
	return reading{fmt.Sprintf("%q %v %v", conf.Data.Paths, conf.Data.Phantoms, o), labels}
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
	if c.Labels != "" {
		conf.Data.Labels = c.Labels
	}
	if len(conf.Data.Paths) == 0 {
		return nil, commandError("no data: name files or folders, or the word phantoms for generated volumes")
	}
	if err := s.read(c, &conf); err != nil {
		return nil, err
	}
	s.conf, s.state = conf, ""
	channels, size := s.ds.Shape()
	if s.unfit = s.conf.Complete(channels, size); s.unfit != nil {
		f := failure{error: s.unfit, kind: "config", more: map[string]any{"refused": refusals(s.report)}}
		var none *config.PatchError
		if errors.As(s.unfit, &none) {
			f.more["suggest"] = none.Suggest
		}
		s.unfit = f
		return nil, f
	}
	return s.opened(), nil
}

// read opens the data of conf, or keeps those that are open.
func (s *session) read(c command, conf *config.Config) error {
	o := conf.Options()
	if s.ds != nil && !c.Reread && (s.ownSize || len(o.Size) > 0) && (s.ownChannels || o.Channels > 0) {
		if channels, size := s.ds.Shape(); readingOf(conf, channels, size) == s.source {
			return nil
		}
	}
	o.Progress = s.progress(c.ID)
	ds, report, err := conf.OpenWith(o)
	if err != nil {
		return unread(err, report)
	}
	channels, size := ds.Shape()
	source, trainer := readingOf(conf, channels, size), s.trainer
	if s.ds != nil {
		was, wasSize := s.ds.Shape()
		if source.samples != s.source.samples || ds.Fingerprint() != s.ds.Fingerprint() || channels != was || !slices.Equal(size, wasSize) {
			trainer = nil
		}
	}
	s.closeData()
	s.ds, s.report, s.source, s.ownSize, s.ownChannels, s.trainer = ds, report, source, len(o.Size) == 0, o.Channels == 0, trainer
	if n := s.seenHeldOut(); n > 0 {
		post(c.ID, "warning", map[string]any{"message": fmt.Sprintf("the encoder trained on %d of the samples that these labels hold out, though without labels: figures of them may be too good. Train anew to have them held out", n)})
	}
	return nil
}

// seenHeldOut counts the held-out samples that the encoder was trained on, which other
// labels may split otherwise.
func (s *session) seenHeldOut() (n int) {
	if s.trainer == nil {
		return 0
	}
	for _, split := range []string{"val", "test"} {
		for _, i := range s.ds.Split(split) {
			if s.seen[s.ds.Name(i)] {
				n++
			}
		}
	}
	return n
}

// refused is a file that was not used.
type refused struct {
	Name    string      `json:"name"`
	Reason  string      `json:"reason"`
	Convert *conversion `json:"convert,omitempty"`
}

// conversion is what makes it readable: a NIfTI file that dcm2niix makes of files.
type conversion struct {
	Files []string `json:"files"`
	To    string   `json:"to"`
}

func refusals(r *data.Report) []refused {
	list := []refused{}
	if r != nil {
		for _, f := range r.Refused {
			one := refused{Name: f.Name, Reason: f.Reason}
			if e := f.Compressed; e != nil {
				one.Convert = &conversion{e.Files, e.Image}
			}
			list = append(list, one)
		}
	}
	return list
}

// unread adds to an error of opening data what helps to mend it.
func unread(err error, report *data.Report) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	f := failure{error: err, kind: "data", more: map[string]any{"refused": refusals(report)}}
	var differ *data.SizesError
	if errors.As(err, &differ) {
		sizes := map[string]int{}
		for _, size := range differ.Sizes {
			sizes[strings.Trim(strings.ReplaceAll(fmt.Sprint(size), " ", "×"), "[]")]++
		}
		f.kind, f.more["sizes"], f.more["suggest"] = "size", sizes, config.SuggestSize(differ.Sizes)
	}
	return f
}

// opened describes the data that are open.
func (s *session) opened() any {
	n := s.ds.Len()
	names, labels, splitOf := make([]string, n), make([]int, n), make([]string, n)
	numbers := make([]*float64, n)
	sizes, spacings, formats, orientations := make([][]int, n), make([][]float64, n), make([]string, n), make([]string, n)
	for i := range n {
		h := s.ds.Header(i)
		names[i], labels[i], sizes[i], spacings[i], formats[i] = s.ds.Name(i), -1, h.Size, h.Spacing, h.Format
		if !slices.Contains([]string{"NPY", "NPZ", "TIFF"}, h.Format) { // those say nothing of it
			orientations[i] = h.Orientation()
		}
		if orientations[i] != "" && s.conf.Data.Reorient {
			orientations[i] = "RAS"
		}
		if class, ok := s.ds.Label(i); ok {
			labels[i] = class
		}
		if number, ok := s.ds.Target(i); ok {
			numbers[i] = &number
		}
	}
	splits := map[string]int{}
	for _, split := range []string{"train", "val", "test"} {
		ids := s.ds.Split(split)
		splits[split] = len(ids)
		for _, i := range ids {
			splitOf[i] = split
		}
	}
	channels, size := s.ds.Shape()
	return map[string]any{
		"samples": n, "channels": channels, "size": size, "grid": s.conf.Encoder.Grid(), "patch": s.conf.Encoder.PatchSize,
		"classes": append([]string{}, s.ds.Classes()...), "dense": s.ds.VoxelClasses() > 0, "splits": splits,
		"fingerprint": s.ds.Fingerprint(), "config": string(s.conf.TOML()),
		"report": s.report.String(), "notes": append([]string{}, s.report.Notes...), "refused": refusals(s.report),
		"label_column": s.report.LabelColumn, "names": names, "labels": labels, "numbers": numbers, "split_of": splitOf, "sizes": sizes, "spacings": spacings, "formats": formats, "orientations": orientations,
	}
}

func (s *session) closeData() {
	if s.loader != nil {
		s.loader.Close()
		s.loader = nil
	}
	s.ds, s.trainer, s.kept = nil, nil, kept{}
}

// ready is nil when data are open and the configuration fits them.
func (s *session) ready() error {
	if s.ds == nil {
		return commandError("no data are open: send open first")
	}
	return s.unfit
}

// sample reads a sample for a picture.
func (s *session) sample(i int) ([]float32, error) {
	if err := s.exists(i); err != nil {
		return nil, err
	}
	channels, size := s.ds.Shape()
	x := make([]float32, channels*product(size))
	return x, s.ds.Read(i, x)
}

func (s *session) exists(i int) error {
	if err := s.ready(); err != nil {
		return err
	}
	if i < 0 || i >= s.ds.Len() {
		return commandError(fmt.Sprintf("sample is %d: there are %d, numbered from 0", i, s.ds.Len()))
	}
	return nil
}

func product(size []int) int {
	n := 1
	for _, a := range size {
		n *= a
	}
	return n
}

// class is the name of a sample's class, "" without.
func (s *session) class(i int) string {
	if label, ok := s.ds.Label(i); ok {
		return s.ds.Classes()[label]
	}
	return ""
}

// estimate answers whether the training fits.
func (s *session) estimate(c command) (any, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	d, err := s.use(c.Adapter)
	if err != nil {
		return nil, err
	}
	info := d.Info()
	m, err := jepa.Prepare(d, s.conf.Config) // training is likely to follow
	if err != nil && !errors.Is(err, gpu.ErrMemory) {
		return nil, err
	}
	fits := err == nil && (info.Memory == 0 || m.Total() <= info.Memory)
	result := map[string]any{"memory": m, "total": m.Total(), "limit": info.Memory, "trained": s.trainer != nil, "fits": fits}
	if err != nil {
		result["why"] = err.Error()
	}
	if !fits {
		result["batch"], result["batch_size"] = jepa.LargestBatch(info, s.conf.Config), s.conf.BatchSize
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
	trained, err := jepa.ReadConfig(f)
	if err != nil {
		return nil, err
	}
	conf, err := config.Parse(config.Text{Name: "the configuration in " + c.Path, TOML: []byte(jepa.ReadNote(f))})
	if err != nil {
		return nil, err
	}
	conf.Config = trained // what the weights belong to, whatever the note says
	s.state = c.Path
	step, _ := strconv.Atoi(f.Metadata()["step"])
	return map[string]any{"config": string(conf.TOML()), "step": step / trained.AccumulateGradBatches}, nil
}
