package probe

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
)

// Regressor is a fitted ridge regression.
type Regressor struct {
	Scale     *Standardizer
	Coef      []float64 // (D), of standardised features
	Intercept float64
	Alpha     float64
}

// Ridge fits y by standardised features in closed form: it minimises
// Σᵢ(yᵢ − wᵀxᵢ − b)² + alpha·‖w‖² with b free, as scikit-learn's Ridge does.
func Ridge(x Matrix, y []float64, alpha float64) (*Regressor, error) {
	mustMatch("Ridge", x.Rows, len(y))
	if !(alpha > 0) || math.IsInf(alpha, 1) {
		return nil, fmt.Errorf("probe: the ridge penalty is %v; it must be a positive number", alpha)
	}
	for i, v := range y {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("probe: the target of sample %d is %v; targets must be finite", i, v)
		}
	}
	scale, err := Standardize(x)
	if err != nil {
		return nil, err
	}
	inverse, d := scale.inverse(), x.Cols
	mean := floats.Sum(y) / float64(len(y))
	right := blockSum(x.Rows, d, func(from, to int, out []float64) {
		z := make([]float64, d)
		for i := from; i < to; i++ {
			standardRow(z, x.Row(i), scale.Mean, inverse)
			floats.AddScaled(out, y[i]-mean, z)
		}
	})
	h := gramOf(x, scale.Mean, inverse)
	for j := range d {
		h.row(j)[0] += alpha
	}
	solve, ok := h.cholesky()
	if !ok {
		return nil, fmt.Errorf("probe: ridge with alpha = %g is singular; use a larger alpha", alpha)
	}
	solve(right)
	return &Regressor{Scale: scale, Coef: right, Intercept: mean, Alpha: alpha}, nil
}

// Predict returns the fitted value of each row of x.
func (r *Regressor) Predict(x Matrix) []float64 {
	x.mustHaveCols(len(r.Coef), "Regressor")
	inverse, z := r.Scale.inverse(), make([]float64, x.Cols)
	out := make([]float64, x.Rows)
	for i := range out {
		standardRow(z, x.Row(i), r.Scale.Mean, inverse)
		out[i] = r.Intercept + floats.Dot(r.Coef, z)
	}
	return out
}

// Targets is features with a number to predict for each.
type Targets struct {
	X     Matrix
	Y     []float64 // (N)
	Group []int     // (N) or nil, as in [Set]
}

func (s Targets) rows(rows []int) Targets {
	out := Targets{X: s.X.Select(rows), Y: make([]float64, len(rows))}
	for r, i := range rows {
		out.Y[r] = s.Y[i]
	}
	return out
}

// Alphas are the ridge penalties tried unless others are given.
var Alphas = []float64{1, 10, 100}

// SelectRidge fits [Ridge] on train with the penalty of alphas (nil: [Alphas]) whose
// [R2] on validation is best. When validation is empty a seeded fifth of train, or of
// its groups, is held out for choosing, and the choice is fitted on all of train.
func SelectRidge(train, validation Targets, alphas []float64, seed uint64) (*Regressor, error) {
	mustMatch("SelectRidge", train.X.Rows, len(train.Y))
	if alphas == nil {
		alphas = Alphas
	}
	fitted := train
	if validation.X.Rows == 0 {
		if train.X.Rows < 3 {
			return nil, fmt.Errorf("probe: %d training samples are too few to hold some out; give a validation split", train.X.Rows)
		}
		keep, out, err := holdOut(train.X.Rows, train.Group, nil, 2, seed) // of one target there is no R²
		if err != nil {
			return nil, err
		}
		fitted, validation = train.rows(keep), train.rows(out)
	}
	if err := validation.X.check(); err != nil {
		return nil, fmt.Errorf("validation: %w", err)
	}
	best, bestScore := 0.0, math.Inf(-1)
	for _, alpha := range alphas {
		r, err := Ridge(fitted.X, fitted.Y, alpha)
		if err != nil {
			return nil, err
		}
		if score := R2(validation.Y, r.Predict(validation.X)); score > bestScore {
			best, bestScore = alpha, score
		}
	}
	if math.IsInf(bestScore, -1) {
		return nil, errors.New("probe: no penalty to choose: there must be one at least, and finite validation targets that vary")
	}
	return Ridge(train.X, train.Y, best)
}

