package ref

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTargetNormIsGatheredLayerNorm(t *testing.T) {
	const batch, patches, l, width = 2, 5, 3, 4
	r := rand.New(rand.NewPCG(1, 10))
	h := normals(r, batch*patches*width)
	targets := []uint32{0, 3, 4, 1, 2, 3, 4, 3, 0, 0, 2, 1}
	dst := poisoned(2 * batch * l * width)
	TargetNorm(TargetNormParams{Blocks: 2, Batch: batch, Patches: patches, PerBlock: l, Width: width, Eps: 1e-5}, h, targets, dst)
	all, stat := poisoned(len(h)), poisoned(batch*patches)
	LayerNorm(LayerNormParams{Rows: batch * patches, Cols: width, Eps: 1e-5}, h, nil, nil, all, stat, poisoned(len(stat)))
	for row, target := range targets {
		b := row / l % batch
		require.Equal(t, all[(b*patches+int(target))*width:][:width], dst[row*width:][:width])
	}
}

func TestSmoothL1(t *testing.T) {
	z, h := []float64{0.5, 3, -2, 1, 4}, []float64{0, 1, 1, 1, 4.25}
	dz, partial := poisoned(5), poisoned(2)
	SmoothL1(SmoothL1Params{N: 5, Grad: 1, Lanes: 2, Scale: 2}, z, h, dz, partial)
	require.Equal(t, []float64{0.125 + 2.5 + 0.03125, 1.5}, partial)
	require.Equal(t, []float64{1, 2, -2, 0, -0.5}, dz)

	r := rand.New(rand.NewPCG(1, 11))
	z, h = normals(r, 20), normals(r, 20)
	dz, partial = poisoned(20), poisoned(3)
	loss := func() float64 {
		SmoothL1(SmoothL1Params{N: 20, Lanes: 3}, z, h, nil, partial)
		return 0.7 * (partial[0] + partial[1] + partial[2])
	}
	SmoothL1(SmoothL1Params{N: 20, Grad: 1, Lanes: 3, Scale: 0.7}, z, h, dz, partial)
	requireDerivative(t, "z", loss, z, dz)
}

func TestMeanPoolGrad(t *testing.T) {
	p := MeanPoolParams{Batch: 2, Tokens: 3, Width: 2, Scale: 1. / 3}
	r := rand.New(rand.NewPCG(1, 12))
	x, dy := normals(r, 12), normals(r, 4)
	y, dx := poisoned(4), make([]float64, 12)
	MeanPool(p, []float64{1, 10, 2, 20, 6, 60, 0, 0, 0, 0, 0, 3}, y)
	require.InDeltaSlice(t, []float64{3, 30, 0, 1}, y, 1e-14)
	MeanPoolGrad(p, dy, dx)
	requireDerivative(t, "x", func() float64 {
		MeanPool(p, x, y)
		return dot(y, dy)
	}, x, dx)
}
