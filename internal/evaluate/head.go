package evaluate

import (
	"encoding/json"
	"fmt"
	"strconv"

	"wgjepa/checkpoint"
	"wgjepa/data"
	"wgjepa/jepa"
	"wgjepa/jepa/probe"
)

// Head is the linear head of a finetuned network.
type Head struct {
	Classes []string // none: it gives a number
	linearHead
	mean, std float64 // of the number
}

// OpenHead reads the head in weights that Finetune wrote.
func OpenHead(f *checkpoint.File) (*Head, error) {
	m := f.Metadata()
	h := &Head{std: 1}
	var err error
	switch m["task"] {
	case "classification":
		if err := json.Unmarshal([]byte(m["classes"]), &h.Classes); err != nil || len(h.Classes) == 0 {
			return nil, fmt.Errorf("%s: its list of classes is damaged: %q", f.Path(), m["classes"])
		}
	case "regression":
		if h.mean, err = strconv.ParseFloat(m["target_mean"], 64); err == nil {
			h.std, err = strconv.ParseFloat(m["target_std"], 64)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: its target_mean or target_std is damaged: %w", f.Path(), err)
		}
	default:
		return nil, fmt.Errorf("%s holds no head: name the weights that wgjepa finetune wrote", f.Path())
	}
	var shape, rows []int
	if h.weight, shape, err = f.Float64s("head.weight"); err != nil {
		return nil, err
	}
	if h.bias, rows, err = f.Float64s("head.bias"); err != nil {
		return nil, err
	}
	if K := max(1, len(h.Classes)); len(shape) != 2 || len(rows) != 1 || shape[0] != K || rows[0] != K {
		return nil, fmt.Errorf("%s: its head is %v and %v for %d classes", f.Path(), shape, rows, len(h.Classes))
	}
	return h, nil
}

// Apply gives the output for each sample of ds: the probability of each class,
// or the number.
func (h *Head) Apply(ds data.Dataset, f *jepa.Features, use func(i int, output []float64) error) error {
	D := f.Config.EmbedDim
	if len(h.weight) != D*len(h.bias) {
		return fmt.Errorf("the head takes %d features and the encoder gives %d", len(h.weight)/len(h.bias), D)
	}
	ids := make([]int, ds.Len())
	for i := range ids {
		ids[i] = i
	}
	z := probe.Matrix{Cols: D, Data: make([]float32, f.Batch*D)}
	return Batches(ds, ids, f.Batch, func(x []float32, from, n int) error {
		if err := f.Pooled(x, n, z.Data); err != nil {
			return err
		}
		z.Rows = n
		y, K := h.of(z), len(h.bias)
		for i := range n {
			output := []float64{h.mean + h.std*float64(y[i*K])}
			if len(h.Classes) > 0 {
				output = softmax(y[i*K : (i+1)*K])
			}
			if err := use(from+i, output); err != nil {
				return err
			}
		}
		return nil
	})
}
