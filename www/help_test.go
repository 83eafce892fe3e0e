//go:build !js

package www

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// TestAdvice: each browser and system is told what is true of it, and nothing of
// others.
func TestAdvice(t *testing.T) {
	s := httptest.NewServer(http.FileServer(http.Dir(".")))
	t.Cleanup(s.Close)
	b := browser(t)
	b.open(s.URL + "/icon.svg")
	const (
		mac = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/"
		old = "537.36 (KHTML, like Gecko) Chrome/109.0.0.0 Safari/537.36"
		now = "537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36"
	)
	for _, c := range []struct {
		agent       string
		touch       bool
		where       string
		says, never []string
	}{
		{"Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0", false, "Linux Firefox 153", []string{"about:config", "dom.webgpu.enabled", "mesa-vulkan-drivers"}, []string{"chrome://", "Safari"}},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0", false, "Windows Firefox 128", []string{"version 141"}, []string{"Linux", "mesa", "Apple"}},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:150.0) Gecko/20100101 Firefox/150.0", false, "macOS Firefox 150", []string{"dom.webgpu.enabled", "Intel processors"}, []string{"Update Firefox", "mesa"}},
		{mac + "605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15", false, "macOS Safari 18", []string{"macOS 26", "Feature Flags"}, []string{"about:config", "iPadOS"}},
		{mac + "605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1", true, "iOS Safari 26", []string{"iPadOS 26"}, []string{"macOS", "chrome://"}},
		{"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/60.5 Safari/605.1.15", false, "Linux Safari 60", []string{"GNOME Web"}, []string{"Mac", "Develop"}},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/" + old, false, "Windows Chrome 109", []string{"version 113", "chrome://settings/system"}, []string{"Linux"}},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/" + now + " Edg/150.0.0.0", false, "Windows Edge 150", []string{"edge://gpu"}, []string{"chrome://", "Update"}},
		{"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/" + now, false, "Linux Chrome 150", []string{"chrome://flags/#enable-unsafe-webgpu", "mesa-vulkan-drivers"}, []string{"Update", "edge://"}},
		{"Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/" + now, true, "Android Chrome 150", []string{"Android 12"}, []string{"about:config", "settings/system"}},
		{"Mozilla/5.0 (Android 14; Mobile; rv:150.0) Gecko/150.0 Firefox/150.0", true, "Android Firefox 150", []string{"Use Chrome or Edge"}, []string{"about:config"}},
	} {
		got := eval[struct{ Where, Text string }](b, waits, `import("/help.js").then(({ where, advice }) => { const w = where(`+quote(c.agent)+`, `+quote(c.touch)+`); return { Where: [w.system, w.browser, w.version].join(" "), Text: advice(w).textContent }; })`)
		require.Equal(t, c.where, got.Where, c.agent)
		for _, word := range c.says {
			require.Contains(t, got.Text, word, c.where)
		}
		for _, word := range c.never {
			require.NotContains(t, got.Text, word, c.where)
		}
	}
}

// TestSlow: a page whose script does not start says so, without any script.
func TestSlow(t *testing.T) {
	long(t)
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(built(t))))
	apps, err := filepath.Glob(filepath.Join(dir, "app-*.js"))
	require.NoError(t, err)
	require.NotEmpty(t, apps)
	for _, app := range apps {
		write(t, dir, filepath.Base(app), []byte("throw new Error('as an old browser');"))
	}
	s := serve(t, dir)
	b := browser(t, s.proxied()...)
	b.open(origin + "/folder/")
	shown := `getComputedStyle(document.getElementById("slow")).visibility === "visible"`
	require.False(t, eval[bool](b, waits, shown))
	b.until(waits, shown)
	require.Contains(t, b.text("slow"), "update the browser")
	b.window(360, 700, "dark")
	require.LessOrEqual(t, b.overflow(), 0)
	content, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	require.NoError(t, err)
	write(t, filepath.Join(root(t), "build", "screenshots"), "0-slow-360-dark.png", content)
}
