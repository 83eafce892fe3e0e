package probe

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Set is labelled features.
type Set struct {
	X Matrix
	Y []int // (N)

	// Group names what each row belongs to (its volume, its subject), when rows of one
	// group must not be divided between fitting and choosing; nil when each row stands
	// alone.
	Group []int // (N) or nil
}

// Cs are the inverse penalties tried unless others are given.
var Cs = []float64{0.01, 0.1, 1, 10}

// heldOutPart is the share of the training samples that choosing uses when there is no
// validation split.
const heldOutPart = 0.2

// errUnconverged is wrapped by a fit that ran out of iterations.
var errUnconverged = errors.New("not converged")

// Choice is the classifier of the C that did best on validation.
type Choice struct {
	*Classifier
	Score   float64 // its validation score: AUC for two classes, balanced accuracy for more
	HeldOut int     // training samples that were held out to choose; 0 with a validation split
	Skipped float64 // the C from which on fits did not converge and were left out; 0: none
}

// RareClassError says that a class has too few training samples to choose C.
type RareClassError struct {
	Class int
	Unit  string // sample or group
}

func (e RareClassError) Error() string {
	return fmt.Sprintf("probe: class %d has one training %s; to choose C it needs two, or a validation split", e.Class, e.Unit)
}

// Select fits [Logistic] on train for each of cs (nil: [Cs]) and returns the one with
// the best validation score, the strongest penalty among equals: AUC for two classes;
// balanced accuracy for more, then log loss.
//
// When validation is empty, a seeded fifth of train is held out for choosing, of
// each class, a group being of the class of its first row, and the chosen C is fitted
// on all of train. It fails when a part lacks the classes it needs.
func Select(train, validation Set, cs []float64, seed uint64) (*Choice, error) {
	if cs == nil {
		cs = Cs
	}
	if len(cs) == 0 {
		return nil, errors.New("probe: no C to choose from")
	}
	fitted, heldOut := train, 0
	if validation.X.Rows == 0 {
		keep, out, err := split(train, seed)
		if err != nil {
			return nil, err
		}
		fitted, validation, heldOut = train.rows(keep), train.rows(out), len(out)
	}
	rough, score, skipped, err := choose(fitted, validation, slices.Sorted(slices.Values(cs)))
	if err != nil {
		return nil, err
	}
	f, err := newFit(train.X, train.Y)
	if err != nil {
		return nil, err
	}
	if len(rough.Classes) == len(f.classes) {
		f.theta = slices.Concat(rough.Coef, rough.Intercept)
	}
	c, err := f.run(rough.C, done)
	if errors.Is(err, errUnconverged) {
		c, err = f.run(rough.C, comparable) // from where that ended: as exact as the fits that were compared
	}
	if err != nil {
		return nil, err
	}
	return &Choice{c, score, heldOut, skipped}, nil
}

func (s Set) rows(rows []int) Set {
	out := Set{X: s.X.Select(rows), Y: make([]int, len(rows))}
	for r, i := range rows {
		out.Y[r] = s.Y[i]
	}
	return out
}

// choose returns the rough fit that does best on validation, and its score.
func choose(train, validation Set, cs []float64) (best *Classifier, bestScore, skipped float64, err error) {
	mustMatch("Select", validation.X.Rows, len(validation.Y))
	if err := validation.X.check(); err != nil {
		return nil, 0, 0, fmt.Errorf("validation: %w", err)
	}
	f, err := newFit(train.X, train.Y)
	if err != nil {
		return nil, 0, 0, err
	}
	bestLoss := 0.0
	for _, c := range cs { // ascending: each starts from the one before
		m, err := f.run(c, comparable)
		if errors.Is(err, errUnconverged) && best != nil {
			// A weaker penalty is harder still: classes that can be told apart
			// exactly have no best weights without one.
			return best, bestScore, c, nil
		}
		if err != nil {
			return nil, 0, 0, err
		}
		score, loss := 0.0, 0.0
		if len(m.Classes) == 2 {
			positive := make([]bool, len(validation.Y))
			for i, v := range validation.Y {
				positive[i] = v == m.Classes[1]
			}
			if score = Area(positive, m.Decision(validation.X)); math.IsNaN(score) {
				return nil, 0, 0, fmt.Errorf("probe: the validation samples are not of both classes %v; give a split that holds both", m.Classes)
			}
		} else {
			score = recall(validation.Y, m.Predict(validation.X))
			loss = LogLoss(validation.Y, m.Proba(validation.X), m.Classes)
		}
		if best == nil || score > bestScore || score == bestScore && loss < bestLoss {
			best, bestScore, bestLoss = m, score, loss
		}
	}
	return best, bestScore, 0, nil
}

// recall is the balanced accuracy of any integer labels.
func recall(y, pred []int) float64 {
	both, n := map[int]float64{}, map[int]float64{}
	for i, v := range y {
		n[v]++
		if pred[i] == v {
			both[v]++
		}
	}
	sum := 0.0
	for _, c := range slices.Sorted(keys(n)) {
		sum += both[c] / n[c]
	}
	return sum / float64(len(n))
}

// split divides the rows of s for fitting and for choosing.
func split(s Set, seed uint64) (keep, out []int, err error) {
	mustMatch("Select", s.X.Rows, len(s.Y))
	if keep, out, err = holdOut(s.X.Rows, s.Group, s.Y, 1, seed); err != nil {
		return nil, nil, err
	}
	held := map[int]bool{}
	for _, i := range out {
		held[s.Y[i]] = true
	}
	all := slices.Compact(slices.Sorted(slices.Values(s.Y)))
	for _, c := range all {
		if len(all) == 2 && !held[c] { // AUC needs both
			unit := "sample"
			if s.Group != nil {
				unit = "group"
			}
			return nil, nil, RareClassError{c, unit}
		}
	}
	return keep, out, nil
}

// holdOut divides rows for fitting and for choosing: of the groups of each stratum
// (nil: all are of one) a seeded fifth, if possible at least so many, is held out.
// Each row is a group of its own where group is nil; a group is of the stratum of its
// first row.
func holdOut(rows int, group, stratum []int, least int, seed uint64) (keep, out []int, err error) {
	if group == nil {
		group = make([]int, rows)
		for i := range group {
			group[i] = i
		}
	}
	mustMatch("Select", rows, len(group))
	first := map[int]int{} // row of each group
	for i, g := range slices.Backward(group) {
		first[g] = i
	}
	if len(first) == 1 && rows > 1 {
		return nil, nil, errors.New("probe: the training samples are of one group; to choose a penalty give a validation split or at least two groups")
	}
	units := map[int][]int{} // groups of each stratum
	for _, g := range slices.Sorted(keys(first)) {
		s := 0
		if stratum != nil {
			s = stratum[first[g]]
		}
		units[s] = append(units[s], g)
	}
	random := rand.New(rand.NewPCG(seed, 0))
	taken := map[int]bool{}
	for _, s := range slices.Sorted(keys(units)) {
		u := units[s]
		random.Shuffle(len(u), func(i, j int) { u[i], u[j] = u[j], u[i] })
		for _, g := range u[:min(max(least, int(math.Round(heldOutPart*float64(len(u))))), len(u)-1)] {
			taken[g] = true
		}
	}
	for i, g := range group {
		if taken[g] {
			out = append(out, i)
		} else {
			keep = append(keep, i)
		}
	}
	if len(out) == 0 {
		return nil, nil, errors.New("probe: too few training samples to hold some out; give a validation split")
	}
	return keep, out, nil
}
