package transform

import (
	"encoding/binary"
	"math"
	"os"
	"testing"

	"github.com/nlpodyssey/safetensors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"wgjepa/internal/testdata"
)

// golden returns the tensors of transforms.safetensors as float64.
func golden(t *testing.T) map[string][]float64 {
	b, err := os.ReadFile(testdata.Golden.Find(t, "transforms.safetensors"))
	require.NoError(t, err)
	st, err := safetensors.Deserialize(b)
	require.NoError(t, err)
	out := map[string][]float64{}
	for _, v := range st.Tensors() {
		var x []float64
		b := v.TensorView.Data()
		switch v.TensorView.DType() {
		case safetensors.F64:
			for ; len(b) > 0; b = b[8:] {
				x = append(x, math.Float64frombits(binary.LittleEndian.Uint64(b)))
			}
		case safetensors.F32:
			for ; len(b) > 0; b = b[4:] {
				x = append(x, float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
			}
		default:
			t.Fatalf("%s: type %v", v.Name, v.TensorView.DType())
		}
		out[v.Name] = x
	}
	return out
}

func float32s(x []float64) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(v)
	}
	return y
}

// near compares relative to the largest value of the tensor.
func near(t *testing.T, name string, want []float64, got []float32, bound float64) {
	t.Helper()
	require.Len(t, got, len(want), name)
	largest, worst, at := 0.0, 0.0, 0
	for i, w := range want {
		largest = max(largest, math.Abs(w))
		if d := math.Abs(w - float64(got[i])); !(d <= worst) {
			worst, at = d, i
		}
	}
	assert.LessOrEqual(t, worst, bound*largest, "%s: element %d is %g, must be %g", name, at, got[at], want[at])
}

// TestGolden holds the preprocessing to nidl's, computed in double precision. One
// rounding of a result to float32 is 2⁻²⁴ = 6e-8 of it; interpolation rounds each of
// its three blends.
func TestGolden(t *testing.T) {
	g := golden(t)
	s1, s2 := []int{9, 10, 11}, []int{8, 7, 6}
	v1, v2 := float32s(g["v1"]), float32s(g["v2"])
	clone := func(x []float32) []float32 { return append([]float32(nil), x...) }

	x := clone(v1)
	ZNormalize(x, 1, nil)
	near(t, "znorm_v1", g["znorm_v1"], x, 1e-7)
	x = clone(v2)
	ZNormalize(x, 2, nil)
	near(t, "znorm_v2", g["znorm_v2"], x, 1e-7)
	x = clone(v1)
	mask := make([]bool, len(x))
	for i := range x {
		mask[i] = x[i] > 4
	}
	ZNormalize(x, 1, mask)
	near(t, "znorm_mask_v1", g["znorm_mask_v1"], x, 1e-7)
	x = clone(v1)
	RobustRescale(x, 1, [2]float64{1, 99}, [2]float64{0, 1})
	near(t, "robust_v1", g["robust_v1"], x, 1e-7)
	x = clone(v1)
	RobustRescale(x, 1, [2]float64{5, 90}, [2]float64{-1, 1})
	near(t, "robust_5_90_v1", g["robust_5_90_v1"], x, 1e-7)

	to := []int{6, 13, 11}
	x = make([]float32, 6*13*11)
	Resize(x, v1, 1, s1, to)
	near(t, "resize_6_13_11_v1", g["resize_6_13_11_v1"], x, 3e-7)
	ResizeNearest(x, v1, 1, s1, to)
	near(t, "resize_nearest_6_13_11_v1", g["resize_nearest_6_13_11_v1"], x, 0)
	x = make([]float32, 2*16*16*16)
	Resize(x, v2, 2, s2, []int{16, 16, 16})
	near(t, "resize_16_v2", g["resize_16_v2"], x, 3e-7)
	x = make([]float32, 8*8*8)
	CropResize(x, v1, 1, s1, Box{At: [3]int{1, 2, 0}, Size: [3]int{7, 7, 7}}, []int{8, 8, 8})
	near(t, "crop_resize_v1", g["crop_resize_v1"], x, 3e-7)
	x = make([]float32, 12*6*11)
	CropOrPad(x, v1, 1, s1, []int{12, 6, 11}, Constant, 0)
	near(t, "crop_or_pad_12_6_11_v1", g["crop_or_pad_12_6_11_v1"], x, 0)
	spacing, wanted := []float64{1, 1.3, 2.5}, []float64{1, 1, 1}
	to = ResampledSize(s1, spacing, wanted)
	require.Equal(t, []int{9, 13, 28}, to)
	x = make([]float32, 9*13*28)
	Resample(x, v1, 1, s1, to, spacing, wanted)
	near(t, "resample_1mm_v1", g["resample_1mm_v1"], x, 3e-7)
}

