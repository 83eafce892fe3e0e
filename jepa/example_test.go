package jepa_test

import (
	"context"
	"fmt"
	"log"
	"math/rand/v2"

	"wgjepa/gpu"
	"wgjepa/jepa"
)

// volumes is a Source: batches are a function of the step alone.
type volumes struct{}

func (volumes) Batch(step int, x []float32) error {
	r := rand.New(rand.NewPCG(1, uint64(step)))
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return nil
}

// Train a small encoder for a few updates on the float64 twins, then embed two
// volumes with it.
func ExampleTrainer() {
	d, err := gpu.Open("cpu") // "" is the first GPU
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	c, err := jepa.ParseConfig([]byte(`
batch_size = 2
max_steps = 3
predictor_embed_dim = 12
predictor_depth = 1
[encoder]
img_size = [8, 8, 8]
patch_size = [2]
embed_dim = 12
depth = 1
num_heads = 2
`))
	if err != nil {
		log.Fatal(err)
	}
	t, err := jepa.New(d, c, 10)
	if err != nil {
		log.Fatal(err)
	}
	if err := t.Run(context.Background(), volumes{}, jepa.RunOptions{}); err != nil {
		log.Fatal(err)
	}
	x := make([]float32, 2*8*8*8)
	z := make([]float32, 2*c.Encoder.EmbedDim)
	if err := t.Features(false).Pooled(x, 2, z); err != nil {
		log.Fatal(err)
	}
	fmt.Println(t.Updates(), "updates, embeddings", len(z)/c.Encoder.EmbedDim, "×", c.Encoder.EmbedDim)
	// Output: 3 updates, embeddings 2 × 12
}
