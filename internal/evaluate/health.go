package evaluate

import (
	"wgjepa/data"
	"wgjepa/jepa/probe"
)

// Health are figures of pooled features, of the trained encoder and of the
// untrained one.
type Health struct {
	RankMe     [2]float64 `json:"rankme"`
	FeatureStd [2]float64 `json:"feature_std"` // mean over the features
}

// HealthOf looks at the pooled features (n, D) of the same samples.
func HealthOf(trained, untrained probe.Matrix) (Health, error) {
	var h Health
	for i, x := range []probe.Matrix{trained, untrained} {
		if err := h.set(i, x); err != nil {
			return h, err
		}
	}
	return h, nil
}

func (h *Health) set(i int, x probe.Matrix) (err error) {
	if h.RankMe[i], err = probe.RankMe(x); err != nil {
		return err
	}
	h.FeatureStd[i], err = probe.FeatureStd(x)
	return err
}

// mostWatched is the most samples whose features are watched.
const mostWatched = 64

// HeldOut lists the samples whose features are watched while an encoder is
// trained: validation samples, and training samples after them where those are
// too few to say anything. validation is how many of them are the former.
func HeldOut(ds data.Dataset) (ids []int, validation int) {
	ids = ds.Split("val")
	validation = min(len(ids), mostWatched)
	if len(ids) < 32 {
		ids = append(ids, ds.Split("train")...)
	}
	return ids[:min(len(ids), mostWatched)], validation
}
