package jepa

import (
	"fmt"

	"wgjepa/gpu"
)

// Profile is Step kernel by kernel; it returns the time that each took in all.
func (t *Trainer) Profile(x []float32) (gpu.Profile, error) {
	if err := t.drawMasks(); err != nil {
		return gpu.Profile{}, err
	}
	t.upload(x, &t.m)
	e := t.device.Begin()
	t.record(e, &t.m)
	profile, err := e.Profile()
	if err != nil {
		return gpu.Profile{}, fmt.Errorf("jepa: step %d: %w", t.step, err)
	}
	t.step++
	return profile, nil
}
