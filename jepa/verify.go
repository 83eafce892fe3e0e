package jepa

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"sort"
	"strings"

	"wgjepa/checkpoint"
	"wgjepa/gpu"
	"wgjepa/maskgen"
	"wgjepa/model"
)

// Bounds of Verify, relative to the largest magnitude in a tensor.
const (
	BoundFloat64 = 1e-9 // any tensor on the cpu driver
	BoundStep    = 2e-5 // a step's tensors in float32
	BoundFit     = 5e-4 // a run's losses and final weights in float32
	boundTable   = 1e-6 // position tables, which the reference rounded to float32
)

// Row compares one tensor of a golden case.
type Row struct {
	Name    string
	Error   float64 // largest difference over the largest magnitude of the reference
	Bound   float64
	Skipped string // why it was not compared, or empty
}

// Failed reports whether the tensor is out of bounds.
func (r Row) Failed() bool { return r.Skipped == "" && !(r.Error <= r.Bound) }

// goldenCase is the configuration that a golden file carries: the arguments of
// nidl's IJEPA in the reference program's terms.
type goldenCase struct {
	Seed              int            `json:"seed"`
	Dim               int            `json:"dim"`
	Batch             int            `json:"batch"`
	Encoder           goldenEncoder  `json:"encoder"`
	PredictorEmbedDim int            `json:"predictor_embed_dim"`
	PredictorDepth    int            `json:"predictor_depth"`
	JEPA              goldenJEPA     `json:"jepa"`
	Leak              bool           `json:"leak"`
	K, M, L           int            //
	NormEps           *goldenNormEps `json:"norm_eps"`
	Loss              float64        `json:"loss"`

	Samples      int       `json:"samples"`
	Epochs       int       `json:"epochs"`
	Clip         float64   `json:"clip"`
	Accumulate   int       `json:"accumulate"`
	EMAPerUpdate bool      `json:"ema_per_update"`
	MicroBatches int       `json:"micro_batches"`
	Losses       []float64 `json:"losses"`

	Torch, Timm, Nidl, Numpy, Transformers, Sklearn, SimpleITK string
}

type goldenNormEps struct {
	Encoder   float64 `json:"encoder"`
	Predictor float64 `json:"predictor"`
}

type goldenEncoder struct {
	Kind         string   `json:"kind"`
	ImgSize      numbers  `json:"img_size"`
	PatchSize    numbers  `json:"patch_size"`
	InChans      int      `json:"in_chans"`
	EmbedDim     int      `json:"embed_dim"`
	Depth        int      `json:"depth"`
	NumHeads     int      `json:"num_heads"`
	MLPRatio     *float64 `json:"mlp_ratio"`
	QKVBias      *bool    `json:"qkv_bias"`
	QKNorm       bool     `json:"qk_norm"`
	ClassToken   *bool    `json:"class_token"`
	RegTokens    int      `json:"reg_tokens"`
	NoEmbedClass bool     `json:"no_embed_class"`
	PosEmbed     string   `json:"pos_embed"`
	PreNorm      bool     `json:"pre_norm"`
	GlobalPool   string   `json:"global_pool"` // pooling is not part of patch features …
	FCNorm       *bool    `json:"fc_norm"`     // … unless it moves the final norm behind itself
	NumClasses   int      `json:"num_classes"`
}

type goldenJEPA struct {
	NumTargetBlocks   *int         `json:"num_target_blocks"`
	MinKeep           *int         `json:"min_keep"`
	ContextBlockScale *[2]float64  `json:"context_block_scale"`
	TargetBlockScale  *[2]float64  `json:"target_block_scale"`
	AspectRatio       *[2]float64  `json:"aspect_ratio"`
	AllowOverlap      bool         `json:"allow_overlap"`
	Optimizer         string       `json:"optimizer"`
	OptimizerKwargs   goldenKwargs `json:"optimizer_kwargs"`
	LearningRate      *float64     `json:"learning_rate"`
	WeightDecay       *float64     `json:"weight_decay"`
	ExcludeBiasNorm   *bool        `json:"exclude_bias_and_norm_wd"`
	EMAStart          *float64     `json:"ema_start"`
	EMAEnd            *float64     `json:"ema_end"`
	LRScheduler       string       `json:"lr_scheduler"`
	Schedule          struct {
		WarmupEpochs  *float64 `json:"warmup_epochs"`
		WarmupStartLR *float64 `json:"warmup_start_lr"`
		MinLR         *float64 `json:"min_lr"`
		Interval      string   `json:"interval"`
	} `json:"lr_scheduler_kwargs"`
}

