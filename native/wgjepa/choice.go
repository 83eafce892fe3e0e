package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// choice is the value of a flag that takes one of a few words.
type choice struct {
	value *string
	of    []string
}

func (c *choice) String() string { return *c.value }
func (c *choice) Type() string   { return strings.Join(c.of, "|") }

func (c *choice) Set(value string) error {
	if !slices.Contains(c.of, value) {
		return fmt.Errorf("it must be %s", orList(c.of))
	}
	*c.value = value
	return nil
}

// orList is such as a, b or c.
func orList(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// oneOf adds a flag that takes one of a few words, which shells complete, to value.
func oneOf(cmd *cobra.Command, value *string, name, usage string, words ...string) {
	cmd.Flags().Var(&choice{value, words}, name, usage)
	complete(cmd, name, words...)
}

// complete lets shells complete a flag's words.
func complete(cmd *cobra.Command, name string, words ...string) {
	if err := cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // a flag that is not there, or twice
	}
}

// completeFiles lets shells complete a flag with files of these extensions, without any
// with folders.
func completeFiles(cmd *cobra.Command, name string, extensions ...string) {
	err := cmd.MarkFlagDirname(name)
	if len(extensions) > 0 {
		err = cmd.MarkFlagFilename(name, extensions...)
	}
	if err != nil {
		panic(err) // a flag that is not there
	}
}

// hide leaves flags out of the help of a command that has no use for them.
func hide(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		if err := cmd.Flags().MarkHidden(name); err != nil {
			panic(err) // a flag that is not there
		}
	}
}
