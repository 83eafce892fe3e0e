package data

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestStack: the pictures of a folder are a volume each, with labels by folder.
func TestStack(t *testing.T) {
	files := map[string][]byte{"d/labels.csv": []byte("file,label\np1,ill\np2,well\n")}
	for p := range 2 {
		for k := range 12 {
			m := image.NewGray(image.Rect(0, 0, 5, 4))
			for i := range m.Pix {
				m.Pix[i] = uint8(100*p + 8*k + i)
			}
			m.SetGray(0, 0, color.Gray{uint8(k)})
			var b bytes.Buffer
			png.Encode(&b, m)
			files[fmt.Sprintf("d/p%d/slice%d.png", p+1, k)] = b.Bytes()
		}
	}
	d, r, err := OpenFS(mem(files), []string{"d"}, Options{Stack: true, Normalize: NormalizeNone})
	require.NoError(t, err)
	_, size := d.Shape()
	assert.Equal(t, []int{4, 5, 12}, size)
	assert.Equal(t, map[string]string{"p1": "ill", "p2": "well"}, labelsOf(d))
	x := samples(t, d)
	for k := range 12 {
		assert.Equal(t, float32(k), x[0][k], "slice 10 comes after slice 9")
	}
	assert.Empty(t, r.Notes)
	one, _, err := OpenFS(mem(files), []string{"d/p2"}, Options{Stack: true})
	require.NoError(t, err)
	assert.Equal(t, "p2", one.Name(0))
	delete(files, "d/p1/slice7.png")
	_, _, err = OpenFS(mem(files), []string{"d"}, Options{Stack: true})
	assert.ErrorContains(t, err, "2 different sizes (p1 is 4×5×11, p2 is 4×5×12)")
	_, r, err = OpenFS(mem(files), []string{"d"}, Options{Stack: true, Size: []int{4, 5, 12}})
	require.NoError(t, err)
	assert.Contains(t, strings.Join(r.Notes, "\n"), "p1: slices may be missing: the numbers leap from slice6.png to slice8.png")
	files["d/p2/odd.png"] = pic(9, 9, 1, 1)
	_, _, err = OpenFS(mem(files), []string{"d"}, Options{Stack: true, Size: []int{4, 5, 12}})
	assert.ErrorContains(t, err, "d/p2 (13 slices): slice ")
}

// TestMislabelled: content decides, and the report says so.
func TestMislabelled(t *testing.T) {
	files := map[string][]byte{"d/a.nii": nii([3]int{2, 3, 2}, 1), "d/b.nrrd": nii([3]int{2, 3, 2}, 2), "d/c.nii.gz": nii([3]int{2, 3, 2}, 3)}
	d, r, err := OpenFS(mem(files), []string{"d"}, Options{})
	require.NoError(t, err)
	assert.Equal(t, 3, d.Len())
	assert.Contains(t, r.String(), "1 files are of another format than their names say and were read by what they hold: b.nrrd is NIfTI-1")
	files["d/x.png"] = []byte("hello, I am a text")
	_, _, err = OpenFS(mem(files), []string{"d"}, Options{})
	assert.ErrorContains(t, err, "d/x.png: no image format that is known")
	_, r, err = OpenFS(mem(map[string][]byte{"d/a.png": pic(3, 3, 1, 1), "d/b.jpg": pic(3, 3, 1, 2)}), []string{"d"}, Options{})
	require.NoError(t, err)
	assert.Contains(t, r.String(), "b.jpg is PNG")
}

