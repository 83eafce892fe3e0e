package data

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"wgjepa/data/phantom"
	"wgjepa/data/transform"
	"wgjepa/data/volume"
	"wgjepa/internal/testdata"
)

// nii is a small volume file whose values depend on its seed.
func nii(size [3]int, seed float32) []byte {
	v := make([]float32, size[0]*size[1]*size[2])
	for i := range v {
		v[i] = seed + float32(i*i%17)/3
	}
	var b bytes.Buffer
	if err := volume.WriteNIfTI(&b, size, volume.Identity(), v); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func labelMap(size [3]int, f func(i int) uint8) []byte {
	v := make([]uint8, size[0]*size[1]*size[2])
	for i := range v {
		v[i] = f(i)
	}
	var b bytes.Buffer
	if err := volume.WriteNIfTI(&b, size, volume.Identity(), v); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func pic(w, h, channels int, seed uint8) []byte {
	var b bytes.Buffer
	r := image.Rect(0, 0, w, h)
	if channels == 1 {
		m := image.NewGray(r)
		for i := range m.Pix {
			m.Pix[i] = seed + uint8(3*i)
		}
		png.Encode(&b, m)
	} else {
		m := image.NewNRGBA(r)
		for i := range m.Pix {
			m.Pix[i] = seed + uint8(3*i)
		}
		m.SetNRGBA(0, 0, color.NRGBA{1, 2, 3, 200})
		png.Encode(&b, m)
	}
	return b.Bytes()
}

func npy(descr, shape string, data []byte) []byte {
	h := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr, shape)
	for (10+len(h)+1)%64 != 0 {
		h += " "
	}
	h += "\n"
	return append(append([]byte("\x93NUMPY\x01\x00"), byte(len(h)), byte(len(h)>>8)), append([]byte(h), data...)...)
}

func npz(files map[string][]byte) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	names := []string{}
	for n := range files {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		f, _ := w.Create(n)
		f.Write(files[n])
	}
	w.Close()
	return b.Bytes()
}

// mem is a file system in memory.
func mem(files map[string][]byte) fstest.MapFS {
	m := fstest.MapFS{}
	for n, b := range files {
		m[n] = &fstest.MapFile{Data: b}
	}
	return m
}

func samples(t testing.TB, d Dataset) [][]float32 {
	channels, size := d.Shape()
	n := channels
	for _, s := range size {
		n *= s
	}
	out := make([][]float32, d.Len())
	for i := range out {
		out[i] = make([]float32, n)
		require.NoError(t, d.Read(i, out[i]))
	}
	return out
}

// TestHippocampus reads the real set as the published protocol does: cropped or padded
// to 32×48×32, the last 60 for testing.
func TestHippocampus(t *testing.T) {
	dir := testdata.Data.Find(t, "hippocampus")
	opt := Options{Size: []int{32, 48, 32}, Split: &SplitPlan{Test: 60, ByOrder: true}}
	d, r, err := Open([]string{dir}, opt)
	require.NoError(t, err)
	assert.Equal(t, 261, d.Len())
	channels, size := d.Shape()
	assert.Equal(t, 1, channels)
	assert.Equal(t, []int{32, 48, 32}, size)
	assert.Equal(t, 3, d.VoxelClasses())
	assert.Equal(t, 260, r.VoxelLabels)
	assert.Empty(t, r.Refused)
	assert.Zero(t, r.HeaderOnly)
	notes := strings.Join(r.Notes, "\n")
	assert.Contains(t, notes, "1 image has no file in")
	assert.Contains(t, notes, "hippocampus_118.nii.gz")
	assert.Contains(t, notes, "2 label maps have no image")
	assert.Len(t, d.Split("train"), 201)
	assert.Len(t, d.Split("test"), 60)
	assert.Empty(t, d.Split("val"))
	assert.NotNil(t, d.Split("val"), "an empty split is not all samples")
	x, l := make([]float32, 32*48*32), make([]uint8, 32*48*32)
	unlabelled := 0
	for i := range d.Len() {
		require.NoError(t, d.Read(i, x))
		mean, square := 0.0, 0.0
		for _, v := range x {
			mean += float64(v) / float64(len(x))
			square += float64(v) * float64(v) / float64(len(x))
		}
		assert.InDelta(t, 0, mean, 1e-5, d.Name(i))
		assert.InDelta(t, 1, square, 1e-5, d.Name(i))
		ok, err := d.VoxelLabels(i, l)
		require.NoError(t, err)
		if !ok {
			unlabelled++
			assert.Equal(t, "hippocampus_118.nii.gz", d.Name(i))
			continue
		}
		assert.LessOrEqual(t, slices.Max(l), uint8(2))
	}
	assert.Equal(t, 1, unlabelled)

	// One sample against the same steps by hand.
	m, err := volume.Open(volume.OS, filepath.Join(dir, "images", d.Name(40)), volume.Options{})
	require.NoError(t, err)
	raw, err := m.Read(nil)
	require.NoError(t, err)
	want := make([]float32, len(x))
	transform.CropOrPad(want, raw, 1, m.Header().Size, size, transform.Edge, 0)
	transform.ZNormalize(want, 1, nil)
	require.NoError(t, d.Read(40, x))
	assert.Equal(t, want, x)
	_, ok := d.Label(40)
	assert.False(t, ok)

	// The folder of images names the same data.
	e, _, err := Open([]string{filepath.Join(dir, "images")}, opt)
	require.NoError(t, err)
	assert.Equal(t, d.Fingerprint(), e.Fingerprint())
	assert.Equal(t, 3, e.VoxelClasses())

	// Without a size the files differ: refused, and some are named.
	_, _, err = Open([]string{dir}, Options{CacheBytes: -1})
	assert.ErrorContains(t, err, "different sizes (hippocampus_001.nii.gz is 35×51×35,")
}

