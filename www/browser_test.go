//go:build !js

// Package www holds the page. Its tests drive Chromium: the kernel suite and the
// golden cases through the wasm file, and the stories of the page's users.
//
// They need a Chromium (scripts/setup.sh installs Debian's; CHROMIUM names
// another) and skip where there is none. Everything computes on SwiftShader, the
// driver that Chromium brings, so that no GPU is needed.
//
// Where Firefox (Debian: firefox-esr) and WebKitGTK (webkit2gtk-driver,
// xvfb) are installed, they show the same page, too; without them those tests skip.
package www

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// findChromium returns the browser's program, or says why there is none.
var findChromium = sync.OnceValues(func() (string, error) {
	names := []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome"}
	if name := os.Getenv("CHROMIUM"); name != "" {
		names = []string{name}
	}
	why := "Chromium is not installed: scripts/setup.sh installs Debian's, CHROMIUM names another"
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		// Ubuntu's package is a stub that asks for a snap.
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
		cancel()
		if err == nil && strings.Contains(string(out), "built on") || strings.Contains(string(out), "Chrom") && !strings.Contains(string(out), "snap install") {
			return path, nil
		}
		why = fmt.Sprintf("%s does not start: %s", path, strings.TrimSpace(string(out)))
	}
	return "", fmt.Errorf("%s", why)
})

// flags make Chromium compute on SwiftShader, without a display.
func flags(profile string) ([]chromedp.ExecAllocatorOption, error) {
	path, err := findChromium()
	if err != nil {
		return nil, err
	}
	return append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.UserDataDir(profile),
		chromedp.NoSandbox, // it cannot be had as root, nor in most containers
		chromedp.Flag("enable-unsafe-webgpu", true),
		chromedp.Flag("use-webgpu-adapter", "swiftshader"),
		// What Chromium would ask for on its own account.
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-domain-reliability", true),
		chromedp.Flag("allow-browser-signin", "false"),
		chromedp.Flag("disable-features", "Translate,AutofillServerCommunication,NetworkTimeServiceQuerying,OptimizationHints,MediaRouter,DialMediaRouteProvider,CertificateTransparencyComponentUpdater,InterestFeedContentSuggestions,OptimizationGuideModelDownloading,OnDeviceModelService"),
		chromedp.WSURLReadTimeout(time.Minute),
	), nil
}

// long skips what the short lane of make test leaves out.
func long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("left out of the short lane: make test-browser runs it")
	}
}

// tab is one tab of a browser.
type tab struct {
	t   testing.TB
	ctx context.Context

	mu       sync.Mutex
	messages []string // of its console, exceptions included
}

// browser starts a Chromium with a profile of its own, which ends with the test,
// and returns its first tab. It skips where there is no Chromium.
func browser(t testing.TB, more ...chromedp.ExecAllocatorOption) *tab {
	t.Helper()
	// Not t.TempDir: the browser may still write into it while it ends.
	profile, err := os.MkdirTemp("", "wgjepa-chromium")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(profile) })
	return browserAt(t, profile, more...)
}

func browserAt(t testing.TB, profile string, more ...chromedp.ExecAllocatorOption) *tab {
	t.Helper()
	options, err := flags(profile)
	if err != nil {
		t.Skip(err)
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), append(options, more...)...)
	t.Cleanup(cancel)
	first, cancel := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		chromedp.Cancel(first) // waits until the browser has ended
		cancel()
	})
	return attach(t, first)
}

// another opens one more tab of the same browser.
func (b *tab) another() *tab {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	b.t.Cleanup(cancel)
	return attach(b.t, ctx)
}

// beside opens the page in one more tab of the same browser.
func (b *tab) beside() *tab {
	b.t.Helper()
	second := b.another()
	second.open(origin + "/folder/?test=1")
	second.state("empty")
	return second
}

