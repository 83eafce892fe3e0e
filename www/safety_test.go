//go:build !js

package www

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// hostile writes files that no reader can use, by what the page has to say.
func hostile(t testing.TB, dir string) map[string]string {
	t.Helper()
	archive := []byte("PK\x03\x04\x14\x00\x00\x00\x08\x00")
	if real, err := os.ReadFile(filepath.Join(root(t), "..", "shared", "data", "medmnist3d", "adrenalmnist3d.npz")); err == nil {
		archive = real[:10_000]
	}
	write(t, dir, "truncated.npz", archive)
	write(t, dir, "text.nii.gz", []byte("this is not a scan, whatever its name says\n"))
	write(t, dir, "empty.png", nil)
	for _, name := range []string{"sparse.nii", "sparse.npz"} {
		require.NoError(t, os.Truncate(write(t, dir, name, nil), 4<<30))
	}
	return map[string]string{
		"truncated.npz": "truncated.npz",
		"text.nii.gz":   "text.nii.gz",
		"empty.png":     "empty.png",
		"sparse.nii":    "sparse.nii",
		"sparse.npz":    "sparse.npz",
	}
}

// TestHostile: files that cannot be used get a clear message beside their name,
// quickly, and the page lives on.
func TestHostile(t *testing.T) {
	long(t)
	dir := t.TempDir()
	b, _ := page(t)
	for name, word := range hostile(t, dir) {
		start := time.Now()
		b.drop(filepath.Join(dir, name))
		said := b.says("drop-error", word)
		require.Greater(t, len(said), len(name)+15, "too short to say why: %s", said)
		require.NotRegexp(t, `(?i)panic|goroutine|runtime error|undefined|\[object`, said)
		t.Logf("%.1f s: %s", time.Since(start).Seconds(), said)
		require.Equal(t, "empty", b.state("empty", "data"))
	}
	// Beside good files, the bad are named and the good are taken.
	folder := filepath.Join(dir, "pictures")
	for i := range 12 {
		m := image.NewGray(image.Rect(0, 0, 32, 32))
		for j := range m.Pix {
			m.SetGray(j%32, j/32, color.Gray{uint8(i*j + j*j/(i+1))})
		}
		var p bytes.Buffer
		require.NoError(t, png.Encode(&p, m))
		write(t, folder, fmt.Sprintf("good%02d.png", i), p.Bytes())
	}
	write(t, folder, "cut.png", []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"))
	write(t, folder, "none.png", nil)
	b.drop(folder)
	b.state("data")
	require.Contains(t, b.says("data-summary", "12"), "32")
	refused := b.text("data-refused")
	require.Contains(t, refused, "cut.png")
	require.Contains(t, refused, "none.png")
	b.generated(tiny)
	b.quiet()
}

// TestNetwork: nothing leaves the page. With the network gone after loading,
// it trains, probes and saves without asking for anything at all.
func TestNetwork(t *testing.T) {
	long(t)
	b, s := page(t)
	eval[chromedp.Void](b, waits, "navigator.serviceWorker.ready.then(() => {})")
	time.Sleep(time.Second) // what loading brings after itself
	loading := s.asked()
	require.Greater(t, len(loading), 3)
	require.Empty(t, elsewhere(loading), "another origin was asked while the page loaded")
	s.goDown(true)
	b.generated(tiny)
	b.click("train")
	b.until(trains, `document.documentElement.dataset.state === "done"`)
	b.says("progress-text", "Finished: 40 updates")
	b.probed()
	b.click("similar-now")
	b.until(waits, `document.querySelectorAll("#similar li").length > 0`)
	require.NotEmpty(t, b.download("download-csv"))
	// The browser itself looks whether there is a newer service worker.
	asked := slices.DeleteFunc(s.asked(), func(r string) bool { return r == "GET "+origin+"/folder/sw.js" })
	require.Empty(t, asked, "the page asked for something after it was loaded")
	require.True(t, eval[bool](b, waits, `performance.getEntriesByType("resource").every((r) => r.name.startsWith(location.origin) || r.name.startsWith("blob:" + location.origin))`))

	// It opens again without a network, and trains.
	b.open(origin + "/folder/?test=1")
	b.state("empty")
	b.generated(tiny)
	b.click("train")
	b.until(trains, "wgjepaPage.step() > 0")
	require.Empty(t, elsewhere(s.asked()))
}

// TestUpdate: a new version is offered, does not come by itself, and comes when
// it is asked for.
func TestUpdate(t *testing.T) {
	long(t)
	b, s := page(t)
	eval[chromedp.Void](b, waits, "navigator.serviceWorker.ready.then(() => {})")
	old := b.text("version")
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(built(t))))
	// The version is a digest that stands in the script of the page and in sw.js.
	require.NotEmpty(t, old)
	next := "0123456789ab"
	content, err := os.ReadFile(filepath.Join(dir, "sw.js"))
	require.NoError(t, err)
	require.Contains(t, string(content), old)
	write(t, dir, "sw.js", bytes.ReplaceAll(content, []byte(old), []byte(next)))
	s.mu.Lock()
	s.files = http.StripPrefix("/folder/", http.FileServer(http.Dir(dir)))
	s.mu.Unlock()
	b.open(origin + "/folder/?test=1")
	b.state("empty")
	eval[chromedp.Void](b, waits, "navigator.serviceWorker.getRegistration().then((r) => r.update()).then(() => {})")
	b.until(waits, `!document.getElementById("update").hidden`)
	require.Equal(t, "empty", b.state("empty"))
	eval[chromedp.Void](b, waits, "void (globalThis.before = true)")
	b.click("update-now")
	b.until(waits, "!globalThis.before && globalThis.wgjepaPage")
	b.state("empty")
	require.Contains(t, eval[string](b, waits, "caches.keys().then((k) => k.join())"), next)
}

