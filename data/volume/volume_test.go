package volume

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"wgjepa/internal/testdata"
)

type expected struct {
	Shape                         []int
	Mean, Std, Min, Max, Checksum float64
	Frames, Nonfinite             int
	Type                          string
	Affine                        [3][4]float64
	Spacing                       []float64
}

// TestNIfTI holds every scalar NIfTI-1 file of the shared data to what nibabel reads
// (testdata/expected.py).
func TestNIfTI(t *testing.T) {
	dir := testdata.Data.Find(t, "nifti")
	var want struct{ Nifti map[string]expected }
	b, err := os.ReadFile("../testdata/expected.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &want))
	require.Greater(t, len(want.Nifti), 70)
	for name, e := range want.Nifti {
		m, err := Open(OS, filepath.Join(filepath.Dir(dir), name), Options{Frame: 1})
		require.NoError(t, err, name)
		h := m.Header()
		assert.Equal(t, e.Shape, h.Size, name)
		assert.Equal(t, e.Type, h.Type, name)
		assert.Equal(t, e.Frames, h.Frames, name)
		assert.Equal(t, 1, h.Channels, name)
		for i := range 3 {
			assert.InDeltaSlice(t, e.Affine[i][:], h.Affine[i][:], 1e-4, "%s: affine row %d", name, i)
		}
		assert.InDeltaSlice(t, e.Spacing, h.Spacing, 1e-5, name)
		v, err := m.Read(nil)
		require.NoError(t, err, name)
		require.Len(t, v, h.Len(), name)
		equalStatistics(t, name, e, v)
	}
}

// equalStatistics allows what rounding each value to float32 can do.
func equalStatistics(t *testing.T, name string, e expected, v []float32) {
	t.Helper()
	bad := 0
	for i, x := range v {
		if !finite(float64(x)) {
			v[i] = 0
			bad++
		}
	}
	assert.Equal(t, e.Nonfinite, bad, "%s: voxels that are not finite", name)
	mean, check, lo, hi := 0.0, 0.0, math.Inf(1), math.Inf(-1)
	for i, x := range v {
		f := float64(x)
		mean += f
		check += f * float64(i%97+1)
		lo, hi = min(lo, f), max(hi, f)
	}
	n := float64(len(v))
	mean, check = mean/n, check/n
	std := 0.0
	for _, x := range v {
		std += (float64(x) - mean) * (float64(x) - mean) / n
	}
	bound := 1e-6 * max(math.Abs(e.Min), math.Abs(e.Max), 1e-30)
	assert.InDelta(t, e.Mean, mean, bound, "%s: mean", name)
	assert.InDelta(t, e.Std, math.Sqrt(std), bound, "%s: std", name)
	assert.InDelta(t, e.Min, lo, bound, "%s: min", name)
	assert.InDelta(t, e.Max, hi, bound, "%s: max", name)
	assert.InDelta(t, e.Checksum, check, 97*bound, "%s: checksum", name)
}

// TestOrientation: each of the 48 files is named after its orientation.
func TestOrientation(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testdata.Data.Find(t, "nifti/orientations"), "*"))
	require.NoError(t, err)
	require.Len(t, files, 48)
	for _, f := range files {
		m, err := Open(OS, f, Options{})
		require.NoError(t, err)
		assert.Equal(t, filepath.Base(f)[:3], m.Header().Orientation())
	}
	oblique := Header{Size: []int{1, 1, 1}, Spacing: []float64{1, 1, 1}, Affine: [4][4]float64{{0.6, -0.7, 0.1}, {-0.75, -0.6, 0.1}, {0.1, 0.1, -1}}}
	assert.Equal(t, "PLI", oblique.Orientation())
	assert.Empty(t, Header{Size: []int{1, 1}}.Orientation())
}

// TestPair reads header and pixels from two files, either half compressed.
func TestPair(t *testing.T) {
	dir := testdata.Data.Find(t, "nifti/nifti-rs")
	whole := read(t, filepath.Join(dir, "minimal.nii"))
	for _, name := range []string{"minimal.hdr", "minimal.img", "minimal.hdr.gz", "minimal.img.gz", "minimal2.hdr", "minimal2.img.gz", "minimal.nii.gz"} {
		assert.Equal(t, whole, read(t, filepath.Join(dir, name)), name)
	}
}

