//go:build !js

package www

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"wgjepa/gpu"
)

// answered is what harness.request resolves to.
type answered[T any] struct {
	Result T
	Error  *struct{ Kind, Message string }
	Events []map[string]any
}

// ask sends a command to the program in a harness.
func ask[T any](b *tab, within time.Duration, command string, args map[string]any) T {
	b.t.Helper()
	a := eval[answered[T]](b, within, "harness.request("+quote(command)+", "+quote(args)+")")
	require.Nil(b.t, a.Error, "%s", command)
	return a.Result
}

// harness opens testdata/harness.html.
func harness(t testing.TB, more map[string]http.Handler) (*tab, string) {
	t.Helper()
	b := browser(t)
	s := sources(t, more)
	b.open(s.URL + "/www/testdata/harness.html")
	b.until(time.Minute, "globalThis.harness")
	return b, s.URL
}

type adapters struct{ Adapters []gpu.Info }

// TestDoctor holds every kernel to its twin on SwiftShader. In short mode it
// holds a few.
func TestDoctor(t *testing.T) {
	b, _ := harness(t, nil)
	found := ask[adapters](b, time.Minute, "adapters", nil).Adapters
	require.NotEmpty(t, found, "Chromium offers no adapter")
	t.Logf("%+v", found[0])
	only, total := []string{}, 0
	for i, op := range gpu.Table() {
		if testing.Short() && i%8 != 0 {
			continue
		}
		only = append(only, op.Name)
		total += len(op.Cases)
	}
	start := time.Now()
	r := ask[struct {
		Cases  int
		Failed []string
	}](b, 15*time.Minute, "doctor", map[string]any{"only": only})
	require.Empty(t, r.Failed)
	require.Equal(t, total, r.Cases)
	t.Logf("%d cases in %.0f s", r.Cases, time.Since(start).Seconds())
}

// TestGolden replays the reference's steps and runs on SwiftShader. In short
// mode it replays one of each.
func TestGolden(t *testing.T) {
	dir := shared(t, "golden", "JEPA_TEST_GOLDEN")
	var files []string
	for _, pattern := range []string{"step*.safetensors", "fit_*.safetensors"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		require.NoError(t, err)
		if testing.Short() && len(found) > 1 {
			found = found[:1]
		}
		files = append(files, found...)
	}
	require.NotEmpty(t, files)
	b, _ := harness(t, map[string]http.Handler{"/golden/": http.StripPrefix("/golden/", http.FileServer(http.Dir(dir)))})
	var paths []string
	for _, file := range files {
		name := filepath.Base(file)
		eval[chromedp.Void](b, time.Minute, "harness.give("+quote("/golden/"+name)+", "+quote("/golden/"+name)+")")
		paths = append(paths, "/golden/"+name)
	}
	start := time.Now()
	r := ask[struct {
		Cases []struct {
			File     string
			Compared int
			Failed   []string
		}
		Adapter string
	}](b, 15*time.Minute, "verify", map[string]any{"paths": paths})
	require.Len(t, r.Cases, len(files))
	for _, c := range r.Cases {
		require.Empty(t, c.Failed, c.File)
		require.Greater(t, c.Compared, 20, c.File)
	}
	t.Logf("%d cases on %s in %.0f s", len(r.Cases), r.Adapter, time.Since(start).Seconds())
}

// testBinary builds the tests of a package for GOOS=js and returns the folder
// that holds test.wasm.
func testBinary(t testing.TB, pkg string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "test", "-c", "-o", filepath.Join(dir, "test.wasm"), pkg)
	cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	text, err := cmd.CombinedOutput()
	require.NoError(t, err, string(text))
	return dir
}

type tested struct {
	Code int
	Text string
}

// inBrowser runs the tests of a package in Chromium.
func inBrowser(t testing.TB, pkg string, args ...string) string {
	t.Helper()
	dir := testBinary(t, pkg)
	b, _ := harness(t, map[string]http.Handler{"/binary/": http.StripPrefix("/binary/", http.FileServer(http.Dir(dir)))})
	r := eval[tested](b, 10*time.Minute, `harness.test("/binary/test.wasm", `+quote(args)+`)`)
	require.Zero(t, r.Code, r.Text)
	return r.Text
}

// bitsOf reads the lines that TestPrintBits prints.
func bitsOf(text string) map[string]string {
	bits := map[string]string{}
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "bits" {
			bits[f[1]] = f[2]
		}
	}
	return bits
}

// TestSameBits: masks, batches and initial weights are those of the native
// program, bit for bit.
func TestSameBits(t *testing.T) {
	got := bitsOf(inBrowser(t, "../wasm", "-test.run", "^TestPrintBits$"))
	cmd := exec.Command("go", "test", "-count=1", "-v", "-run", "^TestPrintBits$", "../wasm")
	text, err := cmd.CombinedOutput()
	require.NoError(t, err, string(text))
	want := bitsOf(string(text))
	require.Len(t, want, 4, string(text))
	require.Equal(t, want, got)
}

// TestDriver runs the browser driver's own tests in a browser.
func TestDriver(t *testing.T) {
	long(t)
	text := inBrowser(t, "../gpu/internal/browser", "-test.v")
	require.Contains(t, text, "--- PASS: TestLostDevice")
	require.Contains(t, text, "--- PASS: TestContract")
	require.NotContains(t, text, "--- SKIP: TestContract")
	for line := range strings.Lines(text) {
		if strings.Contains(line, "µs a dispatch") {
			t.Log(strings.TrimSpace(line))
		}
	}
}
