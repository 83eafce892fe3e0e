// Package embed turns the samples of a data set into features of a frozen encoder, in a stream.
//
// [Stream.Run] reads the next samples while the encoder computes, in a queue of fixed length:
// memory does not depend on the number of samples. Batches always begin at multiples of the
// batch size, so that a stream that is continued computes the same batches, and the same bits,
// as one that never stopped. Between batch sizes an embedding differs by float32 rounding.
//
// # Sliding windows
//
// With Window, a sample is not cropped or resized to the encoder's input: windows of that size
// are laid over all of it, each is embedded as an input of its own, and the features of a patch
// are averaged over the windows that hold it. Windows begin at whole patches, so that their
// patches coincide; the outermost patches may reach beyond the sample, and then see its border
// continued. Position embeddings thus tell the place in the window, not in the scan: they are
// what the encoder was trained with.
//
// The average is weighted with a Gaussian of the patch's place in the window, of a deviation of
// an eighth of the window along each axis, as nnU-Net and MONAI weigh (Isensee et al. 2021). At
// its border a patch is seen with context on one side only; and features that enter and leave
// the average with full weight would leave seams where windows begin. Intensities are normalised over the
// whole sample, or a window of air would be amplified to the contrast of tissue.
package embed

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"wgjepa/data"
	"wgjepa/internal/patchmap"
	"wgjepa/model"
)

// Encoder computes features; [jepa.Features] is one.
type Encoder interface {
	// Tokens writes the patch features (n, P, D) of n samples to dst.
	Tokens(x []float32, n int, dst []float32) error
	// Pooled writes their means (n, D) to dst.
	Pooled(x []float32, n int, dst []float32) error
}

// Options of a stream.
type Options struct {
	Batch   int     // samples, or windows, at once
	Std     bool    // embeddings are mean and standard deviation over the patches, (2·D)
	Tokens  bool    // patch features are wanted
	Window  bool    // slide over samples of any size
	Overlap float64 // of neighbouring windows along each axis, 0 to below 1
	Measure bool    // compute some batches twice, for Stats.Alone
}

// Stream embeds the samples of a data set.
type Stream struct {
	Options
	ds      data.Dataset
	encoder Encoder
	vit     model.ViT
	stats   Stats
	loading atomic.Int32 // jobs that are being read
}

// Stats says where the time of [Stream.Run] went.
type Stats struct {
	Samples int           // that were read
	Inputs  int           // of the encoder: samples, or windows
	Elapsed time.Duration //
	Waited  time.Duration // for samples to be read

	// Of batches that were computed again while nothing was read, spread over the run so that
	// what else the machine does slows both alike; not part of the above.
	AloneInputs int
	Alone       time.Duration // by the encoder
}

// Rate is inputs a second.
func (s Stats) Rate() float64 { return float64(s.Inputs) / max(s.Elapsed.Seconds(), 1e-9) }

// AloneRate is inputs a second of the encoder alone.
func (s Stats) AloneRate() float64 { return float64(s.AloneInputs) / max(s.Alone.Seconds(), 1e-9) }

// New prepares to embed ds with an encoder of this configuration.
func New(ds data.Dataset, encoder Encoder, vit model.ViT, o Options) (*Stream, error) {
	if o.Batch < 1 {
		return nil, fmt.Errorf("embed: a batch of %d: it must be at least 1", o.Batch)
	}
	if !(o.Overlap >= 0 && o.Overlap < 1) {
		return nil, fmt.Errorf("embed: an overlap of %g: it must be 0 to below 1", o.Overlap)
	}
	if o.Window {
		if _, ok := ds.(data.Spaced); !ok {
			return nil, fmt.Errorf("embed: windows need samples in their own sizes, which these data do not have")
		}
	}
	return &Stream{Options: o, ds: ds, encoder: encoder, vit: vit}, nil
}

// Width is the length of an embedding.
func (s *Stream) Width() int {
	if s.Std {
		return 2 * s.vit.EmbedDim
	}
	return s.vit.EmbedDim
}

// Dim is the length of a patch's features.
func (s *Stream) Dim() int { return s.vit.EmbedDim }

