package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker in a release.
var version = "development"

func versionCommand(c *console) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  wgjepa version --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			revision, binding := "", ""
			if b, ok := debug.ReadBuildInfo(); ok {
				for _, s := range b.Settings {
					switch {
					case s.Key == "vcs.revision":
						revision = s.Value
					case s.Key == "vcs.modified" && s.Value == "true":
						revision += " (changed)"
					}
				}
				for _, m := range b.Deps {
					if isBinding(m.Path) {
						binding = m.Path + " " + m.Version
					}
				}
			}
			c.result(map[string]string{"version": version, "revision": revision, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH, "binding": binding},
				"wgjepa %s %s\n%s %s/%s, %s\n", version, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH, binding)
			return nil
		},
	}
}

// isBinding reports whether a module is one of the WebGPU bindings, of which
// one is linked in.
func isBinding(path string) bool {
	switch path {
	case "github.com/oliverbestmann/webgpu", "github.com/cogentcore/webgpu", "github.com/rajveermalviya/go-webgpu/wgpu":
		return true
	}
	return false
}
