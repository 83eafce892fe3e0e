package jepa

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"

	"wgjepa/checkpoint"
	"wgjepa/gpu"
	"wgjepa/model"
)

// Finetune describes supervised training of an encoder and a linear head on the
// mean of its patch features.
type Finetune struct {
	HeadOnly        bool    `toml:"head_only"`         // keep the encoder frozen
	Epochs          int     `toml:"epochs"`            //
	BatchSize       int     `toml:"batch_size"`        //
	LearningRate    float64 `toml:"learning_rate"`     // of the head and the final norm
	LayerDecay      float64 `toml:"layer_decay"`       // factor from each layer to the one before it (Bao et al. 2022)
	WeightDecay     float64 `toml:"weight_decay"`      // AdamW; none on biases and norms
	WarmupEpochs    float64 `toml:"warmup_epochs"`     // linear from 0, then a cosine to 0
	LabelSmoothing  float64 `toml:"label_smoothing"`   // of classes
	DropPathRate    float64 `toml:"drop_path_rate"`    // stochastic depth of the encoder
	GradientClipVal float64 `toml:"gradient_clip_val"` // 0: no clipping
	ClassWeights    string  `toml:"class_weights"`     // balanced or none
	Patience        int     `toml:"patience"`          // epochs without a better validation loss that end it; 0: none do
}

// DefaultFinetune is the recipe for few labels: small steps from a head that
// already fits the frozen features.
func DefaultFinetune() Finetune {
	return Finetune{
		Epochs: 50, BatchSize: 16, LearningRate: 5e-4, LayerDecay: 0.75, WeightDecay: 0.05, WarmupEpochs: 5,
		GradientClipVal: 1, ClassWeights: "balanced", Patience: 10,
	}
}

// Validate refuses what cannot run and says what to change.
func (c *Finetune) Validate() error {
	for _, x := range []struct {
		key      string
		v        float64
		low, top float64
	}{
		{"epochs", float64(c.Epochs), 1, 1e6}, {"batch_size", float64(c.BatchSize), 1, 1 << 16},
		{"learning_rate", c.LearningRate, 0, 10}, {"layer_decay", c.LayerDecay, 0, 1}, {"weight_decay", c.WeightDecay, 0, 10},
		{"warmup_epochs", c.WarmupEpochs, 0, 1e6}, {"label_smoothing", c.LabelSmoothing, 0, 0.99}, {"drop_path_rate", c.DropPathRate, 0, 0.99},
		{"gradient_clip_val", c.GradientClipVal, 0, math.MaxFloat32}, {"patience", float64(c.Patience), 0, 1e6},
	} {
		if !(x.v >= x.low && x.v <= x.top) {
			return fmt.Errorf("finetune.%s is %s: it must lie between %s and %s", x.key, figure(x.v), figure(x.low), figure(x.top))
		}
	}
	if c.ClassWeights != "balanced" && c.ClassWeights != "none" {
		return fmt.Errorf("finetune.class_weights is %q: it must be balanced or none", c.ClassWeights)
	}
	return nil
}

// Finetuner trains an encoder and a head on labels. With classes the loss is
// cross entropy; without, one number a sample is fitted by smooth L1.
type Finetuner struct {
	Config  Finetune
	Encoder model.ViT
	Outputs int // K classes, or 1 for regression
	Classes bool

	device        *gpu.Device
	seed          uint64
	stepsPerEpoch int
	step          int
	best          float64 // validation loss of what is kept
	bad           int     // epochs since

	weights *model.EncoderWeights
	head    *model.Head
	run     *model.Encoder
	runs    []model.Run
	moments [2]optimizerState // of the encoder's arena and the head's
	kept    [2]gpu.Tensor     // the best values of both

	x, target, weight, pooled, y gpu.Tensor // (B, C, …), (B), (K), (B, D), (B, K)
	label, inverse               gpu.Tensor // (B), (B, P): every patch is at its place
	dTokens, dPooled, dy         gpu.Tensor // (B, P, D), (B, D), (B, K)
	scalars                      gpu.Tensor // one every gpu.Align elements: see the slots
	classWeights                 []float64
}

// slots of Finetuner.scalars.
const (
	finetuneLoss = iota
	finetuneGradNorm
	finetuneClip
	finetuneSlots
)

