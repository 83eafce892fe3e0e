package gpu

import (
	"fmt"

	"wgjepa/gpu/internal/driver"
)

// Profile runs what was recorded as Submit does, but one launch at a time and
// waiting for each, and returns the seconds that each kernel took in all, by
// its name. The results are those of Submit; only the time is another.
func (e *Encoder) Profile() (map[string]float64, error) {
	d := e.d
	seconds := map[string]float64{}
	p, ok := d.drv.(driver.Profiler)
	if !ok {
		return nil, fmt.Errorf("gpu: %s cannot be profiled", d.info.Name)
	}
	e.compile()
	if d.err == nil {
		d.fail(p.Profile(&e.plan, func(k *driver.Program, s float64) { seconds[k.Name] += s }))
	}
	e.plan.Reset()
	return seconds, e.Submit() // of nothing: it cleans up as after any submit
}
