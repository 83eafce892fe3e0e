package data_test

import (
	"fmt"

	"wgjepa/data"
	"wgjepa/data/phantom"
	"wgjepa/data/transform"
)

// Sixty-four torsos, an eighth of them kept for testing; a batch of eight, cropped at
// random. The batch of step 1000 is the same whenever it is asked for.
func Example() {
	set, report, err := data.Phantoms(phantom.Default(), 64, 1, data.Options{Split: &data.SplitPlan{Test: 8}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report)
	loader, err := data.NewLoader(set, data.LoaderOptions{
		Batch:   8,
		Seed:    7,
		Indices: set.Split("train"),
		Augment: transform.Augment{Scale: [2]float64{0.5, 1}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer loader.Close()
	x := make([]float32, loader.Len()) // (B, C, H, W, D)
	if err := loader.Batch(1000, x); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(loader.StepsPerEpoch(), "steps an epoch")
	// Output:
	// 64 samples, 1 channels, 32×32×32
	// formats: phantom (64)
	// sizes: 32×32×32 (64)
	// spacings: 1×1×1 (64)
	// classes: right-anterior (20), right-posterior (17), left-anterior (16), left-posterior (11)
	// voxel labels: 64 samples, 6 classes with the background
	// splits: train (56), test (8), val (0)
	// 7 steps an epoch
}