// TestCropOrPad: edges continue, fill fills, 2-D and several channels, and back.
func TestCropOrPad(t *testing.T) {
	src := []uint8{1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16} // 2 channels of 2×3
	dst := make([]uint8, 2*4*2)
	CropOrPad(dst, src, 2, []int{2, 3}, []int{4, 2}, Edge, 9)
	assert.Equal(t, []uint8{1, 2, 1, 2, 4, 5, 4, 5, 11, 12, 11, 12, 14, 15, 14, 15}, dst)
	CropOrPad(dst, src, 2, []int{2, 3}, []int{4, 2}, Constant, 9)
	assert.Equal(t, []uint8{9, 9, 1, 2, 4, 5, 9, 9, 9, 9, 11, 12, 14, 15, 9, 9}, dst)
	big, back := make([]uint8, 2*5*8), make([]uint8, 12)
	CropOrPad(big, src, 2, []int{2, 3}, []int{5, 8}, Edge, 0)
	CropOrPad(back, big, 2, []int{5, 8}, []int{2, 3}, Edge, 0)
	assert.Equal(t, src, back)
}

// TestDegenerate: constant images, empty masks and single voxels give finite values.
func TestDegenerate(t *testing.T) {
	x := []float32{7, 7, 7, 7}
	ZNormalize(x, 2, nil)
	assert.Equal(t, []float32{0, 0, 0, 0}, x)
	x = []float32{1, 2, 3, 4}
	ZNormalize(x, 1, make([]bool, 4))
	assert.InDelta(t, -1.3416, x[0], 1e-3)
	x = []float32{7, 7, 7, 7}
	RobustRescale(x, 1, [2]float64{1, 99}, [2]float64{-1, 1})
	assert.Equal(t, []float32{-1, -1, -1, -1}, x)
	x = []float32{5}
	RobustRescale(x, 1, [2]float64{0, 100}, [2]float64{0, 1})
	assert.Equal(t, []float32{0}, x)
	y := make([]float32, 8)
	Resize(y, []float32{3}, 1, []int{1, 1, 1}, []int{2, 2, 2})
	assert.Equal(t, []float32{3, 3, 3, 3, 3, 3, 3, 3}, y)
	assert.Panics(t, func() { Resize(y, []float32{3}, 1, []int{1, 1}, []int{2, 2}) })
	assert.Panics(t, func() { RobustRescale(x, 1, [2]float64{99, 1}, [2]float64{0, 1}) })
}

// TestPercentile agrees with sorting, also with ties.
func TestPercentile(t *testing.T) {
	r := Rand(1, 2, 3)
	for range 200 {
		v := make([]float32, 1+r.IntN(60))
		for i := range v {
			v[i] = float32(r.IntN(12))
		}
		q := 100 * r.Float64()
		sorted := append([]float32(nil), v...)
		for i := range sorted {
			for j := range i {
				if sorted[i] < sorted[j] {
					sorted[i], sorted[j] = sorted[j], sorted[i]
				}
			}
		}
		at := q / 100 * float64(len(v)-1)
		k := int(at)
		want := float64(sorted[k])
		if k+1 < len(v) {
			want += (at - float64(k)) * float64(sorted[k+1]-sorted[k])
		}
		assert.InDelta(t, want, percentile(v, q), 1e-12)
	}
}

