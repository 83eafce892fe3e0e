package patchmap

import (
	"bytes"
	"math"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"wgjepa/data"
	"wgjepa/data/volume"
)

var oblique = [4][4]float64{{-1.9, 0.2, 0.1, 10}, {0.3, 0.1, -1.2, -4}, {0.1, 1.4, 0.25, 9}, {0, 0, 0, 1}}

// place of a voxel in mm.
func place(a [4][4]float64, x, y, z float64) (p [3]float64) {
	for r := range 3 {
		p[r] = a[r][0]*x + a[r][1]*y + a[r][2]*z + a[r][3]
	}
	return p
}

// A map holds for each patch the place of its centre, however the scan was prepared; the file
// read back says the same place, and each voxel of the scan lies in the patch that it is given.
func TestPlaces(t *testing.T) {
	size := [3]int{17, 12, 14}
	var b bytes.Buffer
	require.NoError(t, volume.WriteNIfTI(&b, size, oblique, make([]float32, 17*12*14)))
	fsys := fstest.MapFS{"a.nii": {Data: b.Bytes()}}
	for name, opt := range map[string]data.Options{
		"as stored": {Size: []int{16, 12, 12}},
		"prepared":  {Reorient: true, Spacing: []float64{1.5, 1, 2}, Size: []int{20, 16, 8}},
		"resized":   {Reorient: true, Size: []int{8, 16, 12}, Fit: data.FitResize},
	} {
		ds, _, err := data.OpenFS(fsys, []string{"a.nii"}, opt)
		require.NoError(t, err)
		s := ds.(data.Spaced).Space(0)
		patch := []int{4, 4, 2}
		g := Whole(s.Size, patch)
		values := make([]float32, 3*g.Len())
		n := g.Len()
		for p := range n {
			i, j, k := p/(g.Size[1]*g.Size[2]), p/g.Size[2]%g.Size[1], p%g.Size[2]
			c := place(s.Affine, float64(4*i)+1.5, float64(4*j)+1.5, float64(2*k)+0.5)
			for r := range 3 {
				values[r*n+p] = float32(c[r])
			}
		}
		path := filepath.Join(t.TempDir(), "deep", "map.nii.gz")
		require.NoError(t, g.Write(path, values, 3, s.Affine))
		m, err := volume.Open(volume.OS, path, volume.Options{FramesAsChannels: true})
		require.NoError(t, err)
		require.Equal(t, g.Size, m.Header().Size)
		read, err := m.Read(nil)
		require.NoError(t, err)
		for p := range n {
			i, j, k := p/(g.Size[1]*g.Size[2]), p/g.Size[2]%g.Size[1], p%g.Size[2]
			c := place(m.Header().Affine, float64(i), float64(j), float64(k))
			for r := range 3 {
				require.InDelta(t, c[r], float64(read[r*n+p]), 1e-4, "%s patch %d", name, p)
			}
		}

		require.NoError(t, g.WriteOnScan(path, values, 3, s.Affine, s.Stored, s.StoredAffine))
		m, err = volume.Open(volume.OS, path, volume.Options{FramesAsChannels: true})
		require.NoError(t, err)
		h := m.Header()
		require.Equal(t, size[:], h.Size)
		back, ok := volume.Invert(s.Affine)
		require.True(t, ok)
		read, err = m.Read(nil)
		require.NoError(t, err)
		seen := 0
		voxels := len(read) / 3
		for v := range voxels {
			i, j, k := v/(12*14), v/14%12, v%14
			p := place(h.Affine, float64(i), float64(j), float64(k))
			inside := place(back, p[0], p[1], p[2]) // voxel of the prepared sample
			var outside bool
			for a := range 3 {
				outside = outside || inside[a] < -0.5-1e-4 || inside[a] > float64(s.Size[a])-0.5+1e-4
			}
			if read[v] != read[v] {
				require.True(t, outside || math.Abs(inside[0]+0.5) < 1e-3, "%s voxel %d %d %d: %v", name, i, j, k, inside)
				continue
			}
			seen++
			require.False(t, outside)
			c := place(back, float64(read[v]), float64(read[voxels+v]), float64(read[2*voxels+v]))
			for a, half := range []float64{2, 2, 1} {
				require.InDelta(t, c[a], inside[a], half+1e-3, "%s voxel %d %d %d lies in another patch", name, i, j, k)
			}
		}
		require.Greater(t, seen, voxels/2)
	}
}

func TestFileName(t *testing.T) {
	for name, want := range map[string]string{
		"a.nii.gz": "a.x", "sub/b.NII": "sub/b.x", "../../c.nrrd": "c.x", "/etc/d": "etc/d.x", "test/007": "test/007.x", "scan.v2.mha": "scan.v2.x", "w:e?.png": "w_e_.x",
		"Ⱥ": "Ⱥ.x", "Ⱥİ.Nii.GZ": "Ⱥİ.x", "\xff\xfe.png": "\ufffd\ufffd.x", ".png": ".x",
	} {
		require.Equal(t, filepath.FromSlash(want), FileName(name, ".x"), name)
	}
}
