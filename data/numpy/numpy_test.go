package numpy

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"wgjepa/internal/testdata"
)

// npy is an array file as numpy.save writes it.
func npy(descr, fortran, shape string, data []byte) []byte {
	h := fmt.Sprintf("{'descr': %s, 'fortran_order': %s, 'shape': %s, }", descr, fortran, shape)
	for (10+len(h)+1)%64 != 0 {
		h += " "
	}
	h += "\n"
	return append(append([]byte("\x93NUMPY\x01\x00"), byte(len(h)), byte(len(h)>>8)), append([]byte(h), data...)...)
}

// npz is an archive of named array files.
func npz(t testing.TB, method uint16, files ...any) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		f, err := w.CreateHeader(&zip.FileHeader{Name: files[i].(string), Method: method})
		require.NoError(t, err)
		_, err = f.Write(files[i+1].([]byte))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func open(b []byte) (*Archive, error) {
	return OpenArchive(bytes.NewReader(b), int64(len(b)), 1<<40)
}

func TestTypes(t *testing.T) {
	for _, o := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		mark := map[string]string{"LittleEndian": "<", "BigEndian": ">"}[o.String()]
		for descr, f := range map[string]func([]byte, int) []byte{
			"u1": func(b []byte, v int) []byte { return append(b, byte(v)) },
			"i1": func(b []byte, v int) []byte { return append(b, byte(v)) },
			"u2": func(b []byte, v int) []byte { return o.AppendUint16(b, uint16(v)) },
			"i2": func(b []byte, v int) []byte { return o.AppendUint16(b, uint16(v)) },
			"u4": func(b []byte, v int) []byte { return o.AppendUint32(b, uint32(v)) },
			"i4": func(b []byte, v int) []byte { return o.AppendUint32(b, uint32(v)) },
			"u8": func(b []byte, v int) []byte { return o.AppendUint64(b, uint64(v)) },
			"i8": func(b []byte, v int) []byte { return o.AppendUint64(b, uint64(v)) },
			"f4": func(b []byte, v int) []byte { return o.AppendUint32(b, math.Float32bits(float32(v))) },
			"f8": func(b []byte, v int) []byte { return o.AppendUint64(b, math.Float64bits(float64(v))) },
		} {
			var data []byte
			var want []float32
			for _, v := range []int{0, 1, 77, 127, -1} {
				if descr[0] == 'u' && v < 0 {
					v = 100
				}
				data, want = f(data, v), append(want, float32(v))
			}
			h, got, err := Read(bytes.NewReader(npy("'"+mark+descr+"'", "False", "(5,)", data)), nil, -1, 1<<20)
			require.NoError(t, err)
			assert.Equal(t, want, got, mark+descr)
			assert.Equal(t, []int{5}, h.Shape)
			assert.NotEmpty(t, h.TypeName())
		}
	}
	_, got, err := Read(bytes.NewReader(npy("'|b1'", "False", "(2, 1)", []byte{0, 1})), nil, -1, 1<<20)
	require.NoError(t, err)
	assert.Equal(t, []float32{0, 1}, got)
	// binary16: 1, −2, smallest subnormal, largest, infinity, NaN, −0.
	var b []byte
	for _, h := range []uint16{0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00, 0x7e00, 0x8000} {
		b = binary.LittleEndian.AppendUint16(b, h)
	}
	_, got, err = Read(bytes.NewReader(npy("'<f2'", "False", "(7,)", b)), nil, -1, 1<<20)
	require.NoError(t, err)
	assert.Equal(t, []float32{1, -2, 1.0 / (1 << 24), 65504, float32(math.Inf(1))}, got[:5])
	assert.True(t, math.IsNaN(float64(got[5])))
	assert.True(t, math.Signbit(float64(got[6])))
}

// TestFortran reorders first-axis-fastest arrays of three axes.
func TestFortran(t *testing.T) {
	var data []byte
	for i := range 24 {
		data = append(data, byte(i))
	}
	_, got, err := Read(bytes.NewReader(npy("'|u1'", "True", "(2, 3, 4)", data)), nil, -1, 1<<20)
	require.NoError(t, err)
	for x := range 2 {
		for y := range 3 {
			for z := range 4 {
				assert.Equal(t, float32(x+2*(y+3*z)), got[(x*3+y)*4+z])
			}
		}
	}
}

