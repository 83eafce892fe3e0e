package volume

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"wgjepa/internal/testdata"
)

func series(t testing.TB, dir string) []Series {
	files, err := filepath.Glob(filepath.Join(dir, "*.dcm"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return OpenSeries(OS, files, Options{})
}

// TestSeries holds each series to the NIfTI it must convert to: the same voxels at the same
// places, in whatever order of axes.
func TestSeries(t *testing.T) {
	dir := testdata.Data.Find(t, "dicom/dicom2nifti")
	for _, name := range []string{
		"generic/anatomical/001", "generic/anatomical/001_implicit", "generic/anatomical/002_non_isotropic", "ge/anatomical/001", "ge/anatomical/001_implicit",
		"ge/anatomical/001_single_slice", "failing/slicecount/001", "generic/compressed_rle/001",
		"generic/compressed_j2k/001", "generic/compressed_jpeg/001", "generic/compressed_jpegls/001",
	} {
		all := series(t, filepath.Join(dir, name))
		require.Len(t, all, 1, name)
		if _, err := exec.LookPath(converter); err != nil && filepath.Base(filepath.Dir(name))[:4] == "comp" && all[0].Err != nil {
			assert.ErrorContains(t, all[0].Err, "install dcm2niix", name)
			t.Logf("%s: not decoded: no dcm2niix on the PATH", name)
			continue
		}
		require.NoError(t, all[0].Err, name)
		same(t, name, all[0].Image, filepath.Join(dir, name+"_ground_truth.nii.gz"))
	}
}

// same holds an image to a NIfTI file whose axes may be others.
func same(t *testing.T, name string, m Image, truth string) {
	t.Helper()
	want, err := Open(OS, truth, Options{})
	require.NoError(t, err, name)
	v, err := m.Read(nil)
	require.NoError(t, err, name)
	w, err := want.Read(nil)
	require.NoError(t, err, name)
	got := make([]float32, len(w))
	require.NoError(t, Regrid(got, v, want.Header(), m.Header()), name)
	largest := 0.0
	for i := range w {
		largest = max(largest, math.Abs(float64(w[i]-got[i]))/max(1, math.Abs(float64(w[i]))))
	}
	assert.Less(t, largest, 1e-6, name)
}

// TestMosaic: nine files of one image in nine transfer syntaxes.
func TestMosaic(t *testing.T) {
	dir := testdata.Data.Find(t, "dicom/dcm_qa_ts/In")
	truth := filepath.Join(testdata.Data.Find(t, "nifti/dcm_qa_ts_ref"), "1.nii")
	want, err := Open(OS, truth, Options{})
	require.NoError(t, err)
	w, err := want.Read(nil)
	require.NoError(t, err)
	for i := range 9 {
		name := string(rune('1'+i)) + ".dcm"
		m, err := Open(OS, filepath.Join(dir, name), Options{})
		if _, no := exec.LookPath(converter); no != nil && i > 3 {
			assert.ErrorContains(t, err, "install dcm2niix", name)
			t.Logf("%s: not decoded: no dcm2niix on the PATH", name)
			continue
		}
		require.NoError(t, err, name)
		assert.Equal(t, want.Header().Size, m.Header().Size)
		a, b := want.Header().Affine, m.Header().Affine
		for r := range 3 {
			assert.InDeltaSlice(t, a[r][:], b[r][:], 1e-3, name)
		}
		v, err := m.Read(nil)
		require.NoError(t, err, name)
		assert.Equal(t, w, v, name)
	}
}

// TestNotAVolume: what is no volume says so.
func TestNotAVolume(t *testing.T) {
	dir := testdata.Data.Find(t, "dicom/dicom2nifti/failing")
	all := series(t, filepath.Join(dir, "notavolume/001"))
	require.Len(t, all, 1)
	assert.ErrorContains(t, all[0].Err, "all 4 images lie in one place: no volume")
}

// TestMadeSeries: signs, scales, byte orders, MONOCHROME1, colour, enhanced images, copies,
// gaps and mixtures, as pydicom wrote them; the patient is nowhere in what comes out.
func TestMadeSeries(t *testing.T) {
	all := readFormats(t).Series
	require.Greater(t, len(all), 14)
	patients := map[uint64]int{}
	for name, e := range all {
		fsys, _ := e.fsys(t)
		var files []string
		for f := range fsys {
			files = append(files, f)
		}
		got := OpenSeries(fsys, files, Options{})
		require.Len(t, got, 1, name)
		if e.Error != "" {
			assert.ErrorContains(t, got[0].Err, e.Error, name)
			assert.NotContains(t, got[0].Err.Error(), "SECRET")
			continue
		}
		require.NoError(t, got[0].Err, name)
		equalImage(t, name, e.expected, got[0].Image)
		patients[got[0].Image.Header().Patient]++
		said := fmt.Sprintf("%+v %+v", got[0], got[0].Image)
		assert.NotContains(t, said, "SECRET", name)
		if e.Notes == "" {
			assert.Empty(t, got[0].Image.Header().Notes, name)
		} else {
			assert.Contains(t, strings.Join(got[0].Image.Header().Notes, "; "), e.Notes, name)
		}
	}
	assert.Len(t, patients, 1, "they are all of one patient")
	assert.NotContains(t, patients, uint64(0))
}

// TestSeriesFrames: two images at each place make a 4-D series.
func TestSeriesFrames(t *testing.T) {
	made := readFormats(t).Series["12 of 16 bits"]
	fsys, _ := made.fsys(t)
	var files []string
	for f := range fsys {
		files = append(files, f)
	}
	for _, f := range slices.Clone(files) {
		b := bytes.Replace(fsys[f].Data, []byte("\x18\x00UI\x08\x001.2.3."), []byte("\x18\x00UI\x08\x001.2.4."), 1)
		require.NotEqual(t, fsys[f].Data, b)
		b = bytes.Replace(b, []byte("\x13\x00IS\x02\x00"), []byte("\x13\x00IS\x02\x009"), 1) // a later number
		b = slices.Delete(b, bytes.Index(b, []byte("\x13\x00IS\x02\x009"))+7, bytes.Index(b, []byte("\x13\x00IS\x02\x009"))+8)
		for i := len(b) - 60; i < len(b); i++ {
			b[i] ^= 1
		}
		fsys[f+"b"] = &fstest.MapFile{Data: b}
		files = append(files, f+"b")
	}
	assert.ErrorContains(t, OpenSeries(fsys, files, Options{})[0].Err, "4-D file of 2 volumes [6 5 4]")
	var got [3][]float32
	for i, opt := range []Options{{Frame: 1}, {Frame: 2}, {FramesAsChannels: true}} {
		s := OpenSeries(fsys, files, opt)
		require.NoError(t, s[0].Err)
		assert.Equal(t, 2, s[0].Image.Header().Frames)
		var err error
		got[i], err = s[0].Image.Read(nil)
		require.NoError(t, err)
	}
	equalStatistics(t, "first", made.expected, slices.Clone(got[0]))
	assert.Equal(t, got[2], append(slices.Clone(got[0]), got[1]...))
	for i, x := range got[0] {
		assert.LessOrEqual(t, math.Abs(float64(x-got[1][i])), 257.0)
		assert.NotEqual(t, x, got[1][i])
	}
}

// TestSeriesEchoes: two echoes in one series, whose instances both count from 1 and whose
// names are in no order, become two volumes and never a mixture.
func TestSeriesEchoes(t *testing.T) {
	u16 := func(x int) []byte { return []byte{byte(x), byte(x >> 8)} }
	image := func(uid, at, instance int, echo string, value byte) *fstest.MapFile {
		b := append(make([]byte, 128), "DICM"...)
		b = append(b, element(2, 0x10, "UI", []byte("1.2.840.10008.1.2.1\x00"))...)
		for _, e := range []struct {
			group, number uint16
			vr, value     string
		}{
			{8, 0x18, "UI", fmt.Sprintf("1.%04d", uid)}, {0x18, 0x81, "DS", echo}, {0x20, 0xe, "UI", "1.7 "}, {0x20, 0x13, "IS", fmt.Sprintf("%2d", instance)},
			{0x20, 0x32, "DS", fmt.Sprintf(`0\0\%d`, at) + " "}, {0x20, 0x37, "DS", `1\0\0\0\1\0 `}, {0x28, 2, "US", string(u16(1))}, {0x28, 4, "CS", "MONOCHROME2 "},
			{0x28, 0x10, "US", string(u16(1))}, {0x28, 0x11, "US", string(u16(2))}, {0x28, 0x30, "DS", `1\1 `},
			{0x28, 0x100, "US", string(u16(8))}, {0x28, 0x101, "US", string(u16(8))}, {0x28, 0x102, "US", string(u16(7))}, {0x28, 0x103, "US", string(u16(0))},
			{0x7fe0, 0x10, "OW", string([]byte{value, value})},
		} {
			b = append(b, element(e.group, e.number, e.vr, []byte(e.value))...)
		}
		return &fstest.MapFile{Data: b}
	}
	fsys := fstest.MapFS{
		"a": image(1, 0, 1, "90", 100), "b": image(2, 0, 1, "9.5 ", 10),
		"c": image(3, 1, 2, "9.5 ", 11), "d": image(4, 1, 2, "90", 101),
		"e": image(5, 2, 4, "90", 102), "f": image(6, 2, 3, "9.5 ", 12),
	}
	files := []string{"a", "b", "c", "d", "e", "f"}
	for frame, want := range [][]float32{{10, 11, 12, 10, 11, 12}, {100, 101, 102, 100, 101, 102}} {
		s := OpenSeries(fsys, files, Options{Frame: frame + 1})
		require.Len(t, s, 1)
		require.NoError(t, s[0].Err)
		got, err := s[0].Image.Read(nil)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	fsys["f"] = image(6, 2, 3, "20", 12)
	s := OpenSeries(fsys, files, Options{Frame: 1})
	require.Len(t, s, 1)
	assert.ErrorContains(t, s[0].Err, "have other echo times: b 9.5 ms, f 20 ms: separate them")
}

// TestSeriesDamaged cuts a file of each series short everywhere: an error, never a panic.
func TestSeriesDamaged(t *testing.T) {
	for name, e := range readFormats(t).Series {
		fsys, first := e.fsys(t)
		whole := fsys[first].Data
		for n := range len(whole) - 2 { // what is deflated is padded
			if len(whole) > 2500 && n%5 != 0 {
				continue
			}
			fsys[first] = &fstest.MapFile{Data: whole[:n]}
			s := OpenSeries(fsys, []string{first}, Options{})
			err := s[0].Err
			if err == nil {
				_, err = s[0].Image.Read(nil)
			}
			require.Error(t, err, "%s: %d of %d bytes", name, n, len(whole))
		}
	}
}

// element is an explicit little-endian element.
func element(group, number uint16, vr string, value []byte) []byte {
	b := binary.LittleEndian.AppendUint16(nil, group)
	b = append(binary.LittleEndian.AppendUint16(b, number), vr...)
	if slices.Contains([]string{"OB", "OW", "SQ", "UN"}, vr) {
		b = binary.LittleEndian.AppendUint32(append(b, 0, 0), uint32(len(value)))
	} else {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	}
	return append(b, value...)
}

// TestHostileDICOM: claims that their bytes do not bear cost nothing.
func TestHostileDICOM(t *testing.T) {
	u16 := func(x int) []byte { return []byte{byte(x), byte(x >> 8)} }
	file := func(syntax string, elements ...[]byte) []byte {
		b := append(make([]byte, 128), "DICM"...)
		b = append(b, element(2, 0x10, "UI", []byte(syntax))...)
		return append(b, bytes.Join(elements, nil)...)
	}
	image := [][]byte{element(0x28, 2, "US", u16(1)), element(0x28, 4, "CS", []byte("MONOCHROME2 ")), element(0x28, 8, "IS", []byte("1 ")),
		element(0x28, 0x10, "US", u16(60000)), element(0x28, 0x11, "US", u16(60000)), element(0x28, 0x100, "US", u16(16)), element(0x28, 0x101, "US", u16(16)), element(0x28, 0x102, "US", u16(15))}
	with := func(i int, e []byte, more ...[]byte) [][]byte {
		c := slices.Clone(image)
		c[i] = e
		return append(c, more...)
	}
	pixels := element(0x7fe0, 0x10, "OW", make([]byte, 100))
	endless := []byte{0xe0, 0x7f, 0x10, 0, 'O', 'W', 0, 0, 0xff, 0xff, 0xff, 0xff}
	huge := []byte{0xe0, 0x7f, 0x10, 0, 'O', 'W', 0, 0, 0, 0, 0, 0xff}
	nest := bytes.Repeat(append([]byte{0x40, 0, 0x75, 0x02, 'S', 'Q', 0, 0, 0xff, 0xff, 0xff, 0xff}, 0xfe, 0xff, 0, 0xe0, 0xff, 0xff, 0xff, 0xff), 5000)
	var zero bytes.Buffer
	w, _ := flate.NewWriter(&zero, 9)
	w.Write(make([]byte, 64<<20))
	w.Close()
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"pixels":       {file(syntaxExplicit, append(image, pixels)...), "take 100 bytes, its header needs 7200000000"},
		"long":         {file(syntaxExplicit, append(image, huge)...), "needs 7200000000"},
		"rle":          {file(syntaxRLE, append(image, endless)...), "cut short or damaged"},
		"frames":       {file(syntaxExplicit, with(2, element(0x28, 8, "IS", []byte("99999999")), pixels)...), "99999999 frames"},
		"bits":         {file(syntaxExplicit, with(7, element(0x28, 0x102, "US", u16(99)), pixels)...), "contradict"},
		"one bit":      {file(syntaxExplicit, with(5, element(0x28, 0x100, "US", u16(1)), pixels)...), "1 bits"},
		"palette":      {file(syntaxExplicit, with(1, element(0x28, 4, "CS", []byte("PALETTE COLOR ")), pixels)...), "PALETTE"},
		"no pixels":    {file(syntaxExplicit, image...), "without its pixels"},
		"no image":     {file(syntaxExplicit, element(8, 0x60, "CS", []byte("SR"))), "without an image"},
		"nested":       {file(syntaxExplicit, nest), "nested too deep"},
		"value":        {file(syntaxExplicit, []byte{0x10, 0, 0x10, 0, 'U', 'N', 0, 0, 0xf0, 0xff, 0xff, 0xff}), "take more than"},
		"deflate bomb": {file(syntaxDeflated, zero.Bytes()), "more than 4194304 elements"},
		"jpeg":         {file("1.2.840.10008.1.2.4.70", append(image, pixels)...), "not compressed"},
	} {
		used := allocated(func() {
			m, err := Open(fstest.MapFS{"f": &fstest.MapFile{Data: c.file}}, "f", Options{})
			if err == nil {
				_, err = m.Read(nil)
			}
			assert.ErrorContains(t, err, c.want, name)
		})
		assert.Less(t, used, uint64(mostMemory), name)
	}
}

func FuzzDICOM(f *testing.F) {
	for _, e := range readFormats(f).Series {
		fsys, first := e.fsys(f)
		f.Add(fsys[first].Data)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		checkRead(t, fstest.MapFS{"f": &fstest.MapFile{Data: append(append(make([]byte, 128), "DICM"...), b[min(len(b), 132):]...)}}, "f")
	})
}

// FuzzRLE decodes frames of 4×4 pixels of 16 bits.
func FuzzRLE(f *testing.F) {
	f.Add(append([]byte{2, 0, 0, 0, 64, 0, 0, 0, 66, 0, 0, 0}, append(make([]byte, 52), 0xf1, 7, 0xf1, 9)...))
	f.Fuzz(func(t *testing.T, frame []byte) {
		d := &dicomFile{rows: 4, columns: 4, samples: 1, allocated: 16}
		b := []byte{0xfe, 0xff, 0, 0xe0, 0, 0, 0, 0, 0xfe, 0xff, 0, 0xe0}
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(frame))), frame...)
		if v, err := d.rle(bufio.NewReader(bytes.NewReader(b)), true, new(bytes.Buffer)); err == nil && len(v) != 32 {
			t.Fatalf("%d bytes", len(v))
		}
	})
}

