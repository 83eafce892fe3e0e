package evaluate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"wgjepa/jepa/probe"
)

// crossValidate asks the classes, or the numbers of a regression, of all samples
// whatever their split: each fold is predicted by a fit on the others, no subject
// being in two. Intervals are over subjects.
func (e *evaluation) crossValidate(t Task, f []*features) error {
	var at [][2]int // split and place of each labelled sample
	var class []int
	var number []float64
	var subject []string
	for s := range splitNames {
		for i, id := range e.labels.ids[s] {
			if t.Regression && math.IsNaN(e.labels.number[s][i]) || !t.Regression && e.labels.class[s][i] < 0 {
				continue
			}
			at = append(at, [2]int{s, i})
			class, number = append(class, e.labels.class[s][i]), append(number, e.labels.number[s][i])
			subject = append(subject, e.ds.Subject(id))
		}
	}
	folds, subjects, err := foldsOf(subject, class, e.o.Folds, e.seed)
	if err != nil {
		return err
	}
	units := slices.Max(subjects) + 1
	t.Units = [3]int{len(at), 0, len(at)}
	t.Note = fmt.Sprintf("%d folds of %d subjects", e.o.Folds, units)
	K := len(t.Classes)
	pred, proba, fitted := make([][]int, len(f)), make([][]float64, len(f)), make([][]float64, len(f))
	for i := range f {
		x := probe.Matrix{Rows: len(at), Cols: f[i].pooled[train].Cols}
		for _, a := range at {
			x.Data = append(x.Data, f[i].pooled[a[0]].Row(a[1])...)
		}
		pred[i], proba[i], fitted[i] = make([]int, len(at)), make([]float64, len(at)*max(1, K)), make([]float64, len(at))
		for fold := range e.o.Folds {
			var in, out []int
			for r, k := range folds {
				if k == fold {
					out = append(out, r)
				} else {
					in = append(in, r)
				}
			}
			if t.Regression {
				r, err := probe.SelectRidge(probe.Targets{X: x.Select(in), Y: pick(number, in), Group: pick(subjects, in)}, probe.Targets{}, penalties, e.seed)
				if err != nil {
					return fmt.Errorf("fold %d: %w", fold+1, err)
				}
				for j, v := range r.Predict(x.Select(out)) {
					fitted[i][out[j]] = v
				}
				continue
			}
			choice, err := probe.Select(probe.Set{X: x.Select(in), Y: pick(class, in), Group: pick(subjects, in)}, probe.Set{}, e.o.Cs, e.seed)
			if err != nil {
				return fmt.Errorf("fold %d: %w: lower probe.folds, or add samples of the rare classes", fold+1, e.named(err, t.Name))
			}
			held := x.Select(out)
			p := choice.Proba(held)
			for j, k := range choice.Predict(held) {
				pred[i][out[j]] = k
				for c, k := range choice.Classes {
					proba[i][out[j]*K+k] = p[j*len(choice.Classes)+c]
				}
			}
		}
	}
	// A resample draws subjects, with all of their samples.
	members := make([][]int, units)
	for r, s := range subjects {
		members[s] = append(members[s], r)
	}
	overSubjects := func(s probe.Statistic) probe.Statistic {
		return func(drawn []int) float64 {
			var rows []int
			for _, u := range drawn {
				rows = append(rows, members[u]...)
			}
			return s(rows)
		}
	}
	add := func(metric string, of func(i int) probe.Statistic) {
		var list []probe.Statistic
		for i := range f {
			list = append(list, overSubjects(of(i)))
		}
		t.Scores = append(t.Scores, e.score(metric, units, nil, list...))
	}
	if t.Regression {
		add("R²", func(i int) probe.Statistic { return probe.Determination(number, fitted[i]) })
		add("mean absolute error", func(i int) probe.Statistic { return meanAbsolute(number, fitted[i]) })
	} else {
		for _, m := range confusionMetrics {
			add(m.name, func(i int) probe.Statistic { return probe.OnSamples(class, pred[i], K, m.of) })
		}
		all := make([]int, K)
		for k := range all {
			all[k] = k
		}
		add("AUC", func(i int) probe.Statistic { return probe.AUC(class, proba[i], all) })
	}
	e.result.Tasks = append(e.result.Tasks, t)
	return nil
}

func pick[T any](values []T, rows []int) []T {
	out := make([]T, len(rows))
	for i, r := range rows {
		out[i] = values[r]
	}
	return out
}

// foldsOf deals subjects into folds, those of each class (of their first sample)
// in turn, so that folds are alike. It returns the fold and the number of the
// subject of each sample.
func foldsOf(subject []string, class []int, folds int, seed uint64) (fold, number []int, err error) {
	ids := map[string]int{}
	var first []int // class of each subject
	number = make([]int, len(subject))
	for i, s := range subject {
		id, known := ids[s]
		if !known {
			id = len(ids)
			ids[s] = id
			first = append(first, class[i])
		}
		number[i] = id
	}
	if len(first) < folds {
		return nil, nil, fmt.Errorf("there are %d labelled subjects for %d folds: lower probe.folds", len(first), folds)
	}
	order := rand.New(rand.NewPCG(seed, 0x666f6c64)).Perm(len(first))
	slices.SortStableFunc(order, func(a, b int) int { return first[a] - first[b] })
	of := make([]int, len(first))
	for i, s := range order {
		of[s] = i % folds
	}
	fold = make([]int, len(subject))
	for i, n := range number {
		fold[i] = of[n]
	}
	return fold, number, nil
}
