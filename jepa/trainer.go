package jepa

import (
	"fmt"
	"math"
	"math/rand/v2"

	"wgjepa/gpu"
	"wgjepa/maskgen"
	"wgjepa/model"
)

// targetNormEps is the epsilon of the layer norm that target features go
// through (nidl ijepa.py forward_target; torch's default).
const targetNormEps = 1e-5

// Trainer holds a run's networks on a device and advances them.
type Trainer struct {
	Config   Config
	Schedule *Schedule
	// Note goes into every state and weights file: what the caller wants to
	// find beside the weights, such as how the data were read.
	Note string

	device    *gpu.Device
	masks     *maskgen.Sampler
	m         maskgen.Masks // of the step at hand
	inverseAt []uint32      // host copy of inverse

	contextWeights, targetWeights *model.EncoderWeights
	predictorWeights              *model.PredictorWeights
	context, target               *model.Encoder
	predictor                     *model.PredictorRunner
	reader                        *model.Encoder // of whole samples, for features

	optimizers [2]optimizerState // of the context encoder's arena and the predictor's
	// targetBefore is the target encoder before the update at hand, where it
	// moves with every batch of one.
	targetBefore gpu.Tensor

	x                           gpu.Tensor // (B, C, …)
	contextIndex, targetIndex   gpu.Tensor // (B, K), (M, B, L)
	inverse                     gpu.Tensor // (B, P)
	zTarget, dPrediction        gpu.Tensor // (M·B, L, D)
	pooled, dPooled, directions gpu.Tensor // (B, D), (B, D), (D, S) of the anti-collapse terms
	directionsAt                []float32  // host copy of directions
	scalars                     gpu.Tensor // one every gpu.Align elements: see the slots
	scalarsAt                   []float32

	pooledFeatures gpu.Tensor // (B, D) of Features
	z, prediction  gpu.Tensor // of the last forward: (B, K, D), (M·B, L, D)

	step int // batches trained on
}

// slots of Trainer.scalars.
const (
	slotLoss       = iota
	slotValidation // the loss of Validate
	slotGradNorm
	slotClip
	slotFeatureStd
	slotTokens // variance and covariance side by side, then SIGReg
	slotTokensSIGReg
	slotPooled
	slotPooledSIGReg
	slotNonfinite
	slots
)

// optimizerState are the moments of one arena.
type optimizerState struct{ m, v, vmax gpu.Tensor }

// New allocates a trainer on d with freshly initialised networks: the target
// encoder starts as the context encoder's copy. stepsPerEpoch counts updates.
func New(d *gpu.Device, c Config, stepsPerEpoch int) (*Trainer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if stepsPerEpoch < 1 {
		return nil, fmt.Errorf("jepa: an epoch has %d updates: there are fewer samples than batch_size · accumulate_grad_batches = %d", stepsPerEpoch, c.BatchSize*c.AccumulateGradBatches)
	}
	sampler, err := maskgen.New(c.Masks())
	if err != nil {
		return nil, err
	}
	t := &Trainer{Config: c, device: d, masks: sampler}
	t.Schedule = NewSchedule(&t.Config, stepsPerEpoch)
	t.allocate(sampler.MaxContext(), sampler.MaxTarget())
	if err := d.Err(); err != nil {
		return nil, fmt.Errorf("jepa: %w", err)
	}
	t.contextWeights.Initialize(c.Seed)
	t.predictorWeights.Initialize(c.Seed)
	if err := t.reserve(sampler.MaxContext(), sampler.MaxTarget()); err != nil {
		return nil, fmt.Errorf("jepa: %w", err)
	}
	return t, t.resetTarget()
}

// reserve records the longest step and the shortest without running them, so
// that all scratch memory is allocated and every kernel compiled before the
// first one: which variant of a kernel runs depends on the lengths, and changes
// once between these two.
func (t *Trainer) reserve(maxK, maxL int) error {
	c := &t.Config
	e := t.device.Begin()
	t.targetWeights.CopyFrom(e, t.contextWeights.Arena)
	least := c.MinKeep + 1
	for _, m := range []maskgen.Masks{{K: maxK, L: maxL}, {K: least, L: least}} {
		m.B, m.M = c.BatchSize, c.NumTargetBlocks
		t.shape(&m)
		t.forward(e, &m, slotLoss)
		t.backward(e)
		t.update(e, t.Schedule.At(0))
	}
	if c.Preset == "nidl" {
		e.EMA(t.targetWeights.Values, t.contextWeights.Values, 1)
	}
	return e.Reserve()
}