// TestMedMNIST reads the official sets: 2-D, 3-D, and 64³ within a small memory.
func TestMedMNIST(t *testing.T) {
	dir := testdata.Data.Find(t, ".")
	var want struct {
		Npz map[string]map[string]struct {
			Shape []int
			Ones  int
			Last  struct{ Mean, Std, Max float64 }
		}
	}
	b, err := os.ReadFile("testdata/expected.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &want))
	for _, name := range []string{"medmnist2d/breastmnist.npz", "medmnist3d/adrenalmnist3d.npz"} {
		d, r, err := Open([]string{filepath.Join(dir, name)}, Options{Normalize: NormalizeNone})
		require.NoError(t, err)
		assert.Equal(t, []string{"0", "1"}, d.Classes())
		_, size := d.Shape()
		x := make([]float32, transformLen(size))
		for split, e := range want.Npz[name] {
			in := d.Split(split)
			require.Len(t, in, e.Shape[0])
			assert.Equal(t, e.Shape[1:], size)
			ones := 0
			for _, i := range in {
				class, ok := d.Label(i)
				require.True(t, ok)
				ones += class
			}
			assert.Equal(t, e.Ones, ones)
			require.NoError(t, d.Read(in[len(in)-1], x))
			mean := 0.0
			for _, v := range x {
				mean += float64(v) / float64(len(x))
			}
			assert.InDelta(t, e.Last.Mean, mean, 1e-6)
			assert.Equal(t, float32(e.Last.Max), slices.Max(x))
		}
		assert.Equal(t, map[string]int{"train": len(d.Split("train")), "val": len(d.Split("val")), "test": len(d.Split("test"))}, r.Splits)
		ok, err := d.VoxelLabels(0, make([]uint8, len(x)))
		assert.False(t, ok)
		assert.NoError(t, err)
	}

	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	d, r, err := Open([]string{filepath.Join(dir, "medmnist3d/adrenalmnist3d_64.npz")}, Options{CacheBytes: 8 << 20})
	require.NoError(t, err)
	x := make([]float32, 64*64*64)
	for i := 0; i < d.Len(); i += 97 {
		require.NoError(t, d.Read(i, x))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	assert.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(32<<20), "415 MB of voxels within 8 MiB of cache")
	if !testdata.Race {
		assert.Less(t, int64(after.TotalAlloc)-int64(before.TotalAlloc), int64(64<<20))
	}
	assert.LessOrEqual(t, r.CachedBytes, int64(8<<20))
}

func transformLen(size []int) int {
	n := 1
	for _, s := range size {
		n *= s
	}
	return n
}

// TestPhantoms: written and read, or generated in memory, the data set is the same.
func TestPhantoms(t *testing.T) {
	dir := t.TempDir()
	c := phantom.Config{Size: 16, Noise: 0.35}
	require.NoError(t, c.Write(dir, 12, 3))
	d, r, err := Open([]string{dir}, Options{})
	require.NoError(t, err)
	e, s, err := Phantoms(c, 12, 3, Options{CacheBytes: -1})
	require.NoError(t, err)
	assert.Equal(t, samples(t, e), samples(t, d))
	assert.Equal(t, e.Classes(), d.Classes())
	assert.Equal(t, phantom.Classes, d.Classes())
	assert.Equal(t, 6, d.VoxelClasses())
	assert.Equal(t, 6, e.VoxelClasses())
	assert.Equal(t, s.ClassCounts, r.ClassCounts)
	assert.Empty(t, r.Notes)
	assert.Empty(t, r.Ignored)
	a, b := make([]uint8, 16*16*16), make([]uint8, 16*16*16)
	for i := range d.Len() {
		assert.Equal(t, e.Name(i), d.Name(i))
		ci, _ := d.Label(i)
		cj, _ := e.Label(i)
		assert.Equal(t, ci, cj)
		for _, x := range []struct {
			d Dataset
			l []uint8
		}{{d, a}, {e, b}} {
			ok, err := x.d.VoxelLabels(i, x.l)
			require.NoError(t, err)
			require.True(t, ok)
		}
		assert.Equal(t, a, b)
	}
	for _, split := range []string{"train", "val", "test"} {
		assert.Equal(t, e.Split(split), d.Split(split))
	}
	f, _, err := Phantoms(c, 12, 4, Options{})
	require.NoError(t, err)
	assert.NotEqual(t, e.Fingerprint(), f.Fingerprint())
	_, _, err = Phantoms(phantom.Config{}, 1, 1, Options{})
	assert.Error(t, err)
	_, _, err = Phantoms(c, 0, 1, Options{})
	assert.Error(t, err)
}

// TestRefusals: what cannot be trained on together is refused with names.
func TestRefusals(t *testing.T) {
	a, b := nii([3]int{4, 5, 6}, 1), nii([3]int{4, 5, 7}, 2)
	short := a[:len(a)-1]
	nan := bytes.Clone(a)
	copy(nan[352:], []byte{0, 0, 0xc0, 0x7f})
	fsys := mem(map[string][]byte{
		"sizes/a.nii": a, "sizes/b.nii": b,
		"axes/a.nii": a, "axes/b.png": pic(4, 4, 1, 0),
		"channels/a.png": pic(4, 4, 1, 0), "channels/b.mha": append([]byte("ObjectType = Image\nNDims = 2\nDimSize = 4 4\nElementType = MET_UCHAR\nElementNumberOfChannels = 2\nElementDataFile = LOCAL\n"), make([]byte, 32)...),
		"bad/a.nii": a, "bad/b.nii": short, "bad/c.nii": a, "bad/d.nii.gz": []byte("\x1f\x8b garbage"), "bad/e.png": nil,
		"nan/a.nii": a, "nan/b.nii": nan,
		"allbad/b.nii":        short,
		"other/x.doc":         nil,
		"other/notes.md":      nil,
		"labels/images/a.nii": a, "labels/images/b.nii": a, "labels/labels/a.nii": labelMap([3]int{4, 5, 6}, func(i int) uint8 { return uint8(i % 3) }), "labels/labels/b.nii": b,
		"fraction/images/a.nii": a, "fraction/labels/a.nii": a,
		"one.npy": npy("|u1", "(4, 2, 3)", make([]byte, 24)),
	})
	for path, want := range map[string]string{
		"sizes":    "data: 2 images have 2 different sizes (a.nii is 4×5×6, b.nii is 4×5×7): set the size",
		"axes":     "a.nii has 3 axes (4×5×6), b.png has 2 (4×4)",
		"channels": "channels differ: a.png has 1, b.mha has 2",
		"bad":      "3 of 5 files cannot be used",
		"nan":      "nan/b.nii: 1 of 120 voxels are NaN or Inf",
		"allbad":   "nothing could be read",
		"other":    "no images in other",
		"labels":   "label map is [4 5 7]",
		"fraction": "labels are whole numbers",
		"one.npy":  "set the size, of three axes or of two",
		"missing":  "data: open missing: file does not exist",
	} {
		if path == "nan" {
			want = "b.nii: 1 of 120 voxels are NaN or Inf"
		}
		_, _, err := OpenFS(fsys, []string{path}, Options{})
		assert.ErrorContains(t, err, want, path)
		assert.Equal(t, path == "axes", errors.Is(err, ErrAxes), path)
	}
	_, _, err := OpenFS(fsys, []string{"bad"}, Options{})
	for _, name := range []string{"bad/b.nii", "bad/d.nii.gz", "bad/e.png: the file is empty"} {
		assert.ErrorContains(t, err, name)
	}
	_, _, err = OpenFS(fsys, nil, Options{})
	assert.ErrorContains(t, err, "no data")
	_, _, err = OpenFS(fsys, []string{"sizes"}, Options{Size: []int{4, 4}})
	assert.ErrorContains(t, err, "size 4×4 has 2 axes, but a.nii has 3")
	_, _, err = OpenFS(fsys, []string{"sizes"}, Options{Dim: 2})
	assert.ErrorContains(t, err, "has 3 axes (4×5×6), 2 are wanted")
	_, r, err := OpenFS(fsys, []string{"axes"}, Options{Dim: 3, SkipBad: true})
	require.NoError(t, err)
	assert.Equal(t, []Refusal{{Name: "axes/b.png", Reason: "has 2 axes (4×4), 3 are wanted"}}, r.Refused)

	// Skipped when asked, counted, and the good ones stay what they are.
	d, r, err := OpenFS(fsys, []string{"bad"}, Options{SkipBad: true})
	require.NoError(t, err)
	assert.Equal(t, 2, d.Len())
	assert.Equal(t, []string{"a.nii", "c.nii"}, []string{d.Name(0), d.Name(1)})
	assert.Len(t, r.Refused, 3)
	assert.Contains(t, r.String(), "refused: bad/b.nii: header declares")
	d, r, err = OpenFS(fsys, []string{"nan"}, Options{SkipBad: true})
	require.NoError(t, err)
	assert.Equal(t, 1, d.Len())
	assert.Len(t, r.Refused, 1)
	d, _, err = OpenFS(fsys, []string{"nan"}, Options{ZeroNonFinite: true, Normalize: NormalizeNone})
	require.NoError(t, err)
	assert.Zero(t, samples(t, d)[1][0])
	d, _, err = OpenFS(fsys, []string{"labels"}, Options{SkipBad: true})
	require.NoError(t, err)
	assert.Equal(t, 1, d.Len())
	assert.Equal(t, 3, d.VoxelClasses())
	// How many classes there are is not said before a label map is read.
	_, r, err = OpenFS(fsys, []string{"labels"}, Options{HeadersOnly: true})
	require.NoError(t, err)
	assert.Contains(t, r.String(), "voxel labels: 2 samples\n")

	// With a size, mixed sizes go together.
	d, _, err = OpenFS(fsys, []string{"sizes"}, Options{Size: []int{4, 4, 4}, Fit: FitResize})
	require.NoError(t, err)
	assert.Equal(t, 2, d.Len())
	// Several paths make one set.
	d, _, err = OpenFS(fsys, []string{"sizes/a.nii", "bad/c.nii"}, Options{})
	require.NoError(t, err)
	assert.Equal(t, 2, d.Len())
}

// TestGeometry: labels follow resizing and cropping.
func TestGeometry(t *testing.T) {
	size := [3]int{4, 4, 4}
	half := labelMap(size, func(i int) uint8 { return uint8(i / 32) })
	fsys := mem(map[string][]byte{"images/a.nii": half, "labels/a.nii": half})
	for _, opt := range []Options{{Size: []int{8, 8, 8}, Fit: FitResize, Normalize: NormalizeNone}, {Size: []int{2, 6, 4}, Pad: PadZero, Normalize: NormalizeNone}} {
		d, _, err := OpenFS(fsys, []string{"."}, opt)
		require.NoError(t, err)
		x := samples(t, d)[0]
		l := make([]uint8, len(x))
		ok, err := d.VoxelLabels(0, l)
		require.NoError(t, err)
		require.True(t, ok)
		for i := range x {
			assert.InDelta(t, float64(l[i]), float64(x[i]), 0.26, "%v voxel %d", opt.Size, i)
		}
		assert.Equal(t, 2, d.VoxelClasses())
	}
}

// TestTable: labels.csv by file name, base name or stem; what does not fit is said.
func TestTable(t *testing.T) {
	a := nii([3]int{2, 3, 2}, 1)
	files := map[string][]byte{"d/a.nii": a, "d/b.nii": a, "d/sub/c.nii": a, "d/x.nii": a}
	open := func(csv string) (Dataset, *Report, error) {
		files["d/labels.csv"] = []byte(csv)
		return OpenFS(mem(files), []string{"d"}, Options{})
	}
	d, r, err := open("\ufeffFile,age,Label\na.nii,3,tumour\nb,4,healthy\nc.nii,5,tumour\nnone.nii,1,healthy\nx.nii,2,\n")
	require.NoError(t, err)
	assert.Equal(t, []string{"healthy", "tumour"}, d.Classes())
	got := []int{}
	for i := range d.Len() {
		c, ok := d.Label(i)
		if !ok {
			c = -1
		}
		got = append(got, c)
	}
	assert.Equal(t, []int{1, 0, 1, -1}, got)
	assert.Equal(t, []int{1, 2}, r.ClassCounts)
	assert.Contains(t, strings.Join(r.Notes, "\n"), "labels.csv: 1 row names no image: none.nii")
	d, _, err = open("file,label\na.nii,10\nb.nii,9\nsub/c.nii,-1\n")
	require.NoError(t, err)
	assert.Equal(t, []string{"-1", "9", "10"}, d.Classes(), "numbers sort by value")
	for csv, want := range map[string]string{
		"age,label\na,1\n":           "no column says which image a row is about",
		"file,age\na,1\n":            "no column holds labels or subjects",
		"file,label\na,1\na,2\n":     "line 3 names a again and says otherwise",
		"file,label\nq,1\nr,2\n":     "none of its 2 names (q, r) is that of one of the 4 images (a.nii, b.nii, sub/c.nii, x.nii)",
		"file,label\n\"a,1\n":        "labels.csv",
		"":                           "labels.csv",
		"file,label\na.nii,\"x\"y\n": "labels.csv",
	} {
		_, _, err := open(csv)
		assert.ErrorContains(t, err, want, csv)
	}
}

// TestFolders: pictures take class and split from their folders.
func TestFolders(t *testing.T) {
	files := map[string][]byte{}
	for i, split := range []string{"train", "val", "test"} {
		for j, class := range []string{"cat", "dog"} {
			for k := range 3 - i {
				files[fmt.Sprintf("p/%s/%s/%d.png", split, class, k)] = pic(5, 4, 3, uint8(100*i+10*j+k))
			}
		}
	}
	d, r, err := OpenFS(mem(files), []string{"p"}, Options{})
	require.NoError(t, err)
	assert.Equal(t, []string{"cat", "dog"}, d.Classes())
	assert.Equal(t, map[string]int{"train": 6, "val": 4, "test": 2}, r.Splits)
	channels, size := d.Shape()
	assert.Equal(t, 3, channels)
	assert.Equal(t, []int{4, 5}, size)
	for _, i := range d.Split("val") {
		assert.True(t, strings.HasPrefix(d.Name(i), "val/"))
		c, ok := d.Label(i)
		assert.True(t, ok)
		assert.Contains(t, d.Name(i), d.Classes()[c])
	}
	d, _, err = OpenFS(mem(files), []string{"p/train"}, Options{})
	require.NoError(t, err)
	assert.Equal(t, []string{"cat", "dog"}, d.Classes())
	d, _, err = OpenFS(mem(files), []string{"p/train/cat"}, Options{})
	require.NoError(t, err)
	assert.Empty(t, d.Classes())
}

// TestArrays: plain .npz and .npy sets, their shapes and labels, and what is refused.
func TestArrays(t *testing.T) {
	bytesOf := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i)
		}
		return b
	}
	for _, c := range []struct {
		name     string
		content  []byte
		opt      Options
		n, c     int
		size     []int
		classes  []string
		want     string
		firstRow []float32
	}{
		{"grey.npz", npz(map[string][]byte{"x.npy": npy("|u1", "(3, 2, 2)", bytesOf(12)), "y.npy": npy("<i8", "(3,)", []byte{5, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0})}), Options{}, 3, 1, []int{2, 2}, []string{"3", "5"}, "", []float32{0, 1, 2, 3}},
		{"rgb.npz", npz(map[string][]byte{"train_images.npy": npy("|u1", "(2, 2, 2, 3)", bytesOf(24))}), Options{}, 2, 3, []int{2, 2}, nil, "", []float32{0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11}},
		{"thin.npz", npz(map[string][]byte{"train_images.npy": npy("|u1", "(2, 2, 2, 3)", bytesOf(24))}), Options{Dim: 3}, 2, 1, []int{2, 2, 3}, nil, "", nil},
		{"channels.npy", npy("|u1", "(2, 2, 1, 3, 2)", bytesOf(24)), Options{}, 2, 2, []int{1, 3, 2}, nil, "", nil},
		{"set.npy", npy("|u1", "(6, 2, 2)", bytesOf(24)), Options{Dim: 2}, 6, 1, []int{2, 2}, nil, "", []float32{0, 1, 2, 3}},
		{"volume.npy", npy("|u1", "(6, 2, 2)", bytesOf(24)), Options{Dim: 3}, 1, 1, []int{6, 2, 2}, nil, "", nil},
		{"volumes.npy", npy("|u1", "(3, 2, 2, 2)", bytesOf(24)), Options{}, 3, 1, []int{2, 2, 2}, nil, "", nil},
		{"two.npz", npz(map[string][]byte{"a.npy": npy("|u1", "(3, 2, 2)", bytesOf(12)), "b.npy": npy("|u1", "(3, 2, 2)", bytesOf(12))}), Options{}, 0, 0, nil, nil, "several arrays could be the images", nil},
		{"none.npz", npz(map[string][]byte{"a.npy": npy("|u1", "(3,)", bytesOf(3))}), Options{}, 0, 0, nil, nil, "no array of images", nil},
		{"empty.npz", npz(map[string][]byte{"train_images.npy": npy("|u1", "(0, 2, 2)", nil)}), Options{}, 0, 0, nil, nil, "is empty", nil},
		{"count.npz", npz(map[string][]byte{"train_images.npy": npy("|u1", "(3, 2, 2)", bytesOf(12)), "train_labels.npy": npy("|u1", "(2, 1)", bytesOf(2))}), Options{}, 0, 0, nil, nil, "shape [2 1] for 3 images", nil},
		{"label.npz", npz(map[string][]byte{"train_images.npy": npy("|u1", "(1, 2, 2)", bytesOf(4)), "train_labels.npy": npy("<f4", "(1, 1)", []byte{0, 0, 0, 0x3f})}), Options{}, 0, 0, nil, nil, "label 0.5", nil},
		{"short.npz", npz(map[string][]byte{"train_images.npy": npy("|u1", "(9, 2, 2)", bytesOf(12))}), Options{}, 0, 0, nil, nil, "its entry holds at most", nil},
		{"zip.npz", []byte("PK\x03\x04 broken"), Options{}, 0, 0, nil, nil, "not an .npz", nil},
		{"axes.npz", npz(map[string][]byte{"train_images.npy": npy("|u1", "(1, 1, 1, 1, 1, 2, 2)", bytesOf(4))}), Options{}, 0, 0, nil, nil, "are read", nil},
		{"large.npz", npz(map[string][]byte{"train_images.npy": npy("|u1", "(1, 4, 4)", bytesOf(16))}), Options{MaxBytes: 63}, 0, 0, nil, nil, "above the limit of 63", nil},
	} {
		c.opt.Normalize = NormalizeNone
		d, r, err := OpenFS(mem(map[string][]byte{c.name: c.content}), []string{c.name}, c.opt)
		if c.want != "" {
			assert.ErrorContains(t, err, c.want, c.name)
			assert.ErrorContains(t, err, c.name)
			continue
		}
		require.NoError(t, err, c.name)
		channels, size := d.Shape()
		assert.Equal(t, c.n, d.Len(), c.name)
		assert.Equal(t, c.c, channels, c.name)
		assert.Equal(t, c.size, size, c.name)
		assert.Equal(t, c.classes, d.Classes(), c.name)
		assert.Equal(t, c.n, r.Samples)
		if c.firstRow != nil {
			assert.Equal(t, c.firstRow, samples(t, d)[0], c.name)
		}
	}
	// Several labels at once are said, not used.
	d, r, err := OpenFS(mem(map[string][]byte{"m.npz": npz(map[string][]byte{"train_images.npy": npy("|u1", "(2, 2, 2)", bytesOf(8)), "train_labels.npy": npy("|u1", "(2, 3)", bytesOf(6))})}), []string{"m.npz"}, Options{})
	require.NoError(t, err)
	assert.Empty(t, d.Classes())
	assert.Contains(t, strings.Join(r.Notes, ""), "3 numbers a sample")
}

