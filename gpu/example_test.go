package gpu_test

import (
	"fmt"
	"log"

	"wgjepa/gpu"
)

// Record two launches, submit them together, read the result.
func Example() {
	d, err := gpu.Open("cpu") // "" is the first GPU
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	x, w, y := d.Tensor("x", 2, 3), d.Tensor("w", 1, 3), d.Tensor("y", 2, 1)
	d.Write(x, []float32{1, 2, 3, 4, 5, 6})
	e := d.Begin()
	e.Fill(w, 0.5)
	e.Linear(y, x, w, gpu.Tensor{}) // y = x·wᵀ
	if err := e.Submit(); err != nil {
		log.Fatal(err)
	}
	host := make([]float32, 2)
	if err := d.Read(y, host); err != nil {
		log.Fatal(err)
	}
	fmt.Println(host)
	// Output: [3 7.5]
}
