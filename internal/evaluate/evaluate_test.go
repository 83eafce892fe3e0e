package evaluate

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/data"
	"wgjepa/gpu"
	"wgjepa/internal/config"
	"wgjepa/jepa"
	"wgjepa/jepa/probe"
)

// torsos opens generated volumes with a tiny encoder.
func torsos(t *testing.T, set string) (data.Dataset, *config.Config) {
	t.Helper()
	c, err := config.Parse(config.Text{Name: "test", TOML: []byte(`
batch_size = 4
predictor_embed_dim = 12
predictor_depth = 1
min_keep = 1
[encoder]
embed_dim = 12
depth = 1
num_heads = 2
patch_size = [4]
[data]
paths = ["phantoms"]
val = 16
test = 24
[data.phantoms]
count = 80
size = 16
[probe]
resamples = 200
`)}, config.Text{Name: "test", TOML: []byte(set)})
	require.NoError(t, err)
	ds, _, err := c.Open()
	require.NoError(t, err)
	channels, size := ds.Shape()
	require.NoError(t, c.Complete(channels, size))
	return ds, &c
}

func untrained(d *gpu.Device, c *config.Config, seed uint64) Encoder {
	return func(use func(*jepa.Features) error) error {
		conf := c.Config
		conf.Seed = seed
		f, err := jepa.UntrainedFeatures(d, conf, conf.BatchSize)
		if err != nil {
			return err
		}
		return use(f)
	}
}