// TestHostile: whatever is pointed at, a clear error or a data set, within 64 MiB.
func TestHostile(t *testing.T) {
	dir := testdata.Data.Find(t, "hostile")
	n := 0
	for _, sub := range []string{"nifti", "npy"} {
		files, err := os.ReadDir(filepath.Join(dir, sub))
		require.NoError(t, err)
		for _, f := range files {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			d, _, err := Open([]string{filepath.Join(dir, sub, f.Name())}, Options{})
			runtime.ReadMemStats(&after)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20), f.Name())
			if strings.HasPrefix(f.Name(), "minimal2") {
				require.NoError(t, err)
				assert.Equal(t, 1, d.Len())
				continue
			}
			n++
			assert.ErrorContains(t, err, f.Name())
		}
		_, r, err := Open([]string{filepath.Join(dir, sub)}, Options{})
		require.Error(t, err)
		assert.NotEmpty(t, r.Refused)
	}
	assert.Greater(t, n, 15)
}

// TestOrientations: 48 files of one volume in all axis orders have six sizes and one content.
func TestOrientations(t *testing.T) {
	dir := testdata.Data.Find(t, "nifti/orientations")
	d, r, err := Open([]string{dir}, Options{Size: []int{70, 70, 70}, Normalize: NormalizeNone})
	require.NoError(t, err)
	assert.Equal(t, 48, d.Len())
	assert.Len(t, r.Sizes, 6)
	assert.Len(t, r.Orientations, 48)
	assert.Contains(t, strings.Join(r.Notes, ""), "orientations differ")
	_, _, err = Open([]string{dir}, Options{Size: []int{16384, 16384, 16384}})
	assert.ErrorContains(t, err, "bytes a sample, above the limit")
}