func read(t testing.TB, name string) []float32 {
	m, err := Open(OS, name, Options{})
	require.NoError(t, err)
	v, err := m.Read(nil)
	require.NoError(t, err)
	return v
}

// TestHippocampus holds all images and label maps to the table that comes with them.
func TestHippocampus(t *testing.T) {
	dir := testdata.Data.Find(t, "hippocampus")
	f, err := os.Open(filepath.Join(dir, "summary.csv"))
	require.NoError(t, err)
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	require.Equal(t, []string{"file", "nx", "ny", "nz", "ant_vox", "post_vox", "imin", "imax", "imean"}, rows[0])
	require.Greater(t, len(rows), 250)
	types := map[string]int{}
	for _, row := range rows[1:] {
		number := func(i int) float64 {
			x, err := strconv.ParseFloat(row[i], 64)
			require.NoError(t, err)
			return x
		}
		m, err := Open(OS, filepath.Join(dir, "images", row[0]), Options{})
		require.NoError(t, err, row[0])
		types[m.Header().Type]++
		assert.Equal(t, []int{int(number(1)), int(number(2)), int(number(3))}, m.Header().Size, row[0])
		assert.InDeltaSlice(t, []float64{1, 1, 1}, m.Header().Spacing, 1e-6)
		v, err := m.Read(nil)
		require.NoError(t, err)
		lo, hi, mean := math.Inf(1), math.Inf(-1), 0.0
		for _, x := range v {
			lo, hi, mean = min(lo, float64(x)), max(hi, float64(x)), mean+float64(x)/float64(len(v))
		}
		assert.InDelta(t, number(6), lo, 0.006, "%s: min", row[0])
		assert.InDelta(t, number(7), hi, 0.006+1e-6*hi, "%s: max", row[0])
		assert.InDelta(t, number(8), mean, 0.006, "%s: mean", row[0])
		count := map[float32]int{}
		for _, x := range read(t, filepath.Join(dir, "labels", row[0])) {
			count[x]++
		}
		assert.Equal(t, []int{int(number(4)), int(number(5)), len(v) - int(number(4)) - int(number(5))}, []int{count[1], count[2], count[0]}, row[0])
	}
	assert.Greater(t, types["uint8"], 10)
	assert.Greater(t, types["float32"], 10)
}

// allocated runs f and returns the bytes that it allocated in all.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

const mostMemory = 64 << 20