// TestConverter: without dcm2niix the message says what to install; a dcm2niix that fails
// or places voxels elsewhere is refused.
func TestConverter(t *testing.T) {
	dir := filepath.Join(testdata.Data.Find(t, "dicom/dicom2nifti/generic/compressed_jpegls"), "001")
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	s := series(t, dir)
	require.Len(t, s, 1)
	assert.ErrorContains(t, s[0].Err, "compressed (JPEG-LS): install dcm2niix")
	// A page's files are not on this machine, whatever is installed.
	elsewhere := OpenSeries(os.DirFS(dir), []string{"IM-0001-0001-0001.dcm"}, Options{})
	assert.ErrorContains(t, elsewhere[0].Err, "export the series uncompressed")
	if runtime.GOOS == "windows" {
		t.Skip("the stand-in for dcm2niix is a shell script")
	}
	volumes := t.TempDir()
	require.NoError(t, WriteFile(filepath.Join(volumes, "a.nii"), [3]int{256, 256, 4}, Identity(), make([]float32, 256*256*4)))
	for script, want := range map[string]string{
		"#!/bin/sh\nexit 3\n": "exit status 3",
		"#!/bin/sh\nexit 0\n": "0 images came out",
		"#!/bin/sh\nwhile [ \"$1\" != -o ]; do shift; done\n/bin/cp " + volumes + "/a.nii \"$2/image.nii\"\n": "its voxels lie elsewhere",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(bin, converter), []byte(script), 0o755))
		s := series(t, dir)
		require.NoError(t, s[0].Err)
		_, err := s[0].Image.Read(nil)
		assert.ErrorContains(t, err, want)
	}
}