// TestSplit: every sample in one split, stable against seeds, order and new files.
func TestSplit(t *testing.T) {
	items := make([]item, 200)
	for i := range items {
		items[i].name = fmt.Sprintf("scan_%03d", i)
	}
	s := split(items, SplitPlan{Val: 0.1, Test: 30})
	assert.Equal(t, []int{150, 20, 30}, []int{len(s["train"]), len(s["val"]), len(s["test"])})
	all := slices.Concat(s["train"], s["val"], s["test"])
	slices.Sort(all)
	for i, v := range all {
		assert.Equal(t, i, v)
	}
	assert.True(t, slices.IsSorted(s["train"]))
	assert.Equal(t, s, split(items, SplitPlan{Val: 0.1, Test: 30}))
	assert.NotEqual(t, s, split(items, SplitPlan{Val: 0.1, Test: 30, Seed: 1}))
	o := split(items, SplitPlan{Val: 5, Test: 30, ByOrder: true})
	assert.Equal(t, []int{165, 166, 167, 168, 169}, o["val"])
	assert.Equal(t, 170, o["test"][0])
	moved := 0
	more := split(append(slices.Clone(items), item{name: "new"}), SplitPlan{Val: 0.1, Test: 30})
	for _, i := range s["test"] {
		if !slices.Contains(more["test"], i) {
			moved++
		}
	}
	assert.LessOrEqual(t, moved, 1)
	tiny := split(items[:1], DefaultSplit)
	assert.Equal(t, []int{0}, tiny["train"])
	assert.Len(t, split(items[:3], SplitPlan{Val: 9, Test: 9})["test"], 3)
}