// allocate sizes every buffer once, for the longest masks.
func (t *Trainer) allocate(maxK, maxL int) {
	d, c := t.device, &t.Config
	B, M, P, D := c.BatchSize, c.NumTargetBlocks, c.Encoder.Patches(), c.Encoder.EmbedDim
	t.contextWeights = model.NewEncoderWeights(d, "context encoder", c.Encoder, true)
	t.targetWeights = model.NewEncoderWeights(d, "target encoder", c.Encoder, false)
	t.predictorWeights = model.NewPredictorWeights(d, c.Predictor(), true)
	t.context = model.NewEncoder(t.contextWeights, "context encoder", B, maxK, true)
	t.target = model.NewEncoder(t.targetWeights, "target encoder", B, P, false)
	t.reader = t.target.With(t.contextWeights)
	t.predictor = model.NewPredictorRunner(t.predictorWeights, B, M, maxK, maxL, true)
	for i, a := range []*model.Arena{t.contextWeights.Arena, t.predictorWeights.Arena} {
		o, n := &t.optimizers[i], a.Values.Len()
		if c.Optimizer != "sgd" || c.Momentum != 0 {
			o.m = d.Tensor("first moment", n)
		}
		if c.Optimizer != "sgd" {
			o.v = d.Tensor("second moment", n)
			if c.AMSGrad {
				o.vmax = d.Tensor("largest second moment", n)
			}
		}
	}
	if c.Preset == "nidl" && c.AccumulateGradBatches > 1 {
		t.targetBefore = d.Tensor("target encoder before the update", t.targetWeights.Values.Len())
	}
	t.x = d.Tensor("x", B, c.Encoder.SampleLen())
	t.contextIndex, t.targetIndex = d.Indices("context indices", B*maxK), d.Indices("target indices", M*B*maxL)
	t.inverse = d.Indices("inverse context indices", B, P)
	t.zTarget, t.dPrediction = d.Tensor("targets", M*B*maxL, D), d.Tensor("d predictions", M*B*maxL, D)
	if c.RegularizePooled.on() {
		t.pooled, t.dPooled = d.Tensor("pooled", B, D), d.Tensor("d pooled", B, D)
	}
	if t.projects() {
		t.directions = d.Tensor("directions", D, c.SIGRegDirections)
	}
	t.scalars = d.Tensor("scalars", slots*gpu.Align)
	t.scalarsAt = make([]float32, slots*gpu.Align)
}

// projects reports whether SIGReg's random projections are needed.
func (t *Trainer) projects() bool {
	return t.Config.RegularizeTokens.SIGReg > 0 || t.Config.RegularizePooled.SIGReg > 0
}

func (t *Trainer) scalar(slot, n int) gpu.Tensor { return t.scalars.Slice(gpu.Align*slot, n) }

// resetTarget makes the target encoder the context encoder's copy.
func (t *Trainer) resetTarget() error {
	e := t.device.Begin()
	t.targetWeights.CopyFrom(e, t.contextWeights.Arena)
	return e.Submit()
}

// Steps is the number of batches trained on; Updates of optimizer steps.
func (t *Trainer) Steps() int   { return t.step }
func (t *Trainer) Updates() int { return t.step / t.Config.AccumulateGradBatches }

// Device is where the trainer lives.
func (t *Trainer) Device() *gpu.Device { return t.device }

// Step runs one I-JEPA iteration (Assran et al. 2023, §3) on x (B, C, …), a
// whole batch in row-major order. It does not wait for the device: Stats does.
func (t *Trainer) Step(x []float32) error {
	if err := t.drawMasks(); err != nil {
		return err
	}
	return t.stepWith(x, &t.m)
}

