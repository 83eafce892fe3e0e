//go:build js && wasm

// Command wasm is wgjepa for a browser's worker and for runtimes of JavaScript:
// the trainer of package jepa behind a protocol of messages.
//
// # The host
//
// host.js starts the file; worker.js does so in a browser's dedicated worker,
// edge.ts in Deno. The host gives
//
//   - the imports "wgjepa_gpu" (gpu/internal/browser/driver.js);
//   - globalThis.fs, where files are read and written: the machine's through
//     node:fs, or files.js, which keeps them in memory and reads what a page
//     was given piece by piece;
//   - globalThis.wgjepa with post(text), which takes an event, and turn(f), which
//     calls f after the event loop has turned once. This program adds
//     receive(text), which takes a command.
//
// # The protocol, version 1
//
// A command is a JSON object {"v": 1, "id": n, "command": name, …}; an event is
// {"v": 1, "id": n, "event": kind, …} with the id of its command. The first event
// of all is "ready", with id 0. Each command ends with one event "done", which
// has "result" or "error" {"kind", "message"}; kind is "lost" (the device; the
// next command opens one anew), "memory", "command" (a command that is not
// understood or not possible now) or "other". Before it may come "progress" and
// "warning" {"message"}.
//
//	adapters  → {"adapters": […]}
//	open      data: {"paths": […], "config": [TOML, …], "set": ["key=value", …]}
//	          Reads the data; layers of config go over each other. The path
//	          "phantoms" stands for generated volumes.
//	          → {"samples", "channels", "size", "classes", "splits", "refused",
//	          "report", "fingerprint", "config"}; config is complete.
//	estimate  {"adapter"} → {"memory": bytes by part, "total", "limit", "fits"}
//	          limit 0: the adapter does not tell
//	load      {"path"}: the state to continue from, checked when training
//	          begins → {"config", "step"}
//	train     {"adapter", "dir", "checkpoint_every", "stats_ms"}: trains on the
//	          opened data from the loaded state or from the start. With dir it
//	          writes what the native command writes there, config.toml and
//	          metrics aside. Events "progress" {"stats", "total", "steps_per_second",
//	          "seconds_left"}. → {"step", "total", "stopped"}
//	pause, resume, stop   act on the training between two updates; stop saves
//	          to dir first
//	save      {"path", "weights": bool}: the state, or the weights alone
//	embed     {"out", "weights": path, "encoder", "split", "adapter"}: embeddings
//	          of the opened data by the trainer's encoder, or by that of a file.
//	          Writes out (NPY, float32 (n, D)) and out.csv (row, name, class).
//	          → {"samples", "dim"}
//	verify    {"paths", "adapter"}: replays golden cases. → {"cases": […]}
//	doctor    {"only": [operation, …], "adapter"}: holds kernels to their twins,
//	          "progress" {"case", "error" (of its bound)}. → {"cases", "failed": […]}
//	bench     {"only": [operation or "step", …], "seconds": of each, "adapter"}:
//	          measures as the native command does, "progress" {"row", "text"}.
//	          → {"rows", "adapter"}
//
// adapter is as in gpu.Open. While a training runs, pause, resume, stop, save
// and embed are heard after the update at hand; other commands are refused.
package main

import (
	"encoding/json"
	"syscall/js"
)

const version = 1

// command is any command; which fields count depends on its name.
type command struct {
	V       int    `json:"v"`
	ID      int    `json:"id"`
	Command string `json:"command"`

	Adapter string   `json:"adapter"`
	Paths   []string `json:"paths"`
	Config  []string `json:"config"`
	Set     []string `json:"set"`

	Path    string `json:"path"`
	Weights any    `json:"weights"` // of save a bool, of embed a path
	Out     string `json:"out"`
	Encoder string `json:"encoder"`
	Split   string `json:"split"`

	Dir             string   `json:"dir"`
	CheckpointEvery int      `json:"checkpoint_every"`
	StatsMS         int      `json:"stats_ms"`
	Only            []string `json:"only"`
	Seconds         float64  `json:"seconds"`
}

// event is any event; fields holds what belongs to its kind.
func post(id int, kind string, fields map[string]any) {
	e := map[string]any{"v": version, "id": id, "event": kind}
	for k, v := range fields {
		e[k] = v
	}
	text, err := json.Marshal(e)
	if err != nil { // a figure that JSON cannot hold
		text, _ = json.Marshal(map[string]any{"v": version, "id": id, "event": kind, "error": map[string]string{"kind": "other", "message": err.Error()}})
	}
	host.Call("post", string(text))
}

var host = js.Global().Get("wgjepa")

func main() {
	s := &session{queue: make(chan command, 256), adapter: "?"}
	host.Set("receive", js.FuncOf(func(_ js.Value, args []js.Value) any {
		s.receive(args[0].String())
		return nil
	}))
	post(0, "ready", nil)
	for c := range s.queue {
		s.answer(c)
	}
}

// receive queues a command.
func (s *session) receive(text string) {
	var c command
	err := json.Unmarshal([]byte(text), &c)
	switch {
	case err != nil:
		s.refuse(c.ID, "the message is not a command: "+err.Error())
	case c.V != version:
		s.refuse(c.ID, "this program speaks version 1 of the protocol: reload the page so that both halves are of one version")
	default:
		select {
		case s.queue <- c:
		default:
			s.refuse(c.ID, "too many commands wait for an answer")
		}
	}
}

func (s *session) refuse(id int, message string) {
	post(id, "done", map[string]any{"error": map[string]string{"kind": "command", "message": message}})
}

// turn lets the event loop run once, so that commands are received.
func (s *session) turn() {
	if s.turned == nil {
		s.turned = make(chan struct{}, 1)
		s.onTurn = js.FuncOf(func(js.Value, []js.Value) any {
			s.turned <- struct{}{}
			return nil
		})
	}
	host.Call("turn", s.onTurn)
	<-s.turned
}
