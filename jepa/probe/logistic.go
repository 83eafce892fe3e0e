package probe

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
)

// Classifier is a fitted logistic regression.
type Classifier struct {
	Scale   *Standardizer
	Classes []int // the labels seen in training, ascending: K of them

	// Coefficients of the standardised features and intercepts: (K, D) and (K), or
	// (1, D) and (1) for two classes, where they tell Classes[1] from Classes[0].
	Coef, Intercept []float64

	C          float64 // inverse strength of the penalty
	Iterations int     // of L-BFGS
}

// Newton decrements at which a fit counts as near its minimum, as good enough to
// compare with another C's, and as done: half the square is what the mean loss may
// still fall.
const (
	near       = 0.05
	comparable = 1e-4
	done       = 1e-7
)

// Logistic fits a logistic regression to standardised features: it minimises
//
//	C · Σᵢ −log p(yᵢ | xᵢ) + ½‖w‖²
//
// with the intercept free, multinomial for K ≥ 3 and binary for K = 2, as
// scikit-learn's LogisticRegression does. It fails when labels of two classes are
// missing, C is not positive or a feature is not finite.
func Logistic(x Matrix, y []int, c float64) (*Classifier, error) {
	f, err := newFit(x, y)
	if err != nil {
		return nil, err
	}
	return f.run(c, done)
}

// fit is a logistic regression in the making; it runs once for each C.
type fit struct {
	x       Matrix
	scale   *Standardizer
	inverse []float64 // 1/std
	classes []int
	label   []int     // (N) index into classes
	k       int       // rows of coefficients
	theta   []float64 // (k, D) coefficients, (k) intercepts; where the next run starts
}

func newFit(x Matrix, y []int) (*fit, error) {
	if len(y) != x.Rows {
		panic(fmt.Sprintf("probe: Logistic: %d samples, %d labels", x.Rows, len(y)))
	}
	scale, err := Standardize(x)
	if err != nil {
		return nil, err
	}
	classes := slices.Compact(slices.Sorted(slices.Values(y)))
	if len(classes) < 2 {
		return nil, fmt.Errorf("probe: all %d training samples are of class %d; a classifier needs two classes", len(y), classes[0])
	}
	f := &fit{x: x, scale: scale, inverse: scale.inverse(), classes: classes, label: make([]int, len(y)), k: len(classes)}
	if f.k == 2 {
		f.k = 1
	}
	for i, v := range y {
		f.label[i], _ = slices.BinarySearch(classes, v)
	}
	// Start where every sample has the classes' frequencies as its probabilities.
	f.theta = make([]float64, f.k*(x.Cols+1))
	count := make([]float64, len(classes))
	for _, l := range f.label {
		count[l]++
	}
	intercept := f.theta[f.k*x.Cols:]
	for c := range intercept {
		intercept[c] = math.Log(count[c] / count[0])
	}
	if f.k == 1 {
		intercept[0] = math.Log(count[1] / count[0])
	}
	return f, nil
}

// run fits for one C to a tolerance, from where the last run ended.
func (f *fit) run(c, tolerance float64) (*Classifier, error) {
	if !(c > 0) || math.IsInf(c, 1) {
		return nil, fmt.Errorf("probe: C is %v; it must be a positive number", c)
	}
	n, d := f.x.Rows, f.x.Cols
	penalty := 1 / (c * float64(n)) // the objective is divided by C·N
	objective := func(theta, g []float64) float64 {
		loss, w := f.loss(theta, g), theta[:f.k*d]
		floats.AddScaled(g[:f.k*d], penalty, w)
		return loss + penalty/2*floats.Dot(w, w)
	}
	// The curvature differs much between start and end: it is taken again near the end.
	iterations := 0
	for _, tolerance := range []float64{near, tolerance} {
		precondition, err := f.preconditioner(penalty)
		if err != nil {
			return nil, err
		}
		n, err := minimize(f.theta, objective, precondition, tolerance)
		if err != nil {
			return nil, fmt.Errorf("probe: logistic regression with C = %g: %w; try a smaller C", c, err)
		}
		iterations += n
	}
	out := &Classifier{Scale: f.scale, Classes: f.classes, C: c, Iterations: iterations,
		Coef: slices.Clone(f.theta[:f.k*d]), Intercept: slices.Clone(f.theta[f.k*d:])}
	if f.k > 1 { // a common shift changes no probability
		floats.AddConst(-floats.Sum(out.Intercept)/float64(f.k), out.Intercept)
	}
	return out, nil
}