// NewFinetuner makes a finetuner whose encoder starts as that of from. weights
// are those of the classes; none makes it a regression. The head is zero until
// SetHead.
func NewFinetuner(d *gpu.Device, c Finetune, from *Features, weights []float64, stepsPerEpoch int, seed uint64) (*Finetuner, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if stepsPerEpoch < 1 {
		return nil, fmt.Errorf("jepa: finetune: an epoch has no whole batch of %d labelled samples: lower finetune.batch_size", c.BatchSize)
	}
	v := from.Config
	v.DropPathRate = c.DropPathRate
	t := &Finetuner{Config: c, Encoder: v, Outputs: max(1, len(weights)), Classes: len(weights) > 0, device: d, seed: seed, stepsPerEpoch: stepsPerEpoch, best: math.Inf(1), classWeights: weights}
	B, P, D, K := c.BatchSize, v.Patches(), v.EmbedDim, t.Outputs
	t.weights = model.NewEncoderWeights(d, "encoder", v, !c.HeadOnly)
	t.head = model.NewHead(d, D, K)
	t.run = model.NewEncoder(t.weights, "encoder", B, P, !c.HeadOnly)
	t.runs = t.weights.LayerRuns()
	for i, a := range t.arenas() {
		n := a.Values.Len()
		t.kept[i] = d.Tensor("best weights", n)
		if i == 1 || !c.HeadOnly {
			t.moments[i] = optimizerState{m: d.Tensor("first moment", n), v: d.Tensor("second moment", n)}
		}
	}
	t.x = d.Tensor("x", B, v.SampleLen())
	t.pooled, t.y, t.dy = d.Tensor("pooled", B, D), d.Tensor("outputs", B, K), d.Tensor("d outputs", B, K)
	t.label, t.target, t.weight = d.Indices("labels", B), d.Tensor("targets", B), d.Tensor("class weights", K)
	if !c.HeadOnly {
		t.dPooled, t.dTokens = d.Tensor("d pooled", B, D), d.Tensor("d features", B, P, D)
		t.inverse = d.Indices("patches", B, P)
	}
	t.scalars = d.Tensor("scalars", finetuneSlots*gpu.Align)
	if err := d.Err(); err != nil {
		return nil, fmt.Errorf("jepa: finetune: %w", err)
	}
	if d.Counts() {
		return t, nil
	}
	if !c.HeadOnly {
		places := make([]uint32, B*P)
		for i := range places {
			places[i] = uint32(i % P)
		}
		d.WriteIndices(t.inverse, places)
	}
	if t.Classes {
		d.WriteFloat64(t.weight, weights)
	}
	e := d.Begin()
	t.weights.CopyFrom(e, from.run.EncoderWeights.Arena)
	if err := e.Submit(); err != nil {
		return nil, fmt.Errorf("jepa: finetune: %w", err)
	}
	e = d.Begin() // every kernel is compiled before the first step
	t.record(e, 1)
	if err := e.Reserve(); err != nil {
		return nil, fmt.Errorf("jepa: finetune: %w", err)
	}
	return t, nil
}

func (t *Finetuner) arenas() [2]*model.Arena { return [2]*model.Arena{t.weights.Arena, t.head.Arena} }

// SetHead gives the head its weight (K, D) and bias (K), such as those of a
// probe: training from a head that fits disturbs the features least (Kumar et
// al. 2022).
func (t *Finetuner) SetHead(weight, bias []float64) error {
	if err := t.head.Set("head.weight", []int{t.Outputs, t.Encoder.EmbedDim}, weight); err != nil {
		return err
	}
	return t.head.Set("head.bias", []int{t.Outputs}, bias)
}

// Steps is the number of updates done, of Total.
func (t *Finetuner) Steps() int { return t.step }

// Total is the number of updates of the whole training.
func (t *Finetuner) Total() int { return t.Config.Epochs * t.stepsPerEpoch }

// LR is the learning rate of the head in update step, from 0.
func (t *Finetuner) LR(step int) float64 {
	at, warm, total := float64(step+1), t.Config.WarmupEpochs*float64(t.stepsPerEpoch), float64(t.Total())
	if at < warm {
		return t.Config.LearningRate * at / warm
	}
	return t.Config.LearningRate * (1 + math.Cos(math.Pi*(at-warm)/math.Max(1, total-warm))) / 2
}

// Batch is labelled samples: x (B, C, …) and, by what is fitted, the class or
// the target of each.
type Batch struct {
	X      []float32
	Class  []uint32
	Target []float32
}

// LabelledSource fills b with the batch of a step: a function of step alone.
type LabelledSource interface {
	LabelledBatch(step int, b *Batch) error
}

