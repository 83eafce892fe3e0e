package evaluate

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"wgjepa/data"
	"wgjepa/gpu"
	"wgjepa/jepa"
	"wgjepa/jepa/probe"
)

// Encoder lends the frozen features of one encoder for as long as use takes, so
// that two never need memory at once.
type Encoder func(use func(*jepa.Features) error) error

// Lend opens networks on d for as long as they are used.
func Lend[T any](d *gpu.Device, open func() (T, error)) func(use func(T) error) error {
	return func(use func(T) error) (err error) {
		d.Scope(func() {
			var networks T
			if networks, err = open(); err == nil {
				err = use(networks)
			}
		})
		return err
	}
}

// Pooled computes the pooled features of samples.
func Pooled(ds data.Dataset, f *jepa.Features, ids []int) (probe.Matrix, error) {
	D := f.Config.EmbedDim
	m := probe.Matrix{Rows: len(ids), Cols: D, Data: make([]float32, len(ids)*D)}
	return m, Batches(ds, ids, f.Batch, func(x []float32, from, n int) error {
		return f.Pooled(x, n, m.Data[from*D:(from+n)*D])
	})
}

// Batches reads samples and gives them to use, batch after batch: x are the n that
// begin with ids[from].
func Batches(ds data.Dataset, ids []int, batch int, use func(x []float32, from, n int) error) error {
	size := SampleLen(ds)
	x := make([]float32, min(batch, len(ids))*size)
	for from := 0; from < len(ids); from += batch {
		n := min(batch, len(ids)-from)
		if err := ReadSamples(ds, ids[from:from+n], x[:n*size]); err != nil {
			return err
		}
		if err := use(x[:n*size], from, n); err != nil {
			return err
		}
	}
	return nil
}

// SampleLen is the numbers of a sample of ds.
func SampleLen(ds data.Dataset) int {
	n, size := ds.Shape()
	for _, a := range size {
		n *= a
	}
	return n
}

// ReadSamples reads samples one after the other into x.
func ReadSamples(ds data.Dataset, ids []int, x []float32) error {
	n := len(x) / max(1, len(ids))
	return each(len(ids), func(i int) error { return ds.Read(ids[i], x[i*n:(i+1)*n]) })
}

// each calls do for 0 … n−1 from as many goroutines as there are processors.
func each(n int, do func(i int) error) error {
	errs := make([]error, n)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				errs[i] = do(i)
			}
		})
	}
	workers.Wait()
	return errors.Join(errs...)
}
