//go:build js && wasm

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path"
	"time"

	"wgjepa/internal/evaluate"
	"wgjepa/jepa"
)

// finetune trains a copy of an encoder and a head on the labels.
func (s *session) finetune(c command) (any, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	conf, err := s.tableConfig(c, "finetune", "probe")
	if err != nil {
		return nil, err
	}
	e, err := s.encoder(c)
	if err != nil {
		return nil, err
	}
	e.conf.Data, e.conf.Probe, e.conf.Finetune = conf.Data, conf.Probe, conf.Finetune
	if c.Dir != "" {
		if err := os.MkdirAll(c.Dir, 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path.Join(c.Dir, configFile), e.conf.TOML(), 0o644); err != nil {
			return nil, err
		}
	}
	last := time.Time{}
	r, err := evaluate.Finetune(s.ctx, s.device, s.ds, &e.conf, e.trained, evaluate.FinetuneOptions{
		Dir: c.Dir, Resume: c.Resume, Untrained: e.untrained,
		Warn: func(message string) { post(c.ID, "warning", map[string]any{"message": message}) },
		OnStep: func(step, total int) error {
			if step == total || time.Since(last) > 100*time.Millisecond {
				last = time.Now()
				post(c.ID, "progress", map[string]any{"step": step, "total": total})
			}
			s.turn()
			return nil
		},
		OnEpoch: func(f jepa.FinetuneStats, validation float64, best bool) {
			post(c.ID, "progress", map[string]any{"step": f.Step, "epoch": f.Epoch, "loss": f.Loss, "lr": f.LR, "validation": validation, "best": best})
			s.turn()
		},
	})
	if errors.Is(err, jepa.ErrInterrupted) {
		return nil, context.Canceled
	}
	if err != nil {
		return nil, err
	}
	if c.Dir != "" {
		var table bytes.Buffer
		if err := r.WritePredictions(&table); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path.Join(c.Dir, "predictions.csv"), table.Bytes(), 0o644); err != nil {
			return nil, err
		}
	}
	return r, nil
}
