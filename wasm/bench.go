//go:build js && wasm && checks

package main

import (
	"wgjepa/gpu"
	"wgjepa/internal/bench"
)

func init() { checks["bench"] = (*session).benchmark }

// benchmark measures as `wgjepa bench` does, on a device of its own: what the
// session has trained stays.
func (s *session) benchmark(c command) (any, error) {
	o := bench.Options{Only: c.Only, Seconds: c.Seconds}
	if o.Seconds <= 0 {
		o.Seconds = 0.5
	}
	if err := o.Check(); err != nil {
		return nil, commandError("only: " + err.Error())
	}
	d, err := gpu.Open(c.Adapter)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	rows := []bench.Row{}
	err = bench.Run(d, o, func(r bench.Row) {
		rows = append(rows, r)
		post(c.ID, "progress", map[string]any{"row": r, "text": r.String()})
	})
	return map[string]any{"rows": rows, "adapter": d.Info()}, err
}
