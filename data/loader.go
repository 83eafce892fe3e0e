package data

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"wgjepa/data/transform"
)

// LoaderOptions of [NewLoader].
type LoaderOptions struct {
	Batch   int               // B, samples a batch
	Seed    uint64            // of order and augmentation
	Indices []int             // the samples to draw from, as [Dataset.Split] returns them; nil: all
	Ordered bool              // keep the order of Indices instead of shuffling each epoch
	Augment transform.Augment // applied to each sample, which is then normalised again
	Ahead   int               // batches prepared in advance; 0: 3
	Workers int               // goroutines that read; 0: one a CPU
}

// Loader gives the batches of a training run.
//
// Batch(step) is a pure function of the data, the options and the step. Epoch e
// holds the steps e·S to (e+1)·S − 1, S = ⌊N/B⌋; the N mod B samples that are left
// over are dropped, others each epoch.
type Loader struct {
	ds     Dataset
	opt    LoaderOptions
	sample int // values a sample
	order  []int
	epoch  int // that order belongs to

	mu     sync.Mutex // held by Batch
	queue  []*job     // steps in ascending order, head next
	free   []*job
	closed bool

	tasks   chan task
	workers sync.WaitGroup
	waited  atomic.Int64
}

// job is one batch being prepared.
type job struct {
	step      int
	ids       []int
	x         []float32
	left      atomic.Int32
	abandoned atomic.Bool
	errs      []error
	ready     chan struct{} // one token when complete
}

type task struct {
	job *job
	i   int // position in the batch
}

// NewLoader starts the goroutines of a loader; Close ends them.
func NewLoader(ds Dataset, opt LoaderOptions) (*Loader, error) {
	channels, size := ds.Shape()
	if opt.Indices == nil {
		opt.Indices = make([]int, ds.Len())
		for i := range opt.Indices {
			opt.Indices[i] = i
		}
	}
	if opt.Batch < 1 {
		return nil, fmt.Errorf("data: batch of %d; at least 1 is needed", opt.Batch)
	}
	if len(opt.Indices) < opt.Batch {
		return nil, fmt.Errorf("data: %d samples to draw from are fewer than a batch of %d: lower the batch size or add data", len(opt.Indices), opt.Batch)
	}
	for _, i := range opt.Indices {
		if i < 0 || i >= ds.Len() {
			return nil, fmt.Errorf("data: sample %d of %d", i, ds.Len())
		}
	}
	if err := opt.Augment.Validate(len(size)); err != nil {
		return nil, err
	}
	if opt.Ahead == 0 {
		opt.Ahead = 3
	}
	if opt.Workers == 0 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	if opt.Ahead < 1 || opt.Workers < 1 {
		return nil, fmt.Errorf("data: %d batches ahead by %d workers; at least 1 each", opt.Ahead, opt.Workers)
	}
	l := &Loader{ds: ds, opt: opt, sample: channels, epoch: -1, order: make([]int, len(opt.Indices))}
	for _, s := range size {
		l.sample *= s
	}
	l.tasks = make(chan task, opt.Ahead*opt.Batch)
	for range opt.Workers {
		l.workers.Go(l.work)
	}
	return l, nil
}

// StepsPerEpoch returns S = ⌊N/B⌋.
func (l *Loader) StepsPerEpoch() int { return len(l.opt.Indices) / l.opt.Batch }

// Len returns the number of values of a batch, B·C·H·W[·D].
func (l *Loader) Len() int { return l.opt.Batch * l.sample }

// Batch writes the batch of a step (from 0) to dst (B, C, H, W[, D]), row-major, and
// begins to prepare the ones that follow.
func (l *Loader) Batch(step int, dst []float32) error {
	if len(dst) != l.Len() {
		panic(fmt.Sprintf("data: Batch: dst has %d values, a batch %d", len(dst), l.Len()))
	}
	if step < 0 {
		panic(fmt.Sprintf("data: Batch: step %d", step))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errors.New("data: the loader is closed")
	}
	if len(l.queue) > 0 && l.queue[0].step != step {
		l.abandon()
	}
	l.fill(step)
	j := l.queue[0]
	start := time.Now()
	<-j.ready
	l.waited.Add(int64(time.Since(start)))
	l.queue = append(l.queue[:0], l.queue[1:]...)
	copy(dst, j.x)
	err := errors.Join(j.errs...)
	l.free = append(l.free, j)
	l.schedule(step + l.opt.Ahead)
	if err != nil {
		return fmt.Errorf("data: step %d: %w", step, err)
	}
	return nil
}