type goldenKwargs struct {
	Betas     *[2]float64 `json:"betas"`
	Eps       *float64    `json:"eps"`
	AMSGrad   bool        `json:"amsgrad"`
	Momentum  float64     `json:"momentum"`
	Dampening float64     `json:"dampening"`
	Nesterov  bool        `json:"nesterov"`
}

// numbers is one number or a list of them.
type numbers []int

func (n *numbers) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]int)(n))
	}
	*n = numbers{0}
	return json.Unmarshal(b, &(*n)[0])
}

func set[T any](dst *T, v *T) {
	if v != nil {
		*dst = *v
	}
}

// config turns the case into a Config and its number of updates an epoch. What
// a case may ask for and this program cannot do is an error.
func (g *goldenCase) config() (Config, int, error) {
	preset := "default"
	if g.Accumulate > 1 && !g.EMAPerUpdate {
		preset = "nidl" // momentum moves at each batch
	}
	c, err := Default(preset)
	if err != nil {
		return c, 0, err
	}
	s, v := &g.Encoder, &c.Encoder
	v.ImgSize, v.PatchSize = s.ImgSize, s.PatchSize
	if len(v.ImgSize) == 1 {
		for len(v.ImgSize) < g.Dim {
			v.ImgSize = append(v.ImgSize, v.ImgSize[0])
		}
	}
	v.InChans, v.EmbedDim, v.Depth, v.NumHeads = s.InChans, s.EmbedDim, s.Depth, s.NumHeads
	v.QKNorm, v.RegTokens, v.NoEmbedClass, v.PreNorm = s.QKNorm, s.RegTokens, s.NoEmbedClass, s.PreNorm
	set(&v.MLPRatio, s.MLPRatio)
	set(&v.QKVBias, s.QKVBias)
	set(&v.ClassToken, s.ClassToken)
	v.PosOrder = "nidl"
	switch s.PosEmbed {
	case "", "learned", "learn":
	case "sincos", "none":
		v.PosEmbed = s.PosEmbed
	default:
		return c, 0, fmt.Errorf("pos_embed %q is not supported", s.PosEmbed)
	}
	switch {
	case s.Kind == "timm" && g.Dim == 2:
		if v.InChans == 0 {
			v.InChans = 3
		}
	case s.Kind == "vit3d" && g.Dim == 3:
		if v.InChans == 0 {
			v.InChans = 1
		}
	default:
		return c, 0, fmt.Errorf("encoder kind %q with dim %d is not supported", s.Kind, g.Dim)
	}
	averaged := strings.HasPrefix(s.GlobalPool, "avg") || s.GlobalPool == "max"
	if s.FCNorm != nil && *s.FCNorm || s.FCNorm == nil && averaged {
		return c, 0, fmt.Errorf("an encoder without a final norm (global_pool %q with fc_norm) is not supported", s.GlobalPool)
	}
	if s.NumClasses > 0 {
		return c, 0, fmt.Errorf("a classification head (num_classes %d) is not supported", s.NumClasses)
	}
	if g.NormEps != nil {
		v.NormEps = g.NormEps.Encoder
	}
	if err := v.Complete(); err != nil {
		return c, 0, err
	}
	if g.NormEps != nil {
		if p := c.Predictor().NormEps; g.NormEps.Predictor != p {
			return c, 0, fmt.Errorf("a predictor norm eps of %g is not supported (it is %g)", g.NormEps.Predictor, p)
		}
	}
	c.PredictorEmbedDim, c.PredictorDepth = g.PredictorEmbedDim, g.PredictorDepth

	j := &g.JEPA
	set(&c.NumTargetBlocks, j.NumTargetBlocks)
	set(&c.MinKeep, j.MinKeep)
	set(&c.ContextBlockScale, j.ContextBlockScale)
	set(&c.TargetBlockScale, j.TargetBlockScale)
	set(&c.AspectRatio, j.AspectRatio)
	c.AllowOverlap = j.AllowOverlap
	if j.Optimizer != "" {
		c.Optimizer = j.Optimizer
	}
	o := &j.OptimizerKwargs
	set(&c.Betas, o.Betas)
	set(&c.Eps, o.Eps)
	c.AMSGrad, c.Momentum, c.Dampening, c.Nesterov = o.AMSGrad, o.Momentum, o.Dampening, o.Nesterov
	set(&c.LearningRate, j.LearningRate)
	set(&c.WeightDecay, j.WeightDecay)
	c.WeightDecayEnd = c.WeightDecay
	set(&c.ExcludeBiasAndNormWD, j.ExcludeBiasNorm)
	set(&c.EMAStart, j.EMAStart)
	set(&c.EMAEnd, j.EMAEnd)
	if j.LRScheduler != "" {
		c.LRScheduler = j.LRScheduler
	}
	set(&c.WarmupEpochs, j.Schedule.WarmupEpochs)
	set(&c.WarmupStartLR, j.Schedule.WarmupStartLR)
	set(&c.MinLR, j.Schedule.MinLR)
	if j.Schedule.Interval != "" {
		c.Interval = j.Schedule.Interval
	}
	c.GradientClipVal = g.Clip
	c.AccumulateGradBatches = max(g.Accumulate, 1)
	c.BatchSize = g.Batch
	c.MaxEpochs = max(g.Epochs, 1)
	if err := c.validateAllButMasks(); err != nil {
		return c, 0, err
	}
	perEpoch := 1
	if g.Samples > 0 {
		// A last batch that is not full, and updates across epochs, would need
		// what no case here has.
		if g.Samples%(g.Batch*c.AccumulateGradBatches) != 0 {
			return c, 0, fmt.Errorf("%d samples in batches of %d, %d an update, leave a remainder, which is not supported", g.Samples, g.Batch, c.AccumulateGradBatches)
		}
		perEpoch = g.Samples / (g.Batch * c.AccumulateGradBatches)
	}
	return c, perEpoch, nil
}