func attach(t testing.TB, ctx context.Context) *tab {
	t.Helper()
	b := &tab{t: t, ctx: ctx}
	require.NoError(t, chromedp.Listen(ctx, func(event any) {
		text := ""
		switch e := event.(type) {
		case *runtime.EventConsoleAPICalled:
			text = string(e.Type)
			for _, a := range e.Args {
				text += " " + strings.Trim(string(a.Value), `"`) + a.Description
			}
		case *runtime.EventExceptionThrown:
			text = "exception " + e.ExceptionDetails.Text
			if x := e.ExceptionDetails.Exception; x != nil {
				text += " " + x.Description
			}
		case *log.EventEntryAdded:
			text = string(e.Entry.Level) + " " + e.Entry.Text + " " + e.Entry.URL
		default:
			return
		}
		b.mu.Lock()
		b.messages = append(b.messages, text)
		b.mu.Unlock()
	}))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the console said:\n%s", strings.Join(b.console(), "\n"))
			said, err := try[string](b, 10*time.Second, `[...document.querySelectorAll("#status, #fit, #progress-text, #messages, [role=alert]:not([hidden])")].map((e) => e.id + ": " + e.innerText).join("\n")`)
			t.Logf("the page said (%v):\n%s", err, said)
			if dir := os.Getenv("SCREENSHOTS"); dir != "" {
				b.picture(filepath.Join(dir, t.Name()+".png"))
			}
		}
	})
	return b
}

func (b *tab) console() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string{}, b.messages...)
}

// picture writes the whole page, as long as it is, to a file.
func (b *tab) picture(path string) {
	b.t.Helper()
	_, err := try[chromedp.Void](b, time.Minute, "scrollTo(0, 0)") // the header keeps to the window
	require.NoError(b.t, err)
	content, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	require.NoError(b.t, err)
	require.NoError(b.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(b.t, os.WriteFile(path, content, 0o644))
}

// do executes actions within a time.
func (b *tab) do(within time.Duration, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, within)
	defer cancel()
	require.NoError(b.t, chromedp.Do(ctx, actions...))
}

// open goes to an address.
func (b *tab) open(url string) {
	b.t.Helper()
	b.do(time.Minute, chromedp.Navigate(url))
}

// try evaluates an expression of JavaScript and awaits it.
func try[T any](b *tab, within time.Duration, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(b.ctx, within)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		err = fmt.Errorf("%s: %w", expression, err)
	}
	return v, err
}

// eval is try for what must not fail.
func eval[T any](b *tab, within time.Duration, expression string) T {
	b.t.Helper()
	v, err := try[T](b, within, expression)
	require.NoError(b.t, err)
	return v
}

// until waits for an expression to be true.
func (b *tab) until(within time.Duration, expression string) {
	b.t.Helper()
	deadline := time.Now().Add(within)
	for {
		yes, err := try[bool](b, within, "Promise.resolve("+expression+").then(Boolean)")
		if err == nil && yes {
			return
		}
		if time.Now().After(deadline) {
			require.NoError(b.t, err)
			require.Fail(b.t, "it did not become true within "+within.String(), expression)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// quote is a value as JavaScript.
func quote(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// root is the project's folder.
func root(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	require.NoError(t, err)
	return dir
}

// shared is a folder of test data, "" where it is absent.
func shared(t testing.TB, name, variable string) string {
	t.Helper()
	dir := os.Getenv(variable)
	if dir == "" {
		dir = filepath.Join(root(t), "..", "shared", name)
	}
	dir, err := filepath.Abs(dir)
	require.NoError(t, err)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("%s is absent (%s sets another folder)", dir, variable)
	}
	return dir
}

// builtWasm runs scripts/wasm.sh once.
var builtWasm = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("../scripts/wasm.sh").CombinedOutput()
	return string(out), err
})

// sources serves the modules of the project as they are, and testdata.
func sources(t testing.TB, more map[string]http.Handler) *httptest.Server {
	t.Helper()
	out, err := builtWasm()
	require.NoError(t, err, out)
	mux := http.NewServeMux()
	for _, folder := range []string{"wasm", "gpu/internal/browser", "build/wasm", "www/testdata"} {
		mux.Handle("/"+folder+"/", http.StripPrefix("/"+folder+"/", http.FileServer(http.Dir(filepath.Join(root(t), folder)))))
	}
	for pattern, handler := range more {
		mux.Handle(pattern, handler)
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}
