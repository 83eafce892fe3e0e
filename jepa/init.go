package jepa

import (
	"fmt"
	"strings"

	pretrained "wgjepa/checkpoint/weights"
	"wgjepa/gpu"
	"wgjepa/model"
)

// EncoderOf describes the encoder of weights from any program. It fails where
// they lack a setting, listed in Config.Unknown.
func EncoderOf(w *pretrained.Weights) (model.ViT, error) {
	c := &w.Config
	v := model.ViT{
		ImgSize: c.ImgSize, PatchSize: c.PatchSize, InChans: c.InChans, EmbedDim: c.EmbedDim, Depth: c.Depth, NumHeads: c.NumHeads, MLPRatio: c.MLPRatio,
		QKVBias: c.QKVBias, QKNorm: c.QKNorm, ClassToken: c.ClassToken, RegTokens: c.RegTokens, NoEmbedClass: c.NoEmbedClass,
		PosEmbed: c.PosEmbed, PosOrder: c.PosOrder, PreNorm: c.PreNorm, NormEps: c.NormEps,
	}
	for _, name := range c.Unknown {
		if name != "predictor_num_heads" {
			return v, fmt.Errorf("jepa: weights of %s do not tell their %s: give it", w.Source, name)
		}
	}
	if err := v.Complete(); err != nil {
		return v, fmt.Errorf("jepa: weights of %s: %w", w.Source, err)
	}
	return v, nil
}

// SetWeights lets training begin from w in place of random weights: the context
// encoder is w's, the target encoder w's own or, without one, the same, and the
// predictor w's where it has one of this configuration; otherwise it stays as
// drawn and anew says why. Weights of another encoder than the configuration's
// are refused with the first difference, and nothing has changed then. It
// belongs before the first step: moments and schedules are those of a new run.
func (t *Trainer) SetWeights(w *pretrained.Weights) (anew string, err error) {
	v, err := EncoderOf(w)
	if err != nil {
		return "", err
	}
	theirs := t.Config
	theirs.Encoder = v
	theirs.Encoder.DropPathRate = t.Config.Encoder.DropPathRate // of training alone
	if v.PosEmbed != "sincos" && w.Predictor == nil {
		theirs.Encoder.PosOrder = t.Config.Encoder.PosOrder // there is no table that has it
	}
	if diff := firstDifference(string(theirs.TOML()), string(t.Config.TOML())); diff != "" {
		return "", fmt.Errorf("jepa: weights of %s are of another encoder: %s", w.Source, diff)
	}
	target := w.Target
	if target == nil {
		target = w.Encoder
	}
	if err := fits(t.contextWeights.Arena, w.Encoder); err != nil {
		return "", err
	}
	if err := fits(t.targetWeights.Arena, target); err != nil {
		return "", err
	}
	anew = t.refusesPredictor(w)
	if err := fill(t.contextWeights.Arena, w.Encoder); err != nil {
		return anew, err
	}
	if err := fill(t.targetWeights.Arena, target); err != nil {
		return anew, err
	}
	if anew == "" {
		err = fill(t.predictorWeights.Arena, w.Predictor)
	}
	return anew, err
}

// refusesPredictor says why the predictor of w is not that of the
// configuration, "" where it is.
func (t *Trainer) refusesPredictor(w *pretrained.Weights) string {
	if w.Predictor == nil {
		return "the weights have none"
	}
	p, q := w.Config.Predictor, t.Config.Predictor()
	for _, d := range []struct {
		name         string
		theirs, ours any
	}{{"predictor_embed_dim", p.EmbedDim, q.EmbedDim}, {"predictor_depth", p.Depth, q.Depth}, {"predictor_num_heads", p.NumHeads, q.NumHeads}, {"the epsilon of its norms", p.NormEps, q.NormEps}} {
		if d.theirs != d.ours {
			return fmt.Sprintf("%s is %v in the weights, %v in this configuration", d.name, d.theirs, d.ours)
		}
	}
	if err := fits(t.predictorWeights.Arena, w.Predictor); err != nil {
		return strings.TrimPrefix(err.Error(), "jepa: ")
	}
	return ""
}

// fits holds tensors against the parameters of a network: all must be there,
// and no others. A table of positions may be missing: ours is computed.
func fits(a *model.Arena, list []pretrained.Tensor) error {
	given := map[string][]int{}
	for _, x := range list {
		given[x.Name] = x.Shape
		if a.Find(x.Name) == nil {
			return fmt.Errorf("jepa: the weights have %s, the configuration has no place for it", x.Name)
		}
	}
	for _, p := range a.Params {
		if given[p.Name] == nil {
			return fmt.Errorf("jepa: the weights have no tensor %s", p.Name)
		}
	}
	for _, p := range a.All() {
		if shape := given[p.Name]; shape != nil && fmt.Sprint(shape) != fmt.Sprint(p.Shape) {
			return fmt.Errorf("jepa: %s has shape %v in the weights, %v in the configuration", p.Name, shape, p.Shape)
		}
	}
	return nil
}

// fill writes tensors that were checked.
func fill(a *model.Arena, list []pretrained.Tensor) error {
	for _, x := range list {
		values := make([]float64, len(x.Data))
		for i, v := range x.Data {
			values[i] = float64(v)
		}
		if err := a.Set(x.Name, x.Shape, values); err != nil {
			return fmt.Errorf("jepa: %w", err)
		}
	}
	return nil
}

// ImportedFeatures opens the encoder of weights from any program: w.Encoder.
func ImportedFeatures(d *gpu.Device, w *pretrained.Weights, batch int) (*Features, error) {
	v, err := EncoderOf(w)
	if err != nil {
		return nil, err
	}
	if err := fits(model.NewEncoderWeights(gpu.Estimate(d.Info()), w.Source, v, false).Arena, w.Encoder); err != nil {
		return nil, err
	}
	f, arena := newFeatures(d, v, "imported encoder", batch)
	if err := fill(arena.Arena, w.Encoder); err != nil {
		return nil, err
	}
	return f, d.Err()
}