// TestFingerprint: the place does not matter, the content and the names do.
func TestFingerprint(t *testing.T) {
	of := func(files map[string][]byte, path string) string {
		d, _, err := OpenFS(mem(files), []string{path}, Options{})
		require.NoError(t, err)
		return d.Fingerprint()
	}
	a, b := nii([3]int{40, 40, 40}, 1), nii([3]int{40, 40, 40}, 2)
	one := of(map[string][]byte{"d/a.nii": a}, "d")
	assert.Equal(t, one, of(map[string][]byte{"e/f/a.nii": a}, "e/f"))
	assert.NotEqual(t, one, of(map[string][]byte{"d/b.nii": a}, "d"))
	assert.NotEqual(t, one, of(map[string][]byte{"d/a.nii": b}, "d"))
	assert.Len(t, one, 64)
}

// TestCache: any limit gives the same samples, and is kept.
func TestCache(t *testing.T) {
	files := map[string][]byte{}
	for i := range 10 {
		files[fmt.Sprintf("d/%d.nii", i)] = nii([3]int{8, 8, 8}, float32(i))
	}
	var want [][]float32
	for _, limit := range []int64{-1, 3 * 4 * 512, 0} {
		d, r, err := OpenFS(mem(files), []string{"d"}, Options{CacheBytes: limit})
		require.NoError(t, err)
		got := samples(t, d)
		assert.Equal(t, got, samples(t, d))
		if want == nil {
			want = got
		}
		assert.Equal(t, want, got)
		switch limit {
		case -1:
			assert.Equal(t, 10, r.HeaderOnly)
			assert.Zero(t, r.CachedBytes)
		case 0:
			assert.Zero(t, r.HeaderOnly)
			assert.Equal(t, int64(10*4*512), r.CachedBytes)
		default:
			assert.LessOrEqual(t, r.CachedBytes, limit)
			assert.Positive(t, r.HeaderOnly)
			assert.Contains(t, r.String(), "were not checked yet")
		}
	}
}