func TestFlip(t *testing.T) {
	x := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11} // 1 channel 2×2×3
	Flip(x, 1, []int{2, 2, 3}, []bool{true, false, true})
	assert.Equal(t, []int{8, 7, 6, 11, 10, 9, 2, 1, 0, 5, 4, 3}, x)
	Flip(x, 1, []int{2, 2, 3}, []bool{true, false, true})
	assert.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, x)
	y := []int{0, 1, 2, 3, 10, 11, 12, 13}
	Flip(y, 2, []int{2, 2}, []bool{true, false})
	assert.Equal(t, []int{2, 3, 0, 1, 12, 13, 10, 11}, y)
}

// TestAugmentPure: a draw depends on (seed, step, sample) and on nothing else.
func TestAugmentPure(t *testing.T) {
	a := Augment{Scale: [2]float64{0.5, 1}, Flip: []float64{0.5, 0.5, 0.5}}
	size := []int{16, 24, 20}
	seen := map[Geometry]int{}
	for step := range uint64(20) {
		for sample := range uint64(20) {
			g := a.Draw(Rand(7, step, sample), size)
			assert.Equal(t, g, a.Draw(Rand(7, step, sample), size))
			seen[g]++
		}
	}
	assert.Greater(t, len(seen), 380, "draws repeat")
	assert.NotEqual(t, a.Draw(Rand(7, 0, 0), size), a.Draw(Rand(8, 0, 0), size))
	assert.NotEqual(t, a.Draw(Rand(7, 0, 1), size), a.Draw(Rand(7, 1, 0), size))
}

// TestCropStatistics: boxes lie within the image, their share and shape within the
// ranges (as far as whole voxels allow), positions reach both borders.
func TestCropStatistics(t *testing.T) {
	a := Augment{Scale: [2]float64{0.3, 0.6}}
	for _, size := range [][]int{{40, 40, 40}, {64, 48}} {
		shift := 3 - len(size)
		var first, last int
		mean := 0.0
		for i := range uint64(3000) {
			b := a.Draw(Rand(3, 0, i), size).Box
			share := 1.0
			for k, n := range size {
				assert.GreaterOrEqual(t, b.At[shift+k], 0)
				assert.LessOrEqual(t, b.At[shift+k]+b.Size[shift+k], n)
				share *= float64(b.Size[shift+k]) / float64(n)
				if b.At[shift+k] == 0 {
					first++
				}
				if b.At[shift+k]+b.Size[shift+k] == n {
					last++
				}
			}
			assert.Greater(t, share, 0.27)
			assert.Less(t, share, 0.65)
			for k := range size { // ratio of two axes: at most (1.33/0.75) apart, plus rounding
				assert.Less(t, float64(b.Size[shift+k])/float64(b.Size[shift+(k+1)%len(size)]), 1.33/0.75*1.1)
			}
			mean += share / 3000
		}
		assert.Greater(t, first, 100)
		assert.Greater(t, last, 100)
		assert.InDelta(t, 0.44, mean, 0.03)
	}
	// What can never fit falls back to the whole.
	assert.Equal(t, Whole([]int{100, 4}), Augment{Scale: [2]float64{1, 1}}.Draw(Rand(1, 1, 1), []int{100, 4}).Box)
	assert.Equal(t, Whole([]int{9, 9, 9}), Augment{}.Draw(Rand(1, 1, 1), []int{9, 9, 9}).Box)
}

