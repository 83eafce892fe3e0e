package main

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"wgjepa/checkpoint"
	"wgjepa/data/numpy"
	"wgjepa/data/volume"
	"wgjepa/gpu"
	"wgjepa/jepa"
)

// readNPY reads an array of rows.
func readNPY(t *testing.T, path string) (shape []int, values []float32) {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	h, values, err := numpy.Read(bytes.NewReader(content), nil, int64(len(content)), 1<<30)
	require.NoError(t, err)
	require.Equal(t, "f4", h.Type)
	require.False(t, h.Fortran)
	first := bytes.IndexByte(content, '\n') + 1
	require.Zero(t, first%64, "the numbers begin at a multiple of 64 bytes")
	require.Len(t, content, first+4*len(values))
	return h.Shape, values
}

func readCSV(t *testing.T, path string) [][]string {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	return rows
}

// tinyRun trains a tiny encoder for a moment and returns how to call the command on it.
func tinyRun(t *testing.T, dir string, args ...string) (call func(args ...string) string) {
	t.Helper()
	config := filepath.Join(dir, "tiny.toml")
	require.NoError(t, os.WriteFile(config, []byte(tinyConfig), 0o644))
	call = func(args ...string) string {
		t.Helper()
		var out, said strings.Builder
		require.Zero(t, run(append(args, "--adapter", "cpu", "--quiet"), &out, &said), &said)
		return out.String()
	}
	call(append([]string{"train", "phantoms", "--config", config, "--out", filepath.Join(dir, "run"), "--pictures=false", "--max-steps", "3"}, args...)...)
	return call
}

// The table holds the features that the weights give, in the order of the
// names, whatever the batch size and the format.
func TestEmbed(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	call := tinyRun(t, dir)
	call("embed", path("run"), "phantoms", "--out", path("a.npy"))
	shape, a := readNPY(t, path("a.npy"))
	require.Equal(t, []int{22, 12}, shape)
	ids := readCSV(t, path("a.ids.csv"))
	require.Len(t, ids, 23)
	require.Equal(t, []string{"row", "name", "class"}, ids[0])

	file, conf, err := openRun(dataFlags(&cobra.Command{}), path("run"))
	require.NoError(t, err)
	defer file.Close()
	ds, _, err := conf.Open()
	require.NoError(t, err)
	d, err := gpu.Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	for _, encoder := range []string{"context", "target"} {
		f, err := jepa.LoadFeatures(d, file, encoder+"_encoder", 1)
		require.NoError(t, err)
		call("embed", path("run"), "phantoms", "--out", path("b.npy"), "--features", encoder, "--batch-size", "5", "--overwrite")
		_, b := readNPY(t, path("b.npy"))
		if encoder == "context" {
			require.Equal(t, a, b)
		} else {
			require.NotEqual(t, a, b)
		}
		call("embed", path("run/weights.safetensors"), "phantoms", "--out", path("c.csv"), "--features", encoder, "--pooling", "mean+std", "--overwrite")
		rows := readCSV(t, path("c.csv"))
		require.Len(t, rows, 23)
		require.Equal(t, "z23", rows[0][25])
		x, z, tokens := make([]float32, 16*16*16), make([]float32, 12), make([]float32, 64*12)
		for i := range ds.Len() {
			require.NoError(t, ds.Read(i, x))
			require.NoError(t, f.Pooled(x, 1, z))
			require.Equal(t, z, b[i*12:(i+1)*12], i)
			class, ok := ds.Label(i)
			require.True(t, ok)
			require.Equal(t, []string{strconv.Itoa(i), ds.Name(i), ds.Classes()[class]}, ids[i+1])
			require.Equal(t, []string{ds.Name(i), ds.Classes()[class]}, rows[i+1][:2])
			require.NoError(t, f.Tokens(x, 1, tokens))
			for j := range z {
				mean, err := strconv.ParseFloat(rows[i+1][2+j], 64)
				require.NoError(t, err)
				require.InDelta(t, z[j], mean, 1e-6)
				std, err := strconv.ParseFloat(rows[i+1][14+j], 64)
				require.NoError(t, err)
				sum := 0.0
				for p := range 64 {
					sum += (float64(tokens[p*12+j]) - mean) * (float64(tokens[p*12+j]) - mean)
				}
				require.InDelta(t, sum/64, std*std, 1e-6)
				require.Positive(t, std)
			}
		}
	}
}

