//go:build cgo && !js

package wgpu

import (
	"time"

	"wgjepa/gpu/internal/driver"
)

// Profile times each dispatch: by the device's own clock where the binding and
// the adapter have one, else by waiting for each.
func (d *Device) Profile(p *driver.Plan, add func(*driver.Program, float64)) (stamped bool, err error) {
	if done, err := d.stamped(p, add); done || err != nil {
		return done, err
	}
	if err := d.Wait(); err != nil {
		return false, err
	}
	start := time.Now()
	return false, d.replay(p, 1, func(i int) error {
		if err := d.Wait(); err != nil {
			return err
		}
		add(p.Ops[i].Program, time.Since(start).Seconds())
		start = time.Now()
		return nil
	})
}
