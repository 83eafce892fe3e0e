// Package ref holds the plain-Go twin of every WGSL kernel: the same name, the
// same bindings in the same order, the same parameters, computed in float64.
//
// A twin is written for reading, straight from the formula; it is the oracle
// that the shaders are held to, and it is what the cpu driver runs. Twins take
// slices that may be longer than the shape needs and touch only what the shape
// says.
package ref

import (
	"runtime"
	"sync"
)

// Buffer is one bound storage buffer: floats in F or indices in U.
type Buffer struct {
	F []float64
	U []uint32
}

// Parallel splits 0 … n−1 into consecutive ranges and runs f on them
// concurrently. The ranges do not depend on one another, so results do not
// depend on how many there are.
func Parallel(n int, f func(lo, hi int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers <= 1 {
		f(0, n)
		return
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			f(w*n/workers, (w+1)*n/workers)
		}()
	}
	wg.Wait()
}