// TestRefused: what is not read says so, within bounded memory.
func TestRefused(t *testing.T) {
	dir := testdata.Data.Find(t, ".")
	for name, want := range map[string]string{
		"hostile/nifti/5D_small.nii":                                       "5 axes [1 2 3 1 3]",
		"hostile/nifti/5D_zeros.nii.gz":                                    "5 axes [256 256 170 1 3]",
		"hostile/nifti/analyze.hdr":                                        "without its pixels",
		"hostile/nifti/crash-08123ef33416bd6f0c5fa63d44b681b8581d62a0":     "first field must be 348",
		"hostile/nifti/crash-1.nii":                                        "first field must be 348",
		"hostile/nifti/crash-98aa054390f8d3f932f190dc22ef62c6ff2d6619":     "first field must be 348",
		"hostile/nifti/crash-d03c6346fe83a026738f6b8cd2a9335a3f8cb158":     "first field must be 348",
		"hostile/nifti/crash-ed7d46344d7efb3b9f0c374d66d2e02f66cc447d.nii": "first field must be 348",
		"hostile/nifti/not-nifti.nii":                                      "no image format",
		"hostile/npy/nans_inf.npy":                                         "shape [4] is no image",
		"hostile/npy/py2-np0-objarr.npy":                                   "Python objects",
		"hostile/npy/py2-objarr.npy":                                       "Python objects",
		"hostile/npy/py3-objarr.npy":                                       "Python objects",
		"hostile/npy/ragged-array.npy":                                     "Python objects",
		"hostile/npy/ragged-array-mixed.npy":                               "Python objects",
		"hostile/npy/ragged-array.npy.txt":                                 "no image format",
		"hostile/npy/ragged-array-mixed.npy.txt":                           "no image format",
		"hostile/npy/py2-objarr.npz":                                       "archive",
		"hostile/npy/py3-objarr.npz":                                       "archive",
		"nifti/nibabel/analyze.hdr":                                        "without its pixels",
		"nifti/nibabel/nifti1.hdr":                                         "without its pixels",
		"nifti/nibabel/nifti2.hdr":                                         "without its pixels",
		"nifti/nibabel/example_nifti2.nii.gz":                              "4-D file of 2 volumes",
		"nifti/nibabel/row_major.dconn.nii":                                "NIfTI-2 header: 6 axes",
		"nifti/nibabel/test.mgz":                                           "no image format",
		"nifti/nibabel/example4d.nii.gz":                                   "4-D file of 2 volumes",
		"nifti/nibabel/functional.nii":                                     "4-D file of 20 volumes",
		"nifti/nifti-rs/avg152T1_LR_nifti.hdr.gz":                          "without its pixels",
		"nifti/nifti-rs/complex/complex32.nii":                             "complex64",
		"nifti/nifti-rs/complex/complex64.nii":                             "complex128",
		"nifti/nifti-rs/rgb/4D.nii":                                        "4-D file of 2 volumes",
		"nifti/nifti-rs/README.md":                                         "no image format",
		"nrrd_mha/pynrrd/test1d_ascii.nrrd":                                "1 axes of space",
		"nrrd_mha/pynrrd/test_customFields.nrrd":                           "1 axes of space",
		"nrrd_mha/pynrrd/BallBinary30x30x30_byteskip_minus_five.nhdr":      "byte skip \"-5\" must be",
		"nrrd_mha/pynrrd/none.img":                                         "without their header",
		"hippocampus/images":                                               "not a regular file",
		"hippocampus/none.nii":                                             "no such file",
	} {
		used := allocated(func() {
			_, err := Open(OS, filepath.Join(dir, name), Options{})
			assert.ErrorContains(t, err, want, name)
		})
		assert.Less(t, used, uint64(1<<20), name)
	}
	// Merely odd: a compressed image beside a plain header.
	assert.Len(t, read(t, filepath.Join(dir, "hostile/nifti/minimal2.hdr")), 64*64*10)
}

// file is a small valid NIfTI-1 file to damage.
func file(t testing.TB, size [3]int) []byte {
	v := make([]float32, size[0]*size[1]*size[2])
	for i := range v {
		v[i] = float32(i) - 7
	}
	var b bytes.Buffer
	require.NoError(t, WriteNIfTI(&b, size, Identity(), v))
	return b.Bytes()
}

func gz(b []byte) []byte {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(b)
	w.Close()
	return z.Bytes()
}

