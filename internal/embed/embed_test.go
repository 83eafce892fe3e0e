package embed

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/data"
	"wgjepa/data/phantom"
	"wgjepa/data/volume"
	"wgjepa/model"
)

// generated is a set of samples that are made when they are read.
type generated struct {
	data.Dataset
	n    int
	size []int
	bad  map[int]bool
}

func (g *generated) Len() int                     { return g.n }
func (g *generated) Shape() (int, []int)          { return 1, g.size }
func (g *generated) Name(i int) string            { return "sample " + strconv.Itoa(i) }
func (g *generated) Label(i int) (int, bool)      { return i % 2, i%3 != 0 }
func (g *generated) Subject(i int) string         { return "person " + strconv.Itoa(i/2) }
func (g *generated) Target(i int) (float64, bool) { return 0, false }
func (g *generated) Classes() []string            { return []string{"healthy", "ill"} }
func (g *generated) Read(i int, x []float32) error {
	if g.bad[i] {
		return fmt.Errorf("%s is damaged", g.Name(i))
	}
	for j := range x {
		x[j] = float32(i%1009) + float32(j%5)
	}
	return nil
}

// sums is an encoder whose patch features are sums over the patch, of width 3.
type sums struct {
	vit     model.ViT
	batches [][]int // samples of each call
}

func (s *sums) Tokens(x []float32, n int, dst []float32) error {
	s.batches = append(s.batches, []int{n})
	size, patch, grid := s.vit.ImgSize, s.vit.PatchSize, s.vit.Grid()
	voxels := size[0] * size[1]
	clear(dst[:n*s.vit.Patches()*3])
	for b := range n {
		for i, v := range x[b*voxels : (b+1)*voxels] {
			p := i/size[1]/patch[0]*grid[1] + i%size[1]/patch[1]
			z := dst[(b*grid[0]*grid[1]+p)*3:]
			z[0] += v
			z[1] -= 2 * v
			z[2] = 1
		}
	}
	return nil
}

func (s *sums) Pooled(x []float32, n int, dst []float32) error {
	tokens := make([]float32, n*s.vit.Patches()*3)
	if err := s.Tokens(x, n, tokens); err != nil {
		return err
	}
	P := s.vit.Patches()
	for b := range n {
		for d := range 3 {
			sum := float32(0)
			for p := range P {
				sum += tokens[(b*P+p)*3+d]
			}
			dst[b*3+d] = sum / float32(P)
		}
	}
	return nil
}

func pictures(size ...int) model.ViT {
	return model.ViT{ImgSize: size, PatchSize: []int{2, 2}, InChans: 1, EmbedDim: 3}
}

func newSums(vit model.ViT) *sums { return &sums{vit: vit} }

// However many samples there are, live memory is the same, for each kind of output, through to
// the complete table.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("a hundred thousand samples")
	}
	vit := pictures(8, 8)
	live := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for _, o := range []Options{{Batch: 16}, {Batch: 16, Tokens: true}} {
		peaks := map[int]uint64{}
		for _, n := range []int{100, 100_000} {
			ds := &generated{n: n, size: []int{8, 8}}
			s, err := New(ds, newSums(vit), vit, o)
			require.NoError(t, err)
			out := filepath.Join(t.TempDir(), "z.csv")
			table, width := NewTable(ds), 3
			if o.Tokens {
				table.Patches = func(i int) []int { return s.Grid(i).Size }
			}
			p, err := OpenPartial(out, nil, width, false)
			require.NoError(t, err)
			before, peak := live(), uint64(0)
			require.NoError(t, s.Run(t.Context(), 0, func(x Sample) error {
				s.encoder.(*sums).batches = nil
				if x.Index%max(n/20, 1) == n/40 {
					peak = max(peak, live())
				}
				if o.Tokens {
					return p.Add(x.Tokens)
				}
				return p.Add(x.Embedding)
			}))
			rows := 0
			require.NoError(t, table.Finish(p, func(io.Writer) (RowWriter, error) {
				return counting(func() {
					if rows++; rows%(max(n/4, 1)*16) == 0 {
						peak = max(peak, live())
					}
				}), nil
			}))
			per := 1
			if o.Tokens {
				per = 16
			}
			require.Equal(t, n*per, rows)
			peaks[n] = peak - min(peak, before)
		}
		require.Less(t, peaks[100_000], peaks[100]+256<<10, "%+v: live bytes above the start: %v", o, peaks)
		t.Logf("%+v: live bytes above the start: %v", o, peaks)
	}
}

type counting func()

func (c counting) Write(Row) error { c(); return nil }
func (c counting) Close() error    { return nil }

