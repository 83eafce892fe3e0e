package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"wgjepa/internal/config"
)

// presets are the configurations that others are written against.
var presets = []string{"default", "nidl", "paper"}

func configCommand(c *console) *cobra.Command {
	return &cobra.Command{
		Use:   "config [PRESET]",
		Short: "Print a whole configuration to edit",
		Long: `Prints every key of a configuration with a comment, at the values of a preset
(default, nidl, paper) or of the demo. What is left out of a file stays as the
preset has it; a key that does not exist is refused.`,
		Example: `  wgjepa config > my.toml
  wgjepa config paper > paper.toml
  wgjepa train scans/ --config my.toml`,
		Args:      cobra.MaximumNArgs(1),
		ValidArgs: append(slices.Clone(presets), demoConfigName),
		RunE: func(_ *cobra.Command, args []string) error {
			name := "default"
			if len(args) > 0 {
				name = args[0]
			}
			layer := config.Text{Name: name, TOML: fmt.Appendf(nil, "preset = %q\n", name)}
			switch {
			case name == demoConfigName:
				layer = config.Demo()
			case !slices.Contains(presets, name):
				return usagef("there is no preset %q: choose %s or %s", name, strings.Join(presets, ", "), demoConfigName)
			}
			conf, err := config.Parse(layer)
			if err != nil {
				return err
			}
			c.result(map[string]string{"preset": name, "toml": string(conf.TOML())}, "%s", conf.TOML())
			return nil
		},
	}
}
