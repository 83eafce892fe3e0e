//go:build js && wasm

package browser

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"wgjepa/gpu/internal/driver"
)

// Compile makes the pipelines of programs, all side by side.
func (d *Device) Compile(programs []*driver.Program) error {
	if err := d.ready(); err != nil {
		return err
	}
	todo := map[int]*driver.Program{}
	for _, p := range programs {
		if strings.TrimSpace(p.Source) == "" {
			return fmt.Errorf("kernel %s (%s) has no text", p.Name, p.File)
		}
		for len(d.compiled) <= p.ID {
			d.compiled = append(d.compiled, false)
		}
		if d.compiled[p.ID] || todo[p.ID] != nil {
			continue
		}
		todo[p.ID] = p
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
	if len(todo) == 0 {
		return nil
	}
	err := call(d.token, func() { glueCompile(d.token) })
	var refused compileError
	if errors.As(err, &refused) {
		return explain(todo, refused)
	}
	if err != nil {
		return err
	}
	for id := range todo {
		d.compiled[id] = true
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
