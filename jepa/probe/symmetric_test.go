package probe

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/lapack"
	"gonum.org/v1/gonum/lapack/lapack64"
)

// matrices are sums of zzᵀ of full and of lower rank, of widely spread scales, and
// special ones.
func matrices() map[string]symmetric {
	r := rand.New(rand.NewPCG(1, 2))
	of := func(n, rows int, scale func(j int) float64) symmetric {
		return gram(rows, n, func(_ int, z []float64) {
			for j := range z {
				z[j] = r.NormFloat64() * scale(j)
			}
		})
	}
	one := func(int) float64 { return 1 }
	diagonal := func(values ...float64) symmetric {
		h := symmetric{len(values), make([]float64, len(values)*len(values))}
		for i, v := range values {
			h.row(i)[0] = v
		}
		return h
	}
	return map[string]symmetric{
		"one": of(1, 3, one), "two": of(2, 5, one), "150": of(150, 400, one), "rank 5 of 60": of(60, 5, one),
		"spread":   of(40, 200, func(j int) float64 { return math.Pow(10, -float64(j)/4) }),
		"tiny":     of(20, 50, func(int) float64 { return 1e-60 }),
		"huge":     of(20, 50, func(int) float64 { return 1e60 }),
		"zero":     diagonal(0, 0, 0),
		"diagonal": diagonal(2, 5, 5, 1, 0),
	}
}

func (h symmetric) clone() symmetric { return symmetric{h.n, slices.Clone(h.data)} }

func (h symmetric) reference() blas64.Symmetric {
	return blas64.Symmetric{N: h.n, Stride: h.n, Data: slices.Clone(h.data), Uplo: blas.Upper}
}

// TestEigen: eigenvalues are LAPACK's to rounding, vectors are orthonormal and give
// the matrix back.
func TestEigen(t *testing.T) {
	for name, h := range matrices() {
		n := h.n
		want, work := make([]float64, n), make([]float64, 100*n)
		require.True(t, lapack64.Syev(lapack.EVNone, h.reference(), want, work, len(work)))
		bound := 1e-15 * float64(n+10) * floats.Norm(want, math.Inf(1))
		values, none, ok := h.clone().eigen(false)
		require.True(t, ok, name)
		require.Nil(t, none)
		slices.Reverse(want)
		require.InDeltaSlice(t, want, values, bound, name)

		again, vectors, ok := h.clone().eigen(true)
		require.True(t, ok, name)
		require.Equal(t, values, again, name)
		for i, v := range vectors {
			for j, w := range vectors {
				same := 0.0
				if i == j {
					same = 1
				}
				require.InDelta(t, same, floats.Dot(v, w), 1e-15*float64(n+10), name)
			}
		}
		for i := range n {
			for j, x := range h.row(i) {
				sum := 0.0
				for k, v := range vectors {
					sum += values[k] * v[i] * v[i+j]
				}
				require.InDelta(t, x, sum, 10*bound, name)
			}
		}
	}
	for _, v := range []float64{math.NaN(), math.Inf(1)} {
		for _, n := range []int{1, 3} {
			_, _, ok := symmetric{n, slices.Repeat([]float64{v}, n*n)}.eigen(true)
			require.False(t, ok)
		}
	}
}

// TestEigenOfLowRank: what rounding leaves of a matrix of rank 0 to 3, as the features
// of a collapsed encoder make it, does not keep the eigenvalues from converging.
func TestEigenOfLowRank(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for k := range 200 {
		n, rank := 80+r.IntN(20), k%4
		h := gram(rank, n, func(_ int, z []float64) {
			for j := range z {
				z[j] = float64(r.IntN(3)) * math.Round(10*r.NormFloat64()) * math.Pow(10, float64(k%5*20-40))
			}
		})
		trace := 0.0
		for i := range n {
			trace += h.row(i)[0]
		}
		values, _, ok := h.eigen(false)
		require.True(t, ok, "%d of rank %d", n, rank)
		require.InDelta(t, trace, floats.Sum(values), 1e-13*trace)
		for _, v := range values[rank:] {
			require.InDelta(t, 0, v, 1e-13*trace)
		}
	}
}

// TestCholesky: solutions leave a residual of rounding, and LAPACK agrees on what is
// positive definite.
func TestCholesky(t *testing.T) {
	for name, h := range matrices() {
		_, want := lapack64.Potrf(h.reference())
		solve, ok := h.clone().cholesky()
		if name == "rank 5 of 60" { // by rounding either
			continue
		}
		require.Equal(t, want, ok, name)
		if !ok {
			continue
		}
		x := make([]float64, h.n)
		for i := range x {
			x[i] = math.Cos(float64(i))
		}
		b := make([]float64, h.n)
		blas64.Symv(1, h.reference(), blas64.Vector{N: h.n, Inc: 1, Data: x}, 0, blas64.Vector{N: h.n, Inc: 1, Data: b})
		back := slices.Clone(b)
		solve(back)
		again := make([]float64, h.n)
		blas64.Symv(1, h.reference(), blas64.Vector{N: h.n, Inc: 1, Data: back}, 0, blas64.Vector{N: h.n, Inc: 1, Data: again})
		require.InDeltaSlice(t, b, again, 1e-14*float64(h.n+10)*floats.Norm(h.data, math.Inf(1))*floats.Norm(back, math.Inf(1)), name)
	}
	_, ok := symmetric{1, []float64{math.NaN()}}.cholesky()
	require.False(t, ok)
}

func TestGram(t *testing.T) {
	const n, d = 150, 7
	z := func(r, j int) float64 { return math.Sin(float64(r*d + j)) }
	h := gram(n, d, func(r int, row []float64) {
		for j := range row {
			row[j] = z(r, j)
		}
	})
	for i := range d {
		for j, v := range h.row(i) {
			sum := 0.0
			for r := range n {
				sum += z(r, i) * z(r, i+j)
			}
			require.InDelta(t, sum, v, 1e-12)
		}
	}
}

func BenchmarkSymmetric(b *testing.B) {
	const n, d = 2000, 384
	r := rand.New(rand.NewPCG(1, 2))
	z := make([]float64, n*d)
	for i := range z {
		z[i] = r.NormFloat64()
	}
	make := func() symmetric { return gram(n, d, func(r int, row []float64) { copy(row, z[r*d:]) }) }
	h := make()
	b.Run("gram", func(b *testing.B) {
		for b.Loop() {
			make()
		}
	})
	b.Run("cholesky", func(b *testing.B) {
		for b.Loop() {
			h.clone().cholesky()
		}
	})
	b.Run("eigen", func(b *testing.B) {
		for b.Loop() {
			h.clone().eigen(true)
		}
	})
}
