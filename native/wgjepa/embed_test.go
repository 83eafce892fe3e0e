package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"wgjepa/data"
	"wgjepa/data/numpy"
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

// The table holds the features that the weights give, in the order of the
// names, whatever the batch size and the format.
func TestEmbed(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.WriteFile(path("tiny.toml"), []byte(tinyConfig), 0o644))
	call := func(args ...string) {
		t.Helper()
		var said strings.Builder
		require.Zero(t, run(append(args, "--adapter", "cpu", "--quiet"), &said, &said), &said)
	}
	call("train", "phantoms", "--config", path("tiny.toml"), "--out", path("run"), "--pictures=false", "--max-steps", "3")
	call("embed", path("run"), "phantoms", "--out", path("a.npy"))
	shape, a := readNPY(t, path("a.npy"))
	require.Equal(t, []int{22, 12}, shape)
	names, err := os.ReadFile(path("a.names.txt"))
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSuffix(string(names), "\n"), "\n")
	require.Len(t, lines, 22)

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
		text, err := os.ReadFile(path("c.csv"))
		require.NoError(t, err)
		rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
		require.NoError(t, err)
		require.Len(t, rows, 23)
		require.Equal(t, "z23", rows[0][24])
		x, z, tokens := make([]float32, 16*16*16), make([]float32, 12), make([]float32, 64*12)
		for i := range ds.Len() {
			require.NoError(t, ds.Read(i, x))
			require.NoError(t, f.Pooled(x, 1, z))
			require.Equal(t, z, b[i*12:(i+1)*12], i)
			require.Equal(t, ds.Name(i), lines[i])
			require.Equal(t, ds.Name(i), rows[i+1][0])
			require.NoError(t, f.Tokens(x, 1, tokens))
			for j := range z {
				mean, err := strconv.ParseFloat(rows[i+1][1+j], 64)
				require.NoError(t, err)
				require.InDelta(t, z[j], mean, 1e-6)
				std, err := strconv.ParseFloat(rows[i+1][13+j], 64)
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

// generated is a set of samples that are made when they are read.
type generated struct {
	data.Dataset
	n, bad int
	read   atomic.Int64
}

func (g *generated) Len() int            { return g.n }
func (g *generated) Shape() (int, []int) { return 1, []int{8, 8} }
func (g *generated) Name(i int) string   { return fmt.Sprintf("sample %d", i) }
func (g *generated) Read(i int, x []float32) error {
	if i == g.bad {
		return errors.New("sample is damaged")
	}
	g.read.Add(1)
	for j := range x {
		x[j] = float32(i%17) * float32(j%5)
	}
	return nil
}

// However many samples there are, only a few batches are in memory; an error or
// an interruption ends the stream.
func TestEmbedStreams(t *testing.T) {
	c, err := jepa.Default("default")
	require.NoError(t, err)
	e := &c.Encoder
	e.ImgSize, e.PatchSize, e.EmbedDim, e.Depth, e.NumHeads = []int{8, 8}, []int{2}, 8, 1, 2
	c.MinKeep, c.NumTargetBlocks, c.PredictorEmbedDim = 0, 1, 8
	d, err := gpu.Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	const batch = 4
	f, err := jepa.UntrainedFeatures(d, c, batch)
	require.NoError(t, err)
	var said strings.Builder
	written := 0
	start := func(n, bad int) (*embedding, *generated) {
		written = 0
		g := &generated{n: n, bad: bad}
		return &embedding{c: &console{out: &said, err: &said, quiet: true}, ds: g, features: f}, g
	}
	em, g := start(2003, -1)
	most := 0
	require.NoError(t, em.stream(t.Context(), func(name string, z []float32) error {
		most = max(most, int(g.read.Load())-written)
		require.Equal(t, fmt.Sprintf("sample %d", written), name)
		require.Len(t, z, 8)
		written++
		return nil
	}))
	require.Equal(t, 2003, written)
	require.LessOrEqual(t, most, 3*batch)

	em, _ = start(2003, 100)
	require.ErrorContains(t, em.stream(t.Context(), func(string, []float32) error { written++; return nil }), "damaged")
	require.LessOrEqual(t, written, 100)

	em, _ = start(1<<40, -1)
	ctx, cancel := context.WithCancel(t.Context())
	require.ErrorContains(t, em.stream(ctx, func(string, []float32) error {
		if written++; written == 50 {
			cancel()
		}
		return nil
	}), "interrupted")
	require.Less(t, written, 1000)

	em, _ = start(100, -1)
	out := filepath.Join(t.TempDir(), "z.npy")
	em.ds.(*generated).bad = 90
	require.ErrorContains(t, em.write(out), "damaged")
	left, err := os.ReadDir(filepath.Dir(out))
	require.NoError(t, err)
	require.Empty(t, left)
}
