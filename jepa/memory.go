package jepa

import (
	"fmt"
	"sort"

	"wgjepa/gpu"
	"wgjepa/maskgen"
	"wgjepa/model"
)

// Memory is what a training needs on a device, in bytes.
type Memory struct {
	Weights     uint64 // of the three networks, with position tables
	Gradients   uint64
	Optimizer   uint64 // moments
	Activations uint64 // kept for the backward pass, grows with the batch
	Scratch     uint64 // of single kernels, grows with the batch
}

// Total is the sum of all parts.
func (m Memory) Total() uint64 {
	return m.Weights + m.Gradients + m.Optimizer + m.Activations + m.Scratch
}

// Fixed is the part that does not depend on the batch size.
func (m Memory) Fixed() uint64 { return m.Weights + m.Gradients + m.Optimizer }

// EstimateMemory says what training c would allocate on an adapter: it lays the
// trainer out and records its longest step on a device that only counts. An
// error that wraps gpu.ErrMemory names the tensor that the adapter's limits do
// not allow.
func EstimateMemory(info gpu.Info, c Config) (Memory, error) {
	d := gpu.Estimate(info)
	defer d.Close()
	return estimate(d, c)
}

// LargestBatch is the largest batch size up to c's with which training c fits an
// adapter, 0 where one sample alone is too much.
func LargestBatch(info gpu.Info, c Config) int {
	return sort.Search(c.BatchSize, func(i int) bool {
		c.BatchSize = i + 1
		m, err := EstimateMemory(info, c)
		return err != nil || info.Memory > 0 && m.Total() > info.Memory
	})
}

// Prepare is EstimateMemory for a device that is open. It also begins to compile
// the kernels of the training, where they can be compiled beside other work.
func Prepare(d *gpu.Device, c Config) (Memory, error) {
	counting := gpu.Estimate(d.Info())
	defer counting.Close()
	m, err := estimate(counting, c)
	if err == nil {
		d.Prepare(counting)
	}
	return m, err
}

// estimate is EstimateMemory on a device that only counts.
func estimate(d *gpu.Device, c Config) (Memory, error) {
	if err := c.Validate(); err != nil {
		return Memory{}, err
	}
	sampler, err := maskgen.New(c.Masks())
	if err != nil {
		return Memory{}, err
	}
	size, info := uint64(4), d.Info()
	if info.Kind == gpu.Twins {
		size = 8
	}
	t := &Trainer{Config: c, device: d, masks: sampler}
	t.Schedule = NewSchedule(&t.Config, 1)
	t.allocate(sampler.MaxContext(), sampler.MaxTarget())
	if err := d.Err(); err != nil {
		return Memory{}, fmt.Errorf("jepa: %w", err)
	}
	allocated := d.Allocated()
	var m Memory
	for _, a := range []*model.Arena{t.contextWeights.Arena, t.targetWeights.Arena, t.predictorWeights.Arena} {
		m.Weights += size * uint64(a.Values.Len())
		for _, p := range a.Fixed {
			m.Weights += size * uint64(p.Len())
		}
		if !a.Grads.IsNil() {
			m.Gradients += size * uint64(a.Grads.Len())
		}
	}
	for _, o := range t.optimizers {
		for _, x := range []gpu.Tensor{o.m, o.v, o.vmax} {
			if !x.IsNil() {
				m.Optimizer += size * uint64(x.Len())
			}
		}
	}
	m.Activations = allocated - m.Fixed()
	if info.Memory > 0 && allocated > info.Memory {
		return m, nil // without scratch, which would not change the answer
	}
	if err := t.reserve(sampler.MaxContext(), sampler.MaxTarget()); err != nil {
		return m, fmt.Errorf("jepa: %w", err)
	}
	m.Scratch = d.Allocated() - allocated
	return m, nil
}