// Samples come in order with the features that the encoder gives for each alone, whatever the
// batch size; one that cannot be read says why and disturbs no other.
func TestRun(t *testing.T) {
	vit := pictures(4, 6)
	for _, batch := range []int{1, 4, 7, 100} {
		for _, o := range []Options{{}, {Std: true}, {Tokens: true}, {Tokens: true, Std: true}} {
			o.Batch = batch
			ds := &generated{n: 23, size: []int{4, 6}, bad: map[int]bool{0: true, 9: true, 22: true}}
			o.Measure = true
			s, err := New(ds, newSums(vit), vit, o)
			require.NoError(t, err)
			at := 0
			require.NoError(t, s.Run(t.Context(), 0, func(x Sample) error {
				require.Equal(t, at, x.Index)
				at++
				if ds.bad[x.Index] {
					require.ErrorContains(t, x.Err, ds.Name(x.Index)+" is damaged")
					require.Nil(t, x.Embedding)
					return nil
				}
				require.NoError(t, x.Err)
				image := make([]float32, 24)
				require.NoError(t, ds.Read(x.Index, image))
				tokens, want := make([]float32, 6*3), make([]float32, 3)
				require.NoError(t, newSums(vit).Tokens(image, 1, tokens))
				require.NoError(t, newSums(vit).Pooled(image, 1, want))
				require.InDeltaSlice(t, want, x.Embedding[:3], 1e-3)
				require.Len(t, x.Embedding, s.Width())
				if o.Std {
					squares := 0.0
					for p := range 6 {
						squares += math.Pow(float64(tokens[3*p])-float64(x.Embedding[0]), 2)
					}
					require.InDelta(t, math.Sqrt(squares/6), x.Embedding[3], 1e-4)
					require.Zero(t, x.Embedding[5])
				}
				if o.Tokens {
					require.Equal(t, tokens, x.Tokens)
					require.Equal(t, []int{2, 3}, x.Grid.Size)
				}
				return nil
			}))
			require.Equal(t, 23, at)
			stats := s.Stats()
			require.Equal(t, 23, stats.Samples)
			require.Equal(t, 23, stats.Inputs)
			require.Positive(t, stats.Rate())
			if batches := (23 + batch - 1) / batch; batches > measureEvery/2 {
				require.Equal(t, (batches+measureEvery/2-1)/measureEvery*batch, stats.AloneInputs)
				require.Positive(t, stats.AloneRate())
			}
		}
	}
}

// Errors and interruptions end a stream, and no reader is left behind.
func TestRunEnds(t *testing.T) {
	vit := pictures(4, 6)
	goroutines := runtime.NumGoroutine()
	ds := &generated{n: 1 << 40, size: []int{4, 6}}
	s, err := New(ds, newSums(vit), vit, Options{Batch: 4})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	require.ErrorIs(t, s.Run(ctx, 0, func(Sample) error {
		if seen++; seen == 50 {
			cancel()
		}
		return nil
	}), context.Canceled)
	require.Less(t, seen, 60)
	full := errors.New("the disk is full")
	require.ErrorIs(t, s.Run(t.Context(), 0, func(Sample) error { return full }), full)
	require.ErrorIs(t, s.Run(ctx, 0, func(Sample) error { return nil }), context.Canceled)
	for range 100 {
		if runtime.NumGoroutine() > goroutines {
			runtime.Gosched()
		}
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), goroutines)
	_, err = New(ds, newSums(vit), vit, Options{})
	require.ErrorContains(t, err, "batch of 0")
	_, err = New(ds, newSums(vit), vit, Options{Batch: 1, Overlap: 1})
	require.ErrorContains(t, err, "overlap")
	_, err = New(ds, newSums(vit), vit, Options{Batch: 1, Window: true})
	require.ErrorContains(t, err, "own sizes")
}

// stopping cancels while a sample is read, whose batch then is not whole.
type stopping struct {
	*generated
	cancel func()
}

func (s stopping) Read(i int, x []float32) error {
	s.cancel()
	return s.generated.Read(i, x)
}

// A batch whose reading was given up is not used, whichever is heard of first.
func TestRunGivesUp(t *testing.T) {
	vit := pictures(4, 6)
	for range 300 {
		ctx, cancel := context.WithCancel(t.Context())
		s, err := New(stopping{&generated{n: 100, size: []int{4, 6}}, cancel}, newSums(vit), vit, Options{Batch: 50})
		require.NoError(t, err)
		require.ErrorIs(t, s.Run(ctx, 0, func(Sample) error {
			t.Fatal("samples that were not read were used")
			return nil
		}), context.Canceled)
	}
}

