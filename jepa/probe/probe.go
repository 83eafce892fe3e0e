// Package probe measures what frozen features hold: it fits small models on them
// and scores these on held-out samples, with intervals.
//
// # Protocol
//
// Features X (N, D) come from an encoder that is not trained further. [Select]
// standardises them on the training samples, fits a logistic regression for each
// strength C and keeps the one that is best on the validation samples; its
// predictions on the test samples are scored by statistics such as
// [OnSamples] and [AUC], and [Bootstrap] gives each a 95 % interval. Whether a
// trained encoder is better than an untrained one is decided by [Difference] on
// the same test samples: it is where the interval of trained − untrained lies
// above zero.
//
//	choice, err := probe.Select(train, probe.Set{}, nil, seed) // no validation split: part of train is held out
//	pred := choice.Predict(test.X)
//	accuracy := probe.OnSamples(test.Y, pred, classes, probe.Confusion.Accuracy)
//	interval := probe.Bootstrap(len(test.Y), test.Y, 1000, seed, accuracy)
//
// The dense form asks the same of every patch: [PatchLabels] gives the label of
// each patch, the rows of X are patch tokens, [Set.Group] names the volume of each
// row, and [OnVolumes] resamples volumes, because patches of one volume are not
// independent.
//
// # Numerics
//
// Features are stored in float32 and computed with in float64. Rows are divided
// into blocks by their number alone, and the blocks' sums added in order, so
// results are the same bits at any GOMAXPROCS. Objectives and conventions are
// those of scikit-learn, against which the package is tested. Letters: N samples,
// D features, K classes.
package probe

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
)

// Matrix holds one sample's features a row, row-major.
type Matrix struct {
	Rows, Cols int
	Data       []float32 // (Rows, Cols)
}

// Row returns row i without copying it.
func (m Matrix) Row(i int) []float32 { return m.Data[i*m.Cols : (i+1)*m.Cols] }

// Select returns a copy of the rows listed.
func (m Matrix) Select(rows []int) Matrix {
	out := Matrix{len(rows), m.Cols, make([]float32, 0, len(rows)*m.Cols)}
	for _, i := range rows {
		out.Data = append(out.Data, m.Row(i)...)
	}
	return out
}

// check refuses features that nothing can be fitted to.
func (m Matrix) check() error {
	if m.Rows < 0 || m.Cols < 0 || len(m.Data) != m.Rows*m.Cols {
		panic(fmt.Sprintf("probe: a matrix of [%d %d] has %d values", m.Rows, m.Cols, len(m.Data)))
	}
	if m.Rows == 0 || m.Cols == 0 {
		return fmt.Errorf("probe: the features are [%d %d]; there must be samples and features", m.Rows, m.Cols)
	}
	for i, v := range m.Data {
		if v != v || v > math.MaxFloat32 || v < -math.MaxFloat32 {
			return fmt.Errorf("probe: feature %d of sample %d is %v; the encoder's output must be finite (check its weights and input for NaN)", i%m.Cols, i/m.Cols, v)
		}
	}
	return nil
}

func (m Matrix) mustHaveCols(cols int, what string) {
	if m.Cols != cols {
		panic(fmt.Sprintf("probe: %s: features have %d columns, the fit had %d", what, m.Cols, cols))
	}
}

// Standardizer moves each feature to mean 0 and population standard deviation 1.
type Standardizer struct {
	Mean, Std []float64 // (D)

	// Constant lists the features that do not vary beyond float32 rounding. They
	// become zero and so count for nothing; many of them mean a collapsed encoder.
	Constant []int
}

// Standardize computes mean and standard deviation of each column of x.
func Standardize(x Matrix) (*Standardizer, error) {
	if err := x.check(); err != nil {
		return nil, err
	}
	s := &Standardizer{Mean: make([]float64, x.Cols), Std: make([]float64, x.Cols)}
	sum := func(term func(j int, v float64) float64) []float64 {
		return blockSum(x.Rows, x.Cols, func(from, to int, out []float64) {
			for i := from; i < to; i++ {
				for j, v := range x.Row(i) {
					out[j] += term(j, float64(v))
				}
			}
		})
	}
	n := float64(x.Rows)
	for j, v := range sum(func(_ int, v float64) float64 { return v }) {
		s.Mean[j] = v / n
	}
	for j, v := range sum(func(j int, v float64) float64 { d := v - s.Mean[j]; return d * d }) {
		s.Std[j] = math.Sqrt(v / n)
		if s.Std[j] <= 0x1p-23*math.Abs(s.Mean[j]) { // less than float32 resolves at this mean
			s.Constant = append(s.Constant, j)
		}
	}
	return s, nil
}

// Apply returns the standardised features.
func (s *Standardizer) Apply(x Matrix) Matrix {
	x.mustHaveCols(len(s.Mean), "Standardizer.Apply")
	out := Matrix{x.Rows, x.Cols, make([]float32, len(x.Data))}
	inv := s.inverse()
	parallel(x.Rows, func(i int) {
		o := out.Row(i)
		for j, v := range x.Row(i) {
			o[j] = float32((float64(v) - s.Mean[j]) * inv[j])
		}
	})
	return out
}

// inverse returns 1/Std, zero for constant features.
func (s *Standardizer) inverse() []float64 {
	inv := make([]float64, len(s.Std))
	for j, v := range s.Std {
		inv[j] = 1 / v
	}
	for _, j := range s.Constant {
		inv[j] = 0
	}
	return inv
}

// maxBlocks bounds the partial sums that wait to be added.
const maxBlocks = 64

// blockSum adds what term adds to its out (size values) for each block of rows.
func blockSum(rows, size int, term func(from, to int, out []float64)) []float64 {
	step := max(128, (rows+maxBlocks-1)/maxBlocks)
	blocks := (rows + step - 1) / step
	part := make([][]float64, blocks)
	parallel(blocks, func(b int) {
		part[b] = make([]float64, size)
		term(b*step, min(rows, (b+1)*step), part[b])
	})
	total := make([]float64, size)
	for _, p := range part {
		for i, v := range p {
			total[i] += v
		}
	}
	return total
}

// parallel calls do for 0 … n−1 from as many goroutines as there are processors.
func parallel(n int, do func(i int)) {
	var (
		next atomic.Int64
		wg   sync.WaitGroup
	)
	for range min(runtime.GOMAXPROCS(0), n) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	wg.Wait()
}

// standardRow writes (x − mean)·scale to z.
func standardRow(z []float64, x []float32, mean, scale []float64) {
	z, mean, scale = z[:len(x)], mean[:len(x)], scale[:len(x)]
	for j, v := range x {
		z[j] = (float64(v) - mean[j]) * scale[j]
	}
}