// Each format holds the same numbers, names, classes and places; Parquet's library reads its own
// as others' do (tools/embed/check.py).
func TestEmbedFormats(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	call := tinyRun(t, dir)
	for _, patches := range []bool{false, true} {
		args := []string{"embed", path("run"), "phantoms", "--overwrite"}
		per, head := 1, 2
		if patches {
			args, per, head = append(args, "--patches"), 64, 5
		}
		for _, name := range []string{"z.npy", "z.csv", "z.parquet"} {
			call(append(args, "--out", path(name))...)
		}
		shape, z := readNPY(t, path("z.npy"))
		if patches {
			require.Equal(t, []int{22, 64, 12}, shape)
		} else {
			require.Equal(t, []int{22, 12}, shape)
		}
		rows, ids := readCSV(t, path("z.csv")), readCSV(t, path("z.ids.csv"))
		columns, err := parquet.ReadFile[parquetRow](path("z.parquet"))
		require.NoError(t, err)
		require.Len(t, rows, 1+22*per)
		require.Len(t, columns, 22*per)
		require.Len(t, ids, 23)
		for r, p := range columns {
			require.Equal(t, ids[1+r/per][1], p.Name)
			require.Equal(t, ids[1+r/per][2], *p.Class)
			require.Equal(t, []string{p.Name, *p.Class}, rows[1+r][:2])
			require.Equal(t, z[12*r:12*r+12], p.Embedding)
			for k, v := range p.Embedding {
				got, err := strconv.ParseFloat(rows[1+r][head+k], 32)
				require.NoError(t, err)
				require.Equal(t, v, float32(got))
			}
			if patches {
				n := r % 64
				require.Equal(t, []int32{int32(n / 16), int32(n / 4 % 4), int32(n % 4)}, p.Patch)
				require.Equal(t, []string{strconv.Itoa(n / 16), strconv.Itoa(n / 4 % 4), strconv.Itoa(n % 4)}, rows[1+r][2:5])
			} else {
				require.Empty(t, p.Patch)
			}
		}
	}
}

// On every adapter an embedding is the same for any batch size but for float32 rounding: within
// 1e-5 of the largest number.
func TestEmbedBatchSizes(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	tinyRun(t, dir)
	for _, adapter := range []string{"cpu", ""} {
		for _, kind := range [][]string{{}, {"--pooling", "mean+std"}, {"--patches"}, {"--window", "--size", "8,16,8"}} {
			var first []float32
			for _, batch := range []string{"1", "3", "22"} {
				var said strings.Builder
				args := append([]string{"embed", path("run"), "phantoms", "--out", path("z.npy"), "--overwrite", "--batch-size", batch, "--quiet"}, kind...)
				if adapter != "" {
					args = append(args, "--adapter", adapter)
				}
				require.Zero(t, run(args, &said, &said), &said)
				_, z := readNPY(t, path("z.npy"))
				if first == nil {
					first = z
					continue
				}
				require.Len(t, z, len(first))
				largest, worst := 0.0, 0.0
				for i := range z {
					largest = max(largest, math.Abs(float64(first[i])))
					worst = max(worst, math.Abs(float64(z[i])-float64(first[i])))
				}
				require.Positive(t, largest)
				require.LessOrEqual(t, worst/largest, 1e-5, "%q %v batch %s", adapter, kind, batch)
				t.Logf("adapter %q %v batch %s: %.2g", adapter, kind, batch, worst/largest)
			}
		}
	}
}

