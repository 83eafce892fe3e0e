//go:build js && wasm

package main

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"os"
	"slices"
	"strconv"
)

// embed writes the pooled features of the data and the names of the samples.
func (s *session) embed(c command) (any, error) {
	if s.ds == nil {
		return nil, errNoData
	}
	if c.Out == "" {
		return nil, commandError("embed needs out, the file to write")
	}
	ids, err := s.ids(c.Split)
	if err != nil {
		return nil, err
	}
	var values []float32
	dim := 0
	if file, _ := c.Weights.(string); file != "" && !s.training {
		d, err := s.use(c.Adapter)
		if err != nil {
			return nil, err
		}
		d.Scope(func() { values, dim, err = s.pooled(c, ids) }) // gives the file's encoder back
		if err != nil {
			return nil, err
		}
	} else if values, dim, err = s.pooled(c, ids); err != nil {
		return nil, err
	}
	if err := os.WriteFile(c.Out, npy(values, len(ids), dim), 0o644); err != nil {
		return nil, err
	}
	var table bytes.Buffer
	w := csv.NewWriter(&table)
	w.Write([]string{"row", "name", "class"}) // to memory, which does not fail
	classes := s.ds.Classes()
	for row, id := range ids {
		class := ""
		if label, ok := s.ds.Label(id); ok {
			class = classes[label]
		}
		w.Write([]string{strconv.Itoa(row), s.ds.Name(id), class})
	}
	w.Flush()
	if err := os.WriteFile(c.Out+".csv", table.Bytes(), 0o644); err != nil {
		return nil, err
	}
	return map[string]any{"samples": len(ids), "dim": dim}, nil
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

// pooled computes the embeddings (n, D) of samples.
func (s *session) pooled(c command, ids []int) (values []float32, dim int, err error) {
	f, err := s.features(c)
	if err != nil {
		return nil, 0, err
	}
	channels, size := s.ds.Shape()
	n := channels
	for _, a := range size {
		n *= a
	}
	dim = f.Config.EmbedDim
	values = make([]float32, len(ids)*dim)
	x := make([]float32, f.Batch*n)
	for from := 0; from < len(ids); from += f.Batch {
		b := min(f.Batch, len(ids)-from)
		for i, id := range ids[from : from+b] {
			if err := s.ds.Read(id, x[i*n:(i+1)*n]); err != nil {
				return nil, 0, err
			}
		}
		if err := f.Pooled(x[:b*n], b, values[from*dim:(from+b)*dim]); err != nil {
			return nil, 0, err
		}
		post(c.ID, "progress", map[string]any{"done": from + b, "total": len(ids)})
	}
	return values, dim, nil
}

// npy is values (rows, cols) as a file of NumPy's format, version 1.0: a magic
// number, the length of the header, the header padded to a multiple of 64 bytes.
func npy(values []float32, rows, cols int) []byte {
	header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", rows, cols)
	for (10+len(header)+1)%64 != 0 {
		header += " "
	}
	header += "\n"
	b := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), byte(len(header)>>8))
	b = append(b, header...)
	b, err := binary.Append(b, binary.LittleEndian, values)
	if err != nil {
		panic(err) // a slice of float32 has a fixed size
	}
	return b
}
