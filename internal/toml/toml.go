// Package toml reads and writes configurations in TOML 1.0: structs, with the
// tag toml, of booleans, strings, numbers, slices and arrays of these, and
// structs of the same kind, which are tables. An embedded struct's keys are
// those of the struct around it.
//
// The text is taken apart by go-toml's parser. Its decoder and encoder are not
// used: they do for any type of Go, and would be a tenth of the program that a
// browser loads.
package toml

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// Error says what is wrong with a text, and where: lines and columns, in bytes,
// count from 1.
type Error struct {
	Line, Column int
	Message      string
	Unknown      string // the key, where the struct has none of that name
}

func (e *Error) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}

// Decode reads text over dst, a pointer to a struct. Keys that are not in text
// keep their values. An error is an [Error]; what stands before it was read.
func Decode(text []byte, dst any) error {
	return (&decoder{defined: map[string]definition{}}).decode(text, dst)
}

// DecodeKnown is Decode but passes over keys that dst does not have, and does not
// look into them.
func DecodeKnown(text []byte, dst any) error {
	return (&decoder{lenient: true, defined: map[string]definition{}}).decode(text, dst)
}

func (d *decoder) decode(text []byte, dst any) error {
	d.parser.Reset(text)
	root := reflect.ValueOf(dst).Elem()
	table, path := root, []string(nil)
	for d.parser.NextExpression() {
		var err error
		switch e := d.parser.Expression(); e.Kind {
		case unstable.Table:
			table, path, err = d.header(root, e)
		case unstable.ArrayTable:
			err = d.bad(e.Child(), "[[…]] is a list of tables, and there are none here: write [%s]", e.Child().Data)
		case unstable.KeyValue:
			err = d.assign(table, path, e)
		}
		if err != nil {
			return err
		}
	}
	var syntax *unstable.ParserError
	if err := d.parser.Error(); errors.As(err, &syntax) {
		at := d.parser.Shape(d.parser.Range(syntax.Highlight)).Start
		return &Error{Line: at.Line, Column: at.Column, Message: syntax.Message}
	} else if err != nil {
		return err
	}
	return nil
}

// definition is how a table or a key came to be, which decides what may be added
// to it.
type definition int

const (
	implied definition = 1 + iota // [a] by [a.b]
	headed                        // by its own header
	dotted                        // a by a.b = 1
	closed                        // a key with its value
)

// mostParts bounds the parts of a path. Those of a struct's keys are few.
const mostParts = 64

type decoder struct {
	parser  unstable.Parser
	lenient bool
	defined map[string]definition // by path, of parts between zeros
}

func (d *decoder) bad(at *unstable.Node, format string, args ...any) error {
	p := d.parser.Shape(at.Raw).Start
	return &Error{Line: p.Line, Column: p.Column, Message: fmt.Sprintf(format, args...)}
}

// define notes that the last of path is defined, and the tables before it from
// the depth of the table at hand.
func (d *decoder) define(at *unstable.Node, path []string, depth int, by definition) error {
	through := implied
	if by == closed {
		through = dotted
	}
	for n := depth + 1; n <= len(path); n++ {
		key := strings.Join(path[:n], "\x00")
		old, last := d.defined[key], n == len(path)
		switch {
		case old == 0 && last:
			d.defined[key] = by
		case old == 0:
			d.defined[key] = through
		case last && by == headed && old == implied:
			d.defined[key] = headed
		case last, old == closed, through == dotted && old != dotted:
			return d.bad(at, "%s is defined already", strings.Join(path[:n], "."))
		}
	}
	return nil
}