// drawMasks draws the masks of the step at hand.
func (t *Trainer) drawMasks() error {
	if err := t.masks.Sample(&t.m, t.Config.Seed, uint64(t.step), t.Config.BatchSize); err != nil {
		return fmt.Errorf("jepa: step %d: %w", t.step, err)
	}
	return nil
}

// stepOn is Step on a batch that is made on the device.
func (t *Trainer) stepOn(src DeviceSource) error {
	if err := t.drawMasks(); err != nil {
		return err
	}
	t.uploadMasks(&t.m)
	e := t.device.Begin()
	if err := src.Record(e, t.step, t.x); err != nil {
		return fmt.Errorf("jepa: step %d: %w", t.step, err)
	}
	return t.submit(e, &t.m)
}

// stepWith is Step with the masks given.
func (t *Trainer) stepWith(x []float32, m *maskgen.Masks) error {
	t.upload(x, m)
	return t.submit(t.device.Begin(), m)
}

// submit records the step of the batch in place after e, and runs both.
func (t *Trainer) submit(e *gpu.Encoder, m *maskgen.Masks) error {
	t.record(e, m)
	if err := e.Submit(); err != nil {
		return fmt.Errorf("jepa: step %d: %w", t.step, err)
	}
	t.step++
	return nil
}

// record records the step of the batch in place.
func (t *Trainer) record(e *gpu.Encoder, m *maskgen.Masks) {
	c := &t.Config
	s := t.Schedule.At(t.Updates())
	t.context.DrawStochasticDepth(c.Seed, uint64(t.step), m.B)
	if !t.targetBefore.IsNil() && t.step%c.AccumulateGradBatches == 0 {
		e.Copy(t.targetBefore, t.targetWeights.Values)
	}
	t.forward(e, m, slotLoss)
	e.Flush()
	t.backward(e)
	e.Flush()
	if (t.step+1)%c.AccumulateGradBatches == 0 {
		t.update(e, s)
	} else if c.Preset == "nidl" {
		e.EMA(t.targetWeights.Values, t.contextWeights.Values, s.Momentum) // nidl moves it per batch
	}
}

// rewind takes back the batches of an update that is not complete.
func (t *Trainer) rewind() error {
	into := t.step % t.Config.AccumulateGradBatches
	if into == 0 {
		return nil
	}
	e := t.device.Begin()
	e.Fill(t.contextWeights.Grads, 0)
	e.Fill(t.predictorWeights.Grads, 0)
	if !t.targetBefore.IsNil() {
		e.Copy(t.targetWeights.Values, t.targetBefore)
	}
	t.step -= into
	return e.Submit()
}

// upload sends a batch and its masks to the device.
func (t *Trainer) upload(x []float32, m *maskgen.Masks) {
	if n := t.x.Len() / t.Config.BatchSize * m.B; len(x) != n {
		panic(fmt.Sprintf("jepa: a batch of %d samples is %d numbers, not %d", m.B, n, len(x)))
	}
	t.device.Write(t.x, x)
	t.uploadMasks(m)
}

// uploadMasks sends a batch's masks, and the projections of its step, to the
// device.
func (t *Trainer) uploadMasks(m *maskgen.Masks) {
	P := t.Config.Encoder.Patches()
	if t.inverseAt == nil { // not in allocate, which may only count
		t.inverseAt = make([]uint32, t.inverse.Len())
	}
	for i := range t.inverseAt {
		t.inverseAt[i] = gpu.Absent
	}
	for b := range m.B {
		for k, p := range m.Context[b*m.K : (b+1)*m.K] {
			t.inverseAt[b*P+int(p)] = uint32(k)
		}
	}
	d := t.device
	d.WriteIndices(t.contextIndex, m.Context)
	d.WriteIndices(t.targetIndex, m.Target)
	d.WriteIndices(t.inverse, t.inverseAt)
	if t.projects() {
		if t.directionsAt == nil {
			t.directionsAt = make([]float32, t.directions.Len())
		}
		t.drawDirections()
		d.Write(t.directions, t.directionsAt)
	}
	t.shape(m)
}

