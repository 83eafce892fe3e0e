package weights

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// ONNXReport says what an ONNX model is.
type ONNXReport struct {
	Bytes        int64
	IR           int64  // version of the file format
	Producer     string // with its version
	Opsets       []string
	Graph        string // its name
	Inputs       []ONNXValue
	Outputs      []ONNXValue
	Operations   map[string]int // how many of each
	Initializers int            // constant tensors
	Numbers      int64          // in all of them
	External     bool           // some lie in other files
	Metadata     []string
}

// ONNXValue is an input or an output; axes are numbers or names.
type ONNXValue struct {
	Name  string   `json:"name"`
	Type  string   `json:"type"`
	Shape []string `json:"shape"`
}

// onnxTypes are the element types of onnx.proto by number.
var onnxTypes = []string{"undefined", "float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16", "float64", "uint32", "uint64", "complex64", "complex128", "bfloat16"}

// Caps of what is kept of a model, whatever it says.
const (
	onnxTextCap  = 256 // bytes of a name
	onnxListCap  = 64  // inputs, outputs, axes, operation sets
	onnxKindCap  = 1024
	onnxNodesCap = 1 << 24
)

// InspectONNX says what the ONNX model of size bytes behind r is; its numbers are left where they
// are. It fails where the file is no ONNX model.
func InspectONNX(r io.ReaderAt, size int64) (*ONNXReport, error) {
	report := &ONNXReport{Bytes: size, Operations: map[string]int{}}
	o := &onnxReader{r: r, report: report}
	graphs := 0
	err := o.fields(span{0, size}, func(f field) error {
		switch {
		case f.is(1, protowire.VarintType):
			report.IR = int64(f.value)
		case f.is(2, protowire.BytesType), f.is(3, protowire.BytesType):
			text, err := o.text(f.body)
			report.Producer = strings.TrimSpace(report.Producer + " " + text)
			return err
		case f.is(7, protowire.BytesType):
			graphs++
			return o.graph(f.body)
		case f.is(8, protowire.BytesType) && len(report.Opsets) < onnxListCap:
			return o.opset(f.body)
		case f.is(14, protowire.BytesType) && len(report.Metadata) < onnxListCap:
			return o.metadata(f.body)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("an ONNX model that is damaged: %w", err)
	case graphs != 1 || report.IR == 0:
		return nil, errors.New("no ONNX model: it has no graph")
	}
	return report, nil
}

// span is a part of the file.
type span struct{ at, end int64 }

func (s span) len() int64 { return s.end - s.at }

// field is one field of a message.
type field struct {
	number protowire.Number
	kind   protowire.Type
	value  uint64 // of a varint or a fixed number
	body   span   // of bytes
}

func (f field) is(n protowire.Number, t protowire.Type) bool { return f.number == n && f.kind == t }

// onnxReader walks over messages without holding them.
type onnxReader struct {
	r      io.ReaderAt
	report *ONNXReport
	buf    [4096]byte
	at     int64 // of buf in the file
	n      int   // bytes in buf
	nodes  int
}

// peek returns up to 20 bytes at a place before end: a tag and a number.
func (o *onnxReader) peek(s span) ([]byte, error) {
	n := min(s.len(), 20)
	if s.at < o.at || s.at+n > o.at+int64(o.n) {
		got, err := o.r.ReadAt(o.buf[:], s.at)
		if int64(got) < n {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		o.at, o.n = s.at, got
	}
	from := s.at - o.at
	return o.buf[from : from+n], nil
}

// fields calls use for every field of a message.
func (o *onnxReader) fields(s span, use func(field) error) error {
	for s.at < s.end {
		b, err := o.peek(s)
		if err != nil {
			return err
		}
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		f := field{number: number, kind: kind}
		b, s.at = b[n:], s.at+int64(n)
		switch kind {
		case protowire.VarintType:
			f.value, n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(b)
			f.value = uint64(v)
		case protowire.Fixed64Type:
			f.value, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			if f.value, n = protowire.ConsumeVarint(b); n >= 0 && f.value > uint64(s.len()-int64(n)) {
				return fmt.Errorf("a part of %d bytes where %d are left", f.value, s.len()-int64(n))
			}
		default: // groups are of another age
			return fmt.Errorf("field %d of kind %d", number, kind)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		s.at += int64(n)
		if kind == protowire.BytesType {
			f.body = span{s.at, s.at + int64(f.value)}
			s.at = f.body.end
		}
		if err := use(f); err != nil {
			return err
		}
	}
	return nil
}

// text reads a short text; of a long one, its beginning.
func (o *onnxReader) text(s span) (string, error) {
	b := make([]byte, min(s.len(), onnxTextCap))
	if n, err := o.r.ReadAt(b, s.at); n < len(b) {
		return "", err
	}
	return strings.ToValidUTF8(string(b), "\uFFFD"), nil
}

func (o *onnxReader) graph(s span) error {
	return o.fields(s, func(f field) (err error) {
		switch {
		case f.is(1, protowire.BytesType):
			if o.nodes++; o.nodes > onnxNodesCap {
				return errors.New("more operations than any model has")
			}
			return o.node(f.body)
		case f.is(2, protowire.BytesType):
			o.report.Graph, err = o.text(f.body)
		case f.is(5, protowire.BytesType):
			o.report.Initializers++
			return o.tensor(f.body)
		case f.is(11, protowire.BytesType) && len(o.report.Inputs) < onnxListCap:
			v, err := o.value(f.body)
			o.report.Inputs = append(o.report.Inputs, v)
			return err
		case f.is(12, protowire.BytesType) && len(o.report.Outputs) < onnxListCap:
			v, err := o.value(f.body)
			o.report.Outputs = append(o.report.Outputs, v)
			return err
		}
		return err
	})
}

// node counts an operation.
func (o *onnxReader) node(s span) error {
	return o.fields(s, func(f field) error {
		if !f.is(4, protowire.BytesType) {
			return nil
		}
		kind, err := o.text(f.body)
		if _, known := o.report.Operations[kind]; known || len(o.report.Operations) < onnxKindCap {
			o.report.Operations[kind]++
		}
		return err
	})
}

// tensor counts the numbers of a constant.
func (o *onnxReader) tensor(s span) error {
	n := int64(1)
	axis := func(d uint64) {
		if d > 1<<40 || n > 1<<40 {
			d, n = 0, 0 // no tensor that a file holds
		}
		n *= int64(d)
	}
	err := o.fields(s, func(f field) error {
		switch {
		case f.is(1, protowire.VarintType):
			axis(f.value)
		case f.is(1, protowire.BytesType): // packed
			return o.packed(f.body, axis)
		case f.is(14, protowire.VarintType):
			o.report.External = o.report.External || f.value == 1
		}
		return nil
	})
	o.report.Numbers += n
	return err
}

// packed reads varints without tags.
func (o *onnxReader) packed(s span, use func(uint64)) error {
	for count := 0; s.at < s.end; count++ {
		b, err := o.peek(s)
		if err != nil {
			return err
		}
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if count >= onnxListCap {
			return fmt.Errorf("a tensor of more than %d axes", onnxListCap)
		}
		use(v)
		s.at += int64(n)
	}
	return nil
}

// value reads a ValueInfoProto.
func (o *onnxReader) value(s span) (v ONNXValue, err error) {
	v.Type = onnxTypes[0]
	err = o.fields(s, func(f field) error {
		switch {
		case f.is(1, protowire.BytesType):
			v.Name, err = o.text(f.body)
			return err
		case f.is(2, protowire.BytesType): // TypeProto
			return o.fields(f.body, func(f field) error {
				if !f.is(1, protowire.BytesType) { // tensor_type
					return nil
				}
				return o.fields(f.body, func(f field) error {
					switch {
					case f.is(1, protowire.VarintType) && f.value < uint64(len(onnxTypes)):
						v.Type = onnxTypes[f.value]
					case f.is(2, protowire.BytesType):
						return o.fields(f.body, func(f field) error {
							if !f.is(1, protowire.BytesType) || len(v.Shape) == onnxListCap {
								return nil
							}
							d, err := o.dim(f.body)
							v.Shape = append(v.Shape, d)
							return err
						})
					}
					return nil
				})
			})
		}
		return nil
	})
	return v, err
}

// dim reads the length of an axis, or its name.
func (o *onnxReader) dim(s span) (text string, err error) {
	text = "?"
	err = o.fields(s, func(f field) (err error) {
		switch {
		case f.is(1, protowire.VarintType):
			text = fmt.Sprint(int64(f.value))
		case f.is(2, protowire.BytesType):
			text, err = o.text(f.body)
		}
		return err
	})
	return text, err
}

func (o *onnxReader) opset(s span) error {
	domain, version := "", uint64(0)
	err := o.fields(s, func(f field) (err error) {
		switch {
		case f.is(1, protowire.BytesType):
			domain, err = o.text(f.body)
		case f.is(2, protowire.VarintType):
			version = f.value
		}
		return err
	})
	if domain == "" {
		domain = "ai.onnx"
	}
	o.report.Opsets = append(o.report.Opsets, fmt.Sprintf("%s %d", domain, version))
	return err
}

func (o *onnxReader) metadata(s span) error {
	var pair [2]string
	err := o.fields(s, func(f field) (err error) {
		if f.kind == protowire.BytesType && (f.number == 1 || f.number == 2) {
			pair[f.number-1], err = o.text(f.body)
		}
		return err
	})
	o.report.Metadata = append(o.report.Metadata, pair[0]+" = "+pair[1])
	return err
}

// String writes the report in lines for people.
func (r *ONNXReport) String() string {
	var b strings.Builder
	line := func(what, format string, a ...any) { fmt.Fprintf(&b, "%-12s %s\n", what, fmt.Sprintf(format, a...)) }
	line("format", "ONNX, %d bytes, version %d of the format, operation sets %s", r.Bytes, r.IR, strings.Join(r.Opsets, ", "))
	if r.Producer != "" {
		line("producer", "%s", r.Producer)
	}
	for _, v := range []struct {
		what string
		list []ONNXValue
	}{{"input", r.Inputs}, {"output", r.Outputs}} {
		for _, x := range v.list {
			line(v.what, "%s: %s (%s)", x.Name, x.Type, strings.Join(x.Shape, ", "))
		}
	}
	var kinds []string
	for _, k := range slices.Sorted(maps.Keys(r.Operations)) {
		kinds = append(kinds, fmt.Sprintf("%s %d", k, r.Operations[k]))
	}
	line("operations", "%s", strings.Join(kinds, ", "))
	line("constants", "%d tensors of %d numbers", r.Initializers, r.Numbers)
	if r.External {
		line("note", "some of them lie in other files, which belong beside this one")
	}
	for _, m := range r.Metadata {
		line("metadata", "%s", strings.ReplaceAll(m, "\n", " "))
	}
	return printable(b.String())
}