// Step trains on one batch. It does not wait for the device: Loss does.
func (t *Finetuner) Step(b *Batch) error {
	if len(b.X) != t.x.Len() {
		panic(fmt.Sprintf("jepa: finetune: a batch of %d samples is %d numbers, not %d", t.Config.BatchSize, t.x.Len(), len(b.X)))
	}
	d := t.device
	d.Write(t.x, b.X)
	mass := float64(t.Config.BatchSize)
	if t.Classes {
		mass = 0
		for _, k := range b.Class {
			mass += t.classWeights[k]
		}
		d.WriteIndices(t.label, b.Class)
	} else {
		d.Write(t.target, b.Target)
	}
	t.run.DrawStochasticDepth(t.seed, uint64(t.step), t.Config.BatchSize)
	e := d.Begin()
	t.record(e, mass)
	if err := e.Submit(); err != nil {
		return fmt.Errorf("jepa: finetune: step %d: %w", t.step, err)
	}
	t.step++
	return nil
}

func (t *Finetuner) scalar(slot int) gpu.Tensor { return t.scalars.Slice(gpu.Align*slot, 1) }

// record records a step on the uploaded batch, whose class weights add up to
// mass.
func (t *Finetuner) record(e *gpu.Encoder, mass float64) {
	t.gradients(e, mass)
	t.update(e)
}

// gradients records the loss and adds the gradients of all that is trained.
func (t *Finetuner) gradients(e *gpu.Encoder, mass float64) {
	y := t.forward(e, t.Config.BatchSize)
	if t.Classes {
		e.CrossEntropy(t.scalar(finetuneLoss), t.dy, y, t.label, t.weight, t.Config.LabelSmoothing, 1/mass)
	} else {
		e.SmoothL1(t.scalar(finetuneLoss), t.dy, y, t.target, 1)
	}
	t.head.Backward(e, t.dPooled, t.dy, t.pooled)
	if t.Config.HeadOnly {
		return
	}
	e.Fill(t.dTokens, 0)
	e.MeanPoolGradAdd(t.dTokens, t.dPooled)
	t.run.Backward(e, t.dTokens, t.inverse)
}

// update records the optimizer step, each layer at its own rate.
func (t *Finetuner) update(e *gpu.Encoder) {
	c := &t.Config
	grads := []gpu.Tensor{t.head.Grads}
	if !c.HeadOnly {
		grads = append(grads, t.weights.Grads)
	}
	norm, clip := t.scalar(finetuneGradNorm), t.scalar(finetuneClip)
	e.GradNorm(norm, grads...)
	limit := c.GradientClipVal
	if limit == 0 {
		limit = math.MaxFloat32
	}
	e.ClipScale(clip, norm, limit)
	u := gpu.Update{Optimizer: gpu.AdamW, LR: t.LR(t.step), WeightDecay: c.WeightDecay, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Step: t.step + 1, Decayed: t.head.Decayed}
	o := t.moments[1]
	e.Update(t.head.Values, t.head.Grads, o.m, o.v, gpu.Tensor{}, gpu.Tensor{}, clip, u)
	if c.HeadOnly {
		return
	}
	o = t.moments[0]
	for _, r := range t.runs {
		part := func(x gpu.Tensor) gpu.Tensor { return x.Slice(r.Offset, r.Len) }
		u.LR = t.LR(t.step) * math.Pow(c.LayerDecay, float64(t.Encoder.Depth+1-r.Layer))
		u.Decayed = 0
		if r.Decays {
			u.Decayed = r.Len
		}
		e.Update(part(t.weights.Values), part(t.weights.Grads), part(o.m), part(o.v), gpu.Tensor{}, gpu.Tensor{}, clip, u)
	}
}

// forward records the outputs (n, K) of the first n uploaded samples.
func (t *Finetuner) forward(e *gpu.Encoder, n int) gpu.Tensor {
	z := t.run.Forward(e, t.x.Reshape(n, t.x.Dim(-1)), gpu.Tensor{})
	pooled, y := t.pooled.Reshape(n, t.Encoder.EmbedDim), t.y.Reshape(n, t.Outputs)
	e.MeanPool(pooled, z)
	t.head.Forward(e, y, pooled)
	return y
}

// FinetuneStats are figures of the last step.
type FinetuneStats struct {
	Step     int     `json:"step"`
	Epoch    float64 `json:"epoch"`
	Loss     float64 `json:"loss"`
	LR       float64 `json:"lr"`
	GradNorm float64 `json:"grad_norm"`
}