// A subset says of its samples what the set says of them.
func TestSubset(t *testing.T) {
	all, _, err := data.Phantoms(phantom.Config{Size: 16}, 12, 1, data.Options{})
	require.NoError(t, err)
	ids := []int{2, 3, 7, 11}
	some := Subset(all, ids)
	require.Equal(t, len(ids), some.Len())
	channels, size := all.Shape()
	n := channels * size[0] * size[1] * size[2]
	parts := 0
	for i, id := range ids {
		require.Equal(t, all.Name(id), some.Name(i))
		require.Equal(t, all.Subject(id), some.Subject(i))
		require.Equal(t, all.Header(id), some.Header(i))
		want, _ := all.Label(id)
		got, _ := some.Label(i)
		require.Equal(t, want, got)
		x, y, a, b := make([]float32, n), make([]float32, n), make([]uint8, n), make([]uint8, n)
		require.NoError(t, all.Read(id, x))
		require.NoError(t, some.Read(i, y))
		require.Equal(t, x, y)
		_, err = all.VoxelLabels(id, a)
		require.NoError(t, err)
		_, err = some.VoxelLabels(i, b)
		require.NoError(t, err)
		require.Equal(t, a, b)
		require.Equal(t, all.(data.Spaced).Space(id), some.(data.Spaced).Space(i))
		for _, part := range []string{"train", "val", "test"} {
			require.Equal(t, slices.Contains(all.Split(part), id), slices.Contains(some.Split(part), i))
			parts += len(some.Split(part))
		}
	}
	require.Equal(t, len(ids)*len(ids), parts)
}

// NaN features are an error of their sample.
func TestNotFinite(t *testing.T) {
	vit := pictures(4, 6)
	ds := &generated{n: 3, size: []int{4, 6}}
	s, err := New(ds, nan{newSums(vit)}, vit, Options{Batch: 2})
	require.NoError(t, err)
	require.NoError(t, s.Run(t.Context(), 0, func(x Sample) error {
		require.ErrorContains(t, x.Err, "the features of "+ds.Name(x.Index)+" are not finite")
		return nil
	}))
}

type nan struct{ *sums }

func (n nan) Pooled(x []float32, b int, dst []float32) error {
	err := n.sums.Pooled(x, b, dst)
	for i := range dst {
		dst[i] = float32(math.Inf(i - 1))
	}
	return err
}

// embedTo writes a table from first samples on, and stops after stop of them.
func embedTo(t *testing.T, ds data.Dataset, vit model.ViT, out string, patches bool, stop int) error {
	t.Helper()
	s, err := New(ds, newSums(vit), vit, Options{Batch: 4, Tokens: patches})
	require.NoError(t, err)
	table := NewTable(ds)
	if patches {
		table.Patches = func(i int) []int { return s.Grid(i).Size }
	}
	p, err := OpenPartial(out, map[string]string{"data": "d", "weights": "w"}, 3, false)
	if err != nil {
		return err
	}
	enough := errors.New("enough")
	err = s.Run(t.Context(), p.Done(), func(x Sample) error {
		if x.Err != nil {
			return p.Skip(ds.Name(x.Index), x.Err)
		}
		if x.Index == stop {
			return enough
		}
		if patches {
			return p.Add(x.Tokens)
		}
		return p.Add(x.Embedding)
	})
	if err != nil {
		require.ErrorIs(t, err, enough)
		return errors.Join(err, p.Close())
	}
	if filepath.Ext(out) == ".npy" {
		return table.FinishNPY(p)
	}
	return table.Finish(p, table.CSV)
}

// contents of all files of a folder.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	list, err := os.ReadDir(dir)
	require.NoError(t, err)
	all := map[string]string{}
	for _, e := range list {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		all[e.Name()] = string(b)
	}
	return all
}

// A table that was interrupted anywhere, and whose last rows never reached the disk whole, is
// continued to the same bytes; until then nothing has its name.
func TestContinued(t *testing.T) {
	vit := pictures(4, 6)
	ds := &generated{n: 23, size: []int{4, 6}, bad: map[int]bool{5: true, 22: true}}
	for _, name := range []string{"z.npy", "z.csv"} {
		for _, patches := range []bool{false, true} {
			whole := t.TempDir()
			require.NoError(t, embedTo(t, ds, vit, filepath.Join(whole, name), patches, -1))
			want := contents(t, whole)
			for stop := range 22 {
				if ds.bad[stop] {
					continue
				}
				dir := t.TempDir()
				out := filepath.Join(dir, name)
				require.ErrorContains(t, embedTo(t, ds, vit, out, patches, stop), "enough")
				left := contents(t, dir)
				require.Len(t, left, 2)
				require.Contains(t, left, name+".part")
				require.Contains(t, left, name+".part.json")
				require.NotContains(t, left[name+".part"], "NUMPY")
				f, err := os.OpenFile(out+".part", os.O_APPEND|os.O_WRONLY, 0)
				require.NoError(t, err)
				_, err = f.WriteString("half a row")
				require.NoError(t, err)
				require.NoError(t, f.Close())
				require.NoError(t, embedTo(t, ds, vit, out, patches, -1))
				require.Equal(t, want, contents(t, dir), "%s stopped before sample %d", name, stop)
			}
		}
	}
}