// TestDamaged: each lie of a header gives an error that names it, in bounded memory.
func TestDamaged(t *testing.T) {
	le := binary.LittleEndian
	u16 := func(at int, v int16) func([]byte) { return func(b []byte) { le.PutUint16(b[at:], uint16(v)) } }
	f32 := func(at int, v float64) func([]byte) {
		return func(b []byte) { le.PutUint32(b[at:], math.Float32bits(float32(v))) }
	}
	all := func(f ...func([]byte)) func([]byte) {
		return func(b []byte) {
			for _, g := range f {
				g(b)
			}
		}
	}
	huge := all(u16(offDim+2, 32767), u16(offDim+4, 32767), u16(offDim+6, 32767))
	large := all(u16(offDim+2, 700), u16(offDim+4, 700), u16(offDim+6, 700)) // 1.4 GB
	for name, c := range map[string]struct {
		damage func([]byte)
		want   string
	}{
		"no axes":          {u16(offDim, 0), "0 axes"},
		"many axes":        {u16(offDim, 8), "8 axes"},
		"one axis":         {u16(offDim, 1), "one axis"},
		"negative length":  {u16(offDim+4, -5), "axis 2 has length -5"},
		"zero length":      {u16(offDim+6, 0), "axis 3 has length 0"},
		"larger than data": {u16(offDim+2, 300), "cut short or damaged"},
		"huge":             {huge, "above the limit"},
		"large":            {large, "cut short or damaged"},
		"type":             {u16(offDatatype, 77), "type code 77"},
		"bits":             {u16(offBitpix, 8), "contradicts itself"},
		"offset inside":    {f32(offVoxOffset, 10), "begin at byte 10"},
		"offset NaN":       {f32(offVoxOffset, math.NaN()), "begin at byte NaN"},
		"offset far":       {f32(offVoxOffset, 1e9), "cut short or damaged"},
		"offset infinite":  {f32(offVoxOffset, math.Inf(1)), "begin at byte +Inf"},
		"intercept":        {all(f32(offSclSlope, 2), f32(offSclInter, math.Inf(1))), "intercept +Inf"},
		"affine":           {f32(offSrow+4, math.NaN()), "affine has NaN"},
		"quaternion":       {all(u16(offSformCode, 0), u16(offQformCode, 1), f32(offQuatern, 2)), "longer than 1"},
		"magic":            {func(b []byte) { copy(b[offMagic:], "n+2\x00") }, `magic is "n+2\x00"`},
	} {
		b := file(t, [3]int{4, 5, 6})
		c.damage(b)
		for suffix, content := range map[string][]byte{".nii": b, ".nii.gz": gz(b)} {
			fsys := fstest.MapFS{"f" + suffix: &fstest.MapFile{Data: content}}
			used := allocated(func() {
				m, err := Open(fsys, "f"+suffix, Options{})
				if err == nil && suffix == ".nii.gz" {
					_, err = m.Read(nil) // what inflates is known only then
					if strings.Contains(c.want, "cut short") && assert.Error(t, err, name) {
						return
					}
				}
				assert.ErrorContains(t, err, c.want, "%s%s", name, suffix)
			})
			assert.Less(t, used, uint64(mostMemory), name)
		}
	}
	// Cut short anywhere: never a panic, always an error.
	whole := file(t, [3]int{4, 5, 6})
	for _, content := range [][]byte{whole, gz(whole)} {
		for n := range len(content) {
			fsys := fstest.MapFS{"f": &fstest.MapFile{Data: content[:n]}}
			m, err := Open(fsys, "f", Options{})
			if err == nil {
				_, err = m.Read(nil)
			}
			assert.Error(t, err, "%d of %d bytes", n, len(content))
		}
	}
}

// TestBomb: a compressed file may inflate to what it declares only within the limit.
func TestBomb(t *testing.T) {
	b := make([]byte, niftiHeaderSize+4)
	copy(b, file(t, [3]int{1, 1, 1}))
	for i := range 3 {
		binary.LittleEndian.PutUint16(b[offDim+2+2*i:], 400)
	}
	fsys := fstest.MapFS{"f.nii.gz": &fstest.MapFile{Data: gz(append(b, make([]byte, 4*400*400*400)...))}}
	used := allocated(func() {
		_, err := Open(fsys, "f.nii.gz", Options{MaxBytes: 32 << 20})
		assert.ErrorContains(t, err, "above the limit of 33554432")
	})
	assert.Less(t, used, uint64(1<<20))
}

// TestChecksum: gzip damage that leaves the length right is found.
func TestChecksum(t *testing.T) {
	z := gz(file(t, [3]int{4, 5, 6}))
	z[len(z)-8] ^= 1
	fsys := fstest.MapFS{"f": &fstest.MapFile{Data: z}}
	m, err := Open(fsys, "f", Options{})
	require.NoError(t, err)
	_, err = m.Read(nil)
	assert.ErrorContains(t, err, "gzip")
}

// TestScaling: slope and intercept apply to every type in both byte orders; slope 0 means none.
func TestScaling(t *testing.T) {
	for code, typ := range niftiTypes {
		for _, o := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			for _, slope := range []float64{0, 1, 0.5} {
				b := make([]byte, niftiHeaderSize+4+2*3*2*typ.size)
				o.PutUint32(b, niftiHeaderSize)
				for i, d := range []int{3, 2, 3, 2} {
					o.PutUint16(b[offDim+2*i:], uint16(d))
				}
				o.PutUint16(b[offDatatype:], uint16(code))
				o.PutUint32(b[offSclSlope:], math.Float32bits(float32(slope)))
				o.PutUint32(b[offSclInter:], math.Float32bits(-3))
				copy(b[offMagic:], "n+1\x00")
				for i := range 12 {
					p := b[niftiHeaderSize+4+i*typ.size:]
					switch v := i * 9; typ.name {
					case "uint8", "int8":
						p[0] = byte(v)
					case "uint16", "int16":
						o.PutUint16(p, uint16(v))
					case "uint32", "int32":
						o.PutUint32(p, uint32(v))
					case "uint64", "int64":
						o.PutUint64(p, uint64(v))
					case "float32":
						o.PutUint32(p, math.Float32bits(float32(v)))
					case "float64":
						o.PutUint64(p, math.Float64bits(float64(v)))
					}
				}
				m, err := Open(fstest.MapFS{"f": &fstest.MapFile{Data: b}}, "f", Options{})
				require.NoError(t, err)
				got, err := m.Read(nil)
				require.NoError(t, err)
				var want []float32
				for x := range 2 {
					for y := range 3 {
						for z := range 2 {
							v := float64(9 * (x + 2*(y+3*z)))
							if slope != 0 {
								v = v*slope - 3
							}
							want = append(want, float32(v))
						}
					}
				}
				assert.Equal(t, want, got, "%s %v slope %g", typ.name, o, slope)
			}
		}
	}
}