// Grid is the patches of sample i that have features.
func (s *Stream) Grid(i int) patchmap.Grid {
	if !s.Window {
		return patchmap.Whole(s.vit.ImgSize, s.vit.PatchSize)
	}
	return newWindows(s.ds.(data.Spaced).Space(i).Whole, s.vit.ImgSize, s.vit.PatchSize, s.Overlap).kept()
}

// Affine is that of the sample over which the grid of sample i lies; false without a place in
// space.
func (s *Stream) Affine(i int) (a [4][4]float64, ok bool) {
	d, ok := s.ds.(data.Spaced)
	if !ok {
		return a, false
	}
	if s.Window {
		return d.Space(i).WholeAffine, true
	}
	return d.Space(i).Affine, true
}

// Stats says where the time went so far.
func (s *Stream) Stats() Stats { return s.stats }

// Sample is the features of one sample. Its slices are valid until the next.
type Sample struct {
	Index     int
	Embedding []float32 // (Width)
	Grid      patchmap.Grid
	Tokens    []float32 // (patches, D), nil unless wanted
	Err       error     // why it has none
}

// depth is how many batches, or whole samples, are in memory: one is computed, two are read.
const depth = 3

// job is samples being read: a batch, or one whole sample.
type job struct {
	first, n int
	x        []float32
	errs     []error
	ready    chan struct{}
}

// Run embeds the samples from first on and gives them to use in order. It ends with the error of
// use, of the encoder, or of ctx.
func (s *Stream) Run(ctx context.Context, first int, use func(Sample) error) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel()
	start, paused := time.Now(), time.Duration(0)
	defer func() { s.stats.Elapsed += time.Since(start) - paused }()
	queue, free := s.read(ctx, first, &readers)
	work := s.work()
	for batch := 0; ; batch++ {
		j, ok := <-queue
		if !ok {
			return ctx.Err()
		}
		began := time.Now()
		select {
		case <-j.ready:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := ctx.Err(); err != nil {
			return err // it may be ready because it was given up
		}
		s.stats.Waited += time.Since(began)
		if err := work.compute(ctx, j); err != nil {
			return err
		}
		if s.Measure && batch%measureEvery == measureEvery/2 {
			began := time.Now()
			if err := work.alone(ctx, j); err != nil {
				return err
			}
			paused += time.Since(began)
		}
		for k := range j.n {
			if j.first+k < first {
				continue // of a batch that was begun before
			}
			if err := use(work.sample(j, k)); err != nil {
				return err
			}
		}
		free <- j
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// measureEvery is the batches between two that are computed twice.
const measureEvery = 8

// alone computes a job again when all that could be read ahead has been.
func (w *work) alone(ctx context.Context, j *job) error {
	for w.loading.Load() > 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	before := w.stats
	w.forward, w.stats.Inputs = 0, 0
	err := w.compute(ctx, j)
	alone, inputs := w.forward, w.stats.Inputs
	w.stats = before
	w.stats.Alone += alone
	w.stats.AloneInputs += inputs
	return err
}

// read starts to read jobs in order; each is ready when its channel is closed.
func (s *Stream) read(ctx context.Context, first int, readers *sync.WaitGroup) (queue <-chan *job, free chan *job) {
	free = make(chan *job, depth)
	for range depth {
		free <- &job{}
	}
	jobs := make(chan *job, depth) // never full: there are no more
	size := s.Batch
	if s.Window {
		size = 1
	}
	readers.Go(func() {
		defer close(jobs)
		for at := first - first%size; at < s.ds.Len(); at += size {
			var j *job
			select {
			case j = <-free:
			case <-ctx.Done():
				return
			}
			j.first, j.n, j.ready = at, min(size, s.ds.Len()-at), make(chan struct{})
			s.loading.Add(1)
			jobs <- j
			readers.Go(func() {
				s.load(ctx, j)
				s.loading.Add(-1)
				close(j.ready)
			})
		}
	})
	return jobs, free
}

// load reads the samples of a job. One that fails is all zeros.
func (s *Stream) load(ctx context.Context, j *job) {
	if cap(j.errs) < j.n {
		j.errs = make([]error, j.n)
	}
	j.errs = j.errs[:j.n]
	if s.Window {
		j.x, j.errs[0] = s.ds.(data.Spaced).ReadWhole(j.first, j.x[:0])
		return
	}
	n := s.vit.SampleLen()
	if cap(j.x) < s.Batch*n {
		j.x = make([]float32, s.Batch*n)
	}
	j.x = j.x[:j.n*n]
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), j.n) {
		workers.Go(func() {
			for k := int(next.Add(1)) - 1; k < j.n && ctx.Err() == nil; k = int(next.Add(1)) - 1 {
				x := j.x[k*n : (k+1)*n]
				if j.errs[k] = s.ds.Read(j.first+k, x); j.errs[k] != nil {
					clear(x)
				}
			}
		})
	}
	workers.Wait()
}