func TestHeaderErrors(t *testing.T) {
	for want, b := range map[string][]byte{
		"no header":                  []byte("\x93NUM"),
		"not an .npy":                []byte("PK\x03\x04 something"),
		"version 9":                  []byte("\x93NUMPY\x09\x00\x00\x00\x00\x00\x00"),
		"longer than":                []byte("\x93NUMPY\x02\x00\xff\xff\xff\x7f"),
		"cut short":                  []byte("\x93NUMPY\x01\x00\x40\x00{'descr"),
		"no descr":                   []byte("\x93NUMPY\x01\x00\x02\x00{}"),
		"Python objects":             npy("'|O'", "False", "(3,)", nil),
		"records":                    npy("[('a', '<f4')]", "False", "(3,)", nil),
		"type \"c8\"":                npy("'<c8'", "False", "(3,)", nil),
		"fortran_order is \"Maybe\"": npy("'<f4'", "Maybe", "(3,)", nil),
		"not a tuple":                npy("'<f4'", "False", "(3, -1)", nil),
		"too large":                  npy("'<f4'", "False", "(2000000000, 2000000000, 2000000000)", nil),
		"needs 40 bytes":             npy("'<f4'", "False", "(10,)", make([]byte, 39)),
	} {
		_, _, err := Read(bytes.NewReader(b), nil, int64(len(b)), 1<<30)
		assert.ErrorContains(t, err, want)
	}
	_, _, err := Read(bytes.NewReader(npy("'<f4'", "False", "(10,)", make([]byte, 40))), nil, -1, 39)
	assert.ErrorContains(t, err, "above the limit")
}

