// Package evaluate asks what an encoder's frozen features hold, always beside
// the same encoder untrained: it reads labelled samples, computes their
// features, fits the probes of package probe and reports each figure with its
// 95 % interval and that of the difference.
//
// Questions, as far as the data have labels:
//
//   - class: logistic regression from a sample's pooled features to its class, and
//     its nearest neighbours;
//   - number: ridge regression from pooled features to the number that labels a
//     sample;
//   - dense: logistic regression from each patch's features to the label that
//     most of its voxels have, beside a prior that knows the position only;
//   - volume: ridge regression from pooled features to the logarithm of the
//     number of labelled voxels.
//
// Intensities themselves are a third set of features beside the two encoders': the
// mean of each part of a sample, and the voxels of a patch. With probe.folds the
// classes and numbers are cross-validated, no subject being in two folds, and with
// probe.curve classes are asked of ever fewer labels. A penalty is chosen on validation
// samples, or where none can judge on training samples that are held out, no subject
// being on both sides.
package evaluate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"

	"wgjepa/data"
	"wgjepa/data/phantom"
	"wgjepa/internal/config"
	"wgjepa/jepa"
	"wgjepa/jepa/probe"
)

// Splits of the data, in the order in which they are read.
var splitNames = [3]string{"train", "val", "test"}

const (
	train = iota
	val
	test
)

// denseBytes bounds the patch features that are kept for the dense probe of one
// encoder.
const denseBytes = 1 << 30

// Score is one figure.
type Score struct {
	Metric       string    `json:"metric"`
	Trained      Interval  `json:"trained"`
	Untrained    Interval  `json:"untrained"`
	Difference   Interval  `json:"difference"` // trained − untrained on the same resamples
	Intensities  *Interval `json:"intensities,omitempty"`
	PositionOnly *Interval `json:"position_only,omitempty"`
}

// Interval is a figure with its 95 % interval.
type Interval probe.Interval