// A map shows each patch's features where the patch lies in the scan that was reoriented,
// resampled and cropped on the way; its components are those of the features.
func TestEmbedMaps(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	call := tinyRun(t, dir)
	affine := [4][4]float64{{0, 0, -1.1, 30}, {-0.9, 0, 0, 12}, {0, 1.3, 0, -8}, {0, 0, 0, 1}}
	r := rand.New(rand.NewPCG(5, 6))
	sizes := [][3]int{{20, 18, 24}, {15, 25, 17}}
	for i, size := range sizes {
		values := make([]float32, size[0]*size[1]*size[2])
		for k := range values {
			values[k] = float32(r.NormFloat64())
		}
		require.NoError(t, os.MkdirAll(path("scans"), 0o755))
		require.NoError(t, volume.WriteFile(path(fmt.Sprintf("scans/%d.nii.gz", i)), size, affine, values))
	}
	for _, window := range []bool{false, true} {
		args := []string{"embed", path("run"), path("scans"), "--set", "data.reorient=true", "--set", "data.spacing=[1,1,1]", "--overwrite"}
		if window {
			args = append(args, "--window")
		}
		call(append(args, "--out", path("z.csv"), "--patches", "--maps", path(fmt.Sprint("all", window)), "--channels", "0")...)
		call(append(args, "--out", path("k.csv"), "--maps", path(fmt.Sprint("three", window)))...)
		call(append(args, "--out", path("s.csv"), "--maps", path(fmt.Sprint("scan", window)), "--channels", "0", "--maps-grid", "scan")...)
		rows := readCSV(t, path("z.csv"))[1:]
		read := func(folder string, i int) (volume.Header, []float32) {
			m, err := volume.Open(volume.OS, path(fmt.Sprintf("%s%t/%d.features.nii.gz", folder, window, i)), volume.Options{FramesAsChannels: true})
			require.NoError(t, err)
			v, err := m.Read(nil)
			require.NoError(t, err)
			return m.Header(), v
		}
		components, err := checkpoint.Open(path(fmt.Sprintf("three%t/%s", window, componentsFile)))
		require.NoError(t, err)
		mean, _, err := components.Float64s("mean")
		require.NoError(t, err)
		vectors, shape, err := components.Float64s("components")
		require.NoError(t, err)
		require.Equal(t, []int{3, 12}, shape)
		require.NoError(t, components.Close())
		for i, size := range sizes {
			h, all := read("all", i)
			k, three := read("three", i)
			require.Equal(t, "RAS", h.Orientation())
			require.Equal(t, []float64{4, 4, 4}, roundAll(h.Spacing))
			require.Equal(t, h.Affine, k.Affine)
			require.Equal(t, 12, h.Channels)
			require.Equal(t, 3, k.Channels)
			if !window {
				require.Equal(t, []int{4, 4, 4}, h.Size)
			}
			n := h.Size[0] * h.Size[1] * h.Size[2]
			for p := range n {
				row := rows[p]
				require.Equal(t, []string{fmt.Sprintf("%d.nii.gz", i), strconv.Itoa(p / (h.Size[1] * h.Size[2])), strconv.Itoa(p / h.Size[2] % h.Size[1]), strconv.Itoa(p % h.Size[2])}, row[:4])
				z := make([]float64, 12)
				for c := range z {
					v, err := strconv.ParseFloat(row[4+c], 32)
					require.NoError(t, err)
					require.Equal(t, float32(v), all[c*n+p])
					z[c] = v
				}
				for c := range 3 {
					dot := 0.0
					for d, v := range z {
						dot += (v - mean[d]) * vectors[c*12+d]
					}
					require.InDelta(t, dot, three[c*n+p], 1e-4)
				}
			}
			rows = rows[n:]
			// The centre of the map is that of the scan, but for voxels that no patch holds.
			centre := func(a [4][4]float64, size []int, r int) float64 {
				x := a[r][3]
				for c := range 3 {
					x += a[r][c] * float64(size[c]-1) / 2
				}
				return x
			}
			for r := range 3 {
				require.InDelta(t, centre(affine, size[:], r), centre(h.Affine, h.Size, r), 1.1)
			}
			s, scan := read("scan", i)
			require.Equal(t, size[:], s.Size)
			for a := range 3 {
				require.InDeltaSlice(t, affine[a][:], s.Affine[a][:], 1e-5)
			}
			values := map[float32]bool{}
			for _, v := range all[:n] {
				values[v] = true
			}
			seen := 0
			for _, v := range scan[:size[0]*size[1]*size[2]] {
				if v == v {
					seen++
					require.True(t, values[v])
				}
			}
			if window {
				require.Equal(t, size[0]*size[1]*size[2], seen)
			} else {
				require.Less(t, seen, size[0]*size[1]*size[2])
			}
		}
		require.Empty(t, rows)
	}
	// Maps of other weights do not join those that are there.
	var said strings.Builder
	require.Equal(t, 1, run([]string{"embed", path("run"), path("scans"), "--features", "target", "--out", path("t.csv"), "--maps", path("threefalse"), "--adapter", "cpu"}, &said, &said))
	require.Contains(t, said.String(), "are of other weights")
}

