package evaluate

import (
	"fmt"
	"slices"

	"wgjepa/jepa/probe"
)

// Point is one point of the label-fraction curve: the classes, asked of a share
// of the training labels.
type Point struct {
	Fraction float64 `json:"fraction"`
	Samples  int     `json:"samples"` // training samples
	Scores   []Score `json:"scores"`  // balanced accuracy, AUC
}

// curve asks the classes of ever more labels. A share that lacks what a fit
// needs is left out with a note.
func (e *evaluation) curve(f []*features) error {
	l := &e.labels
	for _, share := range slices.Sorted(slices.Values(e.o.Curve)) {
		kept := e.fraction(slices.Clone(l.ids[train]), share)
		rows := make([]int, 0, len(kept))
		for i, id := range l.ids[train] {
			if _, in := slices.BinarySearch(kept, id); in && l.class[train][i] >= 0 {
				rows = append(rows, i)
			}
		}
		p := Point{Fraction: share, Samples: len(rows)}
		pred := make([][]int, len(f))
		var auc []probe.Statistic
		var y []int
		var failed error
		for i := range f {
			few := probe.Set{X: f[i].pooled[train].Select(rows)}
			for _, r := range rows {
				few.Y = append(few.Y, l.class[train][r])
			}
			held := labelled(f[i].pooled[test], l.class[test])
			choice, err := e.choose("curve", few, labelled(f[i].pooled[val], l.class[val]))
			if err != nil {
				failed = err
				break
			}
			y = held.Y
			pred[i] = choice.Predict(held.X)
			auc = append(auc, probe.AUC(y, choice.Proba(held.X), choice.Classes))
		}
		if failed != nil {
			e.note(fmt.Sprintf("label-fraction curve: %g %% of the labels, %d samples: %v", 100*share, len(rows), failed))
			continue
		}
		p.Scores = []Score{
			e.score("balanced accuracy", len(y), y, onSamples(y, pred, len(e.ds.Classes()), probe.Confusion.BalancedAccuracy)...),
			e.score("AUC", len(y), y, auc...),
		}
		e.result.Curve = append(e.result.Curve, p)
	}
	return nil
}