// Components are the principal components of features.
type Components struct {
	Mean     []float64   // (D)
	Vectors  [][]float64 // (k, D), of length 1, the entry of largest magnitude positive
	Variance []float64   // (k), explained, with denominator N−1
}

// PCA returns the first k principal components of x.
func PCA(x Matrix, k int) (*Components, error) {
	scale, err := Standardize(x)
	if err != nil {
		return nil, err
	}
	if k < 1 || k > min(x.Rows, x.Cols) || x.Rows < 2 {
		return nil, fmt.Errorf("probe: %d components of features [%d %d]; there can be 1 to %d, from two samples on", k, x.Rows, x.Cols, min(x.Rows, x.Cols))
	}
	h := gramOf(x, scale.Mean, ones(x.Cols))
	values, vectors, ok := h.eigen(true)
	if !ok {
		return nil, errors.New("probe: the eigenvalues of the features' covariance did not converge; their scale may be extreme")
	}
	c := &Components{Mean: scale.Mean}
	for i := range k {
		p := vectors[i]
		top := 0
		for j := range p {
			if math.Abs(p[j]) > math.Abs(p[top]) {
				top = j
			}
		}
		if p[top] < 0 {
			floats.Scale(-1, p)
		}
		c.Vectors = append(c.Vectors, p)
		c.Variance = append(c.Variance, max(0, values[i])/float64(x.Rows-1))
	}
	return c, nil
}

// Transform returns the coordinates (N, k) of x along the components.
func (c *Components) Transform(x Matrix) Matrix {
	x.mustHaveCols(len(c.Mean), "Components")
	out := Matrix{x.Rows, len(c.Vectors), make([]float32, x.Rows*len(c.Vectors))}
	one, z := ones(x.Cols), make([]float64, x.Cols)
	for i := range x.Rows {
		standardRow(z, x.Row(i), c.Mean, one)
		for k, v := range c.Vectors {
			out.Row(i)[k] = float32(floats.Dot(v, z))
		}
	}
	return out
}

// RankMe is the effective rank of the features (Garrido et al. 2023, eq. 3): the
// exponential of the entropy of p = σ/Σσ + 1e-7, σ being the singular values of x
// as it is, not centred. It lies between 1, all features on a line, and min(N, D).
func RankMe(x Matrix) (float64, error) {
	if err := x.check(); err != nil {
		return 0, err
	}
	h := gramOf(x, make([]float64, x.Cols), ones(x.Cols))
	sigma, _, ok := h.eigen(false)
	if !ok {
		return 0, errors.New("probe: the singular values of the features did not converge; their scale may be extreme")
	}
	sigma = sigma[:min(x.Rows, x.Cols)]
	for i, v := range sigma {
		sigma[i] = math.Sqrt(max(0, v))
	}
	sum, entropy := floats.Sum(sigma), 0.0
	if sum == 0 {
		return 1, nil // every feature is zero
	}
	for _, v := range sigma {
		p := v/sum + 1e-7
		entropy -= p * math.Log(p)
	}
	return math.Exp(entropy), nil
}

// FeatureStd is the mean over features of their population standard deviation over
// samples; it falls towards zero when an encoder collapses.
func FeatureStd(x Matrix) (float64, error) {
	s, err := Standardize(x)
	if err != nil {
		return 0, err
	}
	return floats.Sum(s.Std) / float64(len(s.Std)), nil
}

func ones(n int) []float64 { return slices.Repeat([]float64{1}, n) }
