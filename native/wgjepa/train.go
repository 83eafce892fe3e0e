package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wgjepa/checkpoint/weights"
	"wgjepa/data"
	"wgjepa/gpu"
	"wgjepa/internal/config"
	"wgjepa/internal/evaluate"
	"wgjepa/internal/resident"
	"wgjepa/jepa"
	"wgjepa/jepa/probe"
)

// trainOptions are the flags of train that are not part of the configuration.
type trainOptions struct {
	out               string
	checkpointEvery   int
	healthEvery       int
	probeEvery        int
	resume, overwrite bool
	pictures          bool
	init              string           // path of weights to begin from
	from              weightsFlags     // what to take from it
	start             *weights.Weights // what was read from it, nil without
}

func trainCommand(c *console) *cobra.Command {
	o := trainOptions{}
	var flags *configFlags
	cmd := &cobra.Command{
		Use:   "train DATA…",
		Short: "Train an encoder on images or volumes, without labels",
		Long: `Trains I-JEPA on the training split of DATA: NIfTI, NPZ and NPY files, pictures, or
folders of them, or the word phantoms for generated volumes. Everything lies in the
folder of the run: config.toml (complete, to train the same again), splits.csv,
metrics.jsonl, checkpoint.safetensors (exact state), pictures, and at the end
weights.safetensors. Ctrl-C finishes the step at hand and saves; --resume goes on
bit for bit as if nothing had happened.

--init begins from the weights of another run or program (timm, Hugging Face, nidl,
the paper's code) in place of random ones. The encoder's configuration is then theirs,
and they are fitted to the channels and the size of the data, images to volumes too.
The target encoder and the predictor are the file's where it has them.`,
		Example: `  wgjepa train phantoms --out runs/phantoms --max-steps 200
  wgjepa train scans/ --size 64,64,64 --encoder vit_small --out runs/scans
  wgjepa train set.npz --config my.toml --set learning_rate=1e-3
  wgjepa train scans/ --init vit_small.safetensors --out runs/continued
  wgjepa train --resume --out runs/scans`,
		RunE: func(_ *cobra.Command, paths []string) error {
			if o.resume && o.overwrite {
				return usagef("--resume continues a run and --overwrite removes it: give one of them")
			}
			if o.resume && o.out == "" {
				return usagef("--resume needs --out DIR, the folder of the run to continue")
			}
			if o.init != "" && o.resume {
				return usagef("--init begins a run and --resume continues one: give one of them")
			}
			return train(c, flags, paths, o)
		},
	}
	flags = trainFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.out, "out", "", "folder of the run (default runs/NAME, after the data)")
	f.IntVar(&o.checkpointEvery, "checkpoint-every", 100, "updates between two checkpoints; 0: only at the end or when interrupted")
	f.IntVar(&o.healthEvery, "health-every", 0, "updates between two looks at the health of held-out features; 0: ten in all, negative: none")
	f.IntVar(&o.probeEvery, "probe-every", 0, "updates between two probes of labelled data, beside the untrained encoder; 0: none")
	f.BoolVar(&o.resume, "resume", false, "continue the run in --out")
	f.BoolVar(&o.overwrite, "overwrite", false, "remove the run in --out and begin anew")
	f.BoolVar(&o.pictures, "pictures", true, "draw curves, masks and features at the end")
	f.StringVar(&o.init, "init", "", "begin from these weights, of a run or of another program")
	o.from.addNetwork(cmd, "init-")
	o.from.add(cmd, "init-")
	return cmd
}

// train runs the command.
func train(c *console, flags *configFlags, paths []string, o trainOptions) error {
	if o.init != "" {
		w, err := o.from.load(c, o.init)
		if err != nil {
			return err
		}
		if err := o.from.complete(&w.Config, "num_heads", "pos_embed"); err != nil {
			return err
		}
		o.start, flags.base = w, []config.Text{encoderLayer(w, o.init)}
	}
	conf, folder, err := prepareRun(flags, paths, o)
	if err != nil {
		return err
	}
	d, err := c.open()
	if err != nil {
		return err
	}
	defer d.Close()
	ds, err := readData(c, &conf)
	if err != nil {
		return err
	}
	channels, size := ds.Shape()
	if o.start != nil {
		choosePatch(o.start, &conf, size)
	}
	if err := conf.Complete(channels, size); err != nil {
		return err
	}
	if o.start != nil {
		if o.start, err = o.from.adapt(c, o.start, &conf); err != nil {
			return err
		}
	}
	t, err := newTraining(c, d, ds, &conf, folder, o)
	if err != nil {
		return err
	}
	defer t.close()
	return t.run()
}

// prepareRun reads the configuration and finds the folder.
func prepareRun(flags *configFlags, paths []string, o trainOptions) (config.Config, runFolder, error) {
	if o.resume {
		folder := runFolder(o.out)
		text, err := os.ReadFile(folder.path(configFile))
		if errors.Is(err, fs.ErrNotExist) {
			return config.Config{}, folder, fmt.Errorf("%s holds no run to resume: there is no %s in it", folder, configFile)
		}
		if err != nil {
			return config.Config{}, folder, err
		}
		layers, err := flags.over([]config.Text{{Name: folder.path(configFile), TOML: text}})
		if err != nil {
			return config.Config{}, folder, err
		}
		conf, err := config.Parse(layers...)
		if err != nil {
			return conf, folder, err
		}
		return conf, folder, setPaths(&conf, paths)
	}
	conf, err := flags.parse(paths)
	if err != nil {
		return conf, "", err
	}
	if len(conf.Data.Paths) == 0 {
		return conf, "", usagef("train: no data: name files or folders, or the word %s for generated volumes", config.GeneratedData)
	}
	if o.out == "" {
		name := filepath.Base(conf.Data.Paths[0])
		name, _, _ = strings.Cut(name, ".")
		o.out = filepath.Join("runs", name)
	}
	folder := runFolder(o.out)
	if folder.holdsRun() && !o.overwrite {
		return conf, folder, fmt.Errorf("%s already holds a run: continue it with --resume, remove it with --overwrite, or choose another --out", folder)
	}
	return conf, folder, nil
}

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
	if t.o.overwrite {
		if err := t.folder.clear(); err != nil {
			return err
		}
	}
	if err := t.folder.create(); err != nil {
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
		if err := t.folder.write(configFile, t.conf.TOML()); err != nil {
			return err
		}
		if err := t.folder.writeSplit(t.ds); err != nil {
			return err
		}
	}
	var before []metric
	var err error
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
}

// interrupted returns a context that ends at the first Ctrl-C; the second ends
// the process.
func (t *training) interrupted() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	stop := onInterrupt(signals)
	ended := make(chan struct{})
	w := t.c.err // a bar puts its own writer there for a while
	go func() {
		select {
		case <-signals:
			fmt.Fprintln(w, "interrupted: finishing the step and saving; once more ends at once")
			cancel()
		case <-ended:
			return
		}
		select {
		case <-signals:
			os.Exit(1)
		case <-ended:
		}
	}()
	return ctx, func() {
		stop()
		close(ended)
		cancel()
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
	ctx, stop := t.interrupted()
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
	}{{curvesFile, t.drawCurves}, {masksFile, t.drawMasks}, {pcaFile, t.drawFeatures}} {
		if err := p.draw(); err != nil {
			t.c.warn("%s was not drawn: %v", t.folder.path(p.name), err)
		}
	}
}
