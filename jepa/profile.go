package jepa

import "fmt"

// Profile is Step with a wait for every kernel; it returns the seconds that
// each took in all, by name.
func (t *Trainer) Profile(x []float32) (map[string]float64, error) {
	c := &t.Config
	if err := t.masks.Sample(&t.m, c.Seed, uint64(t.step), c.BatchSize); err != nil {
		return nil, fmt.Errorf("jepa: step %d: %w", t.step, err)
	}
	t.upload(x, &t.m)
	t.context.DrawStochasticDepth(c.Seed, uint64(t.step), t.m.B)
	e := t.device.Begin()
	t.forward(e, &t.m)
	t.backward(e)
	if (t.step+1)%c.AccumulateGradBatches == 0 {
		t.update(e, t.Schedule.At(t.Updates()))
	}
	seconds, err := e.Profile()
	if err != nil {
		return nil, fmt.Errorf("jepa: step %d: %w", t.step, err)
	}
	t.step++
	return seconds, nil
}
