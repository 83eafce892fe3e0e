package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"wgjepa/data/volume"
	"wgjepa/gpu"
	"wgjepa/jepa"
)

// The maps hold the errors that the predictor makes of each scan, wherever the scan lies, and the
// table ranks their means.
func TestPredict(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	call := tinyRun(t, dir)
	require.NoError(t, os.Mkdir(path("scans"), 0o755))
	affine := [4][4]float64{{0, 0, -1.1, 30}, {-0.9, 0, 0, 12}, {0, 1.3, 0, -8}, {0, 0, 0, 1}}
	r := rand.New(rand.NewPCG(5, 6))
	for i, size := range [][3]int{{20, 18, 24}, {15, 25, 17}, {16, 16, 16}} {
		values := make([]float32, size[0]*size[1]*size[2])
		for k := range values {
			values[k] = float32(r.NormFloat64()*float64(i) + math.Sin(float64(k)))
		}
		require.NoError(t, volume.WriteFile(path(fmt.Sprintf("scans/%d.nii.gz", i)), size, affine, values))
	}
	args := []string{"predict", path("run"), path("scans"), "--set", "data.reorient=true", "--draws", "40"}
	call(append(args, "--out", path("patches"), "--maps-grid", "patches")...)
	call(append(args, "--out", path("scan"))...)

	flags := dataFlags(&cobra.Command{})
	flags.sets = []string{"data.reorient=true"}
	file, conf, err := openRun(flags, path("run"))
	require.NoError(t, err)
	defer file.Close()
	require.NoError(t, setPaths(&conf, []string{path("scans")}))
	ds, _, err := conf.Open()
	require.NoError(t, err)
	d, err := gpu.Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	s, err := jepa.LoadSurprise(d, file)
	require.NoError(t, err)
	rows := readCSV(t, path("scan/surprise.csv"))[1:]
	require.Equal(t, rows, readCSV(t, path("patches/surprise.csv"))[1:])
	require.Len(t, rows, 3)
	last := math.Inf(1)
	for rank, row := range rows {
		require.Equal(t, strconv.Itoa(rank+1), row[0])
		i, err := strconv.Atoi(row[1][:1])
		require.NoError(t, err)
		x, errs := make([]float32, 16*16*16), make([]float32, 64)
		require.NoError(t, ds.Read(i, x))
		require.NoError(t, s.Patches(x, 40, errs))
		m, err := volume.Open(volume.OS, filepath.Join(dir, "patches", row[6]), volume.Options{})
		require.NoError(t, err)
		got, err := m.Read(nil)
		require.NoError(t, err)
		require.Equal(t, []int{4, 4, 4}, m.Header().Size)
		require.Equal(t, "RAS", m.Header().Orientation())
		sum, n, most := 0.0, 0, 0.0
		seen := map[float32]bool{}
		for p, e := range errs {
			if e != e {
				require.True(t, got[p] != got[p])
				continue
			}
			require.Equal(t, e, got[p])
			seen[e] = true
			sum, n, most = sum+float64(e), n+1, math.Max(most, float64(e))
		}
		mean, err := strconv.ParseFloat(row[3], 64)
		require.NoError(t, err)
		require.InDelta(t, sum/float64(n), mean, 1e-8)
		require.LessOrEqual(t, mean, last)
		last = mean
		largest, err := strconv.ParseFloat(row[4], 64)
		require.NoError(t, err)
		require.InDelta(t, most, largest, 1e-8)
		require.Equal(t, strconv.Itoa(64-n), row[5])

		onScan, err := volume.Open(volume.OS, filepath.Join(dir, "scan", row[6]), volume.Options{})
		require.NoError(t, err)
		original, err := volume.Open(volume.OS, path("scans/"+row[1]), volume.Options{})
		require.NoError(t, err)
		require.Equal(t, original.Header().Size, onScan.Header().Size)
		require.Equal(t, original.Header().Affine, onScan.Header().Affine)
		v, err := onScan.Read(nil)
		require.NoError(t, err)
		voxels := 0
		for _, e := range v {
			if e == e {
				require.True(t, seen[e])
				voxels++
			}
		}
		require.Greater(t, voxels, len(v)/4)
	}
}
