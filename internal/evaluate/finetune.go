package evaluate

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"

	"wgjepa/data"
	"wgjepa/gpu"
	"wgjepa/internal/config"
	"wgjepa/jepa"
	"wgjepa/jepa/probe"
)

// Finetuned is what training on labels gave, beside the probes of the frozen
// encoder that it began from and of the untrained one.
type Finetuned struct {
	Regression  bool              `json:"regression,omitempty"`
	Classes     []string          `json:"classes,omitempty"`
	Units       [3]int            `json:"samples"` // training, validation and test samples with labels
	Steps       int               `json:"steps"`
	Loss        [2]float64        `json:"validation_loss"` // of the frozen encoder's probe, of the best weights
	Scores      []FinetuneScore   `json:"scores"`
	Predictions []FinetunePredict `json:"-"`
	Notes       []string          `json:"notes,omitempty"`
}

// FinetuneScore is one figure of the test samples.
type FinetuneScore struct {
	Metric     string    `json:"metric"`
	Finetuned  Interval  `json:"finetuned"`
	Frozen     Interval  `json:"frozen_probe"`
	Difference Interval  `json:"difference"` // finetuned − frozen on the same resamples
	Untrained  *Interval `json:"untrained_probe,omitempty"`
}

// FinetunePredict is what the finetuned network says of one sample: the
// probability of each class, or the number.
type FinetunePredict struct {
	Name, Split string
	Label       string
	Output      []float64
}

// FinetuneOptions of Finetune.
type FinetuneOptions struct {
	Dir       string                                                    // folder for the state and the weights; "" saves nothing
	Resume    bool                                                      // from the state in Dir
	Untrained Encoder                                                   // the encoder before any training, to be compared with; nil without
	OnStep    func(step, total int) error                               // after every step
	OnEpoch   func(s jepa.FinetuneStats, validation float64, best bool) // after every epoch, and before the first
	Warn      func(message string)
}

// labelled samples of a finetuning.
type supervised struct {
	ds         data.Dataset
	ids        [3][]int
	subject    [3][]int
	class      [3][]int     // classification
	target     [3][]float64 // regression, as the labels have it
	mean, std  float64      // of the training targets
	regression bool
	weights    []float64 // of the classes
}

// collect finds the samples with labels. Training samples of one class only, or
// of one number, are an error: there is nothing to learn.
func collect(ds data.Dataset, c *config.Config) (*supervised, error) {
	s := &supervised{ds: ds}
	fraction, subject := &evaluation{ds: s.ds, o: c.Probe, seed: c.Seed}, numberer(ds)
	s.regression = len(ds.Classes()) == 0
	for k, name := range splitNames {
		ids := ds.Split(name)
		if k == train {
			ids = fraction.fraction(ids, c.Probe.LabelFraction)
		}
		for _, id := range ids {
			if s.regression {
				if v, ok := ds.Target(id); ok {
					s.ids[k], s.target[k] = append(s.ids[k], id), append(s.target[k], v)
				}
			} else if v, ok := ds.Label(id); ok {
				s.ids[k], s.class[k] = append(s.ids[k], id), append(s.class[k], v)
			}
		}
		for _, id := range s.ids[k] {
			s.subject[k] = append(s.subject[k], subject(id))
		}
		if len(s.ids[k]) == 0 {
			return nil, fmt.Errorf("no %s sample has a label: finetuning needs labelled samples of all three parts; labels come from data.labels, labels.csv, sub-folders or the arrays of an .npz, parts from data.val and data.test", map[int]string{train: "training", val: "validation", test: "test"}[k])
		}
	}
	if s.regression {
		n := float64(len(s.target[train]))
		for _, v := range s.target[train] {
			s.mean += v / n
		}
		for _, v := range s.target[train] {
			s.std += (v - s.mean) * (v - s.mean) / n
		}
		if s.std = math.Sqrt(s.std); !(s.std > 0) || math.IsInf(s.std, 0) {
			return nil, errors.New("the labels of the training samples are all one number: there is nothing to learn")
		}
		return s, nil
	}
	counts := make([]int, len(ds.Classes()))
	present := 0
	for _, k := range s.class[train] {
		if counts[k]++; counts[k] == 1 {
			present++
		}
	}
	if present < 2 {
		return nil, errors.New("the training samples are all of one class: there is nothing to learn; raise probe.label_fraction or choose other splits")
	}
	s.weights = make([]float64, len(counts))
	for k, n := range counts {
		s.weights[k] = 1
		if c.Finetune.ClassWeights == "balanced" && n > 0 {
			s.weights[k] = float64(len(s.class[train])) / float64(present*n)
		}
	}
	return s, nil
}

