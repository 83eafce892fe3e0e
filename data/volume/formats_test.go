package volume

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"wgjepa/internal/testdata"
)

// formats is what other programs read (testdata/expected_formats.py).
type formats struct {
	Files  map[string]expected
	Made   map[string]madeFile
	Series map[string]madeSeries
}

// madeSeries is a DICOM series, or what is wrong with it.
type madeSeries struct {
	madeFile
	Notes, Error string
}

// madeFile are small files that other programs wrote; the first by name without .img and
// .raw is opened.
type madeFile struct {
	expected
	Files map[string]string // base64
}

func (m madeFile) fsys(t testing.TB) (fstest.MapFS, string) {
	fsys, first := fstest.MapFS{}, ""
	for name, s := range m.Files {
		b, err := base64.StdEncoding.DecodeString(s)
		require.NoError(t, err)
		fsys["d/"+name] = &fstest.MapFile{Data: b}
		switch filepath.Ext(name) {
		case ".img", ".raw", ".zraw", ".gz":
		default:
			first = "d/" + name
		}
	}
	return fsys, first
}

func readFormats(t testing.TB) (f formats) {
	b, err := os.ReadFile("../testdata/formats.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &f))
	return f
}

// equalImage holds an image to what another program read: (C, x, y, z).
func equalImage(t *testing.T, name string, e expected, m Image) {
	t.Helper()
	h := m.Header()
	assert.Equal(t, e.Shape, append([]int{h.Channels}, h.Size...), name)
	assert.Equal(t, e.Frames, h.Frames, name)
	for i := range 3 {
		assert.InDeltaSlice(t, e.Affine[i][:], h.Affine[i][:], 1e-4, "%s: affine row %d", name, i)
	}
	v, err := m.Read(nil)
	require.NoError(t, err, name)
	require.Len(t, v, h.Len(), name)
	equalStatistics(t, name, e, v)
}

// TestFormats holds NIfTI-2, colour NIfTI, NRRD and MetaImage to nibabel and SimpleITK.
func TestFormats(t *testing.T) {
	dir := testdata.Data.Find(t, ".")
	f := readFormats(t)
	require.Greater(t, len(f.Files), 18)
	for name, e := range f.Files {
		m, err := Open(OS, filepath.Join(dir, name), Options{Frame: 1})
		require.NoError(t, err, name)
		equalImage(t, name, e, m)
	}
}

// TestNRRD: what SimpleITK does not read, bzip2 and an axis without direction.
func TestNRRD(t *testing.T) {
	dir := testdata.Data.Find(t, "nrrd_mha/pynrrd")
	assert.Equal(t, read(t, filepath.Join(dir, "BallBinary30x30x30.nrrd")), read(t, filepath.Join(dir, "BallBinary30x30x30_bz2.nrrd")))
	m, err := Open(OS, filepath.Join(dir, "test_simple4d_raw.nrrd"), Options{})
	require.NoError(t, err)
	assert.Equal(t, []int{1, 1, 1}, m.Header().Size)
	assert.Equal(t, [4][4]float64{{1.5, 0, 0, 0}, {0, 1.5, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}}, m.Header().Affine)
	v, err := m.Read(nil)
	require.NoError(t, err)
	assert.Len(t, v, 1)
}

// TestMade holds what those programs wrote: oblique, compressed, detached, several channels.
func TestMade(t *testing.T) {
	f := readFormats(t)
	require.Greater(t, len(f.Made), 20)
	for name, e := range f.Made {
		fsys, first := e.fsys(t)
		m, err := Open(fsys, first, Options{Frame: 1})
		require.NoError(t, err, name)
		equalImage(t, name, e.expected, m)
		if e.Frames > 1 {
			_, err := Open(fsys, first, Options{})
			assert.ErrorContains(t, err, "4-D file of 3 volumes", name)
			all, err := Open(fsys, first, Options{FramesAsChannels: true})
			require.NoError(t, err, name)
			assert.Equal(t, 3, all.Header().Channels)
			v, err := all.Read(nil)
			require.NoError(t, err)
			n := len(v) / 3
			for frame := range 3 {
				one, err := Open(fsys, first, Options{Frame: frame + 1})
				require.NoError(t, err, name)
				w, err := one.Read(nil)
				require.NoError(t, err)
				assert.Equal(t, v[frame*n:(frame+1)*n], w, name)
			}
			_, err = Open(fsys, first, Options{Frame: 4})
			assert.ErrorContains(t, err, "volume 4 is wanted")
		}
	}
}

// TestMadeDamaged cuts those files short everywhere: always an error, never a panic.
func TestMadeDamaged(t *testing.T) {
	for name, e := range readFormats(t).Made {
		fsys, first := e.fsys(t)
		for file, f := range fsys {
			whole := f.Data
			end := len(bytes.TrimRight(whole, "\n"))
			if filepath.Ext(file) == ".tif" {
				end -= 8 // padding
			}
			for n := range end {
				fsys[file] = &fstest.MapFile{Data: whole[:n]}
				m, err := Open(fsys, first, Options{Frame: max(e.Frames, 1)})
				if err == nil {
					_, err = m.Read(nil)
				}
				require.Error(t, err, "%s: %s, %d of %d bytes", name, file, n, len(whole))
			}
			fsys[file] = f
		}
	}
}

// TestHostileHeaders: absurd claims get a clear error and cost little memory.
func TestHostileHeaders(t *testing.T) {
	const nrrd = "NRRD0004\ntype: short\ndimension: 3\nsizes: 4 5 6\nencoding: raw\nendian: little\n"
	const mha = "ObjectType = Image\nNDims = 3\nDimSize = 4 5 6\nElementType = MET_SHORT\n"
	pixels := string(make([]byte, 240))
	for content, want := range map[string]string{
		"NRRD0004\ntype: short\ndimension: 3\nsizes: 2000000000 2000000000 2000000000\nencoding: raw\nendian: little\n\n": "above the limit",
		"NRRD0004\ntype: short\ndimension: 3\nsizes: 700 700 700\nencoding: gzip\nendian: little\n\n" + pixels:            "cut short or damaged",
		"NRRD0004\ntype: short\ndimension: 3\nsizes: 700 700 700\nencoding: text\nendian: little\n\n1 2 3":                "cut short or damaged",
		"NRRD0004\ntype: short\ndimension: 3\nsizes: 500 500 500\nencoding: bzip2\nendian: little\n\nBZh9":                "pixels end after 0",
		"NRRD0004\ntype: short\ndimension: 99999\nsizes: 1\n\n":                                                           "dimension \"99999\"",
		nrrd + "space directions: (1,0,0) (0,1,0)\n\n" + pixels:                                                           "2 space directions for 3 axes",
		nrrd + "space directions: (1,0,0) (0,1,0) (0,0,nan)\n\n" + pixels:                                                 "is no number",
		nrrd + "space directions: (1,0,0) (0,1,0) (0,0,1\n\n" + pixels:                                                    "is no vector",
		nrrd + "data file: /etc/passwd\n\n":                                                                               "must lie in the header's folder",
		nrrd + "data file: ../secret.raw\n\n":                                                                             "must lie in the header's folder",
		nrrd + "data file: none.raw\n\n":                                                                                  "the file of its pixels: file does not exist",
		nrrd + "data file: LIST\na.raw\n\n":                                                                               "list of files",
		nrrd + "data file: a%02d.raw 1 3 1\n\n":                                                                           "series of files",
		nrrd:                                                                                                              "ends without an empty line",
		nrrd + "line skip: 9\n\n" + pixels:                                                                                "ends before its voxels",
		nrrd + "byte skip: 400\n\n" + pixels:                                                                              "cut short or damaged",
		nrrd + "kinds: complex domain domain\n\n":                                                                         "complex numbers",
		nrrd + "nonsense\n\n":                                                                                             "neither a field nor a key",
		nrrd + string(bytes.Repeat([]byte("# a comment\n"), 10000)):                                                       "does not end",
		"NRRD0004\ntype: block\ndimension: 2\nsizes: 2 2\nencoding: raw\n\n1234":                                          "type \"block\"",
		"NRRD0004\ntype: short\ndimension: 2\nsizes: 2 2\nencoding: hex\n\n1234":                                          "encoding \"hex\"",
		"NRRD0004\ntype: short\ndimension: 2\nsizes: 2 2\nencoding: raw\n\n12341234":                                      "endian",
		"NRRD0004\ntype: uchar\ndimension: 2\nsizes: 2 2\nencoding: text\n\n1 2 x 4":                                      "is no number",
		mha:                                  "does not say where the data are",
		mha + "ElementDataFile = LIST\n":     "several files",
		mha + "ElementDataFile = ../a.raw\n": "must lie in the header's folder",
		mha + "ElementDataFile = LOCAL\n":    "cut short",
		mha + "HeaderSize = -2\nElementDataFile = LOCAL\n" + pixels:             "HeaderSize",
		mha + "TransformMatrix = 1 0 0\nElementDataFile = LOCAL\n" + pixels:     "3 numbers, must be 9",
		mha + "ElementNumberOfChannels = 0\nElementDataFile = LOCAL\n" + pixels: "ElementNumberOfChannels",
		mha + "nonsense\n": "is no field",
		"ObjectType = Tube\nNDims = 3\nElementDataFile = LOCAL\n":                                                              "no Image",
		"NDims = 3\nDimSize = 2000000000 2000000000 2000000000\nElementType = MET_SHORT\nElementDataFile = LOCAL\n":            "above the limit",
		"NDims = 3\nDimSize = 700 700 700\nElementType = MET_SHORT\nCompressedData = True\nElementDataFile = LOCAL\n" + pixels: "cut short or damaged",
		"NDims = 3\nDimSize = 2 2 -1\nElementType = MET_SHORT\nElementDataFile = LOCAL\n":                                      "axis 3 has length -1",
		"NDims = 3\nDimSize = 2 2 2\nElementType = MET_SHORT_ARRAY\nElementDataFile = LOCAL\n":                                 "MET_SHORT_ARRAY",
		"II*\x00\x00\x00\x00\x00":                         "without a page",
		"II*\x00\xff\xff\x00\x00":                         "outside the file",
		"II*\x00\x08\x00\x00\x00\x00\x00\x08\x00\x00\x00": "go round in a circle",
	} {
		used := allocated(func() {
			m, err := Open(fstest.MapFS{"d/f": &fstest.MapFile{Data: []byte(content)}}, "d/f", Options{})
			if err == nil {
				_, err = m.Read(nil)
			}
			assert.ErrorContains(t, err, want, "%.200q", content)
		})
		assert.Less(t, used, uint64(mostMemory), "%.200q", content)
	}
}

// TestMutated changes bytes of every file at random: no panic, and memory stays bounded.
func TestMutated(t *testing.T) {
	f := readFormats(t)
	made := f.Made
	for name, s := range f.Series {
		made["DICOM "+name] = s.madeFile
	}
	r := rand.New(rand.NewPCG(7, 7))
	for _, name := range slices.Sorted(maps.Keys(made)) {
		fsys, first := made[name].fsys(t)
		whole := fsys[first].Data
		for range 150 {
			b := slices.Clone(whole)
			for range 1 + r.IntN(4) {
				b[r.IntN(len(b))] = []byte{0, 1, 0x7f, 0x80, 0xff, byte(r.Uint32())}[r.IntN(6)]
			}
			fsys[first] = &fstest.MapFile{Data: b}
			used := allocated(func() {
				if m, err := Open(fsys, first, Options{Frame: 1}); err == nil {
					v, err := m.Read(nil)
					if err == nil {
						assert.Len(t, v, m.Header().Len())
					}
				}
			})
			require.Less(t, used, uint64(mostMemory), name)
		}
	}
}

// fuzzMade adds what other programs wrote whose first file ends so.
func fuzzMade(f *testing.F, suffixes ...string) {
	for _, e := range readFormats(f).Made {
		fsys, first := e.fsys(f)
		var other []byte
		for name, file := range fsys {
			if name != first {
				other = file.Data
			}
		}
		if slices.Contains(suffixes, filepath.Ext(first)) {
			f.Add(fsys[first].Data, other)
		}
	}
	f.Fuzz(func(t *testing.T, b, other []byte) {
		fsys := fstest.MapFS{"f" + suffixes[0]: &fstest.MapFile{Data: b}}
		for _, name := range []string{"f.img", "f.raw", "nhdr-int16.raw", "nhdr-float64.raw", "mhd-int16.raw", "nhdr-uint8-compressed.raw.gz", "mhd-uint8-compressed.zraw"} {
			fsys[name] = &fstest.MapFile{Data: other}
		}
		checkRead(t, fsys, "f"+suffixes[0])
	})
}

func FuzzNIfTI2(f *testing.F)    { fuzzMade(f, ".nii", ".hdr") }
func FuzzAnalyze(f *testing.F)   { fuzzMade(f, ".hdr") }
func FuzzNRRD(f *testing.F)      { fuzzMade(f, ".nrrd", ".nhdr") }
func FuzzMetaImage(f *testing.F) { fuzzMade(f, ".mha", ".mhd") }

// TestTIFFStorage: what is stored in a way that the decoder would take for another is
// refused with what to do, not read inverted nor called damaged.
func TestTIFFStorage(t *testing.T) {
	page := func(format, compression, photometric, samples, planes uint16) []byte {
		le := binary.LittleEndian
		b := []byte("II*\x00\x08\x00\x00\x00")
		bits, entries := uint16(8), [][4]uint16{{256, 3, 1, 2}, {257, 3, 1, 2}, {258, 3, 1, 0}, {259, 3, 1, compression}, {262, 3, 1, photometric}, {273, 3, 1, 200}, {277, 3, 1, samples}, {278, 3, 1, 2}, {279, 3, 1, 12}, {284, 3, 1, planes}, {339, 3, 1, format}}
		b = le.AppendUint16(b, uint16(len(entries)))
		for _, e := range entries {
			if e[0] == 258 {
				e[3] = bits
				if samples == 3 {
					e[2], e[3] = 3, 180
				}
			}
			b = le.AppendUint16(le.AppendUint16(b, e[0]), e[1])
			b = le.AppendUint32(le.AppendUint32(b, uint32(e[2])), uint32(e[3]))
		}
		b = append(b, make([]byte, 212-len(b))...)
		for i := range 3 {
			le.PutUint16(b[180+2*i:], 8)
		}
		return b
	}
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"plain":    {page(1, 1, 1, 1, 1), ""},
		"colour":   {page(1, 1, 2, 3, 1), ""},
		"signed":   {page(2, 1, 1, 1, 1), "TIFF page 1: sample format is not read: save it with unsigned 8 or 16 bits"},
		"JPEG":     {page(1, 7, 1, 1, 1), "TIFF page 1: compression value 7 is not read: save it"},
		"planes":   {page(1, 1, 2, 3, 2), "TIFF page 1: a plane for each colour is not read: save it"},
		"inverted": {page(1, 4, 1, 1, 1), "TIFF page 1: fax compression with black as 0 is not read: save it"},
	} {
		m, err := Open(fstest.MapFS{"x.tif": &fstest.MapFile{Data: c.file}}, "x.tif", Options{})
		if err == nil {
			_, err = m.Read(nil)
		}
		if c.want == "" {
			require.NoError(t, err, name)
		} else {
			require.ErrorContains(t, err, c.want, name)
		}
	}
}

func FuzzTIFF(f *testing.F) { fuzzMade(f, ".tif") }

// BenchmarkGzip reads hippocampus images, float32 and uint8, one after the other.
func BenchmarkGzip(b *testing.B) {
	files, err := filepath.Glob(filepath.Join(testdata.Data.Find(b, "hippocampus"), "images", "*"))
	require.NoError(b, err)
	var images []Image
	for _, f := range files[:64] {
		m, err := Open(OS, f, Options{})
		require.NoError(b, err)
		images = append(images, m)
	}
	var v []float32
	n := 0
	for b.Loop() {
		v, err = images[n%64].Read(v[:0])
		require.NoError(b, err)
		b.SetBytes(int64(4 * len(v)))
		n++
	}
}
