//go:build cgo && !js

package wgpu

import (
	"cmp"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"wgjepa/gpu/internal/driver"
)

type pipeline struct {
	raw    *libPipeline
	layout *libLayout
}

// Compile makes the pipelines of programs, several at a time.
func (d *Device) Compile(programs []*driver.Program) error {
	if err := d.ready(); err != nil {
		return err
	}
	var todo []*driver.Program
	for _, p := range programs {
		for len(d.pipelines) <= p.ID {
			d.pipelines = append(d.pipelines, pipeline{})
		}
		if d.pipelines[p.ID].raw == nil {
			todo = append(todo, p)
		}
	}
	var next atomic.Int64
	var failed atomic.Bool
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(todo)) {
		workers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(todo) {
					return
				}
				if d.build(todo[i]) != nil {
					failed.Store(true)
				}
			}
		})
	}
	workers.Wait()
	if !failed.Load() {
		return d.ready()
	}
	// The error may have come from a neighbour: the library's error scopes
	// belong to the device, not to the caller. One at a time, it is the right one.
	for _, p := range todo {
		if d.pipelines[p.ID].raw != nil {
			d.pipelines[p.ID].raw.Release()
			d.pipelines[p.ID].layout.Release()
			d.pipelines[p.ID] = pipeline{}
		}
		if err := d.build(p); err != nil {
			return err
		}
	}
	return d.ready()
}

// build makes one pipeline. Calls for different programs may run side by side.
func (d *Device) build(p *driver.Program) error {
	if strings.TrimSpace(p.Source) == "" {
		return fmt.Errorf("kernel %s (%s) has no text", p.Name, p.File)
	}
	raw, layout, err := newPipeline(d.device, p)
	if err != nil {
		return d.explain(p, err)
	}
	d.pipelines[p.ID] = pipeline{raw, layout}
	return nil
}

// The compiler points at a place as "wgsl:12:3"; older ones as ":12:3" after
// the module's name.
var placeRE = regexp.MustCompile(`(?:wgsl|[\w-]*):(\d+):(\d+)`)

// explain says which kernel failed and shows the line.
func (d *Device) explain(p *driver.Program, err error) error {
	if lost := d.fatal(err); d.lost.Load() != nil {
		return lost
	}
	var line, column int
	if m := placeRE.FindStringSubmatch(err.Error()); m != nil {
		line, _ = strconv.Atoi(m[1])
		column, _ = strconv.Atoi(m[2])
	}
	return p.Refused(line, column, diagnosis(err))
}

var noiseRE = regexp.MustCompile("[│┌═╭╰]|^note: label = |^Shader '.*' parsing error")

// diagnosis is the compiler's message without the drawing of the source.
func diagnosis(err error) string {
	var parts []string
	for _, line := range causes(err) {
		_, after, _ := strings.Cut(line, "parsing error: ")
		line = strings.TrimSuffix(strings.TrimPrefix(cmp.Or(after, line), "= "), ":")
		if !noiseRE.MatchString(line) && !slices.Contains(parts, line) {
			parts = append(parts, line)
		}
	}
	return strings.Join(parts, ": ")
}
