//go:build !js

package www

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wgjepa/gpu"
)

// privileged evaluates an expression in Firefox's own window.
func privileged[T any](b *driven, expression string) T {
	b.t.Helper()
	b.do("Marionette:SetContext", map[string]any{"value": "chrome"})
	defer b.do("Marionette:SetContext", map[string]any{"value": "content"})
	return value[T](b, expression)
}

// looked writes pictures of the page as it stands: narrow and wide, light and
// dark. Nothing is wider than the window.
func looked(b *driven, state string) {
	b.t.Helper()
	dir := filepath.Join(root(b.t), "build", "screenshots")
	for _, width := range []string{"360", "1440"} {
		privileged[any](b, `void (gBrowser.selectedBrowser.style.maxWidth = "`+width+`px")`)
		for i, scheme := range []string{"dark", "light"} {
			privileged[any](b, "void Services.prefs.setIntPref('layout.css.prefers-color-scheme.content-override', "+quote(i)+")")
			time.Sleep(300 * time.Millisecond) // drawings follow the window's size
			require.LessOrEqual(b.t, value[int](b, "document.documentElement.scrollWidth - document.documentElement.clientWidth"), 0, "%s is wider than %s", state, width)
			value[any](b, "void scrollTo(0, 0)")
			b.picture(filepath.Join(dir, "firefox-"+state+"-"+width+"-"+scheme+".png"))
		}
	}
}

// complaints are what Firefox's console says of the page at an address: errors,
// and what its Content-Security-Policy forbade.
func complaints(b *driven, address string) []string {
	b.t.Helper()
	return privileged[[]string](b, `Services.console.getMessageArray().filter((m) => m instanceof Ci.nsIScriptError)
		.filter((m) => (m.sourceName + m.errorMessage).includes(`+quote(address)+`) && (m.category.includes("CSP") || !(m.flags & 1))).map((m) => m.category + ": " + m.errorMessage)`)
}

// host serves the built page in /folder/ on this machine, as anybody may.
func host(t testing.TB) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.StripPrefix("/folder/", http.FileServer(http.Dir(built(t)))))
	t.Cleanup(s.Close)
	return s
}

// brief is tiny with few updates: the processor alone computes.
var brief = strings.Replace(tiny, "max_epochs = 4", "max_epochs = 4\nmax_steps = 12", 1)

// TestFirefox: the page in Firefox as it comes, where WebGPU is off: advice, a
// tiny training on the processor, what is dropped, saved and downloaded, and all
// of it once more without a network.
func TestFirefox(t *testing.T) {
	long(t)
	s := host(t)
	b := firefox(t, nil)
	b.open(s.URL + "/folder/?test=1")
	b.state("empty")
	if value[bool](b, "!navigator.gpu") {
		require.Contains(t, b.text("no-adapter"), "dom.webgpu.enabled")
	}
	looked(b, "1-empty")
	good := filepath.Join(shared(t, "data", "JEPA_TEST_DATA"), "medmnist2d", "breastmnist.npz")
	b.drop(write(t, t.TempDir(), "text.nii.gz", []byte("this is not a scan")))
	b.says("drop-error", "text.nii.gz")
	b.drop(good)
	b.says("data-summary", "780 samples")

	b.trains(brief, "Finished: 12 updates")
	b.says("saved", "Saved in this browser at update 12")
	require.Contains(t, value[string](b, "caches.keys().then((k) => k.join())"), b.text("version"))
	looked(b, "6-done")
	b.click("view-3d")
	b.until(waits, `!document.getElementById("view-says").innerText.startsWith("Loading")`)
	looked(b, "7-3d")
	b.click("download-weights")
	b.until(waits, `document.getElementById("download-says").innerText === ""`)
	folder := privileged[string](b, `Services.prefs.getStringPref("browser.download.dir")`)
	require.Eventually(t, func() bool {
		files, _ := filepath.Glob(filepath.Join(folder, "*.safetensors"))
		if len(files) != 1 {
			return false
		}
		info, err := os.Stat(files[0])
		return err == nil && info.Size() > 100_000
	}, waits, 100*time.Millisecond, "no weights in %s", folder)

	// Closed in mid-training, without a network afterwards.
	b.click("try-generated")
	b.configure(endless)
	b.click("train")
	b.state("training")
	b.until(trains, "wgjepaPage.step() > 2")
	require.NotEmpty(t, value[[]string](b, `navigator.locks.query().then(({ held }) => held.map((l) => l.name).filter((n) => n.startsWith("wgjepa run")))`))
	b.click("save")
	b.until(waits, "wgjepaPage.run().saved > 2")
	saved := value[int](b, "wgjepaPage.run().saved")
	s.Close()
	b.open("about:blank")
	b.open(s.URL + "/folder/?test=1")
	b.state("empty")
	list := b.says("resume-list", "at update")
	require.Contains(t, list, "finished, 12 updates")
	looked(b, "8-continue")
	b.until(waits, `!!document.querySelector('#resume-list button[aria-label^="Continue"]:enabled')`)
	value[any](b, `void document.querySelector('#resume-list button[aria-label^="Continue"]').click()`)
	b.until(trains, "wgjepaPage.step() > "+quote(saved))
	b.click("stop")
	b.state("done")
	for _, c := range complaints(b, s.URL) {
		require.Contains(t, c, "WebGL", "the console complained") // a machine without a display has none
	}
}