// shape gives the indices the lengths of m.
func (t *Trainer) shape(m *maskgen.Masks) {
	t.contextIndex = t.contextIndex.Reshape(m.B, m.K)
	t.targetIndex = t.targetIndex.Reshape(m.M, m.B, m.L)
}

// forward records the loss of the uploaded batch, into the scalar slot, and the
// gradient of the predictions.
func (t *Trainer) forward(e *gpu.Encoder, m *maskgen.Masks, slot int) {
	x := t.x.Reshape(m.B, t.x.Dim(1))
	zTarget := t.zTarget.Reshape(m.M*m.B, m.L, t.Config.Encoder.EmbedDim)
	h := t.target.Forward(e, x, gpu.Tensor{})
	e.TargetNorm(zTarget, h, t.targetIndex, targetNormEps)
	z := t.context.Forward(e, x, t.contextIndex)
	p := t.predictor.Forward(e, z, t.contextIndex, t.targetIndex)
	scale := 1 / float64(t.Config.AccumulateGradBatches)
	e.SmoothL1(t.scalar(slot, 1), t.dPrediction.Reshape(p.Dims()...), p, zTarget, scale)
	t.zTarget, t.dPrediction = zTarget, t.dPrediction.Reshape(p.Dims()...)
	t.z, t.prediction = z, p
}

// backward records the gradients of all trained parameters.
func (t *Trainer) backward(e *gpu.Encoder) {
	e.FeatureStd(t.scalar(slotFeatureStd, 1), t.z.Reshape(t.z.Rows(), t.z.Cols()))
	dz := t.predictor.Backward(e, t.dPrediction)
	t.regularize(e, dz)
	t.context.Backward(e, dz, t.inverse)
}

// regularize adds the gradient of the anti-collapse terms on the context
// encoder's features to dz (B, K, D).
func (t *Trainer) regularize(e *gpu.Encoder, dz gpu.Tensor) {
	c, z := &t.Config, t.z
	D := z.Cols()
	if c.RegularizeTokens.on() {
		t.antiCollapse(e, c.RegularizeTokens, slotTokens, dz.Reshape(z.Rows(), D), z.Reshape(z.Rows(), D))
	}
	if c.RegularizePooled.on() {
		pooled, d := t.pooled.Reshape(z.Dim(0), D), t.dPooled.Reshape(z.Dim(0), D)
		e.MeanPool(pooled, z)
		e.Fill(d, 0)
		t.antiCollapse(e, c.RegularizePooled, slotPooled, d, pooled)
		e.MeanPoolGradAdd(dz, d)
	}
}

// antiCollapse adds the gradient of r's terms on the features z (N, D) to dz.
func (t *Trainer) antiCollapse(e *gpu.Encoder, r Regularizer, slot int, dz, z gpu.Tensor) {
	scale := 1 / float64(t.Config.AccumulateGradBatches)
	if r.Variance > 0 || r.Covariance > 0 {
		e.VarianceCovariance(t.scalar(slot, 2), dz, z, scale*r.Variance, scale*r.Covariance)
	}
	if r.SIGReg > 0 {
		e.SIGReg(t.scalar(slot+1, 1), dz, z, t.directions, scale*r.SIGReg)
	}
}

// drawDirections draws SIGReg's projections: unit columns of (D, S), a
// function of (seed, step).
func (t *Trainer) drawDirections() {
	D, S := t.Config.Encoder.EmbedDim, t.Config.SIGRegDirections
	r := rand.New(rand.NewPCG(t.Config.Seed^0x51a9e6, uint64(t.step)))
	for s := range S {
		sum := 0.0
		for i := range D {
			v := r.NormFloat64()
			t.directionsAt[i*S+s] = float32(v)
			sum += v * v
		}
		inverse := float32(1 / math.Sqrt(sum))
		for i := range D {
			t.directionsAt[i*S+s] *= inverse
		}
	}
}