// TestWrite: what is written reads back, for both types, plain and compressed.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	affine := [4][4]float64{{-2, 0, 0.5, 10}, {0, 3, 0, -20}, {0.25, 0, 1.5, 30}, {0, 0, 0, 1}}
	size := [3]int{3, 4, 5}
	f, u := make([]float32, 60), make([]uint8, 60)
	for i := range f {
		f[i], u[i] = float32(i)*0.37-4, uint8(4*i)
	}
	for _, ext := range []string{".nii", ".nii.gz"} {
		require.NoError(t, WriteFile(filepath.Join(dir, "f"+ext), size, affine, f))
		require.NoError(t, WriteFile(filepath.Join(dir, "u"+ext), size, affine, u))
		assert.Equal(t, f, read(t, filepath.Join(dir, "f"+ext)))
		for i, x := range read(t, filepath.Join(dir, "u"+ext)) {
			assert.Equal(t, float32(u[i]), x)
		}
		m, err := Open(OS, filepath.Join(dir, "u"+ext), Options{})
		require.NoError(t, err)
		assert.Equal(t, "uint8", m.Header().Type)
		assert.Equal(t, affine, m.Header().Affine)
		assert.InDeltaSlice(t, []float64{math.Hypot(2, 0.25), 3, math.Hypot(0.5, 1.5)}, m.Header().Spacing, 1e-12)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 4, "no half-written files stay")
	assert.Error(t, WriteFile(filepath.Join(dir, "none", "f.nii"), size, affine, f))
	assert.ErrorContains(t, WriteFile(filepath.Join(dir, "g.nii"), [3]int{40000, 1, 1}, affine, make([]uint8, 40000)), "40000")
}