func TestSameEncoderHasNoDifference(t *testing.T) {
	d, err := gpu.Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	ds, c := torsos(t, "probe.pooling = 'mean+std'")
	seen := 0
	r, err := Run(ds, c, untrained(d, c, 3), untrained(d, c, 3), func(done, total int) error {
		require.Equal(t, 160, total)
		require.Greater(t, done, seen)
		seen = done
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, 160, seen)
	names := map[string]bool{}
	for _, task := range r.Tasks {
		names[task.Name] = true
		require.Equal(t, [3]int{40, 16, 24}, task.Units)
		require.NotEmpty(t, task.Scores)
		for _, s := range task.Scores {
			if !math.IsNaN(s.Trained.Value) {
				require.Equal(t, s.Trained, s.Untrained, s.Metric)
				require.Zero(t, s.Difference.Value)
				require.LessOrEqual(t, s.Trained.Low, s.Trained.Value)
				require.GreaterOrEqual(t, s.Trained.High, s.Trained.Value)
			}
			require.Equal(t, task.Name == "dense", s.PositionOnly != nil)
		}
	}
	require.Equal(t, map[string]bool{"class": true, "dense": true, "volume": true}, names)
	require.Equal(t, r.Health.RankMe[0], r.Health.RankMe[1])
	_, err = json.Marshal(r)
	require.NoError(t, err, "not even NaN spoils the JSON")
}

func TestLabelFraction(t *testing.T) {
	ds, c := torsos(t, "probe.label_fraction = 0.5\nprobe.dense_volumes = 7")
	e := &evaluation{ds: ds, o: c.Probe, seed: 1, patch: c.Encoder.PatchSize}
	require.NoError(t, e.readLabels())
	all := map[int]int{}
	for _, id := range ds.Split("train") {
		class, _ := ds.Label(id)
		all[class]++
	}
	kept := map[int]int{}
	for _, class := range e.labels.class[train] {
		kept[class]++
	}
	for class, n := range all {
		require.Equal(t, (n+1)/2, kept[class], "class %d", class)
	}
	require.Len(t, e.labels.ids[val], 16, "validation and test keep all their labels")
	require.Len(t, e.labels.volumes[train], 7)
	require.Len(t, e.labels.patch[train], 7*64)
	require.IsNonDecreasing(t, e.labels.ids[train])

	again := &evaluation{ds: ds, o: c.Probe, seed: 1, patch: c.Encoder.PatchSize}
	require.NoError(t, again.readLabels())
	again.labels.number = e.labels.number // NaN throughout, which equals nothing
	require.Equal(t, e.labels, again.labels, "a function of the seed")
}

// partly hides the labels of some samples.
type partly struct {
	data.Dataset
	hidden func(i int) bool
}

func (p partly) Label(i int) (int, bool) {
	if p.hidden(i) {
		return 0, false // as a data set without a label says it
	}
	return p.Dataset.Label(i)
}

// TestLabelFractionOfLabels: samples without a label take no place of the first class.
func TestLabelFractionOfLabels(t *testing.T) {
	all, c := torsos(t, "probe.label_fraction = 0.5")
	ds := partly{all, func(i int) bool { return i%3 > 0 }}
	count := func(ids []int) map[int]int {
		n := map[int]int{}
		for _, id := range ids {
			if class, ok := ds.Label(id); ok {
				n[class]++
			}
		}
		return n
	}
	e := &evaluation{ds: ds, o: c.Probe, seed: 1}
	kept := count(e.fraction(ds.Split("train"), 0.5))
	before := count(ds.Split("train"))
	require.Greater(t, len(before), 2)
	for class, n := range before {
		require.Equal(t, (n+1)/2, kept[class], "class %d", class)
	}
}

// TestTooFewNumbers: what cannot be asked is said.
func TestTooFewNumbers(t *testing.T) {
	nan := math.NaN()
	e := &evaluation{}
	require.NoError(t, e.regress(Task{}, [3][]float64{{nan}, {nan}, {nan}}, nil), "nobody asked")
	require.ErrorContains(t, e.regress(Task{}, [3][]float64{{1, 2, nan}, nil, {3, 4}}, nil), "2 training and 2 test samples")
}

func TestPositionOnly(t *testing.T) {
	e := &evaluation{}
	e.labels.patch[train] = []int{0, 1, 0, 2, 0, 1} // three volumes of two patches
	e.labels.patch[test] = []int{2, 2, 0, 1}
	e.labels.volumes[test] = []int{0, 1}
	require.Equal(t, []int{0, 1, 0, 1}, e.positionOnly(3))
}

func TestPool(t *testing.T) {
	z := []float32{1, 10, 3, 10} // (P 2, D 2)
	mean, both := make([]float32, 2), make([]float32, 4)
	Pool(mean, z, 2)
	require.Equal(t, []float32{2, 10}, mean)
	Pool(both, z, 2)
	require.Equal(t, []float32{2, 10, 1, 0}, both)
}

// TestNoLabels: data without labels are refused before any feature is computed.
func TestNoLabels(t *testing.T) {
	ds, c := torsos(t, "")
	_, err := Run(unlabelled{ds}, c, nil, nil, nil)
	require.ErrorIs(t, err, ErrNoLabels)
	require.ErrorContains(t, err, "no labels to probe")
}

// TestLabelsThatAreAllTheSame are no missing labels.
func TestLabelsThatAreAllTheSame(t *testing.T) {
	ds, c := torsos(t, "")
	_, err := Run(alike{ds}, c, nil, nil, nil)
	require.ErrorIs(t, err, ErrNoLabels)
	require.ErrorContains(t, err, fmt.Sprintf("the %d training samples with a label have all the same, %s: a probe needs two that differ", len(ds.Split("train")), ds.Classes()[1]))
	_, err = Run(sameNumber{ds}, c, nil, nil, nil)
	require.ErrorContains(t, err, "have all the same, 2.5: a probe needs two that differ")
}

type alike struct{ data.Dataset }

func (alike) Label(int) (int, bool) { return 1, true }
func (alike) VoxelClasses() int     { return 0 }

type sameNumber struct{ data.Dataset }

func (sameNumber) Label(int) (int, bool)      { return 0, false }
func (sameNumber) Target(int) (float64, bool) { return 2.5, true }
func (sameNumber) VoxelClasses() int          { return 0 }

type unlabelled struct{ data.Dataset }

func (unlabelled) Label(int) (int, bool)                  { return 0, false }
func (unlabelled) Target(int) (float64, bool)             { return 0, false }
func (unlabelled) VoxelClasses() int                      { return 0 }
func (unlabelled) VoxelLabels(int, []uint8) (bool, error) { return false, nil }

func TestForegroundDice(t *testing.T) {
	require.InDelta(t, 1.0, foregroundDice(probe.Confusion{{5, 0, 0}, {0, 3, 0}, {0, 0, 0}}), 1e-12, "a class that does not occur does not count")
}

// TestEnded: an evaluation ends where its progress is told an error.
func TestEnded(t *testing.T) {
	d, err := gpu.Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	ds, c := torsos(t, "probe.pooling = 'mean'")
	enough := errors.New("enough")
	_, err = Run(ds, c, untrained(d, c, 3), untrained(d, c, 3), func(int, int) error { return enough })
	require.ErrorIs(t, err, enough)
}

func TestHeldOut(t *testing.T) {
	ds, _ := torsos(t, "probe.pooling = 'mean'")
	ids, validation := HeldOut(ds)
	val, train := ds.Split("val"), ds.Split("train")
	require.Equal(t, min(len(val), 64), validation)
	require.Equal(t, val[:validation], ids[:validation])
	require.Equal(t, min(64, len(val)+len(train)), len(ids))
}

// TestBaseline: the untrained encoder is read once, and nothing else changes.
func TestBaseline(t *testing.T) {
	d, err := gpu.Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	ds, c := torsos(t, "probe.pooling = 'mean'")
	c.Probe.Resamples = 100
	opened := 0
	counted := func(use func(*jepa.Features) error) error {
		opened++
		return untrained(d, c, 3)(use)
	}
	quiet := func(int, int) error { return nil }
	var b Baseline
	want, err := Run(ds, c, untrained(d, c, 3), untrained(d, c, 3), quiet)
	require.NoError(t, err)
	for range 2 {
		got, err := b.Run(ds, c, untrained(d, c, 3), counted, quiet)
		require.NoError(t, err)
		first, err := json.Marshal(want)
		require.NoError(t, err)
		again, err := json.Marshal(got)
		require.NoError(t, err)
		require.JSONEq(t, string(first), string(again))
	}
	require.Equal(t, 1, opened)
	c.Seed++
	_, err = b.Run(ds, c, untrained(d, c, 3), counted, quiet)
	require.NoError(t, err)
	require.Equal(t, 2, opened)
}