// LabelledBatch is a source of jepa.Finetuner.
type labelledLoader struct {
	*data.Loader
	s  *supervised
	at map[int]int // place of a sample among the training samples
}

func (l *labelledLoader) LabelledBatch(step int, b *jepa.Batch) error {
	if err := l.Batch(step, b.X); err != nil {
		return err
	}
	for i, id := range l.Samples(nil, step) {
		if l.s.regression {
			b.Target[i] = float32((l.s.target[train][l.at[id]] - l.s.mean) / l.s.std)
		} else {
			b.Class[i] = uint32(l.s.class[train][l.at[id]])
		}
	}
	return nil
}

// outputs of the network for samples, (n, K).
func (s *supervised) outputs(t *jepa.Finetuner, ids []int) ([]float32, error) {
	y := make([]float32, len(ids)*t.Outputs)
	return y, Batches(s.ds, ids, t.Config.BatchSize, func(x []float32, from, n int) error {
		return t.Predict(x, n, y[from*t.Outputs:])
	})
}

// loss is the mean loss of outputs y on the samples of a part, as training
// weighs them.
func (s *supervised) loss(y []float32, part int) float64 {
	sum, mass := 0.0, 0.0
	if s.regression {
		for i, v := range s.target[part] {
			d := math.Abs(float64(y[i]) - (v-s.mean)/s.std)
			if d < 1 {
				d = d*d/2 + 0.5
			}
			sum, mass = sum+d-0.5, mass+1
		}
		return sum / mass
	}
	K := len(s.weights)
	for i, k := range s.class[part] {
		p := softmax(y[i*K : (i+1)*K])
		sum -= s.weights[k] * math.Log(math.Max(p[k], math.SmallestNonzeroFloat64))
		mass += s.weights[k]
	}
	return sum / mass
}

// argmax is the place of the largest of v; NaN is never the largest.
func argmax[T float32 | float64](v []T) int {
	best := 0
	for k, x := range v {
		if x > v[best] || v[best] != v[best] && x == x {
			best = k
		}
	}
	return best
}

func softmax(y []float32) []float64 {
	top, sum := float64(slices.Max(y)), 0.0
	p := make([]float64, len(y))
	for k, v := range y {
		p[k] = math.Exp(float64(v) - top)
		sum += p[k]
	}
	for k := range p {
		p[k] /= sum
	}
	return p
}

// linearHead is a read-out of pooled features as they are: weight (K, D), bias (K).
type linearHead struct{ weight, bias []float64 }

// headOf folds the standardisation of a fit into the head. rows are those that coef
// (n, D) and intercept (n) give; other classes have the logit 0, or absentLogit
// where no training sample has them.
func headOf(K, D int, scale *probe.Standardizer, coef, intercept []float64, rows, present []int) linearHead {
	h := linearHead{make([]float64, K*D), make([]float64, K)}
	for k := range K {
		if !slices.Contains(present, k) {
			h.bias[k] = absentLogit
		}
	}
	for i, k := range rows {
		h.bias[k] = intercept[i]
		for j := range D {
			if slices.Contains(scale.Constant, j) {
				continue
			}
			w := coef[i*D+j] / scale.Std[j]
			h.weight[k*D+j] = w
			h.bias[k] -= w * scale.Mean[j]
		}
	}
	return h
}