// TestTabs: a run that one tab is at is not given to a second.
func TestTabs(t *testing.T) {
	long(t)
	b, _ := page(t)
	b.generated(endless)
	b.click("train")
	b.until(trains, "wgjepaPage.step() > 2")
	b.click("save")
	b.until(waits, "wgjepaPage.run().saved > 0")
	second := b.beside()
	require.Contains(t, second.says("resume-list", "at update"), "open in another tab")
	require.True(t, eval[bool](second, waits, `document.querySelector("#resume-list button").disabled`))
	at := b.step()
	b.until(trains, fmt.Sprintf("wgjepaPage.step() > %d", at))
	b.click("stop")
	b.state("done")
	b.probed()
	b.until(waits, `navigator.locks.query().then(({ held }) => !held.some((l) => l.name.startsWith("wgjepa run")))`)
	second.open(origin + "/folder/?test=1")
	second.state("empty")
	second.says("resume-list", "at update")
	require.False(t, eval[bool](second, waits, `document.querySelector("#resume-list button").disabled`))
}

// TestQuota: a browser without room says so, training goes on, and the state
// can be downloaded.
func TestQuota(t *testing.T) {
	long(t)
	b, _ := page(t)
	b.generated(endless)
	b.click("train")
	b.until(trains, "wgjepaPage.step() > 2")
	little := 1000.0
	_, err := chromedp.Call(b.ctx, storage.OverrideQuotaForOrigin, storage.OverrideQuotaForOriginParams{Origin: origin, QuotaSize: &little})
	require.NoError(t, err)
	b.click("save")
	said := b.says("messages", "Not saved")
	require.Contains(t, said, "room")
	require.Contains(t, said, "Download the checkpoint")
	at := b.step()
	b.until(trains, fmt.Sprintf("wgjepaPage.step() > %d", at))
	require.Greater(t, len(b.download("download-checkpoint")), 100_000)
	b.state("training")
}

// TestNoAdapter: without WebGPU the page says what to do, and the processor
// alone trains a tiny model.
func TestNoAdapter(t *testing.T) {
	long(t)
	dir := built(t)
	s := serve(t, dir)
	b := browser(t, append(s.proxied(), chromedp.Flag("enable-unsafe-webgpu", false), chromedp.Flag("use-webgpu-adapter", false), chromedp.Flag("disable-gpu", true))...)
	b.open(origin + "/folder/?test=1")
	b.state("empty")
	if eval[bool](b, waits, "navigator.gpu ? navigator.gpu.requestAdapter().then((a) => a !== null) : false") {
		t.Skip("this Chromium has an adapter however it is started")
	}
	advice := b.text("no-adapter")
	require.Contains(t, advice, "chrome://", "the advice is not for this browser")
	require.Contains(t, b.text("adapter"), "slow")
	b.generated(strings.Replace(tiny, "max_epochs = 4", "max_epochs = 1\nmax_steps = 2", 1))
	b.click("train")
	b.until(trains, "wgjepaPage.step() >= 1")
}