// TestPictures: grey and colour PNG of both depths, palettes, transparency, JPEG.
func TestPictures(t *testing.T) {
	r := image.Rect(0, 0, 5, 3)
	grey, grey16, nrgba, palette := image.NewGray(r), image.NewGray16(r), image.NewNRGBA(r), image.NewPaletted(r, color.Palette{color.RGBA{9, 8, 7, 255}, color.RGBA{1, 2, 3, 255}})
	rgba64 := image.NewNRGBA64(r)
	for y := range 3 {
		for x := range 5 {
			i := y*5 + x
			grey.SetGray(x, y, color.Gray{uint8(17 * i)})
			grey16.SetGray16(x, y, color.Gray16{uint16(4000 * i)})
			nrgba.SetNRGBA(x, y, color.NRGBA{uint8(i), uint8(2 * i), uint8(200 - i), uint8(255 - 10*i)})
			rgba64.SetNRGBA64(x, y, color.NRGBA64{uint16(i), uint16(3000 * i), uint16(40000 - i), 65535})
			palette.SetColorIndex(x, y, uint8(i%2))
		}
	}
	encode := func(m image.Image) []byte {
		var b bytes.Buffer
		require.NoError(t, png.Encode(&b, m))
		return b.Bytes()
	}
	get := func(b []byte) (Header, []float32) {
		m, err := Open(fstest.MapFS{"p": &fstest.MapFile{Data: b}}, "p", Options{})
		require.NoError(t, err)
		v, err := m.Read(nil)
		require.NoError(t, err)
		return m.Header(), v
	}
	h, v := get(encode(grey))
	assert.Equal(t, 1, h.Channels)
	assert.Equal(t, []int{3, 5}, h.Size)
	h16, v16 := get(encode(grey16))
	assert.Equal(t, "uint16", h16.Type)
	hc, c := get(encode(nrgba))
	assert.Equal(t, 3, hc.Channels)
	hd, d := get(encode(rgba64))
	assert.Equal(t, "uint16", hd.Type)
	_, p := get(encode(palette))
	for i := range 15 {
		assert.Equal(t, float32(17*i), v[i])
		assert.Equal(t, float32(4000*i), v16[i])
		assert.Equal(t, []float32{float32(i), float32(2 * i), float32(200 - i)}, []float32{c[i], c[15+i], c[30+i]})
		assert.Equal(t, []float32{float32(i), float32(3000 * i), float32(40000 - i)}, []float32{d[i], d[15+i], d[30+i]})
		assert.Equal(t, []float32{9 - 8*float32(i%2), 8 - 6*float32(i%2), 7 - 4*float32(i%2)}, []float32{p[i], p[15+i], p[30+i]})
	}
	var j bytes.Buffer
	require.NoError(t, jpeg.Encode(&j, grey, &jpeg.Options{Quality: 100}))
	h, v = get(j.Bytes())
	assert.Equal(t, "JPEG", h.Format)
	assert.Equal(t, 1, h.Channels)
	for i := range v {
		assert.InDelta(t, 17*i, v[i], 8)
	}
	j.Reset()
	require.NoError(t, jpeg.Encode(&j, nrgba, nil))
	h, v = get(j.Bytes())
	assert.Equal(t, 3, h.Channels)
	assert.Len(t, v, 45)

	// A picture that claims more than its bytes can hold costs nothing.
	b := encode(grey)
	binary.BigEndian.PutUint32(b[16:], 60000)
	binary.BigEndian.PutUint32(b[20:], 60000)
	binary.BigEndian.PutUint32(b[29:], pngCRC(b[12:29]))
	used := allocated(func() {
		_, err := Open(fstest.MapFS{"p": &fstest.MapFile{Data: b}}, "p", Options{MaxBytes: 1 << 40})
		assert.ErrorContains(t, err, "damaged")
	})
	assert.Less(t, used, uint64(1<<20))
	for n := range len(b) {
		b := encode(grey)
		m, err := Open(fstest.MapFS{"p": &fstest.MapFile{Data: b[:min(n, len(b)-16)]}}, "p", Options{})
		if err == nil {
			_, err = m.Read(nil)
		}
		assert.Error(t, err, n)
	}
}

func pngCRC(b []byte) uint32 {
	c := ^uint32(0)
	for _, x := range b {
		c ^= uint32(x)
		for range 8 {
			c = c>>1 ^ 0xedb88320*(c&1)
		}
	}
	return ^c
}

func npyFile(descr, fortran, shape string, data []byte) []byte {
	h := fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }", descr, fortran, shape)
	for (10+len(h)+1)%64 != 0 {
		h += " "
	}
	h += "\n"
	return append(append([]byte("\x93NUMPY\x01\x00"), byte(len(h)), byte(len(h)>>8)), append([]byte(h), data...)...)
}

func TestNPY(t *testing.T) {
	data := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17}
	get := func(b []byte) (Header, []float32) {
		m, err := Open(fstest.MapFS{"a": &fstest.MapFile{Data: b}}, "a", Options{})
		require.NoError(t, err)
		v, err := m.Read([]float32{-1})
		require.NoError(t, err)
		return m.Header(), v
	}
	h, v := get(npyFile("|u1", "False", "(3, 6)", data))
	assert.Equal(t, []int{3, 6}, h.Size)
	assert.Equal(t, float32(-1), v[0], "Read appends")
	assert.Equal(t, float32(17), v[18])
	h, v = get(npyFile("|u1", "True", "(3, 6)", data))
	assert.Equal(t, []int{3, 6}, h.Size)
	assert.Equal(t, []float32{0, 3, 6, 9, 12, 15, 1}, v[1:8])
	h, v = get(npyFile("|u1", "False", "(2, 3, 3)", data))
	assert.Equal(t, 3, h.Channels)
	assert.Equal(t, []int{2, 3}, h.Size)
	assert.Equal(t, []float32{0, 3, 6, 9, 12, 15, 1}, v[1:8])
	h, _ = get(npyFile(">u2", "False", "(3, 3, 1)", data))
	assert.Equal(t, []int{3, 3, 1}, h.Size)
	assert.Equal(t, "uint16", h.Type)
	_, err := Open(fstest.MapFS{"a": &fstest.MapFile{Data: npyFile("|u1", "False", "(3, 7)", data)}}, "a", Options{})
	assert.ErrorContains(t, err, "cut short")
}

