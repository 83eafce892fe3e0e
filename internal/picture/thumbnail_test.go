package picture

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestThumbnail(t *testing.T) {
	values := make([]float32, 2*3*4)
	values[1*3*4+2*4+2] = 1 // voxel (1, 2, 2): in the central axial plane, at the right and the front
	m := Thumbnail(Image{Name: "v", Channels: 1, Size: []int{2, 3, 4}, Grid: []int{1, 1, 1}, Values: values})
	scale := tileSize / 4
	require.Equal(t, 2*scale, m.Bounds().Dx())
	require.Equal(t, 3*scale, m.Bounds().Dy())
	r, _, _, _ := m.At(2*scale-1, 0).RGBA()
	require.Equal(t, uint32(0xffff), r)
	r, _, _, _ = m.At(0, 3*scale-1).RGBA()
	require.Zero(t, r)
}
