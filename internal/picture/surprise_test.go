package picture

import (
	"image/color"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// The colours of larger errors are lighter.
func TestHeat(t *testing.T) {
	last := -1.0
	for i := range 101 {
		c := heatAt(float64(i) / 100)
		l := 0.2126*float64(c.R) + 0.7152*float64(c.G) + 0.0722*float64(c.B)
		require.Greater(t, l, last, "%d", i)
		last = l
	}
	require.Equal(t, heat[0], heatAt(-3))
	require.Equal(t, heat[len(heat)-1], heatAt(7))
}

// Planes go through the most surprising patch, and each pixel has the colour of its patch's error
// over the image.
func TestSurprise(t *testing.T) {
	s := Surprised{Image: ramp(8, 8, 12), Errors: make([]float32, 2*2*3)}
	s.Grid = []int{2, 2, 3}
	for i := range s.Errors {
		s.Errors[i] = float32(i)
	}
	s.Errors[3] = float32(math.NaN())
	s.Errors[7] = 20 // patch (1, 0, 1)
	require.Equal(t, 7, s.mostSurprising())
	for _, p := range planes(s.Size) {
		v := s.slice(p).voxel(1, 1)
		switch p.name {
		case "axial":
			require.Equal(t, 6, v[2])
		case "coronal":
			require.Equal(t, 2, v[1])
		case "sagittal":
			require.Equal(t, 6, v[0])
		}
	}
	low, high := ErrorScale([]Surprised{s})
	require.Equal(t, 0.0, low)
	require.Equal(t, 20.0, high)
	m := Surprise("title", low, high, []Surprised{s})
	hottest := mix(shade(1), heat[len(heat)-1], 0.6)
	found := false
	for x := range m.Bounds().Dx() {
		for y := range m.Bounds().Dy() - 44 {
			c := m.At(x, y).(color.RGBA)
			found = found || c.R > 200 && c.G > 150 && c.B < 190 && c.R > c.B+40
		}
	}
	require.True(t, found, "%v", hottest)
	flat := Surprised{Image: ramp(4, 4), Errors: []float32{1, 1, 1, float32(math.NaN())}}
	flat.Grid = []int{2, 2}
	require.NotPanics(t, func() { Surprise("", 1, 1, []Surprised{flat}) })
	require.Panics(t, func() { Surprise("", 0, 1, nil) })
	flat.Errors = flat.Errors[:3]
	require.Panics(t, func() { Surprise("", 0, 1, []Surprised{flat}) })
	low, high = ErrorScale(nil)
	require.Less(t, low, high)
}
