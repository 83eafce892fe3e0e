package jepa

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"wgjepa/gpu"
)

// Source gives the batches of training. Batch fills x (B, C, …) with batch
// step of the run: a function of step alone, so that a resumed run sees what
// an uninterrupted one would.
type Source interface {
	Batch(step int, x []float32) error
}

// DeviceSource is a Source whose batches are made on the device: Record records
// what writes batch step to x (B, C·H·W[·D]), at the beginning of its step.
type DeviceSource interface {
	Source
	Record(e *gpu.Encoder, step int, x gpu.Tensor) error
}

// Files of a run's folder.
const (
	StateFile   = "checkpoint.safetensors" // exact training state, to resume from
	WeightsFile = "weights.safetensors"    // of the finished training
)

// RunOptions says how Run reports and saves.
type RunOptions struct {
	Dir             string        // folder for StateFile and WeightsFile; "" saves nothing
	Fingerprint     string        // of the data
	CheckpointEvery int           // updates; 0: only at the end or when interrupted
	StatsEvery      time.Duration // least time between two readings of Stats
	OnStats         func(Stats)   // called at least for the first and the last update
	// OnUpdate is called after every update with the number done, for probes
	// and pictures; the device is idle or can be waited for.
	OnUpdate func(update int) error
	// OnUnsaved is told why a file of Dir could not be written; the run goes on
	// where it returns nil. Without it, the run ends.
	OnUnsaved func(error) error
}

// ErrInterrupted is returned when the context ended a run: its state is saved.
var ErrInterrupted = errors.New("training was interrupted")

// Run trains until the schedule's end. When ctx ends it saves after the batch at
// hand, without an update that needs further batches, and returns
// ErrInterrupted. A loss that is not finite ends the run with an error that
// names the tensor where it began; the checkpoint before stays.
func (t *Trainer) Run(ctx context.Context, src Source, o RunOptions) error {
	c := &t.Config
	resident, _ := src.(DeviceSource)
	var x []float32
	if resident == nil {
		x = make([]float32, t.x.Len())
	}
	last := time.Time{}
	saved, told := t.Updates(), t.Updates()
	report := func() error {
		s, err := t.Stats()
		if err != nil {
			return t.explain(err, o, saved)
		}
		last, told = time.Now(), s.Step
		if o.OnStats != nil {
			o.OnStats(s)
		}
		return t.checkFinite(s, o, saved)
	}
	write := func(to func(path string) error, name string) error {
		if o.Dir == "" {
			return nil
		}
		err := to(filepath.Join(o.Dir, name))
		if err != nil && o.OnUnsaved != nil && t.device.Err() == nil {
			return o.OnUnsaved(err)
		}
		return t.explain(err, o, saved)
	}
	save := func() error {
		return write(func(path string) error {
			err := t.Save(path, o.Fingerprint)
			if err == nil {
				saved = t.Updates()
			}
			return err
		}, StateFile)
	}
	for t.Updates() < t.Schedule.Total {
		for range c.AccumulateGradBatches {
			if ctx.Err() != nil {
				if told != t.Updates() {
					if err := report(); err != nil {
						return err
					}
				}
				if err := errors.Join(t.rewind(), save()); err != nil {
					return err
				}
				return ErrInterrupted
			}
			if resident != nil {
				if err := t.stepOn(resident); err != nil {
					return t.explain(err, o, saved)
				}
				continue
			}
			if err := src.Batch(t.step, x); err != nil {
				return fmt.Errorf("jepa: step %d: %w", t.step, err)
			}
			if err := t.Step(x); err != nil {
				return t.explain(err, o, saved)
			}
		}
		u := t.Updates()
		due := o.CheckpointEvery > 0 && u%o.CheckpointEvery == 0
		end := u == t.Schedule.Total
		if due || end || time.Since(last) >= o.StatsEvery {
			if err := report(); err != nil {
				return err
			}
		}
		if o.OnUpdate != nil {
			if err := o.OnUpdate(u); err != nil {
				return t.explain(err, o, saved)
			}
		}
		if due || end {
			if err := save(); err != nil {
				return err
			}
		}
	}
	return write(t.Export, WeightsFile)
}

func (t *Trainer) checkFinite(s Stats, o RunOptions, saved int) error {
	for _, v := range []float64{s.Loss, s.GradNorm} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			where := ""
			if name := t.firstNonfinite(); name != "" {
				where = ", first in " + name
			}
			return t.explain(fmt.Errorf("jepa: the numbers stopped being finite by update %d%s: lower learning_rate, set gradient_clip_val, or look for damaged samples", s.Step, where), o, saved)
		}
	}
	return nil
}

// explain adds to an error that ends a run, if it is one, where it can be
// continued from.
func (t *Trainer) explain(err error, o RunOptions, saved int) error {
	if errors.Is(err, gpu.ErrLost) {
		err = fmt.Errorf("%w: the GPU or its driver was reset", err)
	}
	if err == nil || o.Dir == "" || saved == 0 {
		return err
	}
	return fmt.Errorf("%w (the checkpoint of update %d is in %s)", err, saved, filepath.Join(o.Dir, StateFile))
}

// Alarm watches figures over a run and says in plain words when training goes
// wrong.
type Alarm struct {
	first, best float64 // loss
	firstStd    float64
	told        map[string]bool
}

// Watch returns a warning that s gives reason for, once each kind, or "".
func (a *Alarm) Watch(s Stats) string {
	if a.told == nil {
		a.told = map[string]bool{}
		a.first, a.best, a.firstStd = s.Loss, s.Loss, s.FeatureStd
		return ""
	}
	a.best = math.Min(a.best, s.Loss)
	warn := func(kind, text string) string {
		if a.told[kind] {
			return ""
		}
		a.told[kind] = true
		return text
	}
	switch {
	case s.FeatureStd < 0.1*a.firstStd:
		return warn("collapse", fmt.Sprintf("the features are collapsing: they vary by %.3g, %.0f %% of what they did at the start; a falling loss then means nothing. Raise regularize_tokens or regularize_pooled, use pos_embed = \"sincos\", or raise ema_start", s.FeatureStd, 100*s.FeatureStd/a.firstStd))
	case s.Loss > 2*a.first && s.Loss > 4*a.best:
		return warn("divergence", fmt.Sprintf("the loss is diverging: %.3g after a best of %.3g; lower learning_rate or lengthen warmup_epochs", s.Loss, a.best))
	}
	return ""
}