// work is the buffers of one run.
type work struct {
	*Stream
	embeddings, tokens []float32
	grid               patchmap.Grid
	x                  []float32 // windows
	windowTokens       []float32
	forward            time.Duration // of the encoder's calls
}

// tokensOf calls the encoder, and counts.
func (w *work) tokensOf(x []float32, n int, dst []float32) error {
	began := time.Now()
	err := w.encoder.Tokens(x, n, dst)
	w.forward += time.Since(began)
	w.stats.Inputs += n
	return err
}

func (w *work) pooledOf(x []float32, n int, dst []float32) error {
	began := time.Now()
	err := w.encoder.Pooled(x, n, dst)
	w.forward += time.Since(began)
	w.stats.Inputs += n
	return err
}

func (s *Stream) work() *work {
	w := &work{Stream: s, embeddings: make([]float32, s.Batch*s.Width()), grid: s.wholeGrid()}
	switch {
	case s.Window:
		w.x = make([]float32, s.Batch*s.vit.SampleLen())
		w.windowTokens = make([]float32, s.Batch*s.vit.Patches()*s.Dim())
	case s.Std || s.Tokens:
		w.tokens = make([]float32, s.Batch*s.vit.Patches()*s.Dim())
	}
	return w
}

func (s *Stream) wholeGrid() patchmap.Grid { return patchmap.Whole(s.vit.ImgSize, s.vit.PatchSize) }

// compute fills the features of a job.
func (w *work) compute(ctx context.Context, j *job) error {
	w.stats.Samples += j.n
	switch {
	case w.Window && j.errs[0] != nil:
		return nil
	case w.Window:
		return w.slide(ctx, j)
	case w.tokens == nil:
		return w.pooledOf(j.x, j.n, w.embeddings)
	}
	if err := w.tokensOf(j.x, j.n, w.tokens); err != nil {
		return err
	}
	P, D := w.vit.Patches(), w.Dim()
	for k := range j.n {
		w.pool(w.embeddings[k*w.Width():(k+1)*w.Width()], w.tokens[k*P*D:(k+1)*P*D])
	}
	return nil
}

// sample is the features of sample k of a job that was computed.
func (w *work) sample(j *job, k int) Sample {
	out := Sample{Index: j.first + k, Grid: w.grid, Err: j.errs[k]}
	if out.Err != nil {
		return out
	}
	out.Embedding = w.embeddings[k*w.Width() : (k+1)*w.Width()]
	finite := allFinite(out.Embedding)
	if w.Tokens {
		n := out.Grid.Len() * w.Dim()
		out.Tokens = w.tokens[k*n : (k+1)*n]
		finite = finite && allFinite(out.Tokens)
	}
	if !finite {
		return Sample{Index: out.Index, Err: fmt.Errorf("the features of %s are not finite: look at its voxels, or leave it out", w.ds.Name(out.Index))}
	}
	return out
}

func allFinite(v []float32) bool {
	for _, x := range v {
		if x-x != 0 {
			return false
		}
	}
	return true
}

// pool writes the mean over the rows of tokens (P, D), and with Std their standard deviation,
// to dst.
func (s *Stream) pool(dst, tokens []float32) {
	D := s.Dim()
	sums := make([]float64, D)
	for at, v := range tokens {
		sums[at%D] += float64(v)
	}
	P := float64(len(tokens) / D)
	for j := range sums {
		sums[j] /= P
		dst[j] = float32(sums[j])
	}
	if !s.Std {
		return
	}
	squares := make([]float64, D)
	for at, v := range tokens {
		d := float64(v) - sums[at%D]
		squares[at%D] += d * d
	}
	for j, q := range squares {
		dst[D+j] = float32(math.Sqrt(q / P))
	}
}