// find goes from a table along keys. What it finds is invalid where there is no
// such key and that may be.
func (d *decoder) find(table reflect.Value, path []string, keys unstable.Iterator) (reflect.Value, []string, *unstable.Node, error) {
	var last *unstable.Node
	path = path[:len(path):len(path)]
	for keys.Next() {
		last = keys.Node()
		if len(path) == mostParts {
			return reflect.Value{}, path, last, d.bad(last, "a key has more than %d parts", mostParts)
		}
		path = append(path, string(last.Data))
		if !table.IsValid() {
			continue
		}
		if table.Kind() != reflect.Struct {
			return table, path, last, d.bad(last, "%s is no table", strings.Join(path[:len(path)-1], "."))
		}
		if table = field(table, string(last.Data)); !table.IsValid() && !d.lenient {
			err := d.bad(last, "there is no key %q", strings.Join(path, ".")).(*Error)
			err.Unknown = strings.Join(path, ".")
			return table, path, last, err
		}
	}
	return table, path, last, nil
}

// field is the field of a struct with a tag, or invalid.
func field(table reflect.Value, tag string) reflect.Value {
	for i := range table.NumField() {
		f := table.Type().Field(i)
		if f.Anonymous {
			if v := field(table.Field(i), tag); v.IsValid() {
				return v
			}
		} else if f.Tag.Get("toml") == tag {
			return table.Field(i)
		}
	}
	return reflect.Value{}
}

func (d *decoder) header(root reflect.Value, e *unstable.Node) (reflect.Value, []string, error) {
	table, path, last, err := d.find(root, nil, e.Key())
	if err == nil {
		err = d.define(last, path, 0, headed)
	}
	if err == nil && table.IsValid() && table.Kind() != reflect.Struct {
		err = d.bad(last, "%s is no table: write it as a key = value", strings.Join(path, "."))
	}
	return table, path, err
}

func (d *decoder) assign(table reflect.Value, path []string, e *unstable.Node) error {
	if !table.IsValid() {
		return nil
	}
	dst, whole, last, err := d.find(table, path, e.Key())
	if err != nil {
		return err
	}
	if err := d.define(last, whole, len(path), closed); err != nil || !dst.IsValid() {
		return err
	}
	return d.set(dst, whole, e.Value(), last)
}

// set reads a value into dst. The node at is where a value without a place of its
// own stands.
func (d *decoder) set(dst reflect.Value, path []string, value, at *unstable.Node) error {
	if value.Raw.Length > 0 {
		at = value
	}
	name := strings.Join(path, ".")
	wanted := func(what string) error { return d.bad(at, "%s must be %s, not %s", name, what, kinds[value.Kind]) }
	kind := dst.Kind()
	switch value.Kind {
	case unstable.InlineTable:
		if kind != reflect.Struct {
			return wanted(kindOf(dst))
		}
		for entries := value.Children(); entries.Next(); {
			if err := d.assign(dst, path, entries.Node()); err != nil {
				return err
			}
		}
	case unstable.Array:
		n := 0
		for items := value.Children(); items.Next(); {
			n++
		}
		switch kind {
		case reflect.Slice:
			dst.Set(reflect.MakeSlice(dst.Type(), n, n))
		case reflect.Array:
			if n != dst.Len() {
				return d.bad(at, "%s must have %d values, not %d", name, dst.Len(), n)
			}
		default:
			return wanted(kindOf(dst))
		}
		items := value.Children()
		for i := 0; items.Next(); i++ {
			if err := d.set(dst.Index(i), path, items.Node(), at); err != nil {
				return err
			}
		}
	case unstable.Integer:
		v, err := strconv.ParseInt(string(value.Data), 0, 64)
		if err != nil { // The parser has seen that it is an integer.
			return d.bad(at, "%s: %s does not fit in 64 bits", name, value.Data)
		}
		switch kind {
		case reflect.Int, reflect.Int64:
			dst.SetInt(v)
		case reflect.Uint64:
			if v < 0 {
				return d.bad(at, "%s is %d: it must not be negative", name, v)
			}
			dst.SetUint(uint64(v))
		case reflect.Float64:
			dst.SetFloat(float64(v))
		default:
			return wanted(kindOf(dst))
		}
	case unstable.Float:
		v, err := strconv.ParseFloat(strings.ReplaceAll(string(value.Data), "_", ""), 64)
		switch {
		case err != nil:
			return d.bad(at, "%s: %s does not fit in 64 bits", name, value.Data)
		case kind == reflect.Float64:
			dst.SetFloat(v)
		default:
			return wanted(kindOf(dst))
		}
	case unstable.Bool:
		if kind != reflect.Bool {
			return wanted(kindOf(dst))
		}
		dst.SetBool(value.Data[0] == 't')
	case unstable.String:
		if kind != reflect.String {
			return wanted(kindOf(dst))
		}
		dst.SetString(string(value.Data))
	default: // dates
		return wanted(kindOf(dst))
	}
	return nil
}

