package gpu

import (
	"fmt"

	"wgjepa/gpu/internal/driver"
)

// Profile is how long kernels took.
type Profile struct {
	Seconds map[string]float64 // of all launches of a kernel, by its name
	Clock   string             // what measured them, in words
}

// Profile runs what was recorded as Submit does, but one launch at a time, and
// returns the time that each kernel took: by the device's own clock where it
// has one, else by waiting for each launch. The results are those of Submit;
// only the time is another.
func (e *Encoder) Profile() (Profile, error) {
	d := e.d
	p, ok := d.drv.(driver.Profiler)
	if !ok {
		return Profile{}, fmt.Errorf("gpu: %s cannot be profiled", d.info.Name)
	}
	profile := Profile{map[string]float64{}, "waiting for each launch"}
	e.compile()
	if d.err == nil {
		stamped, err := p.Profile(&e.plan, func(k *driver.Program, s float64) { profile.Seconds[k.Name] += s })
		if stamped {
			profile.Clock = "timestamps of the device"
		}
		d.fail(err)
	}
	return profile, e.clear()
}

// Replayed is the number of launches submitted so far and the seconds that the
// host took to hand them over, where the driver counts them; else zero.
func (d *Device) Replayed() (launches int, seconds float64) {
	if c, ok := d.drv.(interface{ Replayed() (int, float64) }); ok {
		return c.Replayed()
	}
	return 0, 0
}
