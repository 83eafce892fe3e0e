package data

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"wgjepa/data/transform"
	"wgjepa/data/volume"
	"wgjepa/internal/testdata"
)

// TestReorient: one volume stored in 48 orientations becomes one array.
func TestReorient(t *testing.T) {
	dir := testdata.Data.Find(t, "nifti/orientations")
	d, r, err := Open([]string{dir}, Options{Reorient: true, Normalize: NormalizeNone})
	require.NoError(t, err)
	require.Equal(t, 48, d.Len())
	assert.NotContains(t, strings.Join(r.Notes, ""), "orientations differ")
	all := samples(t, d)
	for i, x := range all {
		assert.True(t, slices.Equal(all[0], x), d.Name(i))
	}
	i := 0
	for d.Name(i) != "RAS.nii.gz" {
		i++
	}
	m, err := volume.Open(volume.OS, filepath.Join(dir, "RAS.nii.gz"), volume.Options{})
	require.NoError(t, err)
	raw, err := m.Read(nil)
	require.NoError(t, err)
	assert.Equal(t, raw, all[i])
	_, size := d.Shape()
	assert.Equal(t, m.Header().Size, size)
}

// writeNIfTI returns a file.
func writeNIfTI[T float32 | uint8](t *testing.T, size [3]int, affine [4][4]float64, v []T) []byte {
	name := filepath.Join(t.TempDir(), "f.nii")
	require.NoError(t, volume.WriteFile(name, size, affine, v))
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return b
}

// TestSpacing: volumes of two spacings and orientations become one size, and their labels
// with them, whether those are stored in the image's order of axes or in RAS.
func TestSpacing(t *testing.T) {
	size := [3]int{6, 8, 10}
	affine := [4][4]float64{{0, -2, 0, 9}, {0, 0, 1, -20}, {3, 0, 0, 5}, {0, 0, 0, 1}} // SLA
	v, l := make([]float32, 480), make([]uint8, 480)
	for i := range v {
		v[i], l[i] = float32(i%37), uint8(i/80)
	}
	o := transform.ToRAS(affine)
	require.Equal(t, "SLA", o.String())
	turned := make([]uint8, 480)
	transform.Reorient(turned, l, 1, size[:], o)
	to, other := o.Size(size[:]), affine
	other[0][3] += 1
	fsys := mem(map[string][]byte{
		"d/images/a.nii": writeNIfTI(t, size, affine, v), "d/labels/a.nii": writeNIfTI(t, size, affine, l),
		"d/images/b.nii": writeNIfTI(t, size, affine, v), "d/labels/b.nii": writeNIfTI(t, [3]int(to), o.Affine(affine, size[:]), turned),
		"d/images/c.nii": writeNIfTI(t, size, affine, v), "d/labels/c.nii": writeNIfTI(t, size, other, l),
	})
	opt := Options{Reorient: true, Spacing: []float64{1, 1, 1.5}, Normalize: NormalizeNone}
	d, r, err := OpenFS(fsys, []string{"d"}, opt)
	require.NoError(t, err)
	_, got := d.Shape()
	assert.Equal(t, []int{16, 10, 12}, got)
	all := samples(t, d)
	assert.Equal(t, all[0], all[1])
	first, labels := make([]uint8, 16*10*12), make([]uint8, 16*10*12)
	for i := range 3 {
		ok, err := d.VoxelLabels(i, labels)
		require.NoError(t, err)
		assert.True(t, ok)
		if i == 0 {
			copy(first, labels)
			for k, x := range labels { // stored axis 0 is up, 3 mm: two voxels of 1.5 mm each
				require.Equal(t, uint8(k%12/2), x)
			}
		}
		assert.Equal(t, first, labels, d.Name(i))
	}
	assert.Contains(t, strings.Join(r.Notes, "\n"), "1 label map does not lie where the image lies; voxels are paired by index: c.nii (its voxels lie elsewhere: 0.5 of a voxel apart)")

	_, _, err = OpenFS(fsys, []string{"d"}, Options{Spacing: []float64{0.002, 0.002, 0.002}})
	assert.ErrorContains(t, err, "above the limit")
	_, _, err = OpenFS(fsys, []string{"d"}, Options{Spacing: []float64{1, 1}})
	assert.ErrorContains(t, err, "spacing [1 1] has 2 axes")
	for _, bad := range []Options{{Spacing: []float64{1}}, {Spacing: []float64{1, 1, 0}}, {Dim: 2, Spacing: []float64{1, 1, 1}}, {Frame: -1}, {Frame: 2, FramesAsChannels: true}} {
		assert.Error(t, bad.Validate(), "%+v", bad)
	}
}

