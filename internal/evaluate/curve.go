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

// curve asks the classes of ever more labels; sets are all of them, of each kind of
// features, and whole what was read with them. A share that lacks what a fit needs is
// left out with a note.
func (e *evaluation) curve(sets [][3]probe.Set, whole readings) {
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
		r := whole
		if n > len(rows) {
			few := slices.Clone(sets)
			for i := range few {
				few[i][train] = rowsOf(few[i][train], rows)
			}
			var err error
			if r, err = e.readOut("curve", few); err != nil {
				e.note(fmt.Sprintf("label-fraction curve: %g %% of the labels, %d samples: %v", 100*share, len(rows), err))
				continue
			}
		}
		e.result.Curve = append(e.result.Curve, Point{Fraction: share, Samples: len(rows), Scores: []Score{
			e.score("balanced accuracy", len(y), y, onSamples(y, r.pred, len(e.ds.Classes()), probe.Confusion.BalancedAccuracy)...),
			e.score("AUC", len(y), y, r.auc...),
		}})
	}
}
