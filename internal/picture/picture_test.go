package picture

import (
	"image/color"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTicks(t *testing.T) {
	for _, c := range []struct{ low, high float64 }{{0, 1}, {0.996, 1}, {-3, 1000}, {1e-6, 3e-4}, {5, 5}, {0, 0}, {-2, -2}, {0.4, 0.4001}} {
		list := ticks(c.low, c.high, 5)
		require.GreaterOrEqual(t, len(list), 2, "%v", c)
		require.LessOrEqual(t, len(list), 10, "%v", c)
		require.LessOrEqual(t, list[0], c.low, "%v", c)
		require.GreaterOrEqual(t, list[len(list)-1]+1e-9, c.high, "%v", c)
	}
}

func TestCurves(t *testing.T) {
	panels := []Panel{
		{"loss", []Series{{"training", []float64{1, 2, 3}, []float64{0.4, math.NaN(), 0.2}}, {"validation", nil, nil}}},
		{"empty", []Series{{"", nil, nil}}},
		{"flat", []Series{{"", []float64{1, 3}, []float64{1, 1}}}},
		{"one point", []Series{{"", []float64{3}, []float64{-7}}}},
	}
	m, err := Curves("update", panels)
	require.NoError(t, err)
	require.Equal(t, 2*panelWidth, m.Bounds().Dx())
	require.Equal(t, 2*panelHeight, m.Bounds().Dy(), "three panels in two rows")
	_, err = Curves("update", panels[1:2])
	require.ErrorContains(t, err, "no points")
	require.Panics(t, func() { _, _ = Curves("", []Panel{{"", []Series{{"", []float64{1}, nil}}}}) })
}

// ramp is a volume whose values are their own index.
func ramp(size ...int) Image {
	n := 1
	for _, s := range size {
		n *= s
	}
	m := Image{Name: "ramp", Channels: 1, Size: size, Values: make([]float32, n)}
	for i := range m.Values {
		m.Values[i] = float32(i)
	}
	for _, s := range size {
		m.Grid = append(m.Grid, s/2)
	}
	return m
}

func TestPlanesFollowTheAxes(t *testing.T) {
	m := ramp(4, 6, 8)
	p := planes(m.Size)
	require.Equal(t, [3]int{0, 5, 4}, p[0].voxel(0, 0), "axial: front up, first axis to the right")
	require.Equal(t, [3]int{3, 3, 0}, p[1].voxel(7, 3), "coronal: third axis up")
	require.Equal(t, [3]int{2, 5, 7}, p[2].voxel(0, 5))
	require.Equal(t, (3*6+5)*8+7, m.at([3]int{3, 5, 7}))
	require.Equal(t, (1*3+2)*4+3, m.patch([3]int{3, 5, 7}))
	require.Equal(t, 0, m.patch([3]int{1, 1, 1}))
}

func TestMasks(t *testing.T) {
	m := ramp(8, 8)
	out := Masks("masks", []Masked{{m, []uint32{0}, [][]uint32{{15}}}})
	// The first tile begins under title, columns and name; each is 8·18 wide.
	const y, side = 34 + 22 + 20, 8 * (tileSize / 8)
	at := func(tile, row, col int) color.RGBA {
		s := side / 8
		r, g, b, _ := out.At(gap+tile*(side+gap)+col*s+1, y+row*s+1).RGBA()
		return color.RGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), 255}
	}
	require.Equal(t, color.RGBA{255, 255, 255, 255}, at(0, 7, 7))
	require.Equal(t, color.RGBA{0, 0, 0, 255}, at(1, 0, 0), "the context sees patch 0")
	require.Equal(t, color.RGBA{238, 238, 240, 255}, at(1, 4, 4), "and no other")
	require.Equal(t, mix(color.RGBA{255, 255, 255, 255}, blockColors[0], 0.55), at(2, 7, 7))
}

func TestFeatures(t *testing.T) {
	m := ramp(4, 4, 4)
	colors := make([][3]uint8, 8)
	colors[0] = [3]uint8{200, 10, 10}
	out := Features("features", []string{"untrained", "trained"}, []Colored{{m, [][][3]uint8{colors, colors}}})
	require.Greater(t, out.Bounds().Dx(), 9*tileSize*9/10)
	require.Panics(t, func() { m.Values = m.Values[1:]; m.check() })
}

func TestConstantImage(t *testing.T) {
	m := Image{Channels: 1, Size: []int{2, 2}, Grid: []int{1, 1}, Values: []float32{3, 3, 3, 3}}
	for _, v := range m.gray() {
		require.False(t, math.IsNaN(v))
	}
}
