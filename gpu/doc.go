// Package gpu runs kernels on a device: a GPU through wgpu, a browser's WebGPU,
// or the processor through the kernels' float64 twins.
//
// A Device allocates tensors. An Encoder records launches, one method an
// operation (Fill, MatMul, LayerNorm, Attention, …), and Submit replays them in
// one go; nothing waits until a Read. Lengths may change from step to step
// within the memory a tensor was made with, and a loop that repeats allocates
// nothing.
//
//	d, err := gpu.Open("")
//	x := d.Tensor("x", 4, 64)
//	e := d.Begin()
//	e.Fill(x, 1)
//	err = e.Submit()
//	err = d.Read(x, host)
//
// Table lists every operation with its test cases and benchmarks; Case.Check
// holds a device to the twins.
package gpu
