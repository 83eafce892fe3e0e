package probe

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
)

// symmetric is a symmetric matrix (N, N), of which the upper triangle counts.
type symmetric struct {
	n    int
	data []float64
}

// row is row i from the diagonal on.
func (h symmetric) row(i int) []float64 { return h.data[i*h.n+i : (i+1)*h.n] }

// gram returns Σ zzᵀ (d, d) over n rows z, which row writes. Each row of the sum is
// made by one goroutine, for the same bits always.
func gram(n, d int, row func(r int, z []float64)) symmetric {
	const chunk = 64
	h := symmetric{d, make([]float64, d*d)}
	z := make([]float64, min(chunk, n)*d)
	for from := 0; from < n; from += chunk {
		rows := min(chunk, n-from)
		parallel(rows, func(r int) { row(from+r, z[r*d:(r+1)*d]) })
		parallel(d, func(i int) {
			for at := 0; at < rows*d; at += d {
				floats.AddScaled(h.row(i), z[at+i], z[at+i:at+d])
			}
		})
	}
	return h
}

// gramOf is gram of (x − mean)·scale.
func gramOf(x Matrix, mean, scale []float64) symmetric {
	return gram(x.Rows, x.Cols, func(r int, z []float64) { standardRow(z, x.Row(r), mean, scale) })
}

// cholesky factorizes h = UᵀU, overwriting it by U, and returns multiplication of a
// vector (N) by its inverse, in place; not ok if h is not positive definite.
func (h symmetric) cholesky() (solve func(v []float64), ok bool) {
	for i := range h.n {
		u := h.row(i)
		if !(u[0] > 0) || math.IsInf(u[0], 1) {
			return nil, false
		}
		floats.Scale(1/math.Sqrt(u[0]), u)
		for j := 1; j < len(u); j++ {
			floats.AddScaled(h.row(i+j), -u[j], u[j:])
		}
	}
	return func(v []float64) {
		for i := range h.n {
			u := h.row(i)
			v[i] /= u[0]
			floats.AddScaled(v[i+1:], -v[i], u[1:])
		}
		for i := h.n - 1; i >= 0; i-- {
			u := h.row(i)
			v[i] = (v[i] - floats.Dot(u[1:], v[i+1:])) / u[0]
		}
	}, true
}

// eigen returns the eigenvalues of h, descending, and with vectors their unit
// eigenvectors; not ok if they do not converge. h is overwritten.
func (h symmetric) eigen(vectors bool) (values []float64, list [][]float64, ok bool) {
	diagonal, off, list := h.tridiagonal(vectors)
	if !implicitQL(diagonal, off, list) {
		return nil, nil, false
	}
	order := make([]int, h.n)
	floats.Argsort(diagonal, order)
	slices.Reverse(order)
	slices.Reverse(diagonal)
	if vectors {
		sorted := make([][]float64, h.n)
		for i, at := range order {
			sorted[i] = list[at]
		}
		list = sorted
	}
	return diagonal, list, true
}

// negligible is far below every product of two float32. What rounding leaves of a
// matrix of low rank falls beneath it, where it could not be inverted.
const negligible = 1e-280

// tridiagonal returns the diagonal and the n − 1 numbers beside it of QᵀhQ, which is
// tridiagonal, and with vectors the columns of Q (Householder; Golub & Van Loan,
// Matrix Computations, §8.3.1).
func (h symmetric) tridiagonal(vectors bool) (diagonal, off []float64, q [][]float64) {
	n := h.n
	full := func(i, from int) []float64 { return h.data[i*n+from : (i+1)*n] }
	for i := range n {
		for j := range i {
			full(i, j)[0] = full(j, i)[0]
		}
	}
	diagonal, off = make([]float64, n), make([]float64, max(0, n-1))
	beta, w := make([]float64, n), make([]float64, n)
	for k := range n - 1 {
		v := full(k, k+1) // I − βvvᵀ turns it to its first axis
		norm := floats.Norm(v, 2)
		if norm < negligible {
			clear(v)
			continue
		}
		off[k] = -math.Copysign(norm, v[0])
		floats.Scale(1/norm, v)
		v[0] += math.Copysign(1, v[0])
		beta[k] = 2 / floats.Dot(v, v)
		w := w[:len(v)]
		parallel(len(v), func(i int) { w[i] = beta[k] * floats.Dot(full(k+1+i, k+1), v) })
		floats.AddScaled(w, -beta[k]/2*floats.Dot(w, v), v)
		parallel(len(v), func(i int) {
			floats.AddScaled(full(k+1+i, k+1), -v[i], w)
			floats.AddScaled(full(k+1+i, k+1), -w[i], v)
		})
	}
	for i := range n {
		diagonal[i] = full(i, i)[0]
	}
	if !vectors {
		return diagonal, off, nil
	}
	q = make([][]float64, n)
	for i := range q {
		q[i] = make([]float64, n)
		q[i][i] = 1
	}
	for k := n - 2; k >= 0; k-- {
		v := full(k, k+1)
		parallel(len(v), func(i int) {
			column := q[k+1+i][k+1:]
			floats.AddScaled(column, -beta[k]*floats.Dot(v, column), v)
		})
	}
	return diagonal, off, q
}

// implicitQL turns diagonal into the eigenvalues of the tridiagonal matrix with off
// beside it, and the vectors, if there are any, along with it
// (Bowdler et al. 1968, The QR and QL algorithms for symmetric matrices). It reports
// whether they converge.
func implicitQL(diagonal, off []float64, vectors [][]float64) bool {
	const eps, most = 0x1p-53, 60 // sweeps an eigenvalue; two are usual
	d, e := diagonal, append(off, 0)
	// What is below the rounding of the largest is none: among what rounding left of a
	// matrix of low rank, sweeps would not end.
	none := 0.0
	for i := range d {
		none = max(none, eps*(math.Abs(d[i])+math.Abs(e[i])))
	}
	for l := range d {
		for sweep := 0; ; sweep++ {
			m := l // the block l … m is not split yet
			for m < len(d)-1 && math.Abs(e[m]) > none {
				m++
			}
			if m == l {
				break
			}
			if sweep == most {
				return false
			}
			// Wilkinson's shift, then rotations chase the bulge from m up to l.
			g := (d[l+1] - d[l]) / (2 * e[l])
			g = d[m] - d[l] + e[l]/(g+math.Copysign(math.Hypot(g, 1), g))
			s, c, p := 1.0, 1.0, 0.0
			i := m - 1
			for ; i >= l; i-- {
				f, b := s*e[i], c*e[i]
				r := math.Hypot(f, g)
				e[i+1] = r
				if r == 0 { // the matrix splits here
					d[i+1] -= p
					break
				}
				s, c = f/r, g/r
				g = d[i+1] - p
				r = (d[i]-g)*s + 2*c*b
				p = s * r
				d[i+1] = g + p
				g = c*r - b
				if vectors != nil {
					rotate(vectors[i], vectors[i+1], c, s)
				}
			}
			if i < l {
				d[l] -= p
				e[l] = g
			}
			e[m] = 0
		}
	}
	return !math.IsInf(floats.Sum(d), 0) && !floats.HasNaN(d)
}

// rotate turns the pair of vectors a, b by the angle of cosine c and sine s.
func rotate(a, b []float64, c, s float64) {
	b = b[:len(a)]
	for k, v := range a {
		a[k], b[k] = c*v-s*b[k], s*v+c*b[k]
	}
}
