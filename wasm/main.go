//go:build js && wasm

// Command wasm is wgjepa for a browser's worker, or any other host in JavaScript:
// the trainer of package jepa behind a protocol of messages.
//
// # The host
//
// host.js starts the file; worker.js does so in a browser's dedicated worker. On
// servers edge.js runs the native command instead. The host gives
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
// has "result" or "error" {"kind", "message", …}. Kinds of errors:
//
//	command   a command that is not understood or not possible now
//	config    the configuration; the message names the line or the key. Of open,
//	          where data were read, "refused" as below, and "suggest", a size to
//	          bring samples to where no patch size divides theirs
//	data      the data; "refused" [{"name", "reason"}] lists files that cannot be used
//	size      samples of several sizes: "sizes" {"36×50×36": n, …}, and "suggest",
//	          a size to bring them to
//	stopped   it was ended by stop
//	lost      the device; the next command opens one anew
//	memory    of the device
//	other
//
// Before done may come "progress", "picture", "probe" and "warning" {"message"}.
//
// # Data and configuration
//
// Samples are numbered from 0. Sizes are (H, W) or (H, W, D); a sample's values
// are row-major, channels first. The axes of volumes are those of their files, or
// with data.reorient to the right, to the front and up. The grid is the number of
// patches along each axis; patches are numbered row-major like voxels.
//
//	adapters  → {"adapters": […]}
//	presets   → {"presets": [{"name", "says"}], "encoders": [names of sizes]}
//	columns   {"path"}: of a table of labels → {"columns": [names]}
//	config    {"config": [TOML, …], "set": ["key=value", …]}: layers over each
//	          other, checked as far as that goes without data
//	          → {"config": completed as far as that goes without data}
//	open      {"paths", "config", "set", "labels": path of a table, "reread"}:
//	          reads the data. The path "phantoms" stands for generated volumes.
//	          labels is a CSV or TSV with a column of files or their stems and one
//	          of labels. What is open already is kept, with the encoder trained on
//	          it, where paths and the table [data] are the same; reread reads it
//	          anew. Events "progress" {"done", "total"}.
//	          → {"samples", "channels", "size", "grid", "patch", "classes" (names),
//	          "dense" (whether voxels have labels), "splits" {name: samples},
//	          "fingerprint", "config" (complete), "report" (text), "notes" [text],
//	          "refused" [{"name", "reason", "convert"}], "label_column" (of the table,
//	          "" without)}, and for each sample "names", "labels" (index into classes,
//	          −1 without), "numbers" (that label samples, null without), "split_of"
//	          (train, val or test) and, as stored, "sizes", "spacings" (1 where
//	          unknown), "formats", and "orientations", such as RAS, of what is viewed
//	          and trained on ("" where unknown).
//	          convert {"files", "to"} comes with a series of DICOM that is compressed:
//	          where dcm2niix makes one NIfTI file of files, put at to, reread reads it.
//	          Errors of open have "refused", too
//	view      {"sample", "out", "labels_out"}: writes the preprocessed sample to
//	          out, uint8 (C, size…): low and high become 0 and 255. Where its voxels
//	          have labels, and labels_out is given, writes those, uint8 (size…).
//	          → {"name", "class", "channels", "size", "grid", "spacing" (mm a voxel, 1
//	          where unknown), "low", "high", "labels"}
//	estimate  {"adapter"} → {"memory": bytes by part, "total", "limit", "fits"}, and where it
//	          does not fit the "batch" that would, 0 where none does, of "batch_size", and "why"
//	          limit 0: the adapter does not tell
//
// # Training
//
//	load      {"path"}: the state to continue from, checked when training
//	          begins → {"config": as it was trained, "step"}
//	train     {"adapter", "dir", "checkpoint_every", "stats_ms", "probe_every_ms"}:
//	          trains on the opened data from the loaded state or from the start.
//	          With dir it writes what the native command writes there, splits.csv,
//	          metrics and pictures aside. Events "progress" {"stats", "total",
//	          "steps_per_second", "seconds_left"} and, with probe_every_ms, "probe"
//	          {"step", "result"}. A file that cannot be written is a "warning" with
//	          "kind" "save", and training goes on. → {"step", "total", "stopped"}
//	restore   {"path", "adapter"}: the networks of the last training anew from a state
//	          that save wrote, on any adapter → {"step", "total"}
//	pause, resume   hold the training, and all work of the device, between two
//	          updates
//	stop      ends the training after the batch at hand; with dir, the state of the
//	          last whole update is saved there. Also ends open, embed, similar,
//	          probe and health.
//	save      {"path", "weights": bool}: the state, or the weights alone. → {"step"} that
//	          it is of, as pause and resume have it
//
// # The encoder
//
// These commands look at the trainer's networks as they are, also while it
// trains, between two updates, which they do not change. With "weights", a path,
// they look at those of a state or weights file. "encoder" is context_encoder or
// target_encoder; left out, it is what probe.encoder says.
//
//	embed     {"out", "set": ["probe.pooling=…"], "weights", "encoder", "split",
//	          "adapter"}: embeddings of the opened data, written as wgjepa embed does:
//	          FILE.npy, float32 (n, D), with FILE.ids.csv, or FILE.csv
//	          → {"samples", "dim"}
//	masks     {"sample", "step"}: what training at that step draws for a sample →
//	          "picture" {"picture": "masks", "sample", "grid", "context": [patch, …],
//	          "targets": [[patch, …], …]}. Needs no training.
//	features  {"sample", "weights", "encoder", "adapter"} → "picture" {"picture":
//	          "features", "sample", "step", "encoder", "grid", "colours"} twice, with
//	          encoder "untrained" and "trained": colours is base64 of uint8 (P, 3), the
//	          first three principal components of the patch features, over a handful
//	          of samples so that colours mean the same in all. Without an encoder
//	          there is only the untrained one.
//	surprise  {"sample", "draws", "weights", "adapter"} → "picture" {"picture":
//	          "surprise", "sample", "step", "grid", "values", "low", "high"}: values
//	          are each patch's smooth L1 loss, the mean over the draws of masks that
//	          had it as a target, null where none had
//	similar   {"sample", "k", "weights", "encoder", "adapter"}: nearest by the cosine of
//	          their embeddings → {"neighbours": [{"sample", "name", "class", "cosine"}]}
//	probe     {"set": ["probe.key=value", …], "weights", "adapter"}: what frozen
//	          features hold, trained beside untrained → what wgjepa probe --json
//	          prints, with "step". Data without labels have no tasks.
//	health    {"weights", "encoder", "adapter"}: of held-out samples' embeddings →
//	          {"step", "samples", "rankme": [trained, untrained], "feature_std": […]}
//	finetune  {"dir", "set": ["finetune.key=value", …], "resume", "weights",
//	          "encoder", "adapter"}: trains a copy of the encoder and a linear head on
//	          the labels, and writes what the native command writes to dir, metrics
//	          and pictures aside. stop saves; with resume it goes on from there. Events
//	          "progress" {"step", "total"} and {"epoch", "loss", "validation", "best",
//	          "lr"} → what wgjepa finetune --json prints
//
// Reading samples posts "progress" {"done", "total"}.
//
// # The program
//
// Built with the tag checks, it has these, too:
//
//	verify    {"paths", "adapter"}: replays golden cases. → {"cases": […]}
//	doctor    {"only": [operation, …], "adapter"}: holds kernels to their twins,
//	          "progress" {"case", "error" (of its bound)}. → {"cases", "failed": […]}
//	bench     {"only": [operation or "step", …], "seconds": of each, "adapter"}:
//	          measures as the native command does, "progress" {"row", "text"}.
//	          → {"rows", "adapter"}
//
// adapter is as in gpu.Open. While a training runs, commands are heard after the
// update at hand; those that would replace what it works on are refused: open,
// load, restore, train, finetune, and all of the program.
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

	Labels string `json:"labels"`
	Reread bool   `json:"reread"`

	Path      string `json:"path"`
	Weights   any    `json:"weights"` // of save a bool, else a path
	Out       string `json:"out"`
	LabelsOut string `json:"labels_out"`
	Encoder   string `json:"encoder"`
	Split     string `json:"split"`

	Sample int `json:"sample"`
	Step   int `json:"step"`
	Draws  int `json:"draws"`
	K      int `json:"k"`

	Dir             string   `json:"dir"`
	Resume          bool     `json:"resume"`
	CheckpointEvery int      `json:"checkpoint_every"`
	StatsMS         int      `json:"stats_ms"`
	ProbeEveryMS    int      `json:"probe_every_ms"`
	Only            []string `json:"only"`
	Seconds         float64  `json:"seconds"`

	ended bool // of stop: it ended something when it came
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
	s := &session{queue: make(chan command, 256)}
	host.Set("receive", js.FuncOf(func(_ js.Value, args []js.Value) any {
		s.receive(args[0].String())
		return nil
	}))
	post(0, "ready", nil)
	for c := range s.queue {
		s.answer(c)
	}
}

// receive queues a command; stop is heard at once.
func (s *session) receive(text string) {
	var c command
	err := json.Unmarshal([]byte(text), &c)
	switch {
	case err != nil:
		s.refuse(c.ID, "the message is not a command: "+err.Error())
	case c.V != version:
		s.refuse(c.ID, "this program speaks version 1 of the protocol: reload the page so that both halves are of one version")
	default:
		if c.Command == "stop" && s.stop != nil {
			s.stop() // at once: what it ends may not look at the queue
			c.ended = true
		}
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