// TestFirefoxGPU: where WebGPU is switched on, kernels agree with their twins
// and a training runs, on whatever driver there is.
func TestFirefoxGPU(t *testing.T) {
	long(t)
	b := firefox(t, map[string]any{"dom.webgpu.enabled": true, "gfx.webgpu.ignore-blocklist": true})
	sources := sources(t, nil)
	b.open(sources.URL + "/www/testdata/harness.html")
	b.until(waits, "globalThis.harness")
	found := value[answered[adapters]](b, `harness.request("adapters")`).Result.Adapters
	if len(found) == 0 || found[0].Backend != "WebGPU" {
		t.Skip("Firefox offers no WebGPU adapter here: it needs a Vulkan driver, mesa-vulkan-drivers has one that computes on the processor")
	}
	t.Logf("%+v", found[0])
	total := 0
	for _, op := range gpu.Table() {
		total += len(op.Cases)
	}
	start := time.Now()
	r := value[answered[struct {
		Cases  int
		Failed []string
	}]](b, `harness.request("doctor")`)
	require.Nil(t, r.Error)
	require.Empty(t, r.Result.Failed)
	require.Equal(t, total, r.Result.Cases)
	t.Logf("%d cases in %.0f s", r.Result.Cases, time.Since(start).Seconds())

	s := host(t)
	b.open(s.URL + "/folder/?test=1")
	b.state("empty")
	require.True(t, value[bool](b, `document.getElementById("no-adapter").hidden`))
	b.trains(tiny, "Finished: 40 updates")

	// In a tab that is not seen, too.
	b.click("try-generated")
	b.configure(endless)
	b.click("train")
	b.state("training")
	rate := func() float64 {
		from, start := value[int](b, "wgjepaPage.step()"), time.Now()
		time.Sleep(8 * time.Second)
		return float64(value[int](b, "wgjepaPage.step()")-from) / time.Since(start).Seconds()
	}
	b.until(trains, "wgjepaPage.step() > 10")
	seen := rate()
	privileged[any](b, `void (gBrowser.selectedTab = gBrowser.addTab("about:blank", { triggeringPrincipal: Services.scriptSecurityManager.getSystemPrincipal() }))`)
	b.until(waits, `document.visibilityState === "hidden"`)
	hidden := rate()
	t.Logf("%.1f updates a second in sight, %.1f hidden", seen, hidden)
	require.Greater(t, hidden, seen/2)
	privileged[any](b, `void (gBrowser.selectedTab = gBrowser.tabs[0])`)
	b.until(waits, `document.visibilityState === "visible"`)
	b.click("stop")
	b.state("done")
	require.Empty(t, complaints(b, s.URL))
}
