package evaluate

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/data"
	"wgjepa/gpu"
	"wgjepa/internal/config"
	"wgjepa/jepa/probe"
)

// TestIntensitiesByHand checks the order of parts and of the voxels of a patch.
func TestIntensitiesByHand(t *testing.T) {
	x := make([]float32, 2*4*6) // (C 2, H 4, W 6)
	for i := range x {
		x[i] = float32(i)
	}
	dst := make([]float32, 2*2*2)
	means(dst, x, 2, []int{4, 6}, []int{2, 4}) // the last part of a row is 2 wide
	require.Equal(t, []float32{4.5, 7.5, 16.5, 19.5, 28.5, 31.5, 40.5, 43.5}, dst)
	p := patchesOf(x, 2, []int{4, 6}, []int{2, 3})
	require.Equal(t, []float32{0, 1, 2, 6, 7, 8, 24, 25, 26, 30, 31, 32}, p[:12])
	require.Equal(t, []float32{15, 16, 17, 21, 22, 23, 39, 40, 41, 45, 46, 47}, p[36:])
}

func TestEveryProtocol(t *testing.T) {
	d, err := gpu.Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	ds, c := torsos(t, "probe.curve = [1, 0.5, 0.01]\nprobe.neighbours = 3")
	progress := func(int, int) error { return nil }
	r, err := Run(ds, c, untrained(d, c, 3), untrained(d, c, 4), progress)
	require.NoError(t, err)
	metrics := map[string]bool{}
	for _, task := range r.Tasks {
		for _, s := range task.Scores {
			metrics[task.Name+": "+s.Metric] = true
			require.NotNil(t, s.Intensities, s.Metric)
		}
	}
	for _, name := range []string{"class: AUC", "class: balanced accuracy, 3 nearest, cosine", "class: balanced accuracy, 3 nearest, Euclidean", "volume: R²", "volume: mean absolute error", "dense: mean Dice"} {
		require.True(t, metrics[name], name)
	}
	require.NotEmpty(t, r.Curve)
	last := r.Curve[len(r.Curve)-1]
	require.Equal(t, 1.0, last.Fraction)
	require.Equal(t, 40, last.Samples)
	require.Equal(t, r.Tasks[0].Scores[1].Trained, last.Scores[0].Trained, "all of the labels is the task itself")
	require.Equal(t, r.Tasks[0].Scores[2], last.Scores[1])
	for i, p := range r.Curve[1:] {
		require.Greater(t, p.Samples, r.Curve[i].Samples)
	}

	// Numbers instead of classes.
	r, err = Run(numbers{ds}, c, untrained(d, c, 3), untrained(d, c, 4), progress)
	require.NoError(t, err)
	require.Equal(t, "number", r.Tasks[0].Name)
	require.Equal(t, [3]int{40, 16, 24}, r.Tasks[0].Units)
}

func TestCrossValidation(t *testing.T) {
	d, err := gpu.Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	ds, c := torsos(t, "probe.folds = 4\nprobe.dense_volumes = 0")
	progress := func(int, int) error { return nil }
	r, err := Run(ds, c, untrained(d, c, 3), untrained(d, c, 3), progress)
	require.NoError(t, err)
	require.Equal(t, "class", r.Tasks[0].Name)
	require.Equal(t, 80, r.Tasks[0].Units[0])
	require.Contains(t, r.Tasks[0].Note, "4 folds of 80 subjects")
	for _, s := range r.Tasks[0].Scores {
		require.False(t, math.IsNaN(s.Trained.Value), s.Metric)
		require.Equal(t, s.Trained, s.Untrained)
		require.LessOrEqual(t, s.Trained.Low, s.Trained.High)
	}
	r, err = Run(numbers{ds}, c, untrained(d, c, 3), untrained(d, c, 4), progress)
	require.NoError(t, err)
	require.Equal(t, "number", r.Tasks[0].Name)
	require.Len(t, r.Tasks[0].Scores, 2)
}

// TestFoldsOfSubjects: no subject lies in two folds, each fold gets its share of
// each class, and the deal is a function of the seed.
func TestFoldsOfSubjects(t *testing.T) {
	var subject []string
	var class []int
	for s := range 30 {
		for range 1 + s%3 {
			subject, class = append(subject, "s"+strconv.Itoa(s)), append(class, s/20) // 20 of class 0, 10 of class 1
		}
	}
	fold, number, err := foldsOf(subject, class, 5, 1)
	require.NoError(t, err)
	of, counts := map[string]int{}, [5][2]int{}
	for i, s := range subject {
		if f, known := of[s]; known {
			require.Equal(t, f, fold[i], s)
		} else {
			counts[fold[i]][class[i]]++
		}
		of[s] = fold[i]
		require.Equal(t, s, "s"+strconv.Itoa(number[i]))
	}
	for _, n := range counts {
		require.Equal(t, [2]int{4, 2}, n)
	}
	again, _, err := foldsOf(subject, class, 5, 1)
	require.NoError(t, err)
	require.Equal(t, fold, again)
	_, _, err = foldsOf(subject[:3], class, 5, 1)
	require.ErrorContains(t, err, "lower probe.folds")
}

// twins are data in which every subject was scanned twice.
type twins struct{ data.Dataset }

func (w twins) Subject(i int) string { return strconv.Itoa(i / 2) }

// TestPenaltyIsChosenBySubject: both scans of a subject are alike, so that a penalty
// chosen on one scan of subjects whose other one was fitted knows them again. Features
// and labels are noise; what holds for new subjects is the strongest penalty, which
// predicts the mean.
func TestPenaltyIsChosenBySubject(t *testing.T) {
	const people, D = 40, 30
	random := rand.New(rand.NewPCG(5, 5))
	e := &evaluation{ds: twins{}, o: config.Probe{Folds: 4, Resamples: 20, Cs: []float64{1e-4, 1e3}}, seed: 1}
	f := &features{}
	f.pooled[train] = probe.Matrix{Rows: 2 * people, Cols: D}
	var row []float32
	var y float64
	for i := range 2 * people {
		if i%2 == 0 {
			row, y = make([]float32, D), random.NormFloat64()
			for j := range row {
				row[j] = float32(random.NormFloat64())
			}
		}
		f.pooled[train].Data = append(f.pooled[train].Data, row...)
		e.labels.ids[train] = append(e.labels.ids[train], i)
		e.labels.class[train] = append(e.labels.class[train], i/2%2)
		e.labels.number[train] = append(e.labels.number[train], y)
		e.labels.subject[train] = append(e.labels.subject[train], i/2)
	}
	require.NoError(t, e.crossValidate(Task{Name: "number", Regression: true}, []*features{f, f}))
	r2 := e.result.Tasks[0].Scores[0]
	require.Equal(t, "R²", r2.Metric)
	require.Greater(t, r2.Trained.Value, -0.3)
}