// TestFrames: of a 4-D file a volume is chosen, or all are channels.
func TestFrames(t *testing.T) {
	p := filepath.Join(testdata.Data.Find(t, "nifti/nibabel"), "example4d.nii.gz")
	_, _, err := Open([]string{p}, Options{})
	assert.ErrorContains(t, err, "4-D file of 2 volumes")
	both, r, err := Open([]string{p}, Options{FramesAsChannels: true, Normalize: NormalizeNone})
	require.NoError(t, err)
	channels, _ := both.Shape()
	assert.Equal(t, 2, channels)
	assert.Contains(t, r.String(), "used as channels")
	second, r, err := Open([]string{p}, Options{Frame: 2, Normalize: NormalizeNone})
	require.NoError(t, err)
	assert.Contains(t, r.String(), "only volume 2 is used")
	x := samples(t, both)[0]
	assert.Equal(t, x[len(x)/2:], samples(t, second)[0])
}

// TestUnplaced: arrays have no spacing to resample from, and the report says so.
func TestUnplaced(t *testing.T) {
	fsys := mem(map[string][]byte{"a.npy": npy("|u1", "(2, 4, 4, 4)", make([]byte, 128))})
	d, r, err := OpenFS(fsys, []string{"a.npy"}, Options{Spacing: []float64{2, 1, 1}})
	require.NoError(t, err)
	_, size := d.Shape()
	assert.Equal(t, []int{2, 4, 4}, size)
	assert.Contains(t, r.String(), "note: 2 samples come in formats that do not say their spacing")
}

// TestDICOM opens a messy folder: series in sub-folders and mixed in one, files without an
// extension, reports and text beside them.
func TestDICOM(t *testing.T) {
	var made struct {
		Series map[string]struct {
			Files map[string]string
			Shape []int
		}
	}
	b, err := os.ReadFile("testdata/formats.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &made))
	fsys := fstest.MapFS{}
	put := func(series, dir, suffix string, change func([]byte) []byte) {
		for n, s := range made.Series[series].Files {
			b, err := base64.StdEncoding.DecodeString(s)
			require.NoError(t, err)
			fsys[dir+strings.TrimSuffix(n, ".dcm")+suffix] = &fstest.MapFile{Data: change(b)}
		}
	}
	same := func(b []byte) []byte { return b }
	renamed := func(b []byte) []byte { // another series: its UID is changed, of the same length
		return []byte(strings.ReplaceAll(string(b), "1.2.3.", "1.2.9."))
	}
	other := func(b []byte) []byte {
		return []byte(strings.ReplaceAll(string(b), "\x0e\x00UI\x06\x001.2.3\x00", "\x0e\x00UI\x06\x001.2.9\x00"))
	}
	put("12 of 16 bits", "d/one/", "", same)
	put("explicit, signed, rescaled", "d/mixed/a", ".dcm", func(b []byte) []byte { return other(renamed(b)) })
	put("enhanced", "d/mixed/e", ".IMA", func(b []byte) []byte {
		return []byte(strings.ReplaceAll(string(b), "\x0e\x00UI\x06\x001.2.3\x00", "\x0e\x00UI\x06\x001.2.7\x00"))
	})
	fsys["d/notes.txt"] = &fstest.MapFile{Data: []byte("text")}
	report := append(make([]byte, 128), "DICM\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\x00\x08\x00\x60\x00CS\x02\x00SR"...)
	fsys["d/mixed/report"] = &fstest.MapFile{Data: report}
	fsys["d/labels.csv"] = &fstest.MapFile{Data: []byte("file,label\none,x\n")}
	d, r, err := OpenFS(fsys, []string{"d"}, Options{Normalize: NormalizeNone})
	require.NoError(t, err, r)
	require.Equal(t, 3, d.Len(), r)
	assert.Equal(t, map[string]int{"DICOM": 3}, r.Formats)
	assert.Equal(t, 1, r.Ignored["DICOM without an image"])
	assert.NotContains(t, r.String(), "SECRET")
	names := []string{d.Name(0), d.Name(1), d.Name(2)}
	assert.Contains(t, names, "one")
	assert.Contains(t, names, "mixed/e0.IMA")
	c, ok := d.Label(slices.Index(names, "one"))
	assert.True(t, ok)
	assert.Equal(t, "x", d.Classes()[c])
	_, size := d.Shape()
	assert.Equal(t, []int{6, 5, 4}, size)

	// A series with a missing slice is refused with its files, or left out with a line.
	put("a gap", "d/gap/", ".dcm", func(b []byte) []byte {
		return []byte(strings.ReplaceAll(string(b), "\x0e\x00UI\x06\x001.2.3\x00", "\x0e\x00UI\x06\x001.2.5\x00"))
	})
	_, _, err = OpenFS(fsys, []string{"d"}, Options{})
	assert.ErrorContains(t, err, "d/gap (4 DICOM files): missing slices: 5 mm between slices 3 and 4")
	d, r, err = OpenFS(fsys, []string{"d"}, Options{SkipBad: true})
	require.NoError(t, err)
	assert.Equal(t, 3, d.Len())
	assert.Contains(t, r.String(), "refused: d/gap (4 DICOM files): missing slices")

	// Files named one by one are sorted as well.
	var files []string
	for n := range fsys {
		if strings.HasPrefix(n, "d/one/") {
			files = append(files, n)
		}
	}
	d, _, err = OpenFS(fsys, files, Options{})
	require.NoError(t, err)
	assert.Equal(t, 1, d.Len())
}
