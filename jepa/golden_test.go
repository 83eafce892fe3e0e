package jepa

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/checkpoint"
	"wgjepa/gpu"
	"wgjepa/maskgen"
)

// golden returns the folder of the reference's results, or skips.
func golden(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("JEPA_TEST_GOLDEN")
	if dir == "" {
		dir = "../../shared/golden"
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the reference's golden data are not at %s (JEPA_TEST_GOLDEN sets another folder)", dir)
	}
	return dir
}

// devices runs f on the twins and on the first GPU interface.
func devices(t *testing.T, f func(*testing.T, *gpu.Device)) {
	for _, choice := range []string{"cpu", ""} {
		name := choice
		if name == "" {
			name = "gpu"
		}
		t.Run(name, func(t *testing.T) {
			d, err := gpu.Open(choice)
			if err != nil {
				t.Skip("no adapter: ", err)
			}
			defer d.Close()
			f(t, d)
		})
	}
}

func TestGoldenCases(t *testing.T) {
	dir := golden(t)
	var files []string
	for _, pattern := range []string{"step*.safetensors", "fit_*.safetensors"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		require.NoError(t, err)
		files = append(files, found...)
	}
	require.NotEmpty(t, files)
	devices(t, func(t *testing.T, d *gpu.Device) {
		for _, path := range files {
			t.Run(filepath.Base(path), func(t *testing.T) {
				f, err := checkpoint.Open(path)
				require.NoError(t, err)
				defer f.Close()
				rows, err := Verify(d, f)
				require.NoError(t, err)
				require.Greater(t, len(rows), 20)
				for _, r := range rows {
					if r.Failed() {
						t.Errorf("%s: error %.3g, bound %.3g", r.Name, r.Error, r.Bound)
					}
				}
				w := WorstRow(rows)
				t.Logf("%d tensors, worst %s: %.3g of bound %.3g", len(rows), w.Name, w.Error, w.Bound)
			})
		}
	})
}

// TestPaper replays six steps of the paper's released code: schedules, first
// gradients, losses, final weights.
func TestPaper(t *testing.T) {
	path := filepath.Join(golden(t), "paper2d.safetensors")
	devices(t, func(t *testing.T, d *gpu.Device) {
		f, err := checkpoint.Open(path)
		require.NoError(t, err)
		defer f.Close()
		c, err := Default("paper")
		require.NoError(t, err)
		e := &c.Encoder
		e.ImgSize, e.PatchSize, e.InChans, e.EmbedDim, e.Depth, e.NumHeads = []int{48, 48}, []int{4}, 3, 24, 2, 3
		c.PredictorEmbedDim, c.PredictorDepth, c.PredictorNumHeads = 16, 2, 2
		c.LearningRate, c.WarmupStartLR, c.MinLR = 1e-2, 2e-4, 1e-6
		c.WarmupEpochs, c.MaxEpochs, c.BatchSize = 2.0/3, 2, 2
		tr, err := New(d, c, 3)
		require.NoError(t, err)
		v := &verifier{f: f, t: tr, exact: d.Info().Kind == gpu.Twins}
		v.g.Batch = 2
		require.NoError(t, v.load())
		x, _, err := f.Float32s("x")
		require.NoError(t, err)
		var got struct{ lr, wd, momentum, loss []float64 }
		for i := range 6 {
			s := tr.Schedule.At(i)
			got.lr, got.wd, got.momentum = append(got.lr, s.LR), append(got.wd, s.WeightDecay), append(got.momentum, s.Momentum)
			var m maskgen.Masks
			require.NoError(t, v.readMasks(&m, fmt.Sprintf("/%d", i), &tr.Config))
			if i == 0 {
				tr.upload(x, &m)
				enc := d.Begin()
				tr.forward(enc, &m)
				tr.backward(enc)
				require.NoError(t, enc.Submit())
				for _, n := range tr.networks() {
					for _, p := range n.arena.Params {
						name := "grad/" + n.name + "." + p.Name
						if want, _, err := f.Float64s(name); err == nil {
							v.compareGrad(name, p.Grad, want)
						}
					}
				}
				want, _, err := f.Float64s("z_pred")
				require.NoError(t, err)
				v.compare("z_pred", tr.prediction, want, BoundStep)
				enc = d.Begin()
				enc.Fill(tr.contextWeights.Grads, 0)
				enc.Fill(tr.predictorWeights.Grads, 0)
				require.NoError(t, enc.Submit())
			}
			require.NoError(t, tr.stepWith(x, &m))
			loss := []float64{0}
			require.NoError(t, d.ReadFloat64(tr.scalar(slotLoss, 1), loss))
			got.loss = append(got.loss, loss[0])
		}
		for name, values := range map[string][]float64{"lr": got.lr, "wd": got.wd, "momentum": got.momentum, "loss": got.loss} {
			want, _, err := f.Float64s(name)
			require.NoError(t, err)
			bound := BoundFloat64
			if name == "loss" {
				bound = BoundFit
			}
			v.compareValues(name, values, want, bound)
		}
		for _, n := range tr.networks() {
			for _, p := range n.arena.All() {
				name := "final/" + n.name + "." + p.Name
				want, _, err := f.Float64s(name)
				require.NoError(t, err)
				v.compareFinal(name, p, want)
			}
		}
		require.Greater(t, len(v.rows), 100)
		for _, r := range v.rows {
			if r.Failed() {
				t.Errorf("%s: error %.3g, bound %.3g", r.Name, r.Error, r.Bound)
			}
		}
		w := WorstRow(v.rows)
		t.Logf("%d tensors, worst %s: %.3g of bound %.3g", len(v.rows), w.Name, w.Error, w.Bound)
	})
}
