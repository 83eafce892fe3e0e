//go:build js && wasm && checks

package main

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall/js"

	"wgjepa/checkpoint"
	"wgjepa/gpu"
	"wgjepa/jepa"
)

func init() {
	checks["verify"] = (*session).verify
	checks["doctor"] = (*session).doctor
}

// verified is the outcome of one golden case.
type verified struct {
	File     string   `json:"file"`
	Compared int      `json:"compared"`
	Skipped  int      `json:"skipped"`
	Failed   []string `json:"failed"`
	Worst    string   `json:"worst"` // nearest to its bound or farthest beyond
	Error    float64  `json:"worst_error"`
	Bound    float64  `json:"worst_bound"`
}

// verify replays golden cases. One that cannot be replayed ends it.
func (s *session) verify(c command) (any, error) {
	s.trainer = nil
	d, err := s.use(c.Adapter)
	if err != nil {
		return nil, err
	}
	cases := []verified{}
	for _, path := range c.Paths {
		v, err := verifyFile(d, path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		cases = append(cases, v)
		post(c.ID, "progress", map[string]any{"case": v})
	}
	if len(cases) == 0 {
		return nil, commandError("verify needs paths of golden cases")
	}
	return map[string]any{"cases": cases, "adapter": d.Info().Name}, nil
}

func verifyFile(d *gpu.Device, path string) (verified, error) {
	v := verified{File: path, Failed: []string{}}
	f, err := checkpoint.OpenVerified(path)
	if err != nil {
		return v, err
	}
	defer f.Close()
	rows, err := jepa.Verify(d, f)
	if err != nil {
		return v, err
	}
	for _, r := range rows {
		switch {
		case r.Skipped != "":
			v.Skipped++
		case r.Failed():
			v.Failed = append(v.Failed, fmt.Sprintf("%s: error %.3g, bound %.3g", r.Name, r.Error, r.Bound))
			v.Compared++
		default:
			v.Compared++
		}
	}
	if v.Compared == 0 {
		return v, errors.New("the case has no tensor to compare")
	}
	w := jepa.WorstRow(rows)
	v.Worst, v.Error, v.Bound = w.Name, w.Error, w.Bound
	if !(v.Error <= 1e30) { // JSON has no infinity
		v.Error = 1e30
	}
	return v, nil
}

// lanes is how many devices the doctor tests at once. In Deno nearly all of its
// time is waiting for read-backs, which overlap; elsewhere most of it is the
// compilation of kernels, for each device again.
func lanes() int {
	if js.Global().Get("Deno").IsUndefined() {
		return 2
	}
	return 12
}

// doctor holds every kernel to its twin.
func (s *session) doctor(c command) (any, error) {
	type job struct {
		op string
		k  gpu.Case
	}
	var jobs []job
	for _, op := range gpu.Table() {
		if len(c.Only) > 0 && !slices.Contains(c.Only, op.Name) {
			continue
		}
		for _, k := range op.Cases {
			jobs = append(jobs, job{op.Name, k})
		}
	}
	if len(jobs) == 0 {
		return nil, commandError(fmt.Sprintf("only names no operation: %v", c.Only))
	}
	s.closeDevice()
	failed := []string{}
	cases, next := 0, 0
	var first error
	var workers sync.WaitGroup
	for range min(lanes(), len(jobs)) {
		workers.Go(func() {
			d, err := gpu.Open(c.Adapter)
			if err != nil {
				first = err
				return
			}
			defer d.Close()
			for next < len(jobs) && first == nil {
				j := jobs[next]
				next++
				worst, err := j.k.Check(d, 1)
				name := j.op + ", " + j.k.Name
				cases++
				if err != nil {
					failed = append(failed, fmt.Sprintf("%s: %v", name, err))
				} else {
					post(c.ID, "progress", map[string]any{"case": name, "error": worst})
				}
				if d.Err() != nil {
					first = fmt.Errorf("the device stopped working at %s: %w", name, d.Err())
				}
			}
		})
	}
	workers.Wait()
	if first != nil {
		return nil, first
	}
	return map[string]any{"cases": cases, "failed": failed}, nil
}
