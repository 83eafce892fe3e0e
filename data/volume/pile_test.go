package volume

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func grey16(w, h int, first uint16) []byte {
	m := image.NewGray16(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetGray16(x, y, color.Gray16{first + uint16(y*w+x)})
		}
	}
	var b bytes.Buffer
	png.Encode(&b, m)
	return b.Bytes()
}

// TestPile: slices lie along the last axis in natural order; gaps are noted; what is no
// pile says which slice.
func TestPile(t *testing.T) {
	fsys := fstest.MapFS{}
	for i, name := range []string{"s/z2.png", "s/z10.png", "s/z9.png"} {
		fsys[name] = &fstest.MapFile{Data: grey16(3, 2, uint16(1000*i))}
	}
	m, err := OpenPile(fsys, []string{"s/z10.png", "s/z2.png", "s/z9.png"}, Options{})
	require.NoError(t, err)
	h := m.Header()
	assert.Equal(t, []int{2, 3, 3}, h.Size)
	assert.Equal(t, "uint16", h.Type)
	assert.Equal(t, []string{"slices may be missing: the numbers leap from z2.png to z9.png"}, h.Notes)
	v, err := m.Read([]float32{7})
	require.NoError(t, err)
	assert.Equal(t, []float32{7, 0, 2000, 1000, 1, 2001, 1001}, v[:7])

	fsys["s/w.png"] = &fstest.MapFile{Data: grey16(4, 2, 0)}
	fsys["s/c.png"] = &fstest.MapFile{Data: func() []byte {
		var b bytes.Buffer
		png.Encode(&b, image.NewNRGBA(image.Rect(0, 0, 3, 2)))
		return b.Bytes()
	}()}
	fsys["s/g.png"] = &fstest.MapFile{Data: func() []byte {
		var b bytes.Buffer
		png.Encode(&b, image.NewGray(image.Rect(0, 0, 3, 2)))
		return b.Bytes()
	}()}
	fsys["s/x.png"] = &fstest.MapFile{Data: []byte("\x89PNG\r\n\x1a\nxx")}
	for name, want := range map[string]string{
		"s/w.png": "slice z2.png is [2 3], w.png [2 4]", "s/c.png": "slice c.png has 3 channels", "s/g.png": "slice z2.png is uint16, g.png uint8", "s/x.png": "slice x.png: damaged picture", "s/none.png": "slice none.png",
	} {
		_, err := OpenPile(fsys, []string{name, "s/z2.png"}, Options{})
		assert.ErrorContains(t, err, want, name)
	}
	_, err = OpenPile(fsys, []string{"s/z2.png", "s/z9.png"}, Options{MaxBytes: 47})
	assert.ErrorContains(t, err, "above the limit of 47")
}

func TestNatural(t *testing.T) {
	names := []string{"a10", "a9", "a09b", "b", "a9b2", "a9b10", "a", "", "a9"}
	slices.SortFunc(names, natural)
	assert.Equal(t, []string{"", "a", "a9", "a9", "a09b", "a9b2", "a9b10", "a10", "b"}, names)
	for _, c := range []struct {
		names []string
		gap   string
	}{{[]string{"1.png", "2.png", "3.png"}, ""}, {[]string{"10", "20", "30", "50"}, "30"}, {[]string{"a", "b"}, ""}, {[]string{"x5.t", "x5.t", "x7.t", "x8.t"}, "x5.t"}} {
		before, _ := gap(c.names)
		assert.Equal(t, c.gap, before, "%v", c.names)
	}
}
