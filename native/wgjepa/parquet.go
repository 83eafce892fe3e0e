package main

import (
	"io"

	"github.com/parquet-go/parquet-go"

	"wgjepa/internal/embed"
)

// parquetRow is a row of a Parquet table: one sample, or one patch of it.
type parquetRow struct {
	Name      string    `parquet:"name,dict"`
	Subject   string    `parquet:"subject,dict"`        // the name where it is unknown
	Class     *string   `parquet:"class,optional,dict"` // null without
	Target    *float64  `parquet:"target,optional"`     // null without
	Patch     []int32   `parquet:"patch,list"`          // its place on the sample's grid; empty for a sample
	Embedding []float32 `parquet:"embedding,list"`
}

// parquetWriter writes row groups of bounded size.
type parquetWriter struct {
	w     *parquet.GenericWriter[parquetRow]
	bytes int
}

// parquetGroup is the most bytes of numbers that wait in memory for their row group.
const parquetGroup = 32 << 20

func newParquet(w io.Writer) (embed.RowWriter, error) {
	return &parquetWriter{w: parquet.NewGenericWriter[parquetRow](w, parquet.Compression(&parquet.Zstd), parquet.CreatedBy("wgjepa", "1", ""))}, nil
}

func (p *parquetWriter) Write(r embed.Row) error {
	row := parquetRow{Name: r.Name, Subject: r.Subject, Class: r.Class, Target: r.Target, Embedding: r.Values}
	for _, i := range r.Patch {
		row.Patch = append(row.Patch, int32(i))
	}
	if _, err := p.w.Write([]parquetRow{row}); err != nil {
		return err
	}
	if p.bytes += 4 * len(r.Values); p.bytes < parquetGroup {
		return nil
	}
	p.bytes = 0
	return p.w.Flush()
}

func (p *parquetWriter) Close() error { return p.w.Close() }