// of computes the outputs (n, K) for features x (n, D).
func (h linearHead) of(x probe.Matrix) []float32 {
	K := len(h.bias)
	y := make([]float32, x.Rows*K)
	for i := range x.Rows {
		for k, sum := range h.bias {
			for j, v := range x.Row(i) {
				sum += h.weight[k*x.Cols+j] * float64(v)
			}
			y[i*K+k] = float32(sum)
		}
	}
	return y
}

func classifierHead(K int, c *probe.Classifier) linearHead {
	rows := c.Classes
	if len(rows) == 2 {
		rows = rows[1:] // the other's logit is 0
	}
	return headOf(K, len(c.Scale.Mean), c.Scale, c.Coef, c.Intercept, rows, c.Classes)
}

// frozenProbe is a read-out of frozen features.
type frozenProbe struct {
	linearHead
	x    [3]probe.Matrix // pooled features
	test []float32       // outputs
}

// frozen fits the read-out of the frozen features that finetuning is compared
// with, as wgjepa probe fits it.
func (s *supervised) frozen(f *jepa.Features, c *config.Config) (p frozenProbe, err error) {
	for k := range splitNames {
		if p.x[k], err = Pooled(s.ds, f, s.ids[k]); err != nil {
			return p, err
		}
	}
	if s.regression {
		r, err := probe.SelectRidge(probe.Targets{X: p.x[train], Y: s.standardized(train)}, probe.Targets{X: p.x[val], Y: s.standardized(val)}, penalties, c.Seed)
		if err != nil {
			return p, err
		}
		p.linearHead = headOf(1, p.x[train].Cols, r.Scale, r.Coef, []float64{r.Intercept}, []int{0}, []int{0})
	} else {
		e := &evaluation{ds: s.ds, o: c.Probe, seed: c.Seed}
		choice, err := e.choose("finetune", probe.Set{X: p.x[train], Y: s.class[train], Group: s.subject[train]}, probe.Set{X: p.x[val], Y: s.class[val]})
		if err != nil {
			return p, err
		}
		p.linearHead = classifierHead(len(s.weights), choice.Classifier)
	}
	p.test = p.of(p.x[test])
	return p, nil
}

// start is the head that finetuning begins from: of classes, with the penalty whose
// validation loss is least, for that is what training goes on with.
func (s *supervised) start(p frozenProbe, c *config.Config) linearHead {
	if s.regression {
		return p.linearHead
	}
	best, least := p.linearHead, math.Inf(1)
	for _, penalty := range slices.Sorted(slices.Values(append([]float64{1e-3, 1e-2}, c.Probe.Cs...))) {
		fit, err := probe.Logistic(p.x[train], s.class[train], penalty)
		if err != nil {
			break // stronger penalties converged
		}
		h := classifierHead(len(s.weights), fit)
		if loss := s.loss(h.of(p.x[val]), val); loss < least {
			least, best = loss, h
		}
	}
	return best
}

// absentLogit is that of a class without training samples.
const absentLogit = -20

func (s *supervised) standardized(part int) []float64 {
	y := make([]float64, len(s.target[part]))
	for i, v := range s.target[part] {
		y[i] = (v - s.mean) / s.std
	}
	return y
}

