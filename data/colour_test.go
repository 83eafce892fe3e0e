package data

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRecolour: grey and coloured pictures in one folder are brought to one kind, the one
// that is asked for or colour. The expected greys are those of PIL's convert("L").
func TestRecolour(t *testing.T) {
	colours := []color.NRGBA{{255, 0, 0, 255}, {0, 255, 0, 255}, {0, 0, 255, 255}, {255, 255, 255, 255}, {10, 200, 77, 255}, {1, 2, 3, 255}}
	greys := []float32{76, 150, 29, 255, 129, 2}
	coloured, grey := image.NewNRGBA(image.Rect(0, 0, 3, 2)), image.NewGray(image.Rect(0, 0, 3, 2))
	deep := image.NewNRGBA64(image.Rect(0, 0, 3, 2))
	var plain []float32 // channels first
	for i, c := range colours {
		coloured.SetNRGBA(i%3, i/3, c)
		deep.SetNRGBA64(i%3, i/3, color.NRGBA64{R: uint16(c.R) * 257, G: uint16(c.G) * 257, B: uint16(c.B) * 257, A: 65535})
		grey.SetGray(i%3, i/3, color.Gray{Y: uint8(10 * i)})
		plain = append(plain, float32(c.R))
	}
	for _, c := range colours {
		plain = append(plain, float32(c.G))
	}
	for _, c := range colours {
		plain = append(plain, float32(c.B))
	}
	tens := []float32{0, 10, 20, 30, 40, 50}
	encode := func(m image.Image) []byte {
		var b bytes.Buffer
		require.NoError(t, png.Encode(&b, m))
		return b.Bytes()
	}
	fsys := mem(map[string][]byte{
		"both/a.png": encode(coloured), "both/b.png": encode(grey),
		"coloured/a.png": encode(coloured), "grey/b.png": encode(grey), "deep/a.png": encode(deep),
	})
	read := func(folder string, channels int) ([][]float32, *Report) {
		t.Helper()
		d, report, err := OpenFS(fsys, []string{folder}, Options{Channels: channels, Normalize: NormalizeNone})
		require.NoError(t, err)
		c, size := d.Shape()
		require.Equal(t, []int{2, 3}, size)
		var all [][]float32
		for i := range d.Len() {
			x := make([]float32, c*6)
			require.NoError(t, d.Read(i, x))
			require.Equal(t, c, d.Header(i).Channels)
			all = append(all, x)
			raw, err := d.ReadRaw(i, []float32{-1})
			require.NoError(t, err)
			require.Equal(t, append([]float32{-1}, x...), raw)
		}
		return all, report
	}
	thrice := append(append(append([]float32{}, tens...), tens...), tens...)

	got, report := read("both", 0)
	assert.Equal(t, [][]float32{plain, thrice}, got)
	assert.Contains(t, report.String(), "1 of 2 pictures are grey and get three equal channels")
	got, _ = read("both", 3)
	assert.Equal(t, [][]float32{plain, thrice}, got)
	got, report = read("both", 1)
	assert.Equal(t, [][]float32{greys, tens}, got)
	assert.Contains(t, report.String(), "1 of 2 pictures are coloured and are read as grey")

	for _, own := range []string{"coloured", "grey"} { // one kind stays as it is
		_, report = read(own, 0)
		assert.NotContains(t, report.String(), "pictures are")
	}
	got, _ = read("grey", 3)
	assert.Equal(t, [][]float32{thrice}, got)
	got, _ = read("deep", 1)
	for i, g := range got[0] {
		assert.InDelta(t, greys[i]*257, g, 129, i) // half of the rounding to 8 bits
	}

	_, _, err := OpenFS(fsys, []string{"both"}, Options{Channels: -1})
	assert.ErrorContains(t, err, "channels -1")
}

// TestNotRecoloured: volumes and other numbers of channels are no pictures, and stay.
func TestNotRecoloured(t *testing.T) {
	two := append([]byte("ObjectType = Image\nNDims = 2\nDimSize = 4 4\nElementType = MET_UCHAR\nElementNumberOfChannels = 2\nElementDataFile = LOCAL\n"), make([]byte, 32)...)
	fsys := mem(map[string][]byte{"a.nii": nii([3]int{4, 5, 6}, 1), "b.mha": two})
	for name, want := range map[string]int{"a.nii": 1, "b.mha": 2} {
		d, _, err := OpenFS(fsys, []string{name}, Options{Channels: 3})
		require.NoError(t, err, name)
		c, _ := d.Shape()
		assert.Equal(t, want, c, name)
	}
}