// verifier replays one case.
type verifier struct {
	f     *checkpoint.File
	g     goldenCase
	t     *Trainer
	exact bool // float64 twins
	rows  []Row
}

// Verify replays the golden case in f on d and compares every tensor that the
// file has. The rows say which are out of bounds; an error means that the case
// could not be replayed.
func Verify(d *gpu.Device, f *checkpoint.File) ([]Row, error) {
	v := &verifier{f: f, exact: d.Info().Kind == gpu.Twins}
	text, ok := f.Metadata()["config"]
	if !ok {
		return nil, fmt.Errorf("jepa: verify: the file has no golden case: its metadata lack config")
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v.g); err != nil {
		return nil, fmt.Errorf("jepa: verify: a case with an option that is not supported: %w", err)
	}
	var err error
	d.Scope(func() { err = v.run(d) })
	if err != nil {
		return nil, fmt.Errorf("jepa: verify: %w", err)
	}
	return v.rows, nil
}

func (v *verifier) run(d *gpu.Device) error {
	c, perEpoch, err := v.g.config()
	if err != nil {
		return err
	}
	// The masks are the file's, so the sampler's rules do not apply: the
	// trainer is built around them.
	x, shape, err := v.f.Float32s("x")
	if err != nil {
		return err
	}
	want := append([]int{0, c.Encoder.InChans}, c.Encoder.ImgSize...)
	if len(shape) != len(want) || fmt.Sprint(shape[1:]) != fmt.Sprint(want[1:]) {
		return fmt.Errorf("x has shape %v, the encoder takes (B, %s)", shape, strings.Trim(fmt.Sprint(want[1:]), "[]"))
	}
	fit := v.g.MicroBatches > 0
	count, samples := 1, c.BatchSize
	if fit {
		count, samples = v.g.MicroBatches, v.g.Samples
	}
	if shape[0] != samples || samples < c.BatchSize {
		return fmt.Errorf("x has %d samples, the case says %d in batches of %d", shape[0], samples, c.BatchSize)
	}
	if names := len(v.f.Names()); count > names { // each batch has tensors of its own
		return fmt.Errorf("the case has %d batches in %d tensors", count, names)
	}
	all := make([]maskgen.Masks, count)
	maxK, maxL := 0, 0
	for i := range all {
		suffix := ""
		if fit {
			suffix = fmt.Sprintf("/%d", i)
		}
		if err := v.readMasks(&all[i], suffix, &c); err != nil {
			return err
		}
		if all[i].M != all[0].M {
			return fmt.Errorf("target%s has %d blocks, the first batch %d", suffix, all[i].M, all[0].M)
		}
		maxK, maxL = max(maxK, all[i].K), max(maxL, all[i].L)
	}
	c.NumTargetBlocks = all[0].M
	plan := &Trainer{Config: c, device: gpu.Estimate(d.Info())}
	plan.allocate(maxK, maxL)
	for _, n := range plan.networks() {
		if err := (network{"weights/" + n.name, n.arena}).isIn(v.f); err != nil {
			return err
		}
	}
	if err := plan.device.Err(); err != nil {
		return err
	}
	t := &Trainer{Config: c, device: d}
	t.Schedule = NewSchedule(&t.Config, perEpoch)
	t.allocate(maxK, maxL)
	v.t = t
	if err := v.load(); err != nil {
		return err
	}
	if fit {
		return v.fit(x, all)
	}
	return v.step(x, &all[0])
}

