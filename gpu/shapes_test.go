package gpu

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestShapeMismatchPanics gives launchers tensors that do not fit, each in one
// place only.
func TestShapeMismatchPanics(t *testing.T) {
	d, err := Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	e, none := d.Begin(), Tensor{}
	f := func(dims ...int) Tensor { return d.Tensor("t", dims...) }
	u := func(dims ...int) Tensor { return d.Indices("i", dims...) }
	g := Geometry{1, [3]int{4, 4, 1}, [3]int{2, 2, 1}}
	for name, c := range map[string]struct {
		launch func()
		want   string
	}{
		"layer norm": {func() { e.LayerNorm(f(2, 3), f(2), f(2), f(2, 3), f(3), f(4), 0) },
			"gpu: LayerNorm: y is [2 3], mean is [2], rstd is [2], x is [2 3], gamma is [3], beta is [4]"},
		"layer norm without half of its gain": {func() { e.LayerNorm(f(2, 3), f(2), f(2), f(2, 3), f(3), none, 0) },
			"gpu: LayerNorm: y is [2 3], mean is [2], rstd is [2], x is [2 3], gamma is [3], beta is none"},
		"gradient": {func() { e.LayerNormGrad(f(2, 3), f(3, 3), f(2, 3), none, f(2), f(2)) },
			"gpu: LayerNormGrad: dx is [2 3], dy is [3 3], x is [2 3], gamma is none, mean is [2], rstd is [2]"},
		"heads": {func() {
			e.QKNorm(f(1, 2, 15), f(2, 1, 2, 2), f(2, 1, 2, 2), f(1, 2, 15), f(2), f(2), f(2), f(2), 2, 0)
		},
			"gpu: QKNorm: y is [1 2 15], mean is [2 1 2 2], rstd is [2 1 2 2], x is [1 2 15], qGamma is [2], qBeta is [2], kGamma is [2], kBeta is [2], heads is 2"},
		"all patches": {func() { e.Patches(f(2, 3, 4), f(2, 16), none, g) },
			"gpu: Patches: dst is [2 3 4], x is [2 16], index is none, geometry is {1 [4 4 1] [2 2 1]}"},
		"position table": {func() { e.Tokens(f(2, 4, 3), f(2, 4, 3), none, none, f(5, 3), none, false) },
			"gpu: Tokens: dst is [2 4 3], patches is [2 4 3], cls is none, reg is none, pos is [5 3], index is none, prefixPos is false"},
		"window": {func() { e.Window(f(2, 3, 4), f(2, 4, 4), 2) },
			"gpu: Window: window is [2 3 4], of is [2 4 4], first is 2"},
		"target": {func() { e.TargetNorm(f(4, 3, 5), f(3, 9, 5), u(2, 2, 3), 0) },
			"gpu: TargetNorm: dst is [4 3 5], h is [3 9 5], target is [2 2 3]"},
		"loss": {func() { e.SmoothL1(f(1), none, f(2, 3), f(5), 1) },
			"gpu: SmoothL1: loss is [1], dz is none, z is [2 3], h is [5]"},
		"one sample has no variance": {func() { e.VarianceCovariance(f(2), f(1, 3), f(1, 3), 1, 1) },
			"gpu: VarianceCovariance: loss is [2], dz is [1 3], z is [1 3]"},
		"resident samples": {func() {
			e.CropResize(f(1, 8), u(1), f(1, 4), u(12), f(6), Sample{Voxels: 8, Size: [3]int{2, 2, 2}}, 1)
		},
			"gpu: CropResize: dst is [1 8], source is [1], rescales is [1 4], neighbours is [12], weights is [6], sample is {Packing:0 First:0 Voxels:8 Size:[2 2 2] Row:0 Table:0 Out:0}"},
		"rows": {func() { e.RowMoments(f(2, 4), f(3, 5), 0) },
			"gpu: RowMoments: rescales is [2 4], x is [3 5]"},
		"percentiles": {func() { e.RowPercentiles(f(3, 4), f(3, 5), [2]float64{1, 101}) },
			"gpu: RowPercentiles: percentiles [1 101] must rise within 0 to 100"},
		"blur": {func() { e.Blur(f(2, 6), f(2, 6), u(2), f(1, 3), [3]int{1, 3, 2}, 1) },
			"gpu: Blur: dst is [2 6], src is [2 6], radii is [2], weights is [1 3], size is [1 3 2], axis is 1"},
		"noise": {func() { e.Noise(f(2, 1, 6), f(2, 4), f(2), u(1, 2)) },
			"gpu: Noise: x is [2 1 6], rescales is [2 4], amplitudes is [2], keys is [1 2]"},
		"erased box": {func() { e.Erase(f(1, 1, 6), f(1, 4), 0, [3]int{1, 2, 3}, [3]int{0, 1, 0}, [3]int{1, 2, 1}) },
			"gpu: Erase: [1 2 1] from [0 1 0] is outside [1 2 3]"},
	} {
		t.Run(name, func(t *testing.T) { require.PanicsWithValue(t, c.want, c.launch) })
	}
}