func roundAll(v []float64) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = math.Round(x*1e4) / 1e4
	}
	return out
}

// noisePictures writes a folder of small colour pictures.
func noisePictures(t *testing.T, dir string) string {
	t.Helper()
	folder := filepath.Join(dir, "pictures")
	require.NoError(t, os.Mkdir(folder, 0o755))
	r := rand.New(rand.NewPCG(7, 8))
	for i := range 3 {
		m := image.NewRGBA(image.Rect(0, 0, 32, 32))
		for k := range m.Pix {
			m.Pix[k] = uint8(r.UintN(256)) | uint8(255*(k%4/3)) // opaque
		}
		require.NoError(t, writePNG(filepath.Join(folder, fmt.Sprintf("%d.png", i)), m))
	}
	return folder
}

// writeNPY writes an array of float32.
func writeNPY(t *testing.T, path string, shape []int, x []float32) {
	t.Helper()
	text := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }", strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", ", "), "[]"))
	text += strings.Repeat(" ", 117-len(text)) + "\n"
	array := append([]byte("\x93NUMPY\x01\x00v\x00"), text...)
	for _, v := range x {
		array = binary.LittleEndian.AppendUint32(array, math.Float32bits(v))
	}
	require.NoError(t, os.WriteFile(path, array, 0o644))
}

// Training goes on from the weights of every program, for some updates and whole again from its
// own file.
func TestInitFromPrograms(t *testing.T) {
	dir := golden()
	if dir == "" {
		t.Skip("the reference's golden data are not there (JEPA_TEST_GOLDEN sets their folder)")
	}
	work := t.TempDir()
	pictures, volumes := noisePictures(t, work), filepath.Join(work, "x.npy")
	x := make([]float32, 4*12*8*8)
	r := rand.New(rand.NewPCG(7, 8))
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	writeNPY(t, volumes, []int{4, 1, 12, 8, 8}, x)
	common := []string{"--adapter", "cpu", "--pictures=false", "--max-steps", "2", "--set", "data.val=0", "--set", "data.test=0", "--set", "min_keep=0", "--set", "num_target_blocks=1", "--set", "predictor_embed_dim=12", "--set", "predictor_depth=1", "--batch-size", "2", "--overwrite"}
	for _, c := range []struct {
		weights, data, predictor string
		flags                    []string
	}{
		{"weights/timm.safetensors", pictures, "begins at random: the weights have none", []string{"--init-heads", "3"}},
		{"weights/timm.pth", pictures, "begins at random: the weights have none", []string{"--init-heads", "3"}},
		{"weights/timm_legacy.pth", pictures, "begins at random: the weights have none", []string{"--init-heads", "3"}},
		{"weights/hf_ijepa", pictures, "begins at random: the weights have none", nil},
		{"paper2d_start.pth.tar", pictures, "", []string{"--init-heads", "3", "--preset", "paper", "--size", "32,32"}},
		{"weights/nidl.pt", volumes, "the weights'", []string{"--init-heads", "3", "--init-size", "12,8,8", "--preset", "nidl", "--set", "predictor_num_heads=3"}},
		{"weights/nidl.ckpt", volumes, "the weights'", []string{"--init-heads", "3", "--init-size", "12,8,8", "--preset", "nidl", "--set", "predictor_num_heads=3"}},
	} {
		var said strings.Builder
		out := filepath.Join(work, "run")
		args := append([]string{"train", c.data, "--init", filepath.Join(dir, c.weights), "--out", out}, common...)
		require.Zero(t, run(append(args, c.flags...), &said, &said), "%s: %s", c.weights, &said)
		require.Contains(t, said.String(), "predictor: "+c.predictor, c.weights)
		require.Contains(t, said.String(), "2 updates done", c.weights)
		said.Reset()
		require.Zero(t, run([]string{"embed", out, c.data, "--out", filepath.Join(work, "z.npy"), "--overwrite", "--adapter", "cpu"}, &said, &said), "%s: %s", c.weights, &said)
	}
}

