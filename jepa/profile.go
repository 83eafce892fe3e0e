package jepa

import "fmt"

// Profile is Step with a wait for every kernel; it returns the seconds that
// each took in all, by name.
func (t *Trainer) Profile(x []float32) (map[string]float64, error) {
	if err := t.masks.Sample(&t.m, t.Config.Seed, uint64(t.step), t.Config.BatchSize); err != nil {
		return nil, fmt.Errorf("jepa: step %d: %w", t.step, err)
	}
	seconds, err := t.record(x, &t.m).Profile()
	if err != nil {
		return nil, fmt.Errorf("jepa: step %d: %w", t.step, err)
	}
	t.step++
	return seconds, nil
}