// Rows are not added to those of another embedding, nor to damaged ones.
func TestPartialRefuses(t *testing.T) {
	vit := pictures(4, 6)
	ds := &generated{n: 23, size: []int{4, 6}}
	out := filepath.Join(t.TempDir(), "z.csv")
	require.Error(t, embedTo(t, ds, vit, out, false, 9))
	_, err := OpenPartial(out, map[string]string{"data": "d", "weights": "v"}, 3, false)
	require.ErrorContains(t, err, "its weights is w, here v: finish that one, or begin anew with --overwrite")
	_, err = OpenPartial(out, map[string]string{"data": "d", "weights": "w"}, 4, false)
	require.ErrorContains(t, err, "does not fit")
	b, err := os.ReadFile(out + ".part")
	require.NoError(t, err)
	b[headerLen+7] ^= 1
	require.NoError(t, os.WriteFile(out+".part", b, 0o644))
	_, err = OpenPartial(out, map[string]string{"data": "d", "weights": "w"}, 3, false)
	require.ErrorContains(t, err, "is damaged")
	require.NoError(t, os.WriteFile(out+".part", b[:200], 0o644))
	_, err = OpenPartial(out, map[string]string{"data": "d", "weights": "w"}, 3, false)
	require.ErrorContains(t, err, "is damaged")
	require.NoError(t, os.WriteFile(out+".part.json", []byte("{"), 0o644))
	_, err = OpenPartial(out, nil, 3, false)
	require.ErrorContains(t, err, "begin anew")
	p, err := OpenPartial(out, nil, 3, true)
	require.NoError(t, err)
	require.Zero(t, p.Done())
	require.NoError(t, p.Add([]float32{1, 2, 3}))
	require.NoError(t, p.Close())
	p, err = OpenPartial(out, nil, 3, true)
	require.NoError(t, err)
	require.Equal(t, 1, p.Done(), "what can go on goes on")
	next, err := p.Reader()
	require.NoError(t, err)
	row, err := next()
	require.NoError(t, err)
	require.Equal(t, []float32{1, 2, 3}, row)
	_, err = next()
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, p.Add([]float32{4, 5, 6, 7, 8, 9})) // after the rows, wherever they were read
	require.Equal(t, int64(3), p.Rows())
	next, err = p.Reader()
	require.NoError(t, err)
	for _, want := range [][]float32{{1, 2, 3}, {4, 5, 6}, {7, 8, 9}} {
		row, err = next()
		require.NoError(t, err)
		require.Equal(t, want, row)
	}
	require.NoError(t, p.Close())
	require.NoError(t, RemovePartial(out))
	_, err = OpenPartial(filepath.Join(out, "no", "folder"), nil, 3, false)
	require.Error(t, err)
}

// Names, classes and places stand beside the numbers that they belong to.
func TestTables(t *testing.T) {
	vit := pictures(4, 6)
	ds := &generated{n: 5, size: []int{4, 6}, bad: map[int]bool{1: true}}
	dir := t.TempDir()
	read := func(name string) [][]string {
		f, err := os.Open(filepath.Join(dir, name))
		require.NoError(t, err)
		defer f.Close()
		rows, err := csv.NewReader(f).ReadAll()
		require.NoError(t, err)
		return rows
	}
	require.NoError(t, embedTo(t, ds, vit, filepath.Join(dir, "p.csv"), true, -1))
	rows := read("p.csv")
	require.Len(t, rows, 1+4*6)
	require.Equal(t, []string{"name", "subject", "class", "i", "j", "z0", "z1", "z2"}, rows[0])
	require.Equal(t, []string{"sample 0", "person 0", "", "0", "1"}, rows[2][:5])
	require.Equal(t, []string{"sample 2", "person 1", "healthy", "1", "2"}, rows[12][:5])
	require.NoError(t, embedTo(t, ds, vit, filepath.Join(dir, "z.npy"), false, -1))
	require.Equal(t, [][]string{
		{"row", "name", "subject", "class"}, {"0", "sample 0", "person 0", ""}, {"1", "sample 2", "person 1", "healthy"}, {"2", "sample 3", "person 1", ""}, {"3", "sample 4", "person 2", "healthy"},
	}, read("z.ids.csv"))
}

