package jepa

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// DecodeTOML reads text over dst, a pointer to a struct with toml tags such as
// one that embeds Config beside tables of its own. A key that dst does not have
// is refused with the nearest that it has.
func DecodeTOML(text []byte, dst any) error {
	err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(dst)
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) && len(strict.Errors) > 0 {
		e := strict.Errors[0]
		row, _ := e.Position()
		key := strings.Join(e.Key(), ".")
		return fmt.Errorf("config: line %d: there is no key %q: did you mean %q?", row, key, nearest(key, TOMLKeys(dst)))
	}
	return tomlError(err)
}

// tomlError says where the text is no TOML, or not of the types wanted.
func tomlError(err error) error {
	var decode *toml.DecodeError
	if errors.As(err, &decode) {
		row, column := decode.Position()
		return fmt.Errorf("config: line %d, column %d: %v", row, column, strings.TrimPrefix(decode.Error(), "toml: "))
	}
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return nil
}

// TOMLKeys lists the keys of dst, a pointer to a struct with toml tags, in the
// order of its fields, tables with a dot.
func TOMLKeys(dst any) []string { return structKeys(reflect.TypeOf(dst).Elem(), "") }

func structKeys(t reflect.Type, prefix string) []string {
	var list []string
	for i := range t.NumField() {
		f := t.Field(i)
		name := prefix + f.Tag.Get("toml")
		switch {
		case f.Anonymous:
			list = append(list, structKeys(f.Type, prefix)...)
		case f.Type.Kind() == reflect.Struct:
			list = append(list, structKeys(f.Type, name+".")...)
		default:
			list = append(list, name)
		}
	}
	return list
}

// nearest returns the candidate at the smallest edit distance from key.
func nearest(key string, candidates []string) string {
	best, least := "", math.MaxInt
	for _, c := range candidates {
		if d := editDistance(key, c); d < least {
			best, least = c, d
		}
	}
	return best
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
