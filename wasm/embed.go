//go:build js && wasm

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path"
	"slices"

	"wgjepa/data/numpy"
	"wgjepa/internal/embed"
	"wgjepa/internal/evaluate"
	"wgjepa/jepa"
	"wgjepa/jepa/probe"
)

// embed writes the embeddings of the data as the native command does.
func (s *session) embed(c command) (any, error) {
	ext := path.Ext(c.Out)
	if ext != ".npy" && ext != ".csv" {
		return nil, commandError(fmt.Sprintf("out is %q: embed needs the name of the file to write, FILE.npy or FILE.csv", c.Out))
	}
	if err := s.ready(); err != nil {
		return nil, err
	}
	conf, err := s.tableConfig(c, "probe")
	if err != nil {
		return nil, err
	}
	e, err := s.encoder(c)
	if err != nil {
		return nil, err
	}
	ids, err := s.ids(c.Split)
	if err != nil {
		return nil, err
	}
	x, err := s.embeddings(e, ids, conf.Probe.Pooling == "mean+std", s.progress(c.ID))
	if err != nil {
		return nil, err
	}
	table := embed.NewTable(s.ds)
	var rows bytes.Buffer
	if ext == ".csv" {
		w, err := table.CSV(&rows)
		if err != nil {
			return nil, err
		}
		for row, id := range ids {
			if err := w.Write(embed.Row{ID: table.ID(id), Values: x.Row(row)}); err != nil {
				return nil, err
			}
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
	} else {
		var names bytes.Buffer
		if err := table.WriteIDs(&names, ids); err != nil {
			return nil, err
		}
		if err := os.WriteFile(embed.IDsFile(c.Out), names.Bytes(), 0o644); err != nil {
			return nil, err
		}
		rows.Write(npy(x.Data, x.Rows, x.Cols))
	}
	return map[string]any{"samples": x.Rows, "dim": x.Cols}, os.WriteFile(c.Out, rows.Bytes(), 0o644)
}

// embeddings computes the embeddings (n, D) of samples, or with std (n, 2·D).
func (s *session) embeddings(e *encoder, ids []int, std bool, progress func(done, total int) error) (x probe.Matrix, err error) {
	if !std {
		return s.pooled(e.trained, ids, progress)
	}
	err = e.trained(func(f *jepa.Features) error {
		P, D := f.Config.Patches(), f.Config.EmbedDim
		x = probe.Matrix{Rows: len(ids), Cols: 2 * D, Data: make([]float32, len(ids)*2*D)}
		z := make([]float32, f.Batch*P*D)
		return s.batches(f, ids, progress, func(from, n int, samples []float32) error {
			if err := f.Tokens(samples, n, z); err != nil {
				return err
			}
			for i := range n {
				evaluate.Pool(x.Row(from+i), z[i*P*D:(i+1)*P*D], D)
			}
			return nil
		})
	})
	return x, err
}

// ids are the samples of a split, or all.
func (s *session) ids(split string) ([]int, error) {
	switch {
	case split == "":
		ids := make([]int, s.ds.Len())
		for i := range ids {
			ids[i] = i
		}
		return ids, nil
	case slices.Contains([]string{"train", "val", "test"}, split):
		ids := s.ds.Split(split)
		if len(ids) == 0 {
			return nil, fmt.Errorf("the split %s has no samples", split)
		}
		return ids, nil
	}
	return nil, commandError(fmt.Sprintf("split is %q: it must be train, val, test or left out", split))
}

// npy is values (rows, cols) as a file of NumPy's format.
func npy(values []float32, rows, cols int) []byte {
	b := numpy.Float32Header(rows, cols)
	for _, v := range values { // binary.Append would bring its reflection along
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}
