package jepa

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/checkpoint"
	pretrained "wgjepa/checkpoint/weights"
	"wgjepa/gpu"
	"wgjepa/maskgen"
)

// nidlCheckpoint writes the weights that a golden run of nidl begins with as nidl saves them, and
// exports them from here again as a Lightning checkpoint.
func nidlCheckpoint(t *testing.T, f *checkpoint.File, c *Config) *pretrained.Weights {
	t.Helper()
	var entries []checkpoint.Entry
	for _, n := range []struct{ net, prefix string }{{ContextEncoder, "context_encoder.vit."}, {TargetEncoder, "target_encoder.vit."}, {"predictor", "predictor."}} {
		for _, name := range f.Names() {
			own, ok := strings.CutPrefix(name, "weights/"+n.net+".")
			if !ok || n.net != "predictor" && own == "pos_embed" && c.Encoder.PosEmbed == "sincos" {
				continue // nidl computes its own
			}
			values, shape, err := f.Float32s(name)
			require.NoError(t, err)
			entries = append(entries, checkpoint.Entry{Name: n.prefix + own, Shape: shape, Data: values})
		}
	}
	dir := t.TempDir()
	saved, exported := filepath.Join(dir, "nidl.safetensors"), filepath.Join(dir, "again.ckpt")
	require.NoError(t, checkpoint.Write(saved, entries, nil, false))
	o := pretrained.Options{NumHeads: c.Encoder.NumHeads, ImgSize: c.Encoder.ImgSize, NormEps: c.Encoder.NormEps, PosEmbed: c.Encoder.PosEmbed}
	if o.PosEmbed == "learned" {
		o.PosEmbed = ""
	}
	w, err := pretrained.Load(saved, o)
	require.NoError(t, err)
	require.Contains(t, w.Source, "nidl")
	require.NoError(t, w.Save(exported, pretrained.NIDLLayout))
	w, err = pretrained.Load(exported, o)
	require.NoError(t, err)
	require.Contains(t, w.Source, "Lightning")
	return w
}

// TestContinuesNIDL: a run that begins with a checkpoint of nidl continues as nidl's own run did:
// the same losses, update after update, and the same weights in the end.
func TestContinuesNIDL(t *testing.T) {
	cases(t, []string{"fit_*.safetensors"}, func(t *testing.T, d *gpu.Device, f *checkpoint.File) {
		v := &verifier{f: f, exact: d.Info().Kind == gpu.Twins}
		require.NoError(t, json.Unmarshal([]byte(f.Metadata()["config"]), &v.g))
		c, perEpoch, err := v.g.config()
		require.NoError(t, err)
		x, _, err := f.Float32s("x")
		require.NoError(t, err)
		all := make([]maskgen.Masks, v.g.MicroBatches)
		maxK, maxL := 0, 0
		for i := range all {
			require.NoError(t, v.readMasks(&all[i], fmt.Sprintf("/%d", i), &c))
			maxK, maxL = max(maxK, all[i].K), max(maxL, all[i].L)
		}
		c.NumTargetBlocks = all[0].M
		d.Scope(func() {
			tr := &Trainer{Config: c, device: d}
			tr.Schedule = NewSchedule(&tr.Config, perEpoch)
			tr.allocate(maxK, maxL)
			anew, err := tr.SetWeights(nidlCheckpoint(t, f, &c))
			require.NoError(t, err)
			require.Empty(t, anew)
			v.t = tr
			require.NoError(t, v.fit(x, all))
		})
		losses := 0
		for _, r := range v.rows {
			if r.Name == "loss" {
				losses++
			}
			if r.Failed() {
				t.Errorf("%s: error %.3g, bound %.3g", r.Name, r.Error, r.Bound)
			}
		}
		require.Equal(t, 1, losses)
		w := WorstRow(v.rows)
		t.Logf("%d updates, %d tensors, worst %s: %.3g of bound %.3g", v.t.Updates(), len(v.rows), w.Name, w.Error, w.Bound)
	})
}