// seeds adds small shared files to a fuzz corpus.
func seeds(f *testing.F, add func([]byte)) {
	dir := testdata.Data.Path()
	n := 0
	for _, part := range []string{"nifti", "hostile"} {
		filepath.WalkDir(filepath.Join(dir, part), func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil
			}
			if s, err := d.Info(); err == nil && s.Size() < 2048 {
				if b, err := os.ReadFile(p); err == nil {
					add(b)
					n++
				}
			}
			return nil
		})
	}
	if n == 0 {
		f.Logf("no shared test data in %s: seeds made here only", dir)
	}
}

func FuzzOpen(f *testing.F) {
	b := file(f, [3]int{2, 3, 2})
	f.Add(b)
	f.Add(gz(b))
	m := image.NewGray(image.Rect(0, 0, 4, 4))
	var w bytes.Buffer
	png.Encode(&w, m)
	f.Add(bytes.Clone(w.Bytes()))
	w.Reset()
	jpeg.Encode(&w, m, nil)
	f.Add(bytes.Clone(w.Bytes()))
	f.Add(npyFile("<f4", "True", "(2, 2)", make([]byte, 16)))
	seeds(f, func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) {
		checkRead(t, fstest.MapFS{"f.nii": &fstest.MapFile{Data: b}}, "f.nii")
	})
}

func FuzzPair(f *testing.F) {
	b := file(f, [3]int{2, 3, 2})
	copy(b[offMagic:], "ni1\x00")
	binary.LittleEndian.PutUint32(b[offVoxOffset:], 0)
	f.Add(b[:niftiHeaderSize], b[niftiHeaderSize+4:])
	f.Add(gz(b[:niftiHeaderSize]), gz(b[niftiHeaderSize+4:]))
	f.Fuzz(func(t *testing.T, hdr, img []byte) {
		checkRead(t, fstest.MapFS{"f.hdr": &fstest.MapFile{Data: hdr}, "f.img": &fstest.MapFile{Data: img}}, "f.img")
	})
}

// checkRead: no panic; a header that was accepted is kept to.
func checkRead(t *testing.T, fsys fs.FS, name string) {
	m, err := Open(fsys, name, Options{Frame: 1, MaxBytes: 16 << 20})
	if err != nil {
		return
	}
	h := m.Header()
	if n := len(h.Size); n < 2 || n > 3 || h.Len() < 1 || len(h.Spacing) != n || h.Frames < 1 {
		t.Fatalf("header %+v", h)
	}
	if v, err := m.Read(nil); err == nil && len(v) != h.Len() {
		t.Fatalf("%d values for %+v", len(v), h)
	}
}

// TestWriteChannels: several volumes are one 4-D file, read back as channels.
func TestWriteChannels(t *testing.T) {
	size := [3]int{3, 4, 2}
	values := make([]float32, 2*24)
	for i := range values {
		values[i] = float32(i) / 7
	}
	affine := [4][4]float64{{0, -2, 0, 10}, {0, 0, 1.25, -4}, {-1.5, 0, 0, 9}, {0, 0, 0, 1}}
	name := filepath.Join(t.TempDir(), "a.nii.gz")
	require.NoError(t, WriteChannelsFile(name, 2, size, affine, values))
	m, err := Open(OS, name, Options{FramesAsChannels: true})
	require.NoError(t, err)
	h := m.Header()
	require.Equal(t, []int{3, 4, 2}, h.Size)
	require.Equal(t, 2, h.Channels)
	require.Equal(t, affine, h.Affine)
	got, err := m.Read(nil)
	require.NoError(t, err)
	require.Equal(t, values, got)
	require.ErrorContains(t, WriteChannels(io.Discard, 1<<15, [3]int{1, 1, 1}, affine, make([]float32, 1<<15)), "length 32768")
}