// Finetune trains the encoder and a head on the labels of ds: the head begins
// fitted to the frozen encoder's features, and the weights that validate best are
// kept, those at the start among them. It leaves the state and at the end the
// weights in o.Dir. When ctx ends it returns jepa.ErrInterrupted.
func Finetune(ctx context.Context, d *gpu.Device, ds data.Dataset, c *config.Config, encoder Encoder, o FinetuneOptions) (*Finetuned, error) {
	s, err := collect(ds, c)
	if err != nil {
		return nil, err
	}
	result := &Finetuned{Regression: s.regression, Classes: ds.Classes()}
	for k := range splitNames {
		result.Units[k] = len(s.ids[k])
	}
	settings := c.Finetune
	if n := len(s.ids[train]); settings.BatchSize > n {
		settings.BatchSize = n
		result.Notes = append(result.Notes, fmt.Sprintf("there are %d labelled training samples: batches are of that many", n))
	}
	loader, err := data.NewLoader(ds, data.LoaderOptions{Batch: settings.BatchSize, Seed: c.Seed, Indices: s.ids[train], Augment: c.Augment()})
	if err != nil {
		return nil, err
	}
	defer loader.Close()
	source := &labelledLoader{Loader: loader, s: s, at: map[int]int{}}
	for i, id := range s.ids[train] {
		source.at[id] = i
	}
	var untrained frozenProbe
	if o.Untrained != nil {
		if err := o.Untrained(func(f *jepa.Features) (err error) { untrained, err = s.frozen(f, c); return err }); err != nil {
			return nil, fmt.Errorf("the probe of the untrained encoder: %w", err)
		}
	}
	tune := func(f *jepa.Features) error {
		t, err := jepa.NewFinetuner(d, settings, f, s.weights, loader.StepsPerEpoch(), c.Seed)
		if err != nil {
			return err
		}
		frozen, err := s.frozen(f, c)
		if err != nil {
			return fmt.Errorf("the probe that finetuning begins from: %w", err)
		}
		head := s.start(frozen, c)
		if err := t.SetHead(head.weight, head.bias); err != nil {
			return err
		}
		start, err := s.outputs(t, s.ids[val])
		if err != nil {
			return err
		}
		result.Loss[0] = s.loss(start, val)
		identity := ds.Fingerprint() + " " + labelsFingerprint(s)
		if o.Resume {
			file, note, err := jepa.OpenState(filepath.Join(o.Dir, jepa.StateFile))
			if err != nil {
				return err
			}
			defer file.Close()
			if note != "" && o.Warn != nil {
				o.Warn(note)
			}
			if err := t.Load(file, identity); err != nil {
				return err
			}
		}
		run := jepa.FinetuneOptions{Dir: o.Dir, Data: identity, OnEpoch: o.OnEpoch, Validate: func() (float64, error) {
			y, err := s.outputs(t, s.ids[val])
			return s.loss(y, val), err
		}}
		if o.OnStep != nil {
			run.OnStep = func(step int) error { return o.OnStep(step, t.Total()) }
		}
		if err := t.Run(ctx, source, run); err != nil {
			return err
		}
		result.Steps, result.Loss[1] = t.Steps(), t.Best()
		if result.Loss[1] == result.Loss[0] {
			result.Notes = append(result.Notes, "no epoch validated better than a head on the frozen encoder, with which it begins: that is what was kept. Lower finetune.learning_rate, or there is nothing more in the labels")
		}
		if err := s.judge(t, c, frozen.test, untrained.test, result); err != nil {
			return err
		}
		if o.Dir == "" {
			return nil
		}
		classes, err := json.Marshal(ds.Classes())
		if err != nil {
			return err
		}
		m := map[string]string{"task": "classification", "classes": string(classes), "note": string(c.TOML())}
		if s.regression {
			m["task"], m["target_mean"], m["target_std"] = "regression", strconv.FormatFloat(s.mean, 'g', -1, 64), strconv.FormatFloat(s.std, 'g', -1, 64)
		}
		return t.Export(filepath.Join(o.Dir, jepa.WeightsFile), c.Config, m)
	}
	err = encoder(func(f *jepa.Features) (err error) {
		d.Scope(func() { err = tune(f) }) // what lends the encoder may go on living
		return err
	})
	return result, err
}

// labelsFingerprint stands for which samples have which labels.
func labelsFingerprint(s *supervised) string {
	h := uint64(14695981039346656037)
	for k := range splitNames {
		for i, id := range s.ids[k] {
			v := math.Float64bits(float64(id))
			if s.regression {
				v ^= math.Float64bits(s.target[k][i]) * 31
			} else {
				v ^= uint64(s.class[k][i]+1) * 31
			}
			h = (h ^ v) * 1099511628211
		}
	}
	return strconv.FormatUint(h, 16)
}

