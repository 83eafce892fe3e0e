package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strings"
	"time"

	"wgjepa/data"
	"wgjepa/gpu"
	"wgjepa/internal/atomicfile"
	"wgjepa/internal/config"
	"wgjepa/internal/evaluate"
	"wgjepa/internal/resident"
	"wgjepa/jepa"
	"wgjepa/jepa/probe"
)

// training is one run of train or demo.
type training struct {
	c       *console
	conf    *config.Config
	folder  runFolder
	o       trainOptions
	ds      data.Dataset
	loader  *data.Loader
	source  jepa.Source // the loader, or its batches made on the device
	trainer *jepa.Trainer
	metrics *metrics
	unlock  func() // of the folder
	bar     *bar
	alarm   jepa.Alarm
	healthX []float32 // held-out samples, read once
	healthN int
	val     []float32 // a batch of validation samples, nil without
	probes  evaluate.Baseline
}

// newTraining checks that everything fits, then makes the folder and the
// trainer, and loads the state to resume from.
func newTraining(c *console, d *gpu.Device, ds data.Dataset, conf *config.Config, folder runFolder, o trainOptions) (*training, error) {
	if err := checkMemory(c, d.Info(), conf.Config); err != nil {
		return nil, err
	}
	t := &training{c: c, conf: conf, folder: folder, o: o, ds: ds}
	split := ds.Split("train")
	if len(split) == 0 {
		return nil, fmt.Errorf("the split leaves none of %d samples to train on: lower data.val (%g) and data.test (%g)", ds.Len(), conf.Data.Val, conf.Data.Test)
	}
	loader, err := data.NewLoader(ds, data.LoaderOptions{Batch: conf.BatchSize, Seed: conf.Seed, Indices: split, Augment: conf.Augment()})
	if err != nil {
		return nil, err
	}
	t.loader = loader
	t.trainer, err = jepa.New(d, conf.Config, loader.StepsPerEpoch()/conf.AccumulateGradBatches)
	if err != nil {
		t.close()
		return nil, err
	}
	if err := t.chooseSource(split); err != nil {
		t.close()
		return nil, err
	}
	if err := t.begin(); err != nil {
		t.close()
		return nil, err
	}
	t.trainer.Note = conf.Note()
	if err := t.openFolder(); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// chooseSource decides where batches are made: see data.resident.
func (t *training) chooseSource(split []int) error {
	source, why, err := resident.Choose(t.conf, t.trainer.Device(), t.ds, t.loader, split)
	if err != nil {
		return err
	}
	if why != "" {
		t.c.say("data: %s", why)
	}
	t.source = source
	return nil
}

// begin sets the weights that --init names.
func (t *training) begin() error {
	if t.o.start == nil {
		return nil
	}
	anew, err := t.trainer.SetWeights(t.o.start)
	if err != nil {
		return err
	}
	target, predictor := "its own", "the weights'"
	if t.o.start.Target == nil {
		target = "the same weights"
	}
	if anew != "" {
		predictor = "begins at random: " + anew
	}
	t.c.say("init: the encoder of %s; target encoder: %s; predictor: %s", t.o.init, target, predictor)
	return nil
}

func (t *training) openFolder() error {
	var err error
	if t.unlock, err = t.folder.begin(t.o.resume, t.o.overwrite); err != nil {
		return err
	}
	if t.o.resume {
		if err := t.load(); err != nil {
			return err
		}
	} else {
		if t.o.start != nil {
			// First of all, so that no run resumes from random weights instead.
			if err := t.trainer.Save(t.folder.path(jepa.StateFile), t.ds.Fingerprint()); err != nil {
				return err
			}
			t.o.start = nil // no longer needed, and maybe large
		}
		if err := atomicfile.WriteBytes(t.folder.path(configFile), t.conf.TOML()); err != nil {
			return err
		}
		if err := t.folder.writeSplit(t.ds); err != nil {
			return err
		}
	}
	var before []metric
	t.metrics, before, err = t.folder.openMetrics(t.trainer.Updates())
	for _, m := range before {
		if m.Stats != nil {
			t.alarm.Watch(*m.Stats) // so that it knows how the run began
		}
	}
	return err
}

// load continues from the checkpoint; a run that was ended before its first
// begins anew.
func (t *training) load() error {
	f, note, err := jepa.OpenState(t.folder.path(jepa.StateFile))
	if errors.Is(err, fs.ErrNotExist) {
		t.c.say("resume: the run had no checkpoint yet, so it begins anew")
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if note != "" {
		t.c.warn("%s", note)
	}
	moved, err := t.folder.moved(t.ds)
	if err != nil {
		return err
	}
	if len(moved) > 0 {
		return fmt.Errorf("%d samples that the run was trained on, such as %s, are now for validation or test: labels or splits were changed; go on with its own: --splits %s", len(moved), moved[0], quote(t.folder.path(splitFile)))
	}
	if err := t.trainer.Load(f, t.ds.Fingerprint()); err != nil {
		return err
	}
	t.c.say("resume: after update %d of %d", t.trainer.Updates(), t.trainer.Schedule.Total)
	return nil
}

func (t *training) close() {
	t.loader.Close()
	if t.metrics != nil {
		t.metrics.close()
	}
	if t.unlock != nil {
		t.unlock()
	}
}

// run trains to the end or until interrupted.
func (t *training) run() error {
	s := t.trainer.Schedule
	if warmup := t.conf.WarmupEpochs * float64(s.StepsPerEpoch); t.conf.LRScheduler != "none" && warmup >= float64(s.Total) {
		t.c.warn("warmup_epochs = %g is all of the training (%d updates, %d an epoch): the learning rate never reaches %g", t.conf.WarmupEpochs, s.Total, s.StepsPerEpoch, t.conf.LearningRate)
	}
	t.c.say("training: %d samples, %d updates, %d an epoch, in %s", len(t.ds.Split("train")), s.Total, s.StepsPerEpoch, t.folder)
	every := t.o.healthEvery
	if every == 0 {
		every = max(1, s.Total/10)
	}
	w := t.c.err // a bar puts its own writer there for a while
	ctx, stop := interruptible(func() { fmt.Fprintln(w, "interrupted: finishing the step and saving; once more ends at once") })
	defer stop()
	t.bar = t.c.bar("train", s.Total, t.trainer.Updates())
	defer t.bar.end()
	if every > 0 && t.trainer.Updates() == 0 {
		if err := t.health(0); err != nil {
			return err
		}
	}
	began := time.Now()
	err := t.trainer.Run(ctx, t.source, jepa.RunOptions{
		Dir: string(t.folder), Fingerprint: t.ds.Fingerprint(), CheckpointEvery: t.o.checkpointEvery, StatsEvery: 100 * time.Millisecond,
		OnStats: t.onStats,
		OnUpdate: func(u int) error {
			t.bar.set(u)
			if every > 0 && (u%every == 0 || u == s.Total) {
				if err := t.health(u); err != nil {
					return err
				}
			}
			if n := t.o.probeEvery; n > 0 && (u%n == 0 || u == s.Total) {
				return t.probe(ctx, u)
			}
			return nil
		},
	})
	if err == nil || errors.Is(err, jepa.ErrInterrupted) {
		t.bar.log()
	}
	t.bar.end()
	took := time.Since(began)
	waiting := t.loader.Waited().Seconds() / max(took.Seconds(), 1e-9)
	if err == nil || errors.Is(err, jepa.ErrInterrupted) {
		t.c.say("waiting for data: %.1f %% of %s", 100*waiting, duration(took))
	}
	switch {
	case errors.Is(err, jepa.ErrInterrupted):
		t.drawPictures()
		t.c.result(map[string]any{"event": "interrupted", "step": t.trainer.Updates(), "continue": t.resumeCommand()},
			"interrupted after update %d of %d; to continue:\n  %s\n", t.trainer.Updates(), s.Total, t.resumeCommand())
		return errSaid
	case err != nil:
		if _, statErr := os.Stat(t.folder.path(jepa.StateFile)); statErr == nil {
			return fmt.Errorf("%w\nto continue from the last checkpoint:\n  %s", err, t.resumeCommand())
		}
		return err
	}
	t.drawPictures()
	t.c.result(map[string]any{"event": "done", "step": s.Total, "weights": t.folder.path(jepa.WeightsFile), "seconds": took.Seconds(), "waiting_for_data": waiting},
		"%d updates done: %s\nnext: %s probe %s\n", s.Total, t.folder.path(jepa.WeightsFile), os.Args[0], quote(string(t.folder)))
	return nil
}

// onStats shows and records the figures of a step.
func (t *training) onStats(s jepa.Stats) {
	t.bar.note("loss", fmt.Sprintf("%.4f", s.Loss), "std", fmt.Sprintf("%.3f", s.FeatureStd), "lr", fmt.Sprintf("%.2g", s.LR))
	if warning := t.alarm.Watch(s); warning != "" {
		t.c.warn("%s", warning)
	}
	// A metrics file that cannot be written is a matter for the checkpoint: it
	// lies on the same disk and says more.
	_ = t.metrics.add(metric{Stats: &s})
	if t.c.json && finite(s.Loss, s.GradNorm, s.FeatureStd) {
		t.c.emit(struct {
			Event string `json:"event"`
			jepa.Stats
		}{"step", s})
	}
}

func finite(values ...float64) bool {
	for _, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	return true
}

// health looks at the features of held-out samples after update u.
func (t *training) health(u int) error {
	f := t.trainer.Features(false)
	if t.healthX == nil {
		if err := t.readHealthSamples(f.Batch); err != nil {
			return err
		}
	}
	x := probe.Matrix{Rows: t.healthN, Cols: f.Config.EmbedDim, Data: make([]float32, t.healthN*f.Config.EmbedDim)}
	n := len(t.healthX) / t.healthN
	for from := 0; from < t.healthN; from += f.Batch {
		b := min(f.Batch, t.healthN-from)
		if err := f.Pooled(t.healthX[from*n:(from+b)*n], b, x.Data[from*x.Cols:]); err != nil {
			return err
		}
	}
	h := health{Step: u}
	if rank, err := probe.RankMe(x); err == nil {
		h.RankMe = number(rank)
	}
	if std, err := probe.FeatureStd(x); err == nil {
		h.PooledStd = number(std)
	}
	if t.val != nil {
		loss, err := t.trainer.Validate(t.val, 0)
		if err != nil {
			return err
		}
		v := number(loss)
		h.ValidationLoss = &v
	}
	if t.c.json {
		t.c.emit(struct {
			Event string `json:"event"`
			health
		}{"health", h})
	}
	return t.metrics.add(metric{Health: &h})
}

// probe asks labelled data what the encoder holds after update u: quickly, so
// with fewer volumes and resamples than wgjepa probe.
func (t *training) probe(ctx context.Context, u int) error {
	quick := *t.conf
	p := &quick.Probe
	p.Intensities, p.Neighbours, p.Folds, p.Curve = false, 0, 0, nil
	p.DenseVolumes, p.Resamples = min(p.DenseVolumes, 24), min(p.Resamples, 200)
	trained := func(use func(*jepa.Features) error) error { return use(t.trainer.Features(p.Encoder == "target")) }
	r, err := t.probes.Run(t.ds, &quick, trained, t.trainer.Untrained, func(int, int) error { return ctx.Err() })
	switch {
	case ctx.Err() != nil:
		return nil // told to end, and training hears that too
	case t.trainer.Device().Err() != nil:
		return err
	case err != nil:
		t.c.warn("no probe: %v", err)
		t.o.probeEvery = 0
		return nil
	}
	entry := probed{Step: u, Result: r}
	if t.c.json {
		t.c.emit(struct {
			Event string `json:"event"`
			probed
		}{"probe", entry})
	}
	for _, task := range r.Tasks {
		s := task.Decisive()
		t.c.say("probe after update %d: %s, %s %s, untrained %s, difference %s", u, task.Name, s.Metric, intervalText(s.Trained, false), intervalText(s.Untrained, false), intervalText(s.Difference, true))
	}
	return t.metrics.add(metric{Probe: &entry})
}

// readHealthSamples reads validation samples, or training samples where there
// are too few of those to say anything.
func (t *training) readHealthSamples(batch int) error {
	ids, validation := evaluate.HeldOut(t.ds)
	n := t.loader.Len() / t.conf.BatchSize
	t.healthN, t.healthX = len(ids), make([]float32, len(ids)*n)
	if err := evaluate.ReadSamples(t.ds, ids, t.healthX); err != nil {
		return err
	}
	if validation >= batch {
		t.val = t.healthX[:batch*n]
	}
	return nil
}

// resumeCommand is what continues the run.
func (t *training) resumeCommand() string {
	parts := []string{os.Args[0], "train", "--resume", "--out", quote(string(t.folder))}
	if t.c.adapter != "" {
		parts = append(parts, "--adapter", quote(t.c.adapter))
	}
	if t.o.checkpointEvery != 100 {
		parts = append(parts, "--checkpoint-every", fmt.Sprint(t.o.checkpointEvery))
	}
	return strings.Join(parts, " ")
}

// quote makes s one word for a shell.
func quote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+=:,@", r))
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// drawPictures draws what the run's folder shows; a picture that fails is told
// and does not undo a training.
func (t *training) drawPictures() {
	if !t.o.pictures {
		return
	}
	for _, p := range []struct {
		name string
		draw func() error
	}{{curvesFile, t.folder.drawCurves}, {masksFile, t.drawMasks}, {pcaFile, t.drawFeatures}} {
		if err := p.draw(); err != nil {
			t.c.warn("%s was not drawn: %v", t.folder.path(p.name), err)
		}
	}
}