// Stats waits for the last step and returns its figures.
func (t *Finetuner) Stats() (FinetuneStats, error) {
	values := make([]float32, t.scalars.Len())
	if err := t.device.Read(t.scalars, values); err != nil {
		return FinetuneStats{}, fmt.Errorf("jepa: finetune: step %d: %w", t.step, err)
	}
	return FinetuneStats{Step: t.step, Epoch: float64(t.step) / float64(t.stepsPerEpoch), Loss: float64(values[gpu.Align*finetuneLoss]), LR: t.LR(max(0, t.step-1)), GradNorm: float64(values[gpu.Align*finetuneGradNorm])}, nil
}

// Predict writes the outputs (n, K) for the n samples x (n, C, …), logits of
// the classes or the fitted number, to dst; n is at most the batch size.
func (t *Finetuner) Predict(x []float32, n int, dst []float32) error {
	size := t.x.Dim(-1)
	if n < 1 || n > t.Config.BatchSize || len(x) < n*size || len(dst) < n*t.Outputs {
		panic(fmt.Sprintf("jepa: finetune: predictions of %d samples in %d numbers: at most %d of %d each", n, len(x), t.Config.BatchSize, size))
	}
	t.device.Write(t.x.Slice(0, n*size), x[:n*size])
	t.run.SetTraining(false)
	defer t.run.SetTraining(true)
	e := t.device.Begin()
	y := t.forward(e, n)
	if err := e.Submit(); err != nil {
		return fmt.Errorf("jepa: finetune: %w", err)
	}
	return t.device.Read(y, dst[:n*t.Outputs])
}

// Features reads the encoder as it is now.
func (t *Finetuner) Features() *Features {
	return &Features{Config: t.Encoder, Batch: t.Config.BatchSize, device: t.device, run: t.run, x: t.x, pooled: t.pooled}
}

// FinetuneOptions says how Run reports and saves.
type FinetuneOptions struct {
	Dir      string                                               // folder for StateFile; "" saves nothing
	Note     string                                               // into the state
	Data     string                                               // fingerprint of the data and the labels
	OnStep   func(step int) error                                 // after every step
	OnEpoch  func(s FinetuneStats, validation float64, best bool) // after every epoch, and before the first
	Validate func() (float64, error)                              // the validation loss; the weights of the least are kept
}

// Run trains until the last epoch or until patience ends, and then holds the
// weights that validated best. When ctx ends it saves and returns
// ErrInterrupted.
func (t *Finetuner) Run(ctx context.Context, src LabelledSource, o FinetuneOptions) error {
	save := func() error {
		if o.Dir == "" {
			return nil
		}
		return t.Save(filepath.Join(o.Dir, StateFile), o.Data, o.Note)
	}
	judge := func() error {
		s, err := t.Stats()
		if err != nil {
			return err
		}
		if math.IsNaN(s.Loss) || math.IsInf(s.Loss, 0) || math.IsNaN(s.GradNorm) || math.IsInf(s.GradNorm, 0) {
			return fmt.Errorf("jepa: finetune: the numbers stopped being finite by step %d: lower finetune.learning_rate", t.step)
		}
		loss, err := o.Validate()
		if err != nil {
			return err
		}
		if math.IsNaN(loss) || math.IsInf(loss, 0) {
			return fmt.Errorf("jepa: finetune: the validation loss is not finite at step %d: look at the validation samples, or lower finetune.learning_rate", t.step)
		}
		better := loss < t.best
		t.bad++
		if better {
			t.best, t.bad = loss, 0
			e := t.device.Begin()
			for i, a := range t.arenas() {
				e.Copy(t.kept[i], a.Values)
			}
			if err := e.Submit(); err != nil {
				return err
			}
		}
		if o.OnEpoch != nil {
			o.OnEpoch(s, loss, better)
		}
		return save()
	}
	if math.IsInf(t.best, 1) { // nothing is kept yet
		if err := judge(); err != nil {
			return err
		}
	}
	b := &Batch{X: make([]float32, t.x.Len()), Class: make([]uint32, t.Config.BatchSize), Target: make([]float32, t.Config.BatchSize)}
	for t.step < t.Total() && (t.Config.Patience == 0 || t.bad < t.Config.Patience) {
		if ctx.Err() != nil {
			return errors.Join(ErrInterrupted, save())
		}
		if err := src.LabelledBatch(t.step, b); err != nil {
			return fmt.Errorf("jepa: finetune: step %d: %w", t.step, err)
		}
		if err := t.Step(b); err != nil {
			return err
		}
		if o.OnStep != nil {
			if err := o.OnStep(t.step); err != nil {
				return err
			}
		}
		if t.step%t.stepsPerEpoch == 0 {
			if err := judge(); err != nil {
				return err
			}
		}
	}
	e := t.device.Begin()
	for i, a := range t.arenas() {
		e.Copy(a.Values, t.kept[i])
	}
	return e.Submit()
}

