package picture

import (
	"image"
	"image/color"
)

// Thumbnail is an image, or the axial central plane of a volume.
func Thumbnail(m Image) image.Image {
	m.check()
	gray := m.gray()
	return m.tile(planes(m.Size)[0], func(v [3]int) color.RGBA { return shade(gray[m.at(v)]) })
}