// preconditioner returns multiplication by an approximate inverse Hessian at theta:
// Σ ā·zzᵀ/N + penalty, inverted, for each class alike, where ā is the mean over
// classes of p(1−p) and z the standardised features and a one. Part of the rows tells
// it well enough.
func (f *fit) preconditioner(penalty float64) (func(v []float64), error) {
	d, k := f.x.Cols, f.k
	stride := max(1, f.x.Rows/(8192+8*d))
	n := (f.x.Rows + stride - 1) / stride
	h := gram(n, d+1, func(r int, z []float64) {
		o := make([]float64, k)
		standardRow(z[:d], f.x.Row(r*stride), f.scale.Mean, f.inverse)
		logits(o, z[:d], f.theta[:k*d], f.theta[k*d:])
		z[d] = 1
		floats.Scale(math.Sqrt(curvature(o)/float64(n)), z)
	})
	// Lifted off singularity where no penalty acts: on the intercept, and at a huge C.
	diagonal := func(j int) *float64 { return &h.row(j)[0] }
	trace := 0.0
	for j := range d + 1 {
		trace += *diagonal(j)
	}
	lift := 1e-10 * (trace/float64(d+1) + penalty)
	for j := range d + 1 {
		*diagonal(j) += lift
		if j < d {
			*diagonal(j) += penalty
		}
	}
	solve, ok := h.cholesky()
	if !ok {
		return nil, errors.New("probe: the curvature of the logistic regression is not positive definite; try a smaller C")
	}
	u := make([]float64, d+1)
	return func(v []float64) {
		for c := range k {
			w, b := v[c*d:(c+1)*d], &v[k*d+c]
			copy(u, w)
			u[d] = *b
			solve(u)
			copy(w, u)
			*b = u[d]
		}
	}, nil
}

// curvature returns the mean over classes of p(1−p) for logits o, which it changes.
func curvature(o []float64) float64 {
	if len(o) == 1 {
		p := sigmoid(o[0])
		return p * (1 - p)
	}
	softmax(o)
	sum := 0.0
	for _, p := range o {
		sum += p * (1 - p)
	}
	return sum / float64(len(o))
}

// loss returns the mean of −log p over the samples, and its gradient in g.
func (f *fit) loss(theta, g []float64) float64 {
	n, d, k := f.x.Rows, f.x.Cols, f.k
	sum := blockSum(n, 1+len(theta), func(from, to int, out []float64) {
		z, o := make([]float64, d), make([]float64, k)
		dw, db := out[1:1+k*d], out[1+k*d:]
		for i := from; i < to; i++ {
			standardRow(z, f.x.Row(i), f.scale.Mean, f.inverse)
			logits(o, z, theta[:k*d], theta[k*d:])
			out[0] += lossGrad(o, f.label[i])
			for c, r := range o {
				floats.AddScaled(dw[c*d:(c+1)*d], r, z)
				db[c] += r
			}
		}
	})
	for i := range g {
		g[i] = sum[1+i] / float64(n)
	}
	return sum[0] / float64(n)
}

// logits writes wz + b to o.
func logits(o, z, w, b []float64) {
	d := len(z)
	for c := range o {
		o[c] = b[c] + floats.Dot(w[c*d:(c+1)*d], z)
	}
}

// lossGrad returns −log p(label) for logits o, of which one stands for two classes,
// and replaces them by its gradient.
func lossGrad(o []float64, label int) float64 {
	if len(o) == 1 {
		v := o[0]
		o[0] = sigmoid(v) - float64(label)
		if label == 1 {
			v = -v
		}
		return max(v, 0) + math.Log1p(math.Exp(-math.Abs(v)))
	}
	loss := -o[label]
	loss += softmax(o)
	o[label]--
	return loss
}

// softmax replaces o by its softmax and returns log Σ exp o.
func softmax(o []float64) float64 {
	top := slices.Max(o)
	sum := 0.0
	for c, v := range o {
		o[c] = math.Exp(v - top)
		sum += o[c]
	}
	floats.Scale(1/sum, o)
	return top + math.Log(sum)
}

func sigmoid(v float64) float64 {
	if v >= 0 {
		return 1 / (1 + math.Exp(-v))
	}
	e := math.Exp(v)
	return e / (1 + e)
}

// Decision returns the logits of x (N, D): (N, K), or (N) for two classes, positive
// for Classes[1].
func (c *Classifier) Decision(x Matrix) []float64 {
	x.mustHaveCols(len(c.Scale.Mean), "Classifier")
	k, inverse := len(c.Intercept), c.Scale.inverse()
	out := make([]float64, x.Rows*k)
	const chunk = 256
	parallel((x.Rows+chunk-1)/chunk, func(b int) {
		z := make([]float64, x.Cols)
		for i := b * chunk; i < min(x.Rows, (b+1)*chunk); i++ {
			standardRow(z, x.Row(i), c.Scale.Mean, inverse)
			logits(out[i*k:(i+1)*k], z, c.Coef, c.Intercept)
		}
	})
	return out
}

// Proba returns the probability of each of Classes for each row of x: (N, K).
func (c *Classifier) Proba(x Matrix) []float64 {
	o := c.Decision(x)
	if len(c.Classes) == 2 {
		out := make([]float64, 0, 2*len(o))
		for _, v := range o {
			out = append(out, sigmoid(-v), sigmoid(v))
		}
		return out
	}
	for row := range slices.Chunk(o, len(c.Classes)) {
		softmax(row)
	}
	return o
}

// Predict returns the most probable label of each row of x.
func (c *Classifier) Predict(x Matrix) []int {
	o, k := c.Decision(x), len(c.Intercept)
	out := make([]int, x.Rows)
	for i := range out {
		row := o[i*k : (i+1)*k]
		best := floats.MaxIdx(row)
		if k == 1 && row[0] > 0 {
			best = 1
		}
		out[i] = c.Classes[best]
	}
	return out
}
