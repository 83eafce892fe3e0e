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

// curve asks the classes of ever more labels; sets are all of them, of each
// kind of features. A share that lacks what a fit needs is left out with a note.
func (e *evaluation) curve(sets [][3]probe.Set) {
	l := &e.labels
	y := sets[0][test].Y
	for _, share := range slices.Sorted(slices.Values(e.o.Curve)) {
		kept := e.fraction(slices.Clone(l.ids[train]), share)
		var rows []int // among the labelled training samples
		n := 0
		for i, id := range l.ids[train] {
			if l.class[train][i] < 0 {
				continue
			}
			if _, in := slices.BinarySearch(kept, id); in {
				rows = append(rows, n)
			}
			n++
		}
		pred, auc := make([][]int, len(sets)), make([]probe.Statistic, len(sets))
		var err error
		for i, few := range sets {
			few[train] = probe.Set{X: few[train].X.Select(rows), Y: pick(few[train].Y, rows)}
			if _, pred[i], auc[i], err = e.readOut("curve", few); err != nil {
				e.note(fmt.Sprintf("label-fraction curve: %g %% of the labels, %d samples: %v", 100*share, len(rows), err))
				break
			}
		}
		if err != nil {
			continue
		}
		e.result.Curve = append(e.result.Curve, Point{Fraction: share, Samples: len(rows), Scores: []Score{
			e.score("balanced accuracy", len(y), y, onSamples(y, pred, len(e.ds.Classes()), probe.Confusion.BalancedAccuracy)...),
			e.score("AUC", len(y), y, auc...),
		}})
	}
}
