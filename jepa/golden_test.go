package jepa

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/checkpoint"
	"wgjepa/gpu"
	"wgjepa/internal/testdata"
	"wgjepa/maskgen"
)

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
	cases(t, []string{"step*.safetensors", "fit_*.safetensors"}, func(t *testing.T, d *gpu.Device, f *checkpoint.File) {
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

// cases runs f on the reference's cases of these names, on the twins and on the
// first GPU interface.
func cases(t *testing.T, patterns []string, f func(*testing.T, *gpu.Device, *checkpoint.File)) {
	files := testdata.Golden.Glob(t, patterns...)
	devices(t, func(t *testing.T, d *gpu.Device) {
		for _, path := range files {
			t.Run(filepath.Base(path), func(t *testing.T) {
				file, err := checkpoint.Open(path)
				require.NoError(t, err)
				defer file.Close()
				f(t, d, file)
			})
		}
	})
}

// TestVerifyRefuses changes what a good case says of itself: never a panic.
func TestVerifyRefuses(t *testing.T) {
	open := func(t *testing.T, path string, changes map[string]any) *checkpoint.File {
		file, err := os.ReadFile(path)
		require.NoError(t, err)
		size := binary.LittleEndian.Uint64(file)
		var header map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(file[8:8+size], &header))
		var meta map[string]string
		require.NoError(t, json.Unmarshal(header["__metadata__"], &meta))
		var config map[string]any
		require.NoError(t, json.Unmarshal([]byte(meta["config"]), &config))
		for key, value := range changes {
			at := config
			if inner, ok := value.(map[string]any); ok {
				at = config[key].(map[string]any)
				for k, v := range inner {
					at[k] = v
				}
				continue
			}
			at[key] = value
		}
		text, err := json.Marshal(config)
		require.NoError(t, err)
		meta["config"] = string(text)
		header["__metadata__"], err = json.Marshal(meta)
		require.NoError(t, err)
		head, err := json.Marshal(header)
		require.NoError(t, err)
		head = append(head, bytes.Repeat([]byte(" "), (8-len(head)%8)%8)...)
		changed := append(binary.LittleEndian.AppendUint64(nil, uint64(len(head))), head...)
		changed = append(changed, file[8+size:]...)
		f, err := checkpoint.NewReader(bytes.NewReader(changed), int64(len(changed)))
		require.NoError(t, err)
		return f
	}
	d := cpu(t)
	fit, step := testdata.Golden.Glob(t, "fit_*.safetensors")[0], testdata.Golden.Glob(t, "step*.safetensors")[0]
	for name, c := range map[string]struct {
		file    string
		changes map[string]any
		want    string
	}{
		"no batch":          {fit, map[string]any{"batch": 0}, "batch_size is 0"},
		"no samples":        {fit, map[string]any{"samples": 0}, "samples, the case says 0"},
		"other batch":       {step, map[string]any{"batch": 1}, "samples, the case says 1"},
		"endless":           {fit, map[string]any{"micro_batches": 1 << 40}, "the case has 1099511627776 batches in"},
		"no predictor":      {step, map[string]any{"predictor_embed_dim": 0}, "predictor_embed_dim 0"},
		"no such optimizer": {fit, map[string]any{"jepa": map[string]any{"optimizer": "lion"}}, `optimizer is "lion"`},
		"no such schedule":  {fit, map[string]any{"jepa": map[string]any{"lr_scheduler": "linear"}}, `lr_scheduler is "linear"`},
		"vast predictor":    {step, map[string]any{"predictor_depth": 1000}, "has no tensor weights/predictor."},
		"unknown option":    {step, map[string]any{"dropout": 0.1}, "dropout"},
	} {
		t.Run(name, func(t *testing.T) {
			before := d.Allocated()
			_, err := Verify(d, open(t, c.file, c.changes))
			require.ErrorContains(t, err, c.want)
			require.Equal(t, before, d.Allocated())
		})
	}
}

// TestPaper replays six steps of the paper's released code: schedules, first
// gradients, losses, final weights.
func TestPaper(t *testing.T) {
	path := testdata.Golden.Find(t, "paper2d.safetensors")
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
				tr.forward(enc, &m, slotLoss)
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