// TestMedMNIST holds the official files to what NumPy reads (testdata/expected.py),
// from memory and from a temporary file.
func TestMedMNIST(t *testing.T) {
	dir := testdata.Data.Find(t, ".")
	type figures struct {
		Shape     []int
		Sum, Ones int64
		Last      struct {
			Checksum, Mean float64
		}
	}
	var want struct{ Npz map[string]map[string]figures }
	b, err := os.ReadFile("../testdata/expected.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &want))
	require.Len(t, want.Npz, 3)
	for name, splits := range want.Npz {
		f, err := os.Open(filepath.Join(dir, name))
		require.NoError(t, err)
		defer f.Close()
		s, err := f.Stat()
		require.NoError(t, err)
		a, err := OpenArchive(f, s.Size(), 1<<30)
		require.NoError(t, err)
		require.Len(t, a.Names(), 6)
		for split, e := range splits {
			_, labels, err := a.Read(split+"_labels", nil)
			require.NoError(t, err)
			ones := int64(0)
			for _, l := range labels {
				ones += int64(l)
			}
			assert.Equal(t, e.Ones, ones, name)
			large := filepath.Base(name) == "adrenalmnist3d_64.npz"
			if large && split == "train" { // 311 MB inflated: as the others, only slower
				h, err := a.Header(split + "_images")
				require.NoError(t, err)
				assert.Equal(t, e.Shape, h.Shape)
				continue
			}
			for _, memory := range []int64{1 << 30, 0} {
				rows, err := a.Rows(split+"_images", memory)
				require.NoError(t, err)
				assert.Equal(t, e.Shape, rows.Shape)
				var v []float32
				sum := int64(0)
				for i := range rows.Shape[0] {
					if v, err = rows.Read(i, v[:0]); err != nil {
						t.Fatal(err)
					}
					for _, x := range v {
						sum += int64(x)
					}
				}
				assert.Equal(t, e.Sum, sum, "%s %s", name, split)
				check := 0.0
				for i, x := range v { // the last sample
					check += float64(x) * float64(i%97+1) / float64(len(v))
				}
				assert.InDelta(t, e.Last.Checksum, check, 1e-9*max(1, check), "%s %s", name, split)
			}
		}
	}
}

// TestRows reads samples in any order from stored, compressed and plain arrays.
func TestRows(t *testing.T) {
	var data []byte
	for i := range 60 {
		data = append(data, byte(i))
	}
	array := npy("'|u1'", "False", "(5, 4, 3)", data)
	check := func(r *Rows, err error) {
		t.Helper()
		require.NoError(t, err)
		for _, i := range []int{3, 0, 4, 3} {
			v, err := r.Read(i, []float32{-1})
			require.NoError(t, err)
			require.Len(t, v, 13)
			assert.Equal(t, []float32{-1, float32(12 * i), float32(12*i + 11)}, []float32{v[0], v[1], v[12]})
		}
		assert.Panics(t, func() { r.Read(5, nil) })
	}
	for _, method := range []uint16{zip.Store, zip.Deflate} {
		a, err := open(npz(t, method, "x.npy", array, "note.txt", []byte("no array")))
		require.NoError(t, err)
		assert.Equal(t, []string{"x"}, a.Names())
		check(a.Rows("x", 1<<20))
		check(a.Rows("x", 0)) // temporary file
		_, err = a.Rows("y", 0)
		assert.ErrorContains(t, err, `no array "y"`)
	}
	check(OpenRows(bytes.NewReader(array), int64(len(array))))
	_, err := OpenRows(bytes.NewReader(array), int64(len(array))-1)
	assert.ErrorContains(t, err, "needs 60 bytes")
	fortran := npy("'|u1'", "True", "(5, 4, 3)", data)
	_, err = OpenRows(bytes.NewReader(fortran), int64(len(fortran)))
	assert.ErrorContains(t, err, "Fortran order")
}

// TestDamagedArchive: what an archive claims costs nothing until its bytes are there.
func TestDamagedArchive(t *testing.T) {
	const most = 64 << 20
	used := func(f func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	lies := npy("'<f4'", "False", "(1000, 1000, 1000)", make([]byte, 4000))
	for _, method := range []uint16{zip.Store, zip.Deflate} {
		b := npz(t, method, "x.npy", lies)
		assert.Less(t, used(func() {
			a, err := open(b)
			require.NoError(t, err)
			_, err = a.Header("x")
			assert.ErrorContains(t, err, "its entry holds at most")
			_, err = a.Rows("x", 1<<40)
			assert.Error(t, err)
			_, _, err = a.Read("x", nil)
			assert.Error(t, err)
		}), uint64(most))
		// The directory lies as well: it declares the length that the shape needs.
		size := uint32(4_000_000_000 + 128)
		dir := bytes.Index(b, []byte("PK\x01\x02"))
		binary.LittleEndian.PutUint32(b[dir+24:], size)
		if method == zip.Store {
			binary.LittleEndian.PutUint32(b[dir+20:], size)
		}
		assert.Less(t, used(func() {
			a, err := open(b)
			if err != nil {
				return
			}
			if rows, err := a.Rows("x", 1<<40); err == nil {
				_, err = rows.Read(0, nil)
				assert.Error(t, err)
			}
		}), uint64(most))
	}
	// A checksum that does not fit, more bytes than the shape needs, objects, duplicates.
	b := npz(t, zip.Deflate, "x.npy", npy("'|u1'", "False", "(4, 1)", []byte{1, 2, 3, 4}))
	dir := bytes.Index(b, []byte("PK\x01\x02"))
	b[dir+16] ^= 1
	a, err := open(b)
	require.NoError(t, err)
	_, _, err = a.Read("x", nil)
	assert.ErrorIs(t, err, zip.ErrChecksum)
	rows, err := a.Rows("x", 1<<20)
	require.NoError(t, err)
	_, err = rows.Read(0, nil)
	assert.ErrorIs(t, err, zip.ErrChecksum)

	a, err = open(npz(t, zip.Deflate, "x.npy", npy("'|u1'", "False", "(3, 1)", []byte{1, 2, 3, 4})))
	require.NoError(t, err)
	_, _, err = a.Read("x", nil)
	assert.ErrorContains(t, err, "more bytes than its shape")

	_, err = open(npz(t, zip.Deflate, "x.npy", npy("'|u1'", "False", "(0,)", nil), "x.npy", npy("'|u1'", "False", "(0,)", nil)))
	assert.ErrorContains(t, err, "twice")
	_, err = open(npz(t, zip.Deflate, "readme.txt", []byte("hello")))
	assert.ErrorContains(t, err, "without .npy arrays")
	_, err = open([]byte("PK\x03\x04 but not a zip"))
	assert.ErrorContains(t, err, "not an .npz")
}

// TestHostile refuses pickled objects in the shared archives.
func TestHostile(t *testing.T) {
	dir := testdata.Data.Find(t, "hostile/npy")
	for _, name := range []string{"py2-objarr.npz", "py3-objarr.npz"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		a, err := open(b)
		require.NoError(t, err)
		for _, n := range a.Names() {
			_, _, err := a.Read(n, nil)
			assert.ErrorContains(t, err, "Python objects", name)
		}
	}
}

func FuzzNPY(f *testing.F) {
	f.Add(npy("'<f4'", "False", "(2, 3)", make([]byte, 24)))
	f.Add(npy("'>i2'", "True", "(2, 3,)", make([]byte, 12)))
	f.Add(npy("'|O'", "False", "()", nil))
	fuzzSeeds(f, "*.npy")
	f.Fuzz(func(t *testing.T, b []byte) {
		h, v, err := Read(bytes.NewReader(b), nil, int64(len(b)), 16<<20)
		if err == nil && len(v) != h.Len() {
			t.Fatalf("%d values of %v", len(v), h.Shape)
		}
	})
}

func FuzzNPZ(f *testing.F) {
	a := npy("'<f4'", "False", "(2, 3)", make([]byte, 24))
	f.Add(npz(f, zip.Deflate, "train_images.npy", a, "train_labels.npy", npy("'|u1'", "False", "(2, 1)", []byte{0, 1})))
	f.Add(npz(f, zip.Store, "x.npy", a))
	fuzzSeeds(f, "*.npz")
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := OpenArchive(bytes.NewReader(b), int64(len(b)), 16<<20)
		if err != nil {
			return
		}
		for _, n := range a.Names() {
			if h, v, err := a.Read(n, nil); err == nil && len(v) != h.Len() {
				t.Fatalf("%d values of %v", len(v), h.Shape)
			}
			if r, err := a.Rows(n, 1<<20); err == nil && r.Shape[0] > 0 {
				r.Read(r.Shape[0]-1, nil)
			}
		}
	})
}

func fuzzSeeds(f *testing.F, pattern string) {
	dir := testdata.Data.Path()
	files, _ := filepath.Glob(filepath.Join(dir, "hostile/npy", pattern))
	if len(files) == 0 {
		f.Logf("no shared test data in %s: seeds made here only", dir)
	}
	for _, name := range files {
		if b, err := os.ReadFile(name); err == nil {
			f.Add(b)
		}
	}
}
