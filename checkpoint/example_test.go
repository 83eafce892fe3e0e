package checkpoint_test

import (
	"fmt"
	"os"
	"path/filepath"

	"wgjepa/checkpoint"
)

func Example() {
	dir, err := os.MkdirTemp("", "checkpoint")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "state.safetensors")

	for step, w := range [][]float32{{1, 2}, {3, 4}} {
		state := []checkpoint.Entry{{Name: "encoder.norm.weight", Shape: []int{2}, Data: w}}
		if err := checkpoint.Write(path, state, map[string]string{"step": fmt.Sprint(step)}, true); err != nil {
			panic(err)
		}
	}
	if err := os.Truncate(path, 100); err != nil { // a disk that lost the end
		panic(err)
	}

	f, note, err := checkpoint.Latest(path)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	w, shape, err := f.Float32s("encoder.norm.weight")
	if err != nil {
		panic(err)
	}
	fmt.Println(note != "", f.Metadata()["step"], shape, w)
	// Output: true 0 [2] [1 2]
}