// Best is the validation loss of the weights that are kept.
func (t *Finetuner) Best() float64 { return t.best }

// finetuneFormat names the layout of a finetuner's state file.
const finetuneFormat = "wgjepa finetune state 1"

// tensors lists the training state, by the names in the file.
func (t *Finetuner) tensors() []namedTensor {
	var list []namedTensor
	for i, a := range t.arenas() {
		name := [2]string{ContextEncoder + ".", ""}[i]
		for _, p := range a.All() {
			list = append(list, namedTensor{name + p.Name, p.Shape, p.Value})
		}
		for _, p := range a.Params {
			list = append(list, namedTensor{"best." + name + p.Name, p.Shape, a.Part(t.kept[i], p)})
			if o := t.moments[i]; !o.m.IsNil() {
				list = append(list, namedTensor{"optimizer.m." + name + p.Name, p.Shape, a.Part(o.m, p)}, namedTensor{"optimizer.v." + name + p.Name, p.Shape, a.Part(o.v, p)})
			}
		}
	}
	return list
}

// identity is what a state has to agree in to be continued.
func (t *Finetuner) identity(data string) map[string]string {
	return map[string]string{
		"format": finetuneFormat, "finetune": fmt.Sprintf("%+v", t.Config), "encoder": fmt.Sprintf("%+v", t.Encoder), "outputs": fmt.Sprint(t.Outputs, t.Classes, t.classWeights),
		"steps_per_epoch": strconv.Itoa(t.stepsPerEpoch), "seed": strconv.FormatUint(t.seed, 10), "data": data,
	}
}

// Save writes the exact training state to path, atomically, and keeps the file
// before it.
func (t *Finetuner) Save(path, data, note string) error {
	entries, err := readEntries(t.device, t.tensors(), t.device.Info().Kind == gpu.Twins)
	if err != nil {
		return fmt.Errorf("jepa: finetune: save: %w", err)
	}
	m := t.identity(data)
	m["step"], m["best"], m["bad"], m["note"] = strconv.Itoa(t.step), strconv.FormatFloat(t.best, 'g', -1, 64), strconv.Itoa(t.bad), note
	return checkpoint.Write(path, entries, m, true)
}

// Load continues from the state in f: it must be of the same configuration and
// data.
func (t *Finetuner) Load(f *checkpoint.File, data string) error {
	m := f.Metadata()
	for key, want := range t.identity(data) {
		if m[key] != want {
			return fmt.Errorf("jepa: %s: %w: its %s is %q, here %q", f.Path(), ErrOtherRun, key, m[key], want)
		}
	}
	step, err := strconv.Atoi(m["step"])
	bad, err2 := strconv.Atoi(m["bad"])
	best, err3 := strconv.ParseFloat(m["best"], 64)
	if err := errors.Join(err, err2, err3); err != nil || step < 0 || bad < 0 {
		return fmt.Errorf("jepa: %s: its step %q, bad %q or best %q is damaged", f.Path(), m["step"], m["bad"], m["best"])
	}
	if err := writeTensors(t.device, f, t.tensors()); err != nil {
		return err
	}
	t.step, t.bad, t.best = step, bad, best
	return nil
}

// Export writes the encoder, as a context encoder, and the head in float32 to
// path. metadata adds to what the file says of itself, such as the names of the
// classes.
func (t *Finetuner) Export(path string, c Config, metadata map[string]string) error {
	var list []namedTensor
	for i, a := range t.arenas() {
		for _, p := range a.All() {
			list = append(list, namedTensor{[2]string{ContextEncoder + ".", ""}[i] + p.Name, p.Shape, p.Value})
		}
	}
	entries, err := readEntries(t.device, list, false)
	if err != nil {
		return fmt.Errorf("jepa: finetune: export: %w", err)
	}
	c.Encoder = t.Encoder
	m := map[string]string{"format": weightsFormat, "config": string(c.TOML()), "step": strconv.Itoa(t.step)}
	for k, v := range metadata {
		m[k] = v
	}
	return checkpoint.Write(path, entries, m, false)
}