func (v *verifier) readMasks(m *maskgen.Masks, suffix string, c *Config) error {
	read := func(name string, axes int) ([]uint32, []int, error) {
		values, shape, err := v.f.Ints(name + suffix)
		if err != nil {
			return nil, nil, err
		}
		if len(shape) != axes {
			return nil, nil, fmt.Errorf("%s%s has shape %v, want %d axes", name, suffix, shape, axes)
		}
		list := make([]uint32, len(values))
		for i, p := range values {
			if p < 0 || p >= int64(c.Encoder.Patches()) {
				return nil, nil, fmt.Errorf("%s%s names patch %d of %d", name, suffix, p, c.Encoder.Patches())
			}
			list[i] = uint32(p)
		}
		return list, shape, nil
	}
	context, cs, err := read("context", 2)
	if err != nil {
		return err
	}
	target, ts, err := read("target", 3)
	if err != nil {
		return err
	}
	if cs[0] != v.g.Batch || ts[1] != v.g.Batch || cs[1] == 0 || len(target) == 0 {
		return fmt.Errorf("context%s %v and target%s %v do not fit a batch of %d", suffix, cs, suffix, ts, v.g.Batch)
	}
	*m = maskgen.Masks{B: cs[0], K: cs[1], M: ts[0], L: ts[2], Context: context, Target: target}
	return nil
}