// TestNonFinite: voxels that are no numbers are counted, whether they are refused or 0.
func TestNonFinite(t *testing.T) {
	a := nii([3]int{2, 3, 2}, 1)
	binary.LittleEndian.PutUint32(a[352:], math.Float32bits(float32(math.NaN())))
	binary.LittleEndian.PutUint32(a[360:], math.Float32bits(float32(math.Inf(-1))))
	files := map[string][]byte{"d/a.nii": a, "d/b.nii": nii([3]int{2, 3, 2}, 2)}
	_, _, err := OpenFS(mem(files), []string{"d"}, Options{})
	assert.ErrorContains(t, err, "a.nii: 2 of 12 voxels are NaN or Inf")
	d, r, err := OpenFS(mem(files), []string{"d"}, Options{ZeroNonFinite: true, Normalize: NormalizeNone})
	require.NoError(t, err)
	assert.Contains(t, r.String(), "2 voxels of 1 samples are NaN or Inf and are read as 0: a.nii")
	assert.Zero(t, samples(t, d)[0][0])
}

// forbidden is a file system in which one name may not be opened.
type forbidden struct {
	fs.FS
	name string
}

func (f forbidden) Open(name string) (fs.File, error) {
	if name == f.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return f.FS.Open(name)
}

// TestForbidden: files and folders that may not be read are named, and can be skipped.
func TestForbidden(t *testing.T) {
	files := mem(map[string][]byte{"d/a.nii": nii([3]int{2, 3, 2}, 1), "d/b.nii": nii([3]int{2, 3, 2}, 2), "d/sub/c.nii": nii([3]int{2, 3, 2}, 3)})
	for _, name := range []string{"d/b.nii", "d/sub"} {
		_, _, err := OpenFS(forbidden{files, name}, []string{"d"}, Options{})
		assert.ErrorContains(t, err, name+": permission denied")
		d, r, err := OpenFS(forbidden{files, name}, []string{"d"}, Options{SkipBad: true})
		require.NoError(t, err)
		assert.Equal(t, 2, d.Len())
		assert.Equal(t, []Refusal{{Name: name, Reason: "permission denied"}}, r.Refused)
	}
	_, _, err := OpenFS(forbidden{files, "d"}, []string{"d"}, Options{SkipBad: true})
	assert.ErrorContains(t, err, "d: permission denied")
	_, _, err = OpenFS(forbidden{files, "l.csv"}, []string{"d"}, Options{Labels: "l.csv"})
	assert.ErrorContains(t, err, "l.csv: permission denied")
}

// TestNames: names that are no UTF-8 or would move a terminal's cursor are shown escaped,
// and stay apart.
func TestNames(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"a\xff.nii", "a\xfe.nii", "b\x1b[2J.nii", "ü.nii"} {
		if err := os.WriteFile(filepath.Join(dir, name), nii([3]int{2, 3, 2}, float32(i)), 0o600); err != nil {
			t.Skipf("this file system takes no such names: %v", err)
		}
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bad\xff.nii"), []byte("x"), 0o600))
	_, _, err := Open([]string{dir}, Options{})
	assert.ErrorContains(t, err, `bad\xff.nii: no image format`)
	d, r, err := Open([]string{dir}, Options{SkipBad: true})
	require.NoError(t, err)
	got := []string{}
	for i := range d.Len() {
		got = append(got, d.Name(i))
	}
	assert.Equal(t, []string{`a\xfe.nii`, `a\xff.nii`, `b\x1b[2J.nii`, "ü.nii"}, got)
	assert.Contains(t, r.String(), "3 names are not UTF-8 or hold control characters")
	assert.NotContains(t, r.String(), "\x1b")
	samples(t, d)
}

// TestLoops: a link to itself is a file that cannot be read, one to a folder above is not
// followed.
func TestLoops(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.nii"), nii([3]int{2, 2, 2}, 1), 0o600))
	require.NoError(t, os.Symlink("self.nii", filepath.Join(dir, "self.nii")))
	require.NoError(t, os.Symlink("..", filepath.Join(dir, "up")))
	_, _, err := Open([]string{dir}, Options{})
	assert.ErrorContains(t, err, "self.nii: too many levels of symbolic links")
	d, r, err := Open([]string{dir}, Options{SkipBad: true})
	require.NoError(t, err)
	assert.Equal(t, 1, d.Len())
	assert.Contains(t, r.String(), "up is a link to a folder and was not followed")
}
