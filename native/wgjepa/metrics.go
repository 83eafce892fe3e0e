package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"wgjepa/internal/atomicfile"
	"wgjepa/internal/evaluate"
	"wgjepa/jepa"
)

// metric is one line of the metrics file: figures of a step, of the health of the
// encoder's features after it, of a probe, or of an epoch of finetuning.
type metric struct {
	*jepa.Stats
	Health   *health `json:"health,omitempty"`
	Probe    *probed `json:"probe,omitempty"`
	Finetune *tuned  `json:"finetune,omitempty"`
}

// tuned are figures of finetuning after an epoch, the first before any.
type tuned struct {
	jepa.FinetuneStats
	Validation float64 `json:"validation_loss"`
	Best       bool    `json:"best"`
}

// probed is what a probe during training found.
type probed struct {
	Step   int              `json:"step"`
	Result *evaluate.Result `json:"result"`
}

// health are figures of held-out samples.
type health struct {
	Step           int     `json:"step"`
	RankMe         number  `json:"rankme"`                    // of pooled features
	PooledStd      number  `json:"pooled_std"`                // mean over the features
	ValidationLoss *number `json:"validation_loss,omitempty"` // where there is a full batch of validation samples
}

func (m metric) step() int {
	switch {
	case m.Stats != nil:
		return m.Stats.Step
	case m.Health != nil:
		return m.Health.Step
	case m.Probe != nil:
		return m.Probe.Step
	case m.Finetune != nil:
		return m.Finetune.Step
	}
	return 0
}

// metrics is the open metrics file.
type metrics struct {
	f *os.File
	w *bufio.Writer
}

// openMetrics opens the file to append to, cut after step, and returns what it
// keeps.
func (r runFolder) openMetrics(step int) (*metrics, []metric, error) {
	kept, err := r.readMetrics()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	kept = slices.DeleteFunc(kept, func(m metric) bool { return m.step() > step })
	var b strings.Builder
	for _, m := range kept {
		line, err := json.Marshal(m)
		if err != nil {
			return nil, nil, err
		}
		b.Write(append(line, '\n'))
	}
	if err := atomicfile.WriteBytes(r.path(metricsFile), []byte(b.String())); err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(r.path(metricsFile), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, nil, err
	}
	return &metrics{f, bufio.NewWriter(f)}, kept, nil
}

// add appends an entry; it is written at once, so that a watcher sees it.
func (m *metrics) add(entry metric) error {
	line, err := json.Marshal(entry)
	if err != nil {
		return nil // a figure is not finite: the run ends for it with a better message
	}
	m.w.Write(append(line, '\n'))
	if err := m.w.Flush(); err != nil {
		return fmt.Errorf("the metrics file: %w", err)
	}
	return nil
}

func (m *metrics) close() error { return m.f.Close() }

// readMetrics reads all whole lines.
func (r runFolder) readMetrics() ([]metric, error) {
	f, err := os.Open(r.path(metricsFile))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []metric
	d := json.NewDecoder(f)
	for {
		var m metric
		err := d.Decode(&m)
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return list, nil // the last line was cut by a crash
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.path(metricsFile), err)
		}
		list = append(list, m)
	}
}
