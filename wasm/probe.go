//go:build js && wasm

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"wgjepa/internal/config"
	"wgjepa/internal/evaluate"
	"wgjepa/jepa"
)

// probe judges frozen features beside those of the untrained encoder.
func (s *session) probe(c command) (any, error) { return s.evaluate(c, s.progress(c.ID)) }

// probed is the answer: what the native command prints, and the update.
type probed struct {
	Step    int          `json:"step"`
	Adapter string       `json:"adapter"`
	Probe   config.Probe `json:"probe"`
	*evaluate.Result
}

func (s *session) evaluate(c command, progress func(done, total int) error) (any, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	conf, err := s.tableConfig(c, "probe")
	if err != nil {
		return nil, err
	}
	c.Encoder = conf.Probe.Network()
	e, err := s.encoder(c)
	if err != nil {
		return nil, err
	}
	e.conf.Probe = conf.Probe
	result, err := s.kept.baseline.Run(s.ds, &e.conf, e.trained, e.untrained, progress)
	if why := err; errors.Is(why, evaluate.ErrNoLabels) {
		h, err := s.look(e, progress)
		if err != nil {
			return nil, err
		}
		result = &evaluate.Result{Tasks: []evaluate.Task{}, Health: h.Health, Notes: []string{why.Error()}}
	} else if err != nil {
		return nil, err
	}
	return probed{e.step, s.device.Info().Name, conf.Probe, result}, nil
}

// tableConfig is the configuration with c's settings of those tables.
func (s *session) tableConfig(c command, tables ...string) (config.Config, error) {
	conf := s.conf
	for _, assignment := range c.Set {
		line, err := config.Setting(assignment)
		if err != nil {
			return conf, failure{error: err, kind: "config"}
		}
		if table, _, _ := strings.Cut(assignment, "."); !slices.Contains(tables, table) {
			return conf, commandError(fmt.Sprintf("set is %q: %s takes keys of the table %s, such as probe.dense_volumes=16", assignment, c.Command, strings.Join(tables, " or ")))
		}
		if err := jepa.DecodeTOML(line.TOML, &conf); err != nil {
			return conf, failure{error: err, kind: "config"}
		}
	}
	channels, size := s.ds.Shape()
	if err := conf.Complete(channels, size); err != nil {
		return conf, failure{error: err, kind: "config"}
	}
	return conf, nil
}

// figures are the health of an encoder's embeddings.
type figures struct {
	Step    int `json:"step"`
	Samples int `json:"samples"`
	evaluate.Health
}

// health looks at held-out samples.
func (s *session) health(c command) (any, error) {
	e, err := s.encoder(c)
	if err != nil {
		return nil, err
	}
	return s.look(e, s.progress(c.ID))
}

// look computes the figures of e, those of the untrained encoder once.
func (s *session) look(e *encoder, progress func(done, total int) error) (figures, error) {
	ids, _ := evaluate.HeldOut(s.ds)
	f := figures{Step: e.step, Samples: len(ids)}
	if of := string(e.conf.Config.TOML()); s.kept.untrainedPooledOf != of {
		x, err := s.pooled(e.untrained, ids, progress)
		if err != nil {
			return f, err
		}
		s.kept.untrainedPooled, s.kept.untrainedPooledOf = x, of
	}
	x, err := s.pooled(e.trained, ids, progress)
	if err != nil {
		return f, err
	}
	f.Health, err = evaluate.HealthOf(x, s.kept.untrainedPooled)
	return f, err
}
