// Command wgjepa trains I-JEPA on images and volumes with WebGPU, looks into
// what it learnt and shows why its numbers can be believed.
//
// It exits with 0 when it did what it was asked, 1 when that failed, 2 when it
// was called wrongly.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// usageError is a wrong call, exit code 2.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errSaid is a failure of which everything has been printed.
var errSaid = errors.New("failed")

// run is the whole command with its arguments and streams; it returns the exit
// code.
func run(args []string, stdout, stderr io.Writer) int {
	out := &output{w: stdout}
	root := newRoot(out, stderr)
	root.SetArgs(args)
	err := root.Execute()
	if out.err != nil && err == nil {
		err = fmt.Errorf("the results could not be printed: %w", out.err)
	}
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errSaid):
		return 1
	}
	fmt.Fprintln(stderr, "wgjepa:", err)
	if errors.As(err, &usage) {
		fmt.Fprintln(stderr, "wgjepa: for help: wgjepa help")
		return 2
	}
	return 1
}

func newRoot(stdout, stderr io.Writer) *cobra.Command {
	c := &console{out: stdout, err: stderr}
	root := &cobra.Command{
		Use:   "wgjepa",
		Short: "Train I-JEPA on images and volumes with WebGPU",
		Long: `wgjepa trains I-JEPA (Assran et al., CVPR 2023) on 2-D images and 3-D volumes. All
of its mathematics runs in WGSL compute shaders, on any GPU, or on a software
Vulkan driver where there is none.`,
		Example: `  wgjepa demo                                   the whole story in a few minutes
  wgjepa doctor                                 does this machine compute rightly?
  wgjepa train scans/ --out runs/scans          learn from a folder of volumes
  wgjepa probe runs/scans                       was it worth it?
  wgjepa embed runs/scans scans/ --out z.npy    a row of features a sample`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w (see: %s --help)", err, cmd.CommandPath())
	})
	flags := root.PersistentFlags()
	flags.StringVar(&c.adapter, "adapter", "", "the `adapter` to compute on: its number in the list of wgjepa doctor, a part of its name, or cpu for plain Go")
	flags.BoolVarP(&c.quiet, "quiet", "q", false, "print results, warnings and errors only")
	flags.BoolVar(&c.json, "json", false, "print results as JSON, one object a line")
	for _, add := range []func(*console) *cobra.Command{
		trainCommand, probeCommand, reportCommand, finetuneCommand, labelCommand, embedCommand, predictCommand, inspectCommand, exportCommand, demoCommand, masksCommand, previewCommand, verifyCommand, benchCommand, doctorCommand, phantomsCommand, fetchCommand, splitCommand, configCommand, webCommand, versionCommand,
	} {
		cmd := add(c)
		if args := cmd.Args; args != nil {
			cmd.Args = func(cmd *cobra.Command, given []string) error {
				if err := args(cmd, given); err != nil {
					return usagef("%s: %w (see: %s --help)", cmd.Name(), err, cmd.CommandPath())
				}
				return nil
			}
		}
		root.AddCommand(cmd)
	}
	root.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usagef("there is no command %q", args[0])
		}
		return nil
	}
	return root
}