var kinds = map[unstable.Kind]string{
	unstable.InlineTable: "a table", unstable.Array: "a list", unstable.Integer: "an integer", unstable.Float: "a fraction",
	unstable.Bool: "true or false", unstable.String: "a string",
	unstable.LocalDate: "a date", unstable.LocalTime: "a time", unstable.LocalDateTime: "a date", unstable.DateTime: "a date",
}

func kindOf(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Struct:
		return "a table"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	}
	return "an integer"
}

// Encode writes a struct as Decode reads it: its keys in the order of its
// fields, then its tables.
func Encode(src any) []byte {
	var out bytes.Buffer
	encode(&out, reflect.ValueOf(src), "")
	return out.Bytes()
}

func encode(out *bytes.Buffer, table reflect.Value, path string) {
	var tables []int
	keys, all := fields(table)
	for i, key := range keys {
		if all[i].Kind() == reflect.Struct {
			tables = append(tables, i)
			continue
		}
		out.WriteString(key + " = ")
		encodeValue(out, all[i])
		out.WriteByte('\n')
	}
	for _, i := range tables {
		fmt.Fprintf(out, "\n[%s%s]\n", path, keys[i])
		encode(out, all[i], path+keys[i]+".")
	}
}

func fields(table reflect.Value) (keys []string, values []reflect.Value) {
	for i := range table.NumField() {
		f := table.Type().Field(i)
		if f.Anonymous {
			k, v := fields(table.Field(i))
			keys, values = append(keys, k...), append(values, v...)
			continue
		}
		keys, values = append(keys, f.Tag.Get("toml")), append(values, table.Field(i))
	}
	return keys, values
}

func encodeValue(out *bytes.Buffer, v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		out.WriteString(strconv.FormatBool(v.Bool()))
	case reflect.Int, reflect.Int64:
		out.WriteString(strconv.FormatInt(v.Int(), 10))
	case reflect.Uint64:
		out.WriteString(strconv.FormatUint(v.Uint(), 10))
	case reflect.Float64:
		out.WriteString(formatFloat(v.Float()))
	case reflect.String:
		out.WriteString(Quote(v.String()))
	case reflect.Slice, reflect.Array:
		out.WriteByte('[')
		for i := range v.Len() {
			if i > 0 {
				out.WriteString(", ")
			}
			encodeValue(out, v.Index(i))
		}
		out.WriteByte(']')
	default:
		panic(fmt.Sprintf("toml: Encode: %s is no value of a configuration", v.Type()))
	}
}

func formatFloat(v float64) string {
	switch {
	case math.IsNaN(v):
		return "nan"
	case math.IsInf(v, 1):
		return "inf"
	case math.IsInf(v, -1):
		return "-inf"
	}
	s := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// Quote writes a string as it is where it can stand between single quotes.
func Quote(s string) string {
	plain := true
	var quoted strings.Builder
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			quoted.WriteByte('\\')
			quoted.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			plain = false
			fmt.Fprintf(&quoted, `\u%04X`, r)
		default:
			quoted.WriteRune(r) // bytes that are no UTF-8 become U+FFFD
		}
		plain = plain && r != '\'' && r != '\uFFFD'
	}
	if plain {
		return "'" + s + "'"
	}
	return `"` + quoted.String() + `"`
}