// TestLabelsFollow: labels go where the image's voxels go.
func TestLabelsFollow(t *testing.T) {
	size := []int{20, 20, 20}
	a := Augment{Scale: [2]float64{0.4, 1}, Flip: []float64{0.5, 0.5, 0.5}}
	image, labels := make([]float32, 8000), make([]uint8, 8000)
	for i := range labels { // two half-spaces and a corner: large pieces, known borders
		x, y, z := i/400, i/20%20, i%20
		labels[i] = uint8(x/10) + 2*uint8(y/10) + 4*uint8(z/10)
		image[i] = float32(labels[i])
	}
	x, l := make([]float32, 8000), make([]uint8, 8000)
	for s := range uint64(20) {
		g := a.Draw(Rand(5, 1, s), size)
		g.Apply(x, image, 1, size)
		g.ApplyLabels(l, labels, size)
		wrong := 0
		for i := range x {
			if math.Abs(float64(x[i])-float64(l[i])) > 2.01 { // interpolation mixes at most half of each border's step
				wrong++
			}
		}
		exact := 0
		for i := range x {
			if x[i] == float32(l[i]) {
				exact++
			}
		}
		assert.Less(t, wrong, 200, "sample %d", s)
		assert.Greater(t, exact, 5500, "sample %d: away from borders the image is its label", s)
	}
}

func TestValidate(t *testing.T) {
	assert.NoError(t, Augment{}.Validate(3))
	assert.NoError(t, Augment{Scale: [2]float64{0.5, 1}, Ratio: [2]float64{0.9, 1.1}, Flip: []float64{0, 1}}.Validate(2))
	assert.ErrorContains(t, Augment{Scale: [2]float64{0, 1}}.Validate(3), "scale")
	assert.ErrorContains(t, Augment{Scale: [2]float64{0.5, 1.5}}.Validate(3), "scale")
	assert.ErrorContains(t, Augment{Scale: [2]float64{math.NaN(), 1}}.Validate(3), "scale")
	assert.ErrorContains(t, Augment{Ratio: [2]float64{2, 1}}.Validate(3), "ratio")
	assert.ErrorContains(t, Augment{Flip: []float64{0.5}}.Validate(3), "3 axes")
	assert.ErrorContains(t, Augment{Flip: []float64{0.5, 2}}.Validate(2), "within 0 to 1")
	assert.NoError(t, Augment{Rotate: 1, Blur: [2]float64{0, 2}, Noise: [2]float64{0, 0.1}, Erase: [2]float64{0.1, 0.3}, Chance: 0.5}.Validate(3))
	assert.ErrorContains(t, Augment{Rotate: 1.5}.Validate(3), "rotation")
	assert.ErrorContains(t, Augment{Chance: -1}.Validate(3), "erasing")
	assert.ErrorContains(t, Augment{Blur: [2]float64{2, 1}}.Validate(3), "blur")
	assert.ErrorContains(t, Augment{Blur: [2]float64{0, 1e9}}.Validate(3), "blur")
	assert.ErrorContains(t, Augment{Noise: [2]float64{0, math.Inf(1)}}.Validate(3), "noise")
	assert.ErrorContains(t, Augment{Erase: [2]float64{-1, 1}}.Validate(3), "erasing")
	assert.False(t, Augment{}.Active())
	assert.False(t, Augment{Blur: [2]float64{1, 1}}.Active(), "no chance")
	assert.True(t, Augment{Rotate: 0.1}.Active())
}

func BenchmarkCropResize64(b *testing.B) {
	size := []int{64, 64, 64}
	src, dst := make([]float32, 64*64*64), make([]float32, 64*64*64)
	for b.Loop() {
		CropResize(dst, src, 1, size, Box{At: [3]int{5, 6, 7}, Size: [3]int{50, 51, 52}}, size)
	}
}

func BenchmarkZNormalize64(b *testing.B) {
	x := make([]float32, 64*64*64)
	for i := range x {
		x[i] = float32(i % 251)
	}
	for b.Loop() {
		ZNormalize(x, 1, nil)
	}
}