// load sets every weight from the file. The encoder's own position table is
// compared with the file's, then replaced by it; the predictor's is replaced
// only, since the reference's perturbation of all parameters moved it.
func (v *verifier) load() error {
	for _, n := range v.t.networks() {
		for _, p := range n.arena.All() {
			name := "weights/" + n.name + "." + p.Name
			values, shape, err := v.f.Float64s(name)
			if err != nil {
				return err
			}
			if p.Name == "pos_embed" && p.Grad.IsNil() && !n.arena.Grads.IsNil() {
				v.compare(name, p.Value, values, boundTable)
			}
			if err := n.arena.Set(p.Name, shape, values); err != nil {
				return err
			}
		}
		for _, name := range v.f.Names() {
			if own, ok := strings.CutPrefix(name, "weights/"+n.name+"."); ok && n.arena.Find(own) == nil {
				return fmt.Errorf("the case has a weight %s, which the model has not", name)
			}
		}
	}
	return v.t.device.Err()
}

// compare adds a row for tensor got, whose reference is want.
func (v *verifier) compare(name string, got gpu.Tensor, want []float64, bound float64) {
	values := make([]float64, len(want))
	if err := v.t.device.ReadFloat64(got, values); err == nil {
		v.compareValues(name, values, want, bound)
	}
}

func (v *verifier) compareValues(name string, got, want []float64, bound float64) {
	largest, worst := 0.0, 0.0
	for i := range want {
		largest = math.Max(largest, math.Abs(want[i]))
		if diff := math.Abs(got[i] - want[i]); !(diff <= worst) {
			worst = diff // NaN sticks: no comparison with it holds
		}
	}
	if v.exact && bound != boundTable {
		bound = BoundFloat64
	}
	if largest > 0 {
		worst /= largest
	}
	v.rows = append(v.rows, Row{Name: name, Error: worst, Bound: bound})
}

func (v *verifier) step(x []float32, m *maskgen.Masks) error {
	t := v.t
	t.upload(x, m)
	e := t.device.Begin()
	t.forward(e, m, slotLoss)
	t.backward(e)
	if err := e.Submit(); err != nil {
		return err
	}
	type check struct {
		name string
		t    gpu.Tensor
	}
	checks := []check{{"loss", t.scalar(slotLoss, 1)}, {"z_context", t.z}, {"z_target", t.zTarget}, {"z_pred", t.prediction}}
	for _, n := range t.networks() {
		for _, p := range n.arena.Params {
			if !p.Grad.IsNil() {
				checks = append(checks, check{"grad/" + n.name + "." + p.Name, p.Grad})
			}
		}
	}
	for _, c := range checks {
		want, shape, err := v.f.Float64s(c.name)
		if err != nil {
			return err
		}
		if len(want) != c.t.Len() {
			return fmt.Errorf("%s has shape %v, the replay has %v", c.name, shape, c.t)
		}
		v.compareGrad(c.name, c.t, want)
	}
	want, shape, err := v.f.Float64s("transform")
	if err != nil {
		return err
	}
	e = t.device.Begin()
	pooled := t.device.Tensor("transform", m.B, t.Config.Encoder.EmbedDim)
	e.MeanPool(pooled, t.reader.Forward(e, t.x.Reshape(m.B, t.x.Dim(1)), gpu.Tensor{}))
	if err := e.Submit(); err != nil {
		return err
	}
	if len(want) != pooled.Len() {
		return fmt.Errorf("transform has shape %v, the replay has %v", shape, pooled)
	}
	v.compare("transform", pooled, want, BoundStep)
	return v.unexpected(func(name string) bool { return strings.HasPrefix(name, "grad/") && !v.has(name) })
}

// compareGrad compares a step's tensor, leaving a gradient that exact
// arithmetic makes zero to the cpu driver: a float32 kernel has only its
// rounding there, and the reference nothing to measure it by.
func (v *verifier) compareGrad(name string, got gpu.Tensor, want []float64) {
	if strings.HasSuffix(name, "attn.k_norm.bias") {
		if !v.exact {
			v.rows = append(v.rows, Row{Name: name, Skipped: "its exact gradient is zero (attention does not depend on a shift of the keys): checked on the cpu adapter"})
			return
		}
		// Both are rounding noise: hold them against 1, the scale of a gradient.
		values := make([]float64, len(want))
		if v.t.device.ReadFloat64(got, values) == nil {
			v.compareValues(name, append(values, 1), append(want, 1), BoundStep)
		}
		return
	}
	v.compare(name, got, want, BoundStep)
}

