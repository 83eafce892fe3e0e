package ref

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Figures of torch.nn.functional.cross_entropy on the same logits, reduction
// "none" with weight and label_smoothing.
func TestCrossEntropyIsTorchs(t *testing.T) {
	z := []float64{1, 2, 0.5, -1, 0, 3}
	label, weight := []uint32{1, 0}, []float64{0.5, 2, 1}
	for _, c := range []struct {
		smoothing float64
		want      []float64
	}{
		{0, []float64{0.9287375682158898, 2.0329419518787146}},
		{0.1, []float64{0.9567068362068945, 2.1040008787958766}},
	} {
		partial := poisoned(2)
		CrossEntropy(CrossEntropyParams{Rows: 2, Classes: 3, Smoothing: c.smoothing}, z, label, weight, nil, partial)
		require.InDeltaSlice(t, c.want, partial, 1e-14, "smoothing %g", c.smoothing)
	}
}

func TestCrossEntropyGrad(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 14))
	z, weight := normals(r, 15), []float64{0.5, 2, 1, 0.1, 3}
	label := []uint32{4, 0, 2}
	dz, partial := poisoned(15), poisoned(3)
	p := CrossEntropyParams{Rows: 3, Classes: 5, Smoothing: 0.2, Scale: 0.7}
	loss := func() float64 {
		CrossEntropy(p, z, label, weight, nil, partial)
		return 0.7 * (partial[0] + partial[1] + partial[2])
	}
	q := p
	q.Grad = 1
	CrossEntropy(q, z, label, weight, dz, partial)
	requireDerivative(t, "z", loss, z, dz)
}

func TestCrossEntropyOfLargeLogitsIsFinite(t *testing.T) {
	partial, dz := poisoned(1), poisoned(2)
	CrossEntropy(CrossEntropyParams{Rows: 1, Classes: 2, Grad: 1, Scale: 1}, []float64{1e4, -1e4}, []uint32{1}, []float64{1, 1}, dz, partial)
	require.Equal(t, 2e4, partial[0])
	require.Equal(t, []float64{1, -1}, dz)
	z := []float64{math.NaN(), 1}
	CrossEntropy(CrossEntropyParams{Rows: 1, Classes: 2, Grad: 1, Scale: 1}, z, []uint32{1}, []float64{1, 1}, dz, partial)
	require.True(t, math.IsNaN(partial[0]), "a NaN is not hidden")
}
