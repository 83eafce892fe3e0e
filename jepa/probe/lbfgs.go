package probe

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
)

// maxIterations is far more than a preconditioned convex fit takes.
var maxIterations = 1000

const (
	memory    = 12 // pairs that approximate the Hessian
	maxTrials = 30 // of one line search

	// What rounding may leave when no step decreases the objective any more.
	toleranceStuck = 1e-6
)

// minimize finds the minimum of a smooth convex function by L-BFGS (Nocedal and
// Wright, Numerical Optimization, algorithms 7.4 and 7.5) from x, which it changes.
// f writes the gradient and returns the value. precondition replaces a gradient by
// an approximate inverse Hessian M times it. It stops when the Newton decrement
// √(gᵀMg) is at most tolerance: half its square is what the objective can still fall.
func minimize(x []float64, f func(x, g []float64) float64, precondition func(v []float64), tolerance float64) (iterations int, err error) {
	n := len(x)
	g, p := make([]float64, n), make([]float64, n)
	xNew, gNew := make([]float64, n), make([]float64, n)
	var (
		s, y  [][]float64
		rho   []float64
		alpha [memory]float64
		gamma = 1.0
	)
	decrement := func() float64 { // leaves M·g in p
		copy(p, g)
		precondition(p)
		return math.Sqrt(max(0, floats.Dot(g, p)))
	}
	fx := f(x, g)
	for iterations = range maxIterations {
		left := decrement()
		if left <= tolerance {
			return iterations, nil
		}
		// p = −H·g by the two-loop recursion, with H₀ = γM.
		copy(p, g)
		for i := len(s) - 1; i >= 0; i-- {
			alpha[i] = rho[i] * floats.Dot(s[i], p)
			floats.AddScaled(p, -alpha[i], y[i])
		}
		precondition(p)
		floats.Scale(gamma, p)
		for i := range s {
			floats.AddScaled(p, alpha[i]-rho[i]*floats.Dot(y[i], p), s[i])
		}
		floats.Scale(-1, p)

		value, ok := lineSearch(fx, floats.Dot(g, p), func(a float64) (float64, float64) {
			floats.AddScaledTo(xNew, x, a, p)
			v := f(xNew, gNew)
			return v, floats.Dot(gNew, p)
		})
		if !ok {
			if left <= toleranceStuck {
				return iterations, nil
			}
			return iterations, fmt.Errorf("no step decreases the objective (%d iterations, decrement %.1e)", iterations, left)
		}
		si, yi := make([]float64, n), make([]float64, n)
		floats.SubTo(si, xNew, x)
		floats.SubTo(yi, gNew, g)
		if sy := floats.Dot(si, yi); sy > 0 {
			if len(s) == memory {
				s, y, rho = s[1:], y[1:], rho[1:]
			}
			s, y, rho = append(s, si), append(y, yi), append(rho, 1/sy)
			copy(p, yi)
			precondition(p)
			gamma = sy / floats.Dot(yi, p)
		}
		fx = value
		copy(x, xNew)
		g, gNew = gNew, g
	}
	if left := decrement(); left > toleranceStuck {
		return maxIterations, fmt.Errorf("%w after %d iterations (decrement %.1e)", errUnconverged, maxIterations, left)
	}
	return maxIterations, nil
}

// lineSearch finds a step that satisfies the strong Wolfe conditions (Nocedal and
// Wright, algorithms 3.5 and 3.6), starting from 1. phi returns value and slope at a
// step and keeps what belongs to its last call, which is the step accepted. Close to
// the minimum the decrease drowns in rounding: a value equal within it passes, and
// the slope decides.
func lineSearch(f0, d0 float64, phi func(step float64) (f, d float64)) (value float64, ok bool) {
	const c1, c2 = 1e-4, 0.9
	slack := 1e-14 * math.Abs(f0)
	if !(d0 < 0) {
		return f0, false
	}
	var (
		lo, fLo, dLo = 0.0, f0, d0 // best step so far
		hi           = math.Inf(1) // other end of the bracket
		fHi, dHi     float64
	)
	for step, trial := 1.0, 0; trial < maxTrials; trial++ {
		f, d := phi(step)
		switch {
		case !(f <= f0+c1*step*d0+slack) || lo > 0 && f > fLo+slack: // also NaN and overflow
			hi, fHi, dHi = step, f, d
		case math.Abs(d) <= -c2*d0:
			return f, true
		case d*(step-lo) >= 0: // the minimum lies between
			hi, fHi, dHi = lo, fLo, dLo
			lo, fLo, dLo = step, f, d
		default:
			lo, fLo, dLo = step, f, d
		}
		if math.IsInf(hi, 1) {
			step *= 4
			continue
		}
		step = cubicMinimum(lo, fLo, dLo, hi, fHi, dHi)
	}
	return f0, false
}

// cubicMinimum minimises the cubic through two values and slopes, kept off the
// ends of the interval so that it shrinks.
func cubicMinimum(a, fa, da, b, fb, db float64) float64 {
	d1 := da + db - 3*(fa-fb)/(a-b)
	d2 := math.Copysign(math.Sqrt(max(0, d1*d1-da*db)), b-a)
	t := b - (b-a)*(db+d2-d1)/(db-da+2*d2)
	low, high := min(a, b), max(a, b)
	margin := 0.1 * (high - low)
	if !(t >= low+margin && t <= high-margin) {
		return (low + high) / 2
	}
	return t
}
