//go:build !js

package www

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWebKit: the page in WebKitGTK, the engine of Safari without WebGPU: advice,
// a drop, a tiny training on the processor, what the page says where nothing is
// kept, and that it opens without a network. It writes pictures in both schemes.
func TestWebKit(t *testing.T) {
	long(t)
	for scheme, args := range map[string][]string{"light": nil, "dark": {"--dark-mode"}} {
		t.Run(scheme, func(t *testing.T) {
			s := host(t)
			b := webkit(t, args...)
			dir := filepath.Join(root(t), "build", "screenshots")
			// looked writes a wide and a narrow picture: as narrow as the window gets.
			looked := func(state string) {
				for _, width := range []int{1440, 360} {
					b.window(width, 3000)
					b.until(waits, "document.documentElement.scrollWidth <= document.documentElement.clientWidth")
					b.picture(filepath.Join(dir, "webkit-"+state+"-"+quote(width)+"-"+scheme+".png"))
				}
				b.window(1440, 1200)
			}
			b.open(s.URL + "/folder/?test=1")
			b.state("empty")
			if value[bool](b, "!navigator.gpu") {
				require.Contains(t, b.text("no-adapter"), "WebKit on Linux")
			}
			looked("1-empty")
			if scheme == "dark" { // the rest is the same
				return
			}
			b.drop(write(t, t.TempDir(), "text.nii.gz", []byte("this is not a scan")))
			b.says("drop-error", "text.nii.gz")
			b.trains(strings.Replace(brief, "max_steps = 12", "max_steps = 4", 1), "Finished: 4 updates")
			if value[bool](b, "!navigator.storage?.getDirectory") {
				require.Contains(t, b.text("saved"), "closing the tab loses the run")
			}
			looked("6-done")
			b.click("view-3d")
			b.until(waits, `!document.getElementById("view-says").innerText.startsWith("Loading")`)
			looked("7-3d")
			s.Close()
			b.open("about:blank")
			b.open(s.URL + "/folder/?test=1")
			b.state("empty")
		})
	}
}
