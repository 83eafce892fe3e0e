package picture

import (
	"image/color"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSheet: four tiles a row, each showing what it should, one row for each plane.
func TestSheet(t *testing.T) {
	m := ramp(8, 8)
	flipped := make([]float32, 64)
	for i, v := range m.Values {
		flipped[63-i] = v
	}
	out := Sheet("sheet", []Prepared{{Image: m, Stored: ramp(4, 4), Spacing: []float64{1, 1}, Augmented: flipped, Context: []uint32{0}, Targets: [][]uint32{{15}}}})
	const y = 34 + 22 + 20
	at := func(tile int, row, col float64) color.RGBA {
		x := gap + tile*(tileSize+gap)
		r, g, b, _ := out.At(x+int(col*tileSize), y+int(row*tileSize)).RGBA()
		return color.RGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), 255}
	}
	black, white := color.RGBA{0, 0, 0, 255}, color.RGBA{255, 255, 255, 255}
	require.Equal(t, black, at(0, 0.01, 0.01))
	require.Equal(t, white, at(0, 0.99, 0.99))
	require.Equal(t, black, at(1, 0.01, 0.01))
	require.Equal(t, white, at(2, 0.01, 0.01), "augmented")
	require.Equal(t, white, at(3, 0.01, 0.01), "the context sees patch 0 as it is")
	require.Equal(t, mix(black, blockColors[0], 0.55), at(3, 0.99, 0.99), "a target")
	pale := at(3, 0.99, 0.01)
	require.Greater(t, pale.R, uint8(190), "neither")

	v := ramp(4, 6, 8)
	volume := Sheet("sheet", []Prepared{{Image: v, Stored: ramp(10, 12, 300), Spacing: []float64{1, 1, 1}, Augmented: v.Values}})
	require.Greater(t, volume.Bounds().Dy(), 3*tileSize)
	require.Less(t, volume.Bounds().Dx(), 5*tileSize, "a large file is shown small")
	require.Panics(t, func() { Sheet("", []Prepared{{Image: v, Stored: v, Spacing: []float64{1, 1, 1}}}) })
}

// TestProportions: thick slices are shown thick.
func TestProportions(t *testing.T) {
	p := planes([]int{10, 20, 4})
	h, w := p[1].proportions([]float64{1, 2, 5}) // coronal: third axis up, first to the right
	require.Equal(t, []float64{20, 10}, []float64{h, w})
	h, w = p[2].proportions([]float64{1, 2, 5}) // sagittal: third axis up, second to the right
	require.Equal(t, []float64{20, 40}, []float64{h, w})
	tile := fitted(p[2], h*3, w*3, func([3]int) color.RGBA { return color.RGBA{} })
	require.Equal(t, 120, tile.Bounds().Dx())
	require.Equal(t, 60, tile.Bounds().Dy())
	h, w = planes([]int{1, 1, 1})[0].proportions([]float64{3, 3, 3})
	require.Equal(t, []float64{1, 1}, []float64{h, w})
	require.Equal(t, []float32{0, 1, 0}, Finite([]float32{float32(math.NaN()), 1, float32(math.Inf(-1))}))
}