// update records the optimizer step and the momentum update of the target
// encoder (no gradient flows there).
func (t *Trainer) update(e *gpu.Encoder, s Values) {
	c := &t.Config
	norm, clip := t.scalar(slotGradNorm, 1), t.scalar(slotClip, 1)
	e.GradNorm(norm, t.contextWeights.Grads, t.predictorWeights.Grads)
	limit := c.GradientClipVal
	if limit == 0 {
		limit = math.MaxFloat32 // clips nothing, and still holds back what is not finite
	}
	e.ClipScale(clip, norm, limit)
	u := gpu.Update{
		Optimizer: gpu.Optimizer(c.Optimizer), LR: s.LR, WeightDecay: s.WeightDecay,
		Beta1: c.Betas[0], Beta2: c.Betas[1], Eps: c.Eps, AMSGrad: c.AMSGrad,
		Momentum: c.Momentum, Dampening: c.Dampening, Nesterov: c.Nesterov,
		Step: t.Updates() + 1, EMA: s.Momentum,
	}
	target := t.targetWeights.Values
	for i, a := range []*model.Arena{t.contextWeights.Arena, t.predictorWeights.Arena} {
		o := t.optimizers[i]
		u.Decayed = a.Values.Len()
		if c.ExcludeBiasAndNormWD {
			u.Decayed = a.Decayed
		}
		e.Update(a.Values, a.Grads, o.m, o.v, o.vmax, target, clip, u)
		target = gpu.Tensor{}
	}
}

// Stats are figures of the last step.
type Stats struct {
	Step       int     `json:"step"`  // updates done
	Epoch      float64 `json:"epoch"` //
	Loss       float64 `json:"loss"`  // smooth L1 of the predictions
	LR         float64 `json:"lr"`
	Momentum   float64 `json:"momentum"` // λ of the target encoder
	GradNorm   float64 `json:"grad_norm"`
	FeatureStd float64 `json:"feature_std"`      // over the context encoder's tokens, mean of the channels
	Tokens     *Terms  `json:"tokens,omitempty"` // anti-collapse terms, unweighted
	Pooled     *Terms  `json:"pooled,omitempty"`
}

// Terms are the anti-collapse terms of one set of features, unweighted.
type Terms struct {
	Variance   float64 `json:"variance"`
	Covariance float64 `json:"covariance"`
	SIGReg     float64 `json:"sigreg"`
}

// Stats waits for the last step and returns its figures.
func (t *Trainer) Stats() (Stats, error) {
	if err := t.device.Read(t.scalars, t.scalarsAt); err != nil {
		return Stats{}, fmt.Errorf("jepa: step %d: %w", t.step, err)
	}
	at := func(slot int) float64 { return float64(t.scalarsAt[gpu.Align*slot]) }
	terms := func(r Regularizer, slot int) *Terms {
		if !r.on() {
			return nil
		}
		return &Terms{at(slot), float64(t.scalarsAt[gpu.Align*slot+1]), at(slot + 1)}
	}
	u := t.Updates()
	v := t.Schedule.At(max(u-1, 0))
	return Stats{
		Step: u, Epoch: float64(u) / float64(t.Schedule.StepsPerEpoch), Loss: at(slotLoss), LR: v.LR, Momentum: v.Momentum,
		GradNorm: at(slotGradNorm), FeatureStd: at(slotFeatureStd),
		Tokens: terms(t.Config.RegularizeTokens, slotTokens), Pooled: terms(t.Config.RegularizePooled, slotPooled),
	}, nil
}

// validationSeed separates the masks of validation from training's.
const validationSeed = 0x76616c69

// Validate returns the loss on x, a whole batch, without training on it. Its
// masks are a function of (seed, batch) and do not disturb training's.
func (t *Trainer) Validate(x []float32, batch int) (float64, error) {
	if err := t.masks.Sample(&t.m, t.Config.Seed^validationSeed, uint64(batch), t.Config.BatchSize); err != nil {
		return 0, fmt.Errorf("jepa: validate: %w", err)
	}
	t.upload(x, &t.m)
	t.context.SetTraining(false)
	e := t.device.Begin()
	t.forward(e, &t.m, slotValidation)
	t.context.SetTraining(true)
	if err := e.Submit(); err != nil {
		return 0, fmt.Errorf("jepa: validate: %w", err)
	}
	loss := []float32{0}
	err := t.device.Read(t.scalar(slotValidation, 1), loss)
	return float64(loss[0]), err
}