// judge scores the test samples and keeps all predictions. frozen and untrained are the
// outputs of the probes, untrained nil without.
func (s *supervised) judge(t *jepa.Finetuner, c *config.Config, frozen, untrained []float32, r *Finetuned) error {
	for k := range splitNames {
		y, err := s.outputs(t, s.ids[k])
		if err != nil {
			return err
		}
		for i, id := range s.ids[k] {
			p := FinetunePredict{Name: s.ds.Name(id), Split: splitNames[k]}
			if s.regression {
				p.Label, p.Output = strconv.FormatFloat(s.target[k][i], 'g', -1, 64), []float64{s.mean + s.std*float64(y[i])}
			} else {
				p.Label, p.Output = s.ds.Classes()[s.class[k][i]], softmax(y[i*t.Outputs:(i+1)*t.Outputs])
			}
			r.Predictions = append(r.Predictions, p)
		}
		if k != test {
			continue
		}
		add := func(metric string, strata []int, statistic func(y []float32) probe.Statistic) {
			a, b := statistic(y), statistic(frozen)
			n, q := len(s.ids[test]), c.Probe.Resamples
			score := FinetuneScore{
				Metric: metric, Finetuned: Interval(probe.Bootstrap(n, strata, q, c.Seed, a)), Frozen: Interval(probe.Bootstrap(n, strata, q, c.Seed, b)),
				Difference: Interval(probe.Difference(n, strata, q, c.Seed, a, b)),
			}
			if untrained != nil {
				u := Interval(probe.Bootstrap(n, strata, q, c.Seed, statistic(untrained)))
				score.Untrained = &u
			}
			r.Scores = append(r.Scores, score)
		}
		if s.regression {
			values := func(y []float32) []float64 {
				v := make([]float64, len(y))
				for i := range y {
					v[i] = s.mean + s.std*float64(y[i])
				}
				return v
			}
			add("R²", nil, func(y []float32) probe.Statistic { return probe.Determination(s.target[test], values(y)) })
			add("mean absolute error", nil, func(y []float32) probe.Statistic { return meanAbsolute(s.target[test], values(y)) })
			r.Notes = append(r.Notes, guessed(s.mean, s.target[test]))
			continue
		}
		K, labels := t.Outputs, s.class[test]
		predicted := func(y []float32) []int {
			pred := make([]int, len(labels))
			for i := range pred {
				pred[i] = argmax(y[i*K : (i+1)*K])
			}
			return pred
		}
		for _, m := range []struct {
			name string
			of   func(probe.Confusion) float64
		}{{"accuracy", probe.Confusion.Accuracy}, {"balanced accuracy", probe.Confusion.BalancedAccuracy}} {
			add(m.name, labels, func(y []float32) probe.Statistic { return probe.OnSamples(labels, predicted(y), K, m.of) })
		}
		all := make([]int, K)
		for k := range all {
			all[k] = k
		}
		add("AUC", labels, func(y []float32) probe.Statistic {
			proba := make([]float64, 0, len(y))
			for i := range labels {
				proba = append(proba, softmax(y[i*K:(i+1)*K])...)
			}
			return probe.AUC(labels, proba, all)
		})
	}
	return nil
}

// WritePredictions writes a CSV of the predictions: name, split, label, predicted
// and the probability of each class.
func (r *Finetuned) WritePredictions(to io.Writer) error {
	w := csv.NewWriter(to)
	rows := [][]string{PredictionHeader(r.Classes, "split", "label")}
	for _, p := range r.Predictions {
		rows = append(rows, PredictionRow(p.Name, r.Classes, p.Output, p.Split, p.Label))
	}
	return w.WriteAll(rows)
}

// PredictionHeader names the columns of a table of predictions; without classes
// they are numbers.
func PredictionHeader(classes []string, more ...string) []string {
	row := append(append([]string{"name"}, more...), "predicted")
	for _, k := range classes {
		row = append(row, "p("+k+")")
	}
	return row
}

// PredictionRow is a row of that table.
func PredictionRow(name string, classes []string, output []float64, more ...string) []string {
	row := append([]string{name}, more...)
	if len(classes) == 0 {
		return append(row, strconv.FormatFloat(output[0], 'g', 7, 64))
	}
	row = append(row, classes[argmax(output)])
	for _, p := range output {
		row = append(row, strconv.FormatFloat(p, 'f', 5, 64))
	}
	return row
}