// The windows of any axis cover it, begin at whole patches, and give each patch weights that sum
// to one; the grid that is kept holds every voxel, and no patch of padding alone.
func TestAxis(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		patch, window := 1+r.IntN(8), 1+r.IntN(12)
		length, overlap := 1+r.IntN(200), r.Float64()*0.9
		x := newAxis(length, window, patch, overlap)
		what := fmt.Sprintf("length %d, windows of %d patches of %d, overlap %.2f", length, window, patch, overlap)
		total := make([]float64, x.patches)
		last := -1
		for i, s := range x.starts {
			require.Greater(t, s, last, what)
			require.LessOrEqual(t, s, last+window, what)
			last = s
			for k, w := range x.weights[i] {
				require.Positive(t, w, what)
				total[s+k] += w
			}
		}
		for _, w := range total {
			require.InDelta(t, 1, w, 1e-12, what)
		}
		require.GreaterOrEqual(t, x.before, 0)
		require.GreaterOrEqual(t, x.patches*patch, x.before+length, what)
		from, to := x.keep()
		require.LessOrEqual(t, from*patch, x.before, what)
		require.Greater(t, (from+1)*patch, x.before, what)
		require.GreaterOrEqual(t, to*patch, x.before+length, what)
		require.Less(t, (to-1)*patch, x.before+length, what)
		require.LessOrEqual(t, to, x.patches, what)
	}
}

// wholes are samples of their own sizes, brought to one when they are read as such.
type wholes struct {
	data.Spaced
	sizes [][]int
}

func (w wholes) Len() int          { return len(w.sizes) }
func (w wholes) Name(i int) string { return fmt.Sprint(w.sizes[i]) }
func (w wholes) Space(i int) data.Space {
	return data.Space{Stored: w.sizes[i], Whole: w.sizes[i], StoredAffine: volume.Identity(), WholeAffine: volume.Identity()}
}
func (w wholes) ReadWhole(i int, dst []float32) ([]float32, error) {
	for j := range w.sizes[i][0] * w.sizes[i][1] {
		dst = append(dst, float32((j*j)%97)-40)
	}
	return dst, nil
}

// Features that depend on a patch alone come out of sliding windows as they are, whatever the
// size of sample and batch; a sample of the window's own size gives the bits of the window.
func TestWindows(t *testing.T) {
	vit := pictures(8, 6)
	ds := wholes{sizes: [][]int{{8, 6}, {20, 14}, {8, 30}, {9, 7}, {3, 4}, {31, 2}}}
	for _, batch := range []int{1, 3, 64} {
		for _, overlap := range []float64{0, 0.5, 0.75} {
			s, err := New(ds, newSums(vit), vit, Options{Batch: batch, Tokens: true, Window: true, Overlap: overlap})
			require.NoError(t, err)
			at := 0
			require.NoError(t, s.Run(t.Context(), 0, func(x Sample) error {
				require.NoError(t, x.Err)
				size := ds.sizes[x.Index]
				image, err := ds.ReadWhole(x.Index, nil)
				require.NoError(t, err)
				require.Equal(t, s.Grid(x.Index), x.Grid)
				mean := 0.0
				for p := range x.Grid.Len() {
					i, j := p/x.Grid.Size[1], p%x.Grid.Size[1]
					want := float32(0)
					for a := range 2 {
						for b := range 2 {
							r := min(max(x.Grid.Start[0]+2*i+a, 0), size[0]-1)
							c := min(max(x.Grid.Start[1]+2*j+b, 0), size[1]-1)
							want += image[r*size[1]+c]
						}
					}
					mean += float64(want) / float64(x.Grid.Len())
					require.InDelta(t, want, x.Tokens[3*p], 1e-4, "%v overlap %g: patch %d %d", size, overlap, i, j)
					require.InDelta(t, 1, x.Tokens[3*p+2], 1e-6)
				}
				require.InDelta(t, mean, x.Embedding[0], 1e-4)
				if x.Index == 0 {
					tokens := make([]float32, len(x.Tokens))
					require.NoError(t, newSums(vit).Tokens(image, 1, tokens))
					require.Equal(t, tokens, x.Tokens)
				}
				at++
				return nil
			}))
			require.Equal(t, len(ds.sizes), at)
			require.GreaterOrEqual(t, s.Stats().Inputs, at)
		}
	}
}