// MarshalJSON writes null for what is not defined.
func (i Interval) MarshalJSON() ([]byte, error) {
	figure := func(v float64) *float64 {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
		return &v
	}
	return json.Marshal(map[string]*float64{"value": figure(i.Value), "low": figure(i.Low), "high": figure(i.High)})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (i *Interval) UnmarshalJSON(text []byte) error {
	var m map[string]*float64
	if err := json.Unmarshal(text, &m); err != nil {
		return err
	}
	figure := func(v *float64) float64 {
		if v == nil {
			return math.NaN()
		}
		return *v
	}
	*i = Interval{figure(m["value"]), figure(m["low"]), figure(m["high"])}
	return nil
}

// Decisive is the figure that stands for the task: of classes the balanced
// accuracy, of patches the mean Dice, of numbers R².
func (t *Task) Decisive() *Score {
	for i := range t.Scores {
		if slices.Contains([]string{"balanced accuracy", "mean Dice", "R²"}, t.Scores[i].Metric) {
			return &t.Scores[i]
		}
	}
	return &t.Scores[0]
}

// Task is one question and its figures.
type Task struct {
	Name       string     `json:"task"`
	Classes    []string   `json:"classes,omitempty"`
	Units      [3]int     `json:"samples"` // training, validation and test samples or volumes
	Chosen     [2]float64 `json:"chosen"`  // C or the ridge penalty, of trained and untrained; 0 in folds, each of which chooses its own
	Scores     []Score    `json:"scores"`
	Note       string     `json:"note,omitempty"`
	Regression bool       `json:"regression,omitempty"`
}

// Result is all that was found.
type Result struct {
	Tasks  []Task   `json:"tasks"`
	Curve  []Point  `json:"curve,omitempty"`
	Health Health   `json:"health"`
	Notes  []string `json:"notes,omitempty"`
}

// features of all samples of the splits, by one encoder.
type features struct {
	pooled [3]probe.Matrix
	dense  [3]probe.Matrix // patches of the volumes that the dense probe uses
}

// labels of the samples, the same for every encoder.
type labels struct {
	ids     [3][]int     // samples of each split
	class   [3][]int     // of each sample, −1 without
	number  [3][]float64 // of each sample, NaN without
	subject [3][]int     // of each sample
	voxels  [3][]int     // number of labelled voxels, −1 without
	volumes [3][]int     // places in ids of the volumes that the dense probe uses
	patch   [3][]int     // label of each patch of them
	group   [3][]int     // which volume each patch is of
}

type evaluation struct {
	ds      data.Dataset
	o       config.Probe
	seed    uint64
	patch   []int
	tissues []string // names of the voxel classes, where they are known
	labels  labels
	result  Result
}

// ErrNoLabels says that there is nothing to ask features for: no labels, or no two that differ.
var ErrNoLabels = errors.New("the data have no labels to probe: classes and numbers come from labels.csv, data.labels or sub-folders, voxel labels from a folder labels/ beside images/")

// Run evaluates. progress is called after each batch with how many samples of
// how many have been read; an error of it ends the evaluation.
func Run(ds data.Dataset, c *config.Config, trained, untrained Encoder, progress func(done, total int) error) (*Result, error) {
	return new(Baseline).Run(ds, c, trained, untrained, progress)
}

// Baseline keeps the untrained encoder's features for evaluations to come, such
// as those during a training. It belongs to one data set.
type Baseline struct {
	of       string // configuration
	features *features
}

// Run is the function Run. It does not open the untrained encoder where the
// configuration is that of the last time.
func (b *Baseline) Run(ds data.Dataset, c *config.Config, trained, untrained Encoder, progress func(done, total int) error) (*Result, error) {
	e := &evaluation{ds: ds, o: c.Probe, seed: c.Seed, patch: c.Encoder.PatchSize}
	if slices.Contains(c.Data.Paths, config.GeneratedData) {
		e.tissues = phantom.Tissues
	}
	if err := e.readLabels(); err != nil {
		return nil, err
	}
	if !e.hasClasses() && !e.hasNumbers() {
		err := e.alike()
		if len(e.labels.volumes[train]) == 0 {
			return nil, err
		}
		if err != ErrNoLabels {
			e.note(err.Error())
		}
	}
	total := 0
	for s := range splitNames {
		total += len(e.labels.ids[s])
	}
	f := make([]*features, 2, 3)
	of := string(c.TOML())
	if b.of == of {
		f[1] = b.features
	} else {
		total *= 2
	}
	done := 0
	for i, with := range []Encoder{trained, untrained} {
		if f[i] != nil {
			continue
		}
		err := with(func(encoder *jepa.Features) (err error) {
			f[i], err = e.read(encoder, func(n int) error {
				done += n
				return progress(done, total)
			})
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	b.of, b.features = of, f[1]
	if e.o.Intensities {
		raw, err := e.intensities()
		if err != nil {
			return nil, err
		}
		f = append(f, raw)
	}
	return &e.result, e.probe(f)
}

// readLabels divides the samples and reads what labels they have.
func (e *evaluation) readLabels() error {
	l := &e.labels
	subject := numberer(e.ds)
	_, size := e.ds.Shape()
	voxels := 1
	for _, n := range size {
		voxels *= n
	}
	for s, name := range splitNames {
		l.ids[s] = e.ds.Split(name)
		if s == train {
			l.ids[s] = e.fraction(l.ids[s], e.o.LabelFraction)
		}
		for _, id := range l.ids[s] {
			l.subject[s] = append(l.subject[s], subject(id))
		}
		n := len(l.ids[s])
		l.class[s], l.voxels[s], l.number[s] = make([]int, n), make([]int, n), make([]float64, n)
		patches := make([][]int, n)
		if err := each(n, func(at int) (err error) {
			id := l.ids[s][at]
			l.class[s][at], l.voxels[s][at], l.number[s][at] = -1, -1, math.NaN()
			if number, ok := e.ds.Target(id); ok {
				l.number[s][at] = number
			}
			if class, ok := e.ds.Label(id); ok {
				l.class[s][at] = class
			}
			if e.ds.VoxelClasses() == 0 {
				return nil
			}
			raw := make([]uint8, voxels)
			ok, err := e.ds.VoxelLabels(id, raw)
			if !ok || err != nil {
				return err
			}
			l.voxels[s][at] = voxels - bytes.Count(raw, []byte{0})
			if patches[at], err = probe.PatchLabels(raw, size, e.patch, max(e.ds.VoxelClasses(), 2)); err != nil {
				return fmt.Errorf("%s: %w", e.ds.Name(id), err)
			}
			return nil
		}); err != nil {
			return err
		}
		for at, p := range patches {
			if p == nil || len(l.volumes[s]) == e.o.DenseVolumes {
				continue
			}
			for range p {
				l.group[s] = append(l.group[s], len(l.volumes[s]))
			}
			l.patch[s] = append(l.patch[s], p...)
			l.volumes[s] = append(l.volumes[s], at)
		}
	}
	if len(l.ids[train]) == 0 || len(l.ids[test]) == 0 {
		return fmt.Errorf("there are %d training and %d test samples: a probe needs both; change data.val and data.test", len(l.ids[train]), len(l.ids[test]))
	}
	return nil
}

// numberer numbers the subjects of samples as it meets them.
func numberer(ds data.Dataset) func(id int) int {
	numbers := map[string]int{}
	return func(id int) int {
		subject := ds.Subject(id)
		if _, known := numbers[subject]; !known {
			numbers[subject] = len(numbers)
		}
		return numbers[subject]
	}
}

// fraction keeps a seeded share of the training samples, of every class alike.
// Smaller shares are parts of larger ones.
func (e *evaluation) fraction(ids []int, share float64) []int {
	if share == 1 {
		return ids
	}
	byClass := map[int][]int{}
	for _, id := range ids {
		class, ok := e.ds.Label(id)
		if !ok && len(e.ds.Classes()) > 0 {
			class = -1 // not of the first class
		}
		byClass[class] = append(byClass[class], id)
	}
	var kept []int
	for _, class := range slices.Sorted(maps.Keys(byClass)) {
		group := byClass[class]
		r := rand.New(rand.NewPCG(e.seed, uint64(class)))
		r.Shuffle(len(group), func(i, j int) { group[i], group[j] = group[j], group[i] })
		n := int(math.Ceil(share * float64(len(group))))
		kept = append(kept, group[:n]...)
	}
	slices.Sort(kept)
	return kept
}

func (e *evaluation) hasClasses() bool {
	seen := map[int]bool{}
	for _, c := range e.labels.class[train] {
		if c >= 0 {
			seen[c] = true
		}
	}
	return len(seen) >= 2
}

func (e *evaluation) hasNumbers() bool {
	first := math.NaN()
	for _, v := range e.labels.number[train] {
		if !math.IsNaN(v) && !math.IsNaN(first) && v != first {
			return true
		}
		if math.IsNaN(first) {
			first = v
		}
	}
	return false
}

// alikeError is ErrNoLabels of training samples that have labels, all the same.
type alikeError string

func (e alikeError) Error() string   { return string(e) }
func (alikeError) Is(err error) bool { return err == ErrNoLabels }

// alike says why there is nothing to ask.
func (e *evaluation) alike() error {
	say := func(n int, what string) error {
		return alikeError(fmt.Sprintf("the %d training samples with a label have all the same, %s: a probe needs two that differ", n, what))
	}
	n, class, number := 0, -1, math.NaN()
	for i, c := range e.labels.class[train] {
		v := e.labels.number[train][i]
		if c >= 0 || v == v {
			n, class, number = n+1, c, v
		}
	}
	switch {
	case n == 0:
		return ErrNoLabels
	case class >= 0:
		return say(n, e.ds.Classes()[class])
	}
	return say(n, strconv.FormatFloat(number, 'g', -1, 64))
}

// read computes the features of all samples.
func (e *evaluation) read(encoder *jepa.Features, progress func(n int) error) (*features, error) {
	P, D := encoder.Config.Patches(), encoder.Config.EmbedDim
	width := D
	if e.o.Pooling == "mean+std" {
		width = 2 * D
	}
	f := &features{}
	tokens := make([]float32, encoder.Batch*P*D)
	for s := range splitNames {
		ids := e.labels.ids[s]
		f.pooled[s] = probe.Matrix{Rows: len(ids), Cols: width, Data: make([]float32, len(ids)*width)}
		volumes := e.labels.volumes[s]
		if most := denseBytes / 4 / (P * D); len(volumes) > most {
			return nil, fmt.Errorf("the patch features of %d volumes need more than %d MiB: lower probe.dense_volumes to %d", len(volumes), denseBytes>>20, most)
		}
		f.dense[s] = probe.Matrix{Rows: len(volumes) * P, Cols: D, Data: make([]float32, 0, len(volumes)*P*D)}
		next := 0 // of volumes
		if err := Batches(e.ds, ids, encoder.Batch, func(x []float32, from, b int) error {
			if err := encoder.Tokens(x, b, tokens); err != nil {
				return err
			}
			for i := range b {
				z := tokens[i*P*D : (i+1)*P*D]
				Pool(f.pooled[s].Row(from+i), z, D)
				if next < len(volumes) && volumes[next] == from+i {
					f.dense[s].Data = append(f.dense[s].Data, z...)
					next++
				}
			}
			return progress(b)
		}); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Pool writes the mean over the rows of z (P, D), and their standard deviation
// where dst has room for it.
func Pool(dst, z []float32, D int) {
	P := float64(len(z) / D)
	for j := range D {
		sum := 0.0
		for at := j; at < len(z); at += D {
			sum += float64(z[at])
		}
		mean := sum / P
		dst[j] = float32(mean)
		if len(dst) == 2*D {
			sum = 0
			for at := j; at < len(z); at += D {
				d := float64(z[at]) - mean
				sum += d * d
			}
			dst[D+j] = float32(math.Sqrt(sum / P))
		}
	}
}

// probe fits and scores everything that the labels allow.
func (e *evaluation) probe(f []*features) error {
	for i := range f[:2] {
		if err := e.result.Health.set(i, f[i].pooled[test]); err != nil {
			return err
		}
	}
	// What one question lacks does not spoil the others.
	var failed []error
	for _, task := range []struct {
		name string
		ask  func([]*features) error
		can  bool
	}{
		{"class", e.classes, e.hasClasses()},
		{"number", e.numbers, e.hasNumbers()},
		{"dense", e.dense, len(e.labels.volumes[train]) > 0 && len(e.labels.volumes[test]) > 0},
		{"volume", e.volume, true},
	} {
		if !task.can {
			continue
		}
		if err := task.ask(f); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", task.name, err))
		}
	}
	if len(e.result.Tasks) == 0 {
		return errors.Join(failed...)
	}
	for _, err := range failed {
		e.result.Notes = append(e.result.Notes, "not probed: "+err.Error())
	}
	return nil
}

// score compares statistics of n test units: those of the trained encoder, of
// the untrained one and, where there are three, of the intensities.
func (e *evaluation) score(metric string, n int, strata []int, of ...probe.Statistic) Score {
	bootstrap := func(s probe.Statistic) Interval {
		return Interval(probe.Bootstrap(n, strata, e.o.Resamples, e.seed, s))
	}
	score := Score{
		Metric: metric, Trained: bootstrap(of[0]), Untrained: bootstrap(of[1]),
		Difference: Interval(probe.Difference(n, strata, e.o.Resamples, e.seed, of[0], of[1])),
	}
	if len(of) > 2 {
		i := bootstrap(of[2])
		score.Intensities = &i
	}
	return score
}

// labelled picks the rows whose label is at least 0.
func labelled(x probe.Matrix, y, subject []int) probe.Set {
	var rows []int
	for i, v := range y {
		if v >= 0 {
			rows = append(rows, i)
		}
	}
	return rowsOf(probe.Set{X: x, Y: y, Group: subject}, rows)
}

func rowsOf(s probe.Set, rows []int) probe.Set {
	return probe.Set{X: s.X.Select(rows), Y: pick(s.Y, rows), Group: pick(s.Group, rows)}
}

// note adds what a reader should know, once.
func (e *evaluation) note(text string) {
	if !slices.Contains(e.result.Notes, text) {
		e.result.Notes = append(e.result.Notes, text)
	}
}

// choose fits a classifier, its penalty chosen on validation; where validation
// samples cannot judge, on a part of the training samples that is held out.
func (e *evaluation) choose(task string, training, validation probe.Set) (*probe.Choice, error) {
	seen := map[int]bool{}
	for _, y := range training.Y {
		seen[y] = true
	}
	for _, y := range validation.Y {
		delete(seen, y)
	}
	if missing := len(seen); len(validation.Y) > 0 && missing > 0 {
		what := "one class of the training samples is"
		if missing > 1 {
			what = fmt.Sprintf("%d classes of the training samples are", missing)
		}
		e.note(fmt.Sprintf("%s: %s not among the validation samples, so the penalty (C) was chosen on training samples held out", task, what))
		validation = probe.Set{}
	}
	choice, err := probe.Select(training, validation, e.o.Cs, e.seed)
	if err == nil && choice.Skipped > 0 {
		e.note(fmt.Sprintf("%s: the fit did not converge for C = %g, so C is chosen below it", task, choice.Skipped))
	}
	return choice, e.named(err, task)
}

// named names the class that an error of the probe numbers.
func (e *evaluation) named(err error, task string) error {
	var rare probe.RareClassError
	if task != "dense" && errors.As(err, &rare) {
		return fmt.Errorf("only one training subject is of class %s: to choose C it takes two: add some, or leave the class out", e.ds.Classes()[rare.Class])
	}
	return err
}

func (e *evaluation) classes(f []*features) error {
	t := Task{Name: "class", Classes: e.ds.Classes()}
	k := len(t.Classes)
	var sets [][3]probe.Set
	for i := range f {
		var of [3]probe.Set
		for s := range splitNames {
			of[s] = labelled(f[i].pooled[s], e.labels.class[s], e.labels.subject[s])
			t.Units[s] = len(of[s].Y)
		}
		sets = append(sets, of)
	}
	if e.o.Folds > 0 {
		return e.crossValidate(t, f)
	}
	y := sets[0][test].Y
	if len(y) == 0 {
		return errors.New("no test sample has a class")
	}
	r, err := e.readOut("class", sets)
	if err != nil {
		return err
	}
	copy(t.Chosen[:], r.c)
	for _, m := range confusionMetrics {
		t.Scores = append(t.Scores, e.score(m.name, len(y), y, onSamples(y, r.pred, k, m.of)...))
	}
	t.Scores = append(t.Scores, e.score("AUC", len(y), y, r.auc...))
	if n := e.o.Neighbours; n > 0 {
		for _, metric := range []struct {
			name string
			of   probe.Metric
		}{{"Euclidean", probe.Euclidean}, {"cosine", probe.Cosine}} {
			pred := make([][]int, len(f))
			for i := range f {
				scale, err := probe.Standardize(sets[i][train].X)
				if err != nil {
					return err
				}
				pred[i], err = probe.KNN(scale.Apply(sets[i][train].X), sets[i][train].Y, scale.Apply(sets[i][test].X), min(n, len(sets[i][train].Y)), metric.of)
				if err != nil {
					return err
				}
			}
			name := fmt.Sprintf("balanced accuracy, %d nearest, %s", min(n, len(sets[0][train].Y)), metric.name)
			t.Scores = append(t.Scores, e.score(name, len(y), y, onSamples(y, pred, k, probe.Confusion.BalancedAccuracy)...))
		}
	}
	e.result.Tasks = append(e.result.Tasks, t)
	e.curve(sets, r)
	return nil
}

// readings of the test samples, of each kind of features: the C that was chosen, the
// predicted classes, and the AUC.
type readings struct {
	c    []float64
	pred [][]int
	auc  []probe.Statistic
}

// readOut fits the classes of samples and reads those of the test samples.
func (e *evaluation) readOut(task string, sets [][3]probe.Set) (r readings, err error) {
	for _, of := range sets {
		choice, err := e.choose(task, of[train], of[val])
		if err != nil {
			return r, err
		}
		held := of[test]
		r.c, r.pred = append(r.c, choice.C), append(r.pred, choice.Predict(held.X))
		r.auc = append(r.auc, probe.AUC(held.Y, choice.Proba(held.X), choice.Classes))
	}
	return r, nil
}

var confusionMetrics = []struct {
	name string
	of   func(probe.Confusion) float64
}{{"accuracy", probe.Confusion.Accuracy}, {"balanced accuracy", probe.Confusion.BalancedAccuracy}}

func onSamples(y []int, pred [][]int, classes int, metric func(probe.Confusion) float64) []probe.Statistic {
	var list []probe.Statistic
	for _, p := range pred {
		list = append(list, probe.OnSamples(y, slices.Clone(p), classes, metric))
	}
	return list
}

func (e *evaluation) dense(f []*features) error {
	l := &e.labels
	k := e.ds.VoxelClasses()
	t := Task{Name: "dense"}
	for s := range splitNames {
		t.Units[s] = len(l.volumes[s])
	}
	volumes := make([][]probe.Confusion, len(f))
	for i := range f {
		var sets [3]probe.Set
		for s := range splitNames {
			sets[s] = probe.Set{X: f[i].dense[s], Y: l.patch[s], Group: l.group[s]}
		}
		choice, err := e.choose("dense", sets[train], sets[val])
		if err != nil {
			return err
		}
		if i < 2 {
			t.Chosen[i] = choice.C
		}
		volumes[i] = probe.ByGroup(l.patch[test], choice.Predict(sets[test].X), l.group[test], k)
	}
	prior := probe.ByGroup(l.patch[test], e.positionOnly(k), l.group[test], k)
	n := len(prior)
	add := func(name string, metric func(probe.Confusion) float64) {
		var of []probe.Statistic
		for _, v := range volumes {
			of = append(of, probe.OnVolumes(v, metric))
		}
		s := e.score(name, n, nil, of...)
		p := Interval(probe.Bootstrap(n, nil, e.o.Resamples, e.seed, probe.OnVolumes(prior, metric)))
		s.PositionOnly = &p
		t.Scores = append(t.Scores, s)
	}
	add("mean Dice", foregroundDice)
	for c := range k {
		if slices.Contains(l.patch[test], c) || slices.Contains(l.patch[train], c) {
			add("Dice "+e.tissue(c), probe.DiceOf(c))
		}
	}
	e.result.Tasks = append(e.result.Tasks, t)
	return nil
}

// foregroundDice is the mean over the classes but the background.
func foregroundDice(c probe.Confusion) float64 {
	sum, n := 0.0, 0
	for _, d := range c.Dice()[1:] {
		if !math.IsNaN(d) {
			sum, n = sum+d, n+1
		}
	}
	return sum / float64(n)
}

// tissue names a voxel class.
func (e *evaluation) tissue(c int) string {
	switch {
	case c < len(e.tissues):
		return e.tissues[c]
	case c == 0:
		return "background"
	}
	return fmt.Sprintf("class %d", c)
}

// positionOnly predicts for each test patch the label that most training
// patches at its place have.
func (e *evaluation) positionOnly(k int) []int {
	l := &e.labels
	P := len(l.patch[test]) / len(l.volumes[test])
	counts := make([]int, P*k)
	for i, v := range l.patch[train] {
		counts[i%P*k+v]++
	}
	out := make([]int, len(l.patch[test]))
	for i := range out {
		c := counts[i%P*k : i%P*k+k]
		out[i] = slices.Index(c, slices.Max(c))
	}
	return out
}

// penalties of the ridge that validation chooses from.
var penalties = []float64{0.1, 1, 10, 100, 1000}

// volume regresses the logarithm of the number of labelled voxels.
func (e *evaluation) volume(f []*features) error {
	var y [3][]float64
	for s := range splitNames {
		for _, v := range e.labels.voxels[s] {
			number := math.NaN()
			if v >= 0 {
				number = math.Log(float64(1 + v))
			}
			y[s] = append(y[s], number)
		}
	}
	return e.regress(Task{Name: "volume", Regression: true, Note: "log of the number of labelled voxels"}, y, f)
}

// numbers regresses the numbers that label samples.
func (e *evaluation) numbers(f []*features) error {
	t := Task{Name: "number", Regression: true}
	if e.o.Folds > 0 {
		return e.crossValidate(t, f)
	}
	return e.regress(t, e.labels.number, f)
}

// regress fits y, NaN where a sample has none, by ridge regression.
func (e *evaluation) regress(t Task, y [3][]float64, f []*features) error {
	var rows [3][]int
	var known [3][]float64
	for s := range splitNames {
		for i, v := range y[s] {
			if !math.IsNaN(v) {
				rows[s], known[s] = append(rows[s], i), append(known[s], v)
			}
		}
		t.Units[s] = len(rows[s])
	}
	switch {
	case len(rows[train])+len(rows[val])+len(rows[test]) == 0:
		return nil
	case len(rows[train]) < 3 || len(rows[test]) < 2:
		return fmt.Errorf("%d training and %d test samples have what is asked for: at least 3 and 2 are needed", len(rows[train]), len(rows[test]))
	}
	targets := func(f *features, s int) probe.Targets {
		return probe.Targets{X: f.pooled[s].Select(rows[s]), Y: known[s], Group: pick(e.labels.subject[s], rows[s])}
	}
	var r2, mae []probe.Statistic
	for i := range f {
		validation := targets(f[i], val)
		if len(known[val]) < 2 {
			validation = probe.Targets{}
		}
		r, err := probe.SelectRidge(targets(f[i], train), validation, penalties, e.seed)
		if err != nil {
			return err
		}
		if i < 2 {
			t.Chosen[i] = r.Alpha
		}
		pred := r.Predict(targets(f[i], test).X)
		r2, mae = append(r2, probe.Determination(known[test], pred)), append(mae, meanAbsolute(known[test], pred))
	}
	n := len(known[test])
	t.Scores = []Score{e.score("R²", n, nil, r2...), e.score("mean absolute error", n, nil, mae...)}
	if t.Name == "number" {
		mean := 0.0
		for _, v := range known[train] {
			mean += v / float64(len(known[train]))
		}
		e.note(guessed(mean, known[test]))
	}
	e.result.Tasks = append(e.result.Tasks, t)
	return nil
}

// guessed says how far off it is to predict the mean of the training samples.
func guessed(mean float64, y []float64) string {
	sum := 0.0
	for _, v := range y {
		sum += math.Abs(v - mean)
	}
	return fmt.Sprintf("to predict the training samples' mean, %.4g, for every test sample has a mean absolute error of %.4g", mean, sum/float64(len(y)))
}

// meanAbsolute is the statistic mean |y − pred|.
func meanAbsolute(y, pred []float64) probe.Statistic {
	return func(rows []int) float64 {
		sum := 0.0
		for _, r := range rows {
			sum += math.Abs(y[r] - pred[r])
		}
		return sum / float64(len(rows))
	}
}