func (v *verifier) has(name string) bool {
	for _, r := range v.rows {
		if r.Name == name {
			return true
		}
	}
	return false
}

// unexpected refuses tensors of the file that were not compared.
func (v *verifier) unexpected(left func(string) bool) error {
	for _, name := range v.f.Names() {
		if left(name) {
			return fmt.Errorf("the case has %s, which the replay does not", name)
		}
	}
	return nil
}

func (v *verifier) fit(x []float32, all []maskgen.Masks) error {
	t := v.t
	B, samples := t.Config.BatchSize, v.g.Samples
	n := len(x) / samples
	loss, lr, lambda := make([]float64, len(all)), make([]float64, len(all)), make([]float64, len(all))
	perEpoch := samples / B
	for i := range all {
		s := t.Schedule.At(t.Updates())
		lr[i], lambda[i] = s.LR, s.Momentum
		at := i % perEpoch * B * n
		if err := t.stepWith(x[at:at+B*n], &all[i]); err != nil {
			return err
		}
		if err := t.device.ReadFloat64(t.scalar(slotLoss, 1), loss[i:i+1]); err != nil {
			return err
		}
		loss[i] /= float64(t.Config.AccumulateGradBatches) // as Lightning logs it
	}
	for _, c := range []struct {
		name string
		got  []float64
		b    float64
	}{{"lr", lr, BoundFloat64}, {"lambda", lambda, BoundFloat64}, {"loss", loss, BoundFit}} {
		want, _, err := v.f.Float64s(c.name)
		if err != nil {
			return err
		}
		if len(want) != len(c.got) {
			return fmt.Errorf("%s has %d entries for %d batches", c.name, len(want), len(c.got))
		}
		v.compareValues(c.name, c.got, want, c.b)
	}
	for _, net := range t.networks() {
		for _, p := range net.arena.All() {
			name := "final/" + net.name + "." + p.Name
			want, _, err := v.f.Float64s(name)
			if err != nil {
				return err
			}
			if len(want) != p.Len() {
				return fmt.Errorf("%s has %d elements, the model's has %d", name, len(want), p.Len())
			}
			v.compareFinal(name, p, want)
		}
	}
	return v.unexpected(func(name string) bool { return strings.HasPrefix(name, "final/") && !v.has(name) })
}

// compareFinal compares a final weight. On a GPU the key third of a qkv bias
// is left out: its exact gradient is zero, and Adam turns rounding noise into
// real steps.
func (v *verifier) compareFinal(name string, p *model.Parameter, want []float64) {
	got := make([]float64, len(want))
	if v.t.device.ReadFloat64(p.Value, got) != nil {
		return
	}
	const why = "its exact gradient is zero (attention does not depend on a shift of the keys), so the optimizer follows rounding noise: checked on the cpu adapter"
	switch {
	case v.exact:
	case strings.HasSuffix(name, "attn.qkv.bias"):
		third := len(want) / 3
		v.rows = append(v.rows, Row{Name: name + " (keys)", Skipped: why})
		got = append(got[:third:third], got[2*third:]...)
		want = append(want[:third:third], want[2*third:]...)
	case strings.HasSuffix(name, "attn.k_norm.bias"):
		v.rows = append(v.rows, Row{Name: name, Skipped: why})
		return
	}
	v.compareValues(name, got, want, BoundFit)
}

// WorstRow returns the compared row that is nearest to or farthest beyond its
// bound.
func WorstRow(rows []Row) Row {
	compared := append([]Row(nil), rows...)
	sort.SliceStable(compared, func(i, j int) bool { return compared[i].Error/compared[i].Bound > compared[j].Error/compared[j].Bound })
	for _, r := range compared {
		if r.Failed() {
			return r
		}
	}
	for _, r := range compared {
		if r.Skipped == "" {
			return r
		}
	}
	return Row{}
}