// The weights of every program embed: files that hold the same numbers give the same table, and
// nidl's the embedding that nidl computes.
func TestEmbedWeightsOfPrograms(t *testing.T) {
	dir := golden()
	if dir == "" {
		t.Skip("the reference's golden data are not there (JEPA_TEST_GOLDEN sets their folder)")
	}
	work := t.TempDir()
	pictures := noisePictures(t, work)
	expected, err := checkpoint.Open(filepath.Join(dir, "weights", "nidl_expected.safetensors"))
	require.NoError(t, err)
	defer expected.Close()
	x, shape, err := expected.Float32s("x")
	require.NoError(t, err)
	volumes := filepath.Join(work, "x.npy")
	writeNPY(t, volumes, shape, x)

	embed := func(weights string, flags ...string) (string, []float32) {
		out := filepath.Join(work, "z.npy")
		var said strings.Builder
		args := append([]string{"embed", filepath.Join(dir, weights)}, flags...)
		require.Zero(t, run(append(args, "--out", out, "--overwrite", "--adapter", "cpu"), &said, &said), "%s: %s", weights, &said)
		shape, z := readNPY(t, out)
		require.Len(t, shape, 2)
		return said.String(), z
	}
	_, timm := embed("weights/timm.safetensors", pictures, "--weights-heads", "3")
	require.Len(t, timm, 3*24)
	for _, name := range []string{"weights/timm.pth", "weights/timm_legacy.pth"} {
		_, z := embed(name, pictures, "--weights-heads", "3")
		require.Equal(t, timm, z, name)
	}
	_, hub := embed("weights/hf_ijepa", pictures)
	require.NotEqual(t, timm, hub)
	said, paper := embed("paper2d_start.pth.tar", pictures, "--weights-heads", "3", "--features", "target", "--size", "32,32")
	require.Contains(t, said, "target_encoder of")
	require.NotEmpty(t, paper)

	want, _, err := expected.Float64s("embedding")
	require.NoError(t, err)
	for _, name := range []string{"weights/nidl.pt", "weights/nidl.ckpt"} {
		_, z := embed(name, volumes, "--weights-heads", "3", "--weights-size", "12,8,8", "--normalize", "none", "--features", "target")
		_, c := embed(name, volumes, "--weights-heads", "3", "--weights-size", "12,8,8", "--normalize", "none")
		near := func(z []float32) bool {
			for i, v := range want {
				if math.Abs(v-float64(z[i])) > 1e-6 {
					return false
				}
			}
			return len(z) == len(want)
		}
		require.True(t, near(z) || near(c), "%s: neither encoder gives nidl's embedding", name)
	}
	for _, name := range []string{"weights/hostile.pth", "masks.json", "README.md", "weights"} {
		var said strings.Builder
		require.Equal(t, 1, run([]string{"embed", filepath.Join(dir, name), pictures, "--out", filepath.Join(work, "none.npy"), "--adapter", "cpu"}, &said, &said), name)
		require.Contains(t, said.String(), name)
	}
	require.NoFileExists(t, filepath.Join(work, "none.npy"))
	require.NoFileExists(t, filepath.Join(work, "none.npy.part"))
}