// TestNormalize: each kind against its definition.
func TestNormalize(t *testing.T) {
	fsys := mem(map[string][]byte{"a.png": pic(6, 5, 3, 9)})
	for _, n := range []Normalization{NormalizeZ, NormalizeForeground, NormalizeRobust, NormalizeNone} {
		d, _, err := OpenFS(fsys, []string{"a.png"}, Options{Normalize: n})
		require.NoError(t, err)
		x := samples(t, d)[0]
		for c := range 3 {
			v := x[c*30 : (c+1)*30]
			mean, square := 0.0, 0.0
			for _, a := range v {
				mean += float64(a) / 30
				square += float64(a) * float64(a) / 30
			}
			switch n {
			case NormalizeZ:
				assert.InDelta(t, 0, mean, 1e-6)
				assert.InDelta(t, 1, square, 1e-6)
			case NormalizeForeground:
				assert.Less(t, mean, -0.5, "the bright half is centred")
			case NormalizeRobust:
				assert.Equal(t, []float32{0, 1}, []float32{slices.Min(v), slices.Max(v)})
			case NormalizeNone:
				assert.Greater(t, slices.Max(v), float32(100))
			}
		}
	}
	for _, bad := range []Options{{Normalize: "q"}, {Fit: "q"}, {Pad: "q"}, {Dim: 4}, {Size: []int{3}}, {Size: []int{0, 1}}, {Dim: 3, Size: []int{2, 2}}, {Split: &SplitPlan{Val: -1}}} {
		assert.Error(t, bad.Validate(), "%+v", bad)
	}
}

