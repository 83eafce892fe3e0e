package jepa

import (
	"bytes"
	"errors"
	"fmt"
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
	if err != nil {
		return tomlError(err)
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