// Prepare begins to prepare the batch of a step and the ones that follow, for a
// Batch to come: meanwhile kernels may compile.
func (l *Loader) Prepare(step int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed && len(l.queue) == 0 {
		l.fill(step)
	}
}

// fill schedules batches from step on until enough are ahead.
func (l *Loader) fill(step int) {
	for next := step + len(l.queue); len(l.queue) < l.opt.Ahead; next++ {
		l.schedule(next)
	}
}

// Samples appends to dst which samples the batch of a step holds, in its order.
func (l *Loader) Samples(dst []int, step int) []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append(dst, l.ids(step)...)
}

// Waited returns the time that Batch has spent waiting for samples.
func (l *Loader) Waited() time.Duration { return time.Duration(l.waited.Load()) }

// Close ends the goroutines. It may be called more than once.
func (l *Loader) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	l.abandon()
	close(l.tasks)
	l.workers.Wait()
}

// abandon gives up what is being prepared and waits until no worker touches it.
func (l *Loader) abandon() {
	for _, j := range l.queue {
		j.abandoned.Store(true)
	}
	for _, j := range l.queue {
		<-j.ready
		l.free = append(l.free, j)
	}
	l.queue = l.queue[:0]
}

func (l *Loader) schedule(step int) {
	var j *job
	if n := len(l.free); n > 0 {
		j, l.free = l.free[n-1], l.free[:n-1]
	} else {
		j = &job{ids: make([]int, l.opt.Batch), x: make([]float32, l.Len()), errs: make([]error, l.opt.Batch), ready: make(chan struct{}, 1)}
	}
	j.step = step
	copy(j.ids, l.ids(step))
	clear(j.errs)
	j.abandoned.Store(false)
	j.left.Store(int32(l.opt.Batch))
	l.queue = append(l.queue, j)
	for i := range l.opt.Batch {
		l.tasks <- task{j, i}
	}
}

// ids returns the samples of a step; valid until the next call.
func (l *Loader) ids(step int) []int {
	S := l.StepsPerEpoch()
	if e := step / S; e != l.epoch {
		copy(l.order, l.opt.Indices)
		if !l.opt.Ordered {
			r := rand.New(rand.NewPCG(l.opt.Seed, uint64(e)))
			r.Shuffle(len(l.order), func(i, j int) { l.order[i], l.order[j] = l.order[j], l.order[i] })
		}
		l.epoch = e
	}
	at := step % S * l.opt.Batch
	return l.order[at : at+l.opt.Batch]
}

func (l *Loader) work() {
	raw := make([]float32, l.sample)
	for t := range l.tasks {
		j := t.job
		if !j.abandoned.Load() {
			j.errs[t.i] = l.prepare(j.step, j.ids[t.i], j.x[t.i*l.sample:(t.i+1)*l.sample], raw)
		}
		if j.left.Add(-1) == 0 {
			j.ready <- struct{}{}
			// On one thread, as in wasm, the batches ahead would else be made
			// before the first is used.
			runtime.Gosched()
		}
	}
}

// prepare writes one augmented sample to x.
func (l *Loader) prepare(step, id int, x, raw []float32) error {
	if !l.opt.Augment.Active() {
		return l.ds.Read(id, x)
	}
	return augmented(l.ds, l.opt.Augment, l.opt.Seed, step, id, x, raw)
}

// Augmented writes sample id as a batch of a step holds it, (C, H, W[, D]) row-major, to
// dst: changed as (seed, step, id) draw it, then normalised again.
func Augmented(ds Dataset, a transform.Augment, seed uint64, step, id int, dst []float32) error {
	return augmented(ds, a, seed, step, id, dst, make([]float32, len(dst)))
}

func augmented(ds Dataset, a transform.Augment, seed uint64, step, id int, dst, raw []float32) error {
	if err := ds.Read(id, raw); err != nil {
		return err
	}
	channels, size := ds.Shape()
	r := transform.Rand(seed, uint64(step), uint64(id))
	geometry := a.Draw(r, size)
	intensity := a.DrawIntensity(r, size)
	geometry.Apply(dst, raw, channels, size)
	intensity.Apply(dst, channels, size)
	ds.Normalize(dst)
	intensity.Erase(dst, channels, size)
	return nil
}