// FuzzTable: any bytes as labels, as participants and as splits.
func FuzzTable(f *testing.F) {
	for _, text := range []string{"file,label\na.nii,1\n", "\ufefffile;label\n\"a\nb\",x", "participant_id\tage\tgroup\nsub-1\t3.5\tx\nsub-2\tn/a\ty\n", "name,subject,class,split\na.nii,p,x,train\nsub-1_T1w.nii,q,y,test\n", "id,target\na,0.5\nsub-1_T1w,1e300\n"} {
		f.Add([]byte(text))
	}
	a := nii([3]int{1, 2, 1}, 1)
	f.Fuzz(func(t *testing.T, b []byte) {
		files := mem(map[string][]byte{"d/a.nii": a, "d/sub-1_T1w.nii": a, "d/labels.csv": b, "e/x.nii": a, "e/participants.tsv": b})
		for _, opt := range []Options{{}, {Labels: "d/labels.csv"}, {Splits: "d/labels.csv"}, {LabelKind: LabelNumber, Subjects: SubjectTable}} {
			d, _, err := OpenFS(files, []string{"d", "e"}, opt)
			if err != nil {
				continue
			}
			if d.Len() != 3 {
				t.Fatal("samples lost")
			}
			n := 0
			for _, part := range []string{"train", "val", "test"} {
				n += len(d.Split(part))
			}
			if n > 3 || n < 3 && opt.Splits == "" {
				t.Fatalf("%d samples in the parts", n)
			}
			if err := WriteSplits(io.Discard, d); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzOpen: any bytes under any of the names that are looked for.
func FuzzOpen(f *testing.F) {
	f.Add(nii([3]int{2, 2, 2}, 1))
	f.Add(pic(3, 2, 3, 1))
	f.Add(npy("|u1", "(3, 2, 2, 2)", make([]byte, 24)))
	f.Add(npz(map[string][]byte{"train_images.npy": npy("|u1", "(3, 2, 2)", make([]byte, 12)), "train_labels.npy": npy("|u1", "(3, 1)", []byte{0, 1, 0})}))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, name := range []string{"x.nii", "d/x.png"} {
			d, _, err := OpenFS(mem(map[string][]byte{name: b}), []string{strings.TrimSuffix(name, "/x.png")}, Options{MaxBytes: 1 << 20, Frame: 1, CacheBytes: 1 << 20, Size: nil})
			if err != nil {
				continue
			}
			channels, size := d.Shape()
			x := make([]float32, channels*transformLen(size))
			for i := range min(d.Len(), 3) {
				d.Read(i, x)
			}
		}
	})
}

// TestLinks: links to folders are said and not followed, so they cannot loop.
func TestLinks(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.nii"), nii([3]int{2, 2, 2}, 1), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o700))
	require.NoError(t, os.Symlink(dir, filepath.Join(dir, "sub", "loop")))
	require.NoError(t, os.Symlink(filepath.Join(dir, "a.nii"), filepath.Join(dir, "b.nii")))
	require.NoError(t, os.Symlink(filepath.Join(dir, "gone"), filepath.Join(dir, "c.nii")))
	d, r, err := Open([]string{dir}, Options{SkipBad: true})
	require.NoError(t, err)
	assert.Equal(t, 2, d.Len())
	assert.Contains(t, strings.Join(r.Notes, ""), "sub/loop is a link to a folder")
	require.Len(t, r.Refused, 1)
	assert.Contains(t, r.Refused[0].Name, "c.nii")
}

// TestSkipUnchecked: to skip bad files, all are checked, whatever fits into memory.
func TestSkipUnchecked(t *testing.T) {
	files := map[string][]byte{}
	for i := range 9 {
		files[fmt.Sprintf("d/%d.nii", i)] = nii([3]int{8, 8, 8}, float32(i))
	}
	copy(files["d/8.nii"][352:], []byte{0, 0, 0x80, 0x7f}) // Inf
	d, r, err := OpenFS(mem(files), []string{"d"}, Options{CacheBytes: -1, SkipBad: true})
	require.NoError(t, err)
	assert.Equal(t, 8, d.Len())
	assert.Zero(t, r.HeaderOnly)
	d, r, err = OpenFS(mem(files), []string{"d"}, Options{CacheBytes: -1})
	require.NoError(t, err)
	assert.Equal(t, 9, r.HeaderOnly)
	assert.ErrorContains(t, d.Read(8, make([]float32, 512)), "data: 8.nii: 1 of 512 voxels are NaN or Inf")
}
