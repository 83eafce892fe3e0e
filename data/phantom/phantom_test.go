package phantom

import (
	"encoding/csv"
	"hash/fnv"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"wgjepa/data/volume"
)

func generate(c Config, seed, index uint64) ([]float32, []uint8, int) {
	x, l := make([]float32, c.Len()), make([]uint8, c.Len())
	return x, l, c.Generate(seed, index, x, l)
}

// TestPure: the same (seed, index) gives the same bits, others differ.
func TestPure(t *testing.T) {
	c := Default()
	x, l, class := generate(c, 5, 9)
	generate(c, 5, 10)
	y, m, again := generate(c, 5, 9)
	assert.Equal(t, x, y)
	assert.Equal(t, l, m)
	assert.Equal(t, class, again)
	assert.Equal(t, class, c.Class(5, 9))
	for _, other := range [][2]uint64{{5, 10}, {6, 9}, {9, 5}} {
		z, _, _ := generate(c, other[0], other[1])
		assert.NotEqual(t, x, z)
	}
}

// TestBits pins the generator: published seeds must go on meaning the same torsos.
func TestBits(t *testing.T) {
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "wasm" {
		t.Skipf("%s may fuse a product and a sum into one rounding: other last bits", runtime.GOARCH)
	}
	x, l, class := generate(Default(), 0, 0)
	h := fnv.New64a()
	for i := range x {
		b := math.Float32bits(x[i])
		h.Write([]byte{byte(b), byte(b >> 8), byte(b >> 16), byte(b >> 24), l[i]})
	}
	assert.Equal(t, 2, class)
	assert.Equal(t, uint64(0x464bdfd257e459b5), h.Sum64())
}

// TestAnatomy: all tissues are there, the class's organ is the smallest relative to its
// usual size, alike organs have like brightness, every class occurs.
func TestAnatomy(t *testing.T) {
	c := Default()
	count := map[int]int{}
	usual := [5]float64{}
	for k, o := range organs {
		usual[k] = o.radius[0] * o.radius[1] * o.radius[2]
	}
	var brightness [5][]float64
	smallest := 0
	const n = 120
	for i := range uint64(n) {
		x, l, class := generate(c, 3, i)
		count[class]++
		var voxels [6]float64
		var sum [6]float64
		mean, std := 0.0, 0.0
		for k, v := range x {
			voxels[l[k]]++
			sum[l[k]] += float64(v)
			mean += float64(v) / float64(len(x))
		}
		for _, v := range x {
			std += (float64(v) - mean) * (float64(v) - mean) / float64(len(x))
		}
		least, organ := math.Inf(1), -1
		for k := range 4 {
			require.Greater(t, voxels[k+1], 20.0, "torso %d: %s", i, Tissues[k+1])
			if r := voxels[k+1] / usual[k]; r < least {
				least, organ = r, k
			}
		}
		require.Greater(t, voxels[5], 60.0)
		if organ == class {
			smallest++
		}
		for k := range 5 {
			brightness[k] = append(brightness[k], (sum[k+1]/voxels[k+1]-mean)/math.Sqrt(std))
		}
	}
	assert.Greater(t, smallest, n*95/100)
	average := func(v []float64) (m float64) {
		for _, x := range v {
			m += x / float64(len(v))
		}
		return m
	}
	for k := 1; k < 4; k++ {
		assert.InDelta(t, average(brightness[0]), average(brightness[k]), 0.1, "organs look alike")
	}
	assert.Greater(t, average(brightness[4]), average(brightness[0])+0.3, "the spine is brighter")
	for k := range Classes {
		assert.Greater(t, count[k], n/8, Classes[k])
	}
	assert.Len(t, Tissues, len(organs)+1)
}

// TestSides: the names say where the organs lie in RAS+ coordinates.
func TestSides(t *testing.T) {
	for k, o := range organs[:4] {
		side, depth := "left", "posterior"
		if o.centre[0] > 0 {
			side = "right"
		}
		if o.centre[1] > 0 {
			depth = "anterior"
		}
		assert.Equal(t, side+"-"+depth, Classes[k])
		assert.Equal(t, Classes[k], Tissues[k+1])
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	c := Config{Size: 12, Noise: 0.2}
	require.NoError(t, c.Write(dir, 5, 11))
	for i := range 5 {
		x, l, _ := generate(c, 11, uint64(i))
		for folder, want := range map[string]int{"images": 0, "labels": 1} {
			m, err := volume.Open(volume.OS, filepath.Join(dir, folder, Name(i)), volume.Options{})
			require.NoError(t, err)
			assert.Equal(t, []int{12, 12, 12}, m.Header().Size)
			assert.Equal(t, c.Affine(), m.Header().Affine)
			v, err := m.Read(nil)
			require.NoError(t, err)
			for k := range v {
				if want == 0 && v[k] != x[k] || want == 1 && v[k] != float32(l[k]) {
					t.Fatalf("%s of torso %d differs at voxel %d", folder, i, k)
				}
			}
		}
	}
	f, err := os.Open(filepath.Join(dir, "labels.csv"))
	require.NoError(t, err)
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 6)
	assert.Equal(t, []string{"file", "label"}, rows[0])
	for i, r := range rows[1:] {
		assert.Equal(t, []string{Name(i), Classes[c.Class(11, uint64(i))]}, r)
	}
	assert.ErrorContains(t, c.Write(dir, 0, 1), "at least one")
	assert.ErrorContains(t, Config{Size: 2}.Write(dir, 1, 1), "size 2")
	assert.ErrorContains(t, Config{Size: 32, Noise: math.NaN()}.Write(dir, 1, 1), "noise")
	blocked := filepath.Join(dir, "labels.csv")
	assert.Error(t, c.Write(blocked, 1, 1))
}

func BenchmarkGenerate(b *testing.B) {
	c := Default()
	x, l := make([]float32, c.Len()), make([]uint8, c.Len())
	i := uint64(0)
	for b.Loop() {
		c.Generate(1, i, x, l)
		i++
	}
}
