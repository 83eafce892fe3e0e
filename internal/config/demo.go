package config

import _ "embed"

//go:embed demo.toml
var demo []byte

// Demo is the layer of the demo's recipe: generated volumes and a model that
// a processor trains in minutes.
func Demo() Text { return Text{Name: "the demo's configuration", TOML: demo} }
