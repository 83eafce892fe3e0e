//go:build js && wasm

package browser

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"unsafe"

	"wgjepa/gpu/internal/driver"
)

// stage says how far a pipeline is.
type stage uint8

const (
	absent stage = iota
	begun
	compiled
)

// CompileAhead begins to make the pipelines of programs, all side by side, and
// does not wait: Submit waits for those that it needs.
func (d *Device) CompileAhead(programs []*driver.Program) error {
	if err := d.ready(); err != nil {
		return err
	}
	for _, p := range programs {
		if strings.TrimSpace(p.Source) == "" {
			return fmt.Errorf("kernel %s (%s) has no text", p.Name, p.File)
		}
		for len(d.stages) <= p.ID {
			d.stages = append(d.stages, absent)
		}
		if d.stages[p.ID] != absent {
			continue
		}
		d.stages[p.ID] = begun
		d.begun++
		var kinds strings.Builder
		for _, b := range p.Layout.Bindings {
			if b.Write {
				kinds.WriteByte('w')
			} else {
				kinds.WriteByte('r')
			}
		}
		glueProgram(d.token, uint32(p.ID), p.Name, p.Source, kinds.String(), uint32(p.UniformSize()))
	}
	return nil
}

// Compiling reports whether pipelines are still being made.
func (d *Device) Compiling() bool { return d.begun > 0 && glueCompiling(d.token) != 0 }

// Compile makes the pipelines of programs, all side by side.
func (d *Device) Compile(programs []*driver.Program) error {
	if err := d.CompileAhead(programs); err != nil {
		return err
	}
	return d.settle(slices.Values(programs))
}

// settle waits for those of the programs whose pipelines are begun.
func (d *Device) settle(programs iter.Seq[*driver.Program]) error {
	if d.begun == 0 {
		return nil
	}
	waited := map[int]*driver.Program{}
	var ids []uint32
	for p := range programs {
		if d.stages[p.ID] == begun && waited[p.ID] == nil {
			waited[p.ID] = p
			ids = append(ids, uint32(p.ID))
		}
	}
	if len(ids) == 0 {
		return nil
	}
	err := call(d.token, func() { glueCompile(d.token, unsafe.Pointer(&ids[0]), uint32(len(ids))) })
	for id := range waited {
		d.stages[id] = compiled
		if err != nil {
			d.stages[id] = absent // all of them, for who tries again
		}
		d.begun--
	}
	var refused compileError
	if errors.As(err, &refused) {
		return explain(waited, refused)
	}
	if err != nil {
		return err
	}
	return d.ready()
}

// explain says which kernel failed and shows the line.
func explain(programs map[int]*driver.Program, refused compileError) error {
	var r struct {
		ID       int
		Error    string
		Messages []struct {
			Type, Text   string
			Line, Column int
		}
	}
	if err := json.Unmarshal([]byte(refused), &r); err != nil || programs[r.ID] == nil {
		return fmt.Errorf("WebGPU: a kernel does not compile: %s", string(refused))
	}
	p := programs[r.ID]
	for _, m := range r.Messages {
		if m.Type != "error" {
			continue
		}
		return p.Refused(m.Line, m.Column, diagnosis(m.Text))
	}
	return p.Refused(0, 0, r.Error)
}

// diagnosis is the compiler's message without the drawing of the source that
// some add.
func diagnosis(text string) string {
	var parts []string
	for line := range strings.Lines(text) {
		_, after, found := strings.Cut(line, "parsing error: ")
		if !found {
			after = line
		}
		after = strings.TrimPrefix(strings.TrimSpace(after), "= ")
		if after != "" && !strings.ContainsAny(after, "│┌═╭╰") {
			parts = append(parts, strings.TrimSuffix(after, ":"))
		}
	}
	return strings.Join(parts, ": ")
}
