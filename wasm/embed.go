//go:build js && wasm

package main

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"

	"wgjepa/data/numpy"
)

// embed writes the pooled features of the data and the names of the samples.
func (s *session) embed(c command) (any, error) {
	if c.Out == "" {
		return nil, commandError("embed needs out, the file to write")
	}
	e, err := s.encoder(c)
	if err != nil {
		return nil, err
	}
	ids, err := s.ids(c.Split)
	if err != nil {
		return nil, err
	}
	x, err := s.pooled(e.trained, ids, s.progress(c.ID))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(c.Out, npy(x.Data, x.Rows, x.Cols), 0o644); err != nil {
		return nil, err
	}
	var table bytes.Buffer
	w := csv.NewWriter(&table)
	w.Write([]string{"row", "name", "class"}) // to memory, which does not fail
	for row, id := range ids {
		w.Write([]string{strconv.Itoa(row), s.ds.Name(id), s.class(id)})
	}
	w.Flush()
	if err := os.WriteFile(c.Out+".csv", table.Bytes(), 0o644); err != nil {
		return nil, err
	}
	return map[string]any{"samples": x.Rows, "dim": x.Cols}, nil
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
