package jepa

import (
	"errors"
	"fmt"
	"math"
	"reflect"

	"wgjepa/internal/toml"
)

// DecodeTOML reads text over dst, a pointer to a struct with toml tags such as
// one that embeds Config beside tables of its own. A key that dst does not have
// is refused with the nearest that it has.
func DecodeTOML(text []byte, dst any) error {
	err := toml.Decode(text, dst)
	var bad *toml.Error
	if errors.As(err, &bad) && bad.Unknown != "" {
		return fmt.Errorf("config: line %d: %s: did you mean %q?", bad.Line, bad.Message, nearest(bad.Unknown, TOMLKeys(dst)))
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
