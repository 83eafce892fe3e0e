package volume

import (
	"math"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
	dir := shared(t, "dicom/dicom2nifti")
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
	require.NoError(t, regrid(got, v, want.Header(), m.Header()), name)
	largest := 0.0
	for i := range w {
		largest = max(largest, math.Abs(float64(w[i]-got[i]))/max(1, math.Abs(float64(w[i]))))
	}
	assert.Less(t, largest, 1e-6, name)
}

// TestMosaic: nine files of one image in nine transfer syntaxes.
func TestMosaic(t *testing.T) {
	dir := shared(t, "dicom/dcm_qa_ts/In")
	truth := filepath.Join(shared(t, "nifti/dcm_qa_ts_ref"), "1.nii")
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
	dir := shared(t, "dicom/dicom2nifti/failing")
	all := series(t, filepath.Join(dir, "notavolume/001"))
	require.Len(t, all, 1)
	assert.ErrorContains(t, all[0].Err, "all 4 images lie in one place: no volume")
}
