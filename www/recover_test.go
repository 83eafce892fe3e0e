//go:build !js

package www

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	cdpage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// spoiled answers the next times requests for files that end in suffix with half
// of what they should have, as a connection that is cut does.
func (s *site) spoiled(t testing.TB, dir, suffix string, times int) {
	t.Helper()
	whole := http.StripPrefix("/folder/", http.FileServer(http.Dir(dir)))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		spoil := times > 0 && strings.HasSuffix(r.URL.Path, suffix)
		if spoil {
			times--
		}
		s.mu.Unlock()
		if !spoil {
			whole.ServeHTTP(w, r)
			return
		}
		content, err := os.ReadFile(filepath.Join(dir, filepath.Base(r.URL.Path)))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		w.Write(content[:len(content)/2])
		panic(http.ErrAbortHandler)
	})
}

// askedFor counts the requests since the last call for files of a kind.
func (s *site) askedFor(suffix string) int {
	n := 0
	for _, r := range s.asked() {
		if strings.HasPrefix(r, "GET "+origin) && strings.HasSuffix(r, suffix) && !strings.HasSuffix(r, "/sw.js") { // that is looked at now and then
			n++
		}
	}
	return n
}

// kept changes what the service worker keeps: f gets the cache and the request of
// the file whose name is like pattern.
func (b *tab) kept(pattern, f string) {
	b.t.Helper()
	n := eval[int](b, waits, `(async () => {
		let n = 0;
		for (const name of await caches.keys()) {
			const cache = await caches.open(name);
			for (const request of await cache.keys()) {
				if (!`+pattern+`.test(request.url)) continue;
				n++;
				await (`+f+`)(cache, request);
			}
		}
		return n;
	})()`)
	require.Equal(b.t, 1, n, "files like %s that are kept", pattern)
}

// visit opens the page and waits until it is ready, or says that it cannot be.
func (b *tab) visit() string {
	b.t.Helper()
	b.open("about:blank")
	b.open(origin + "/folder/?test=1")
	return b.state("empty", "error")
}

// Patterns of files as the service worker keeps them.
const (
	wasmFile   = `/\/wgjepa-[^/]*\.wasm$/`
	workerFile = `/\/worker-[^/]*\.js$/`
)

// TestRecover: the page comes up by itself whatever becomes of what the browser
// keeps of it, and what was damaged is whole afterwards. Where there is no network
// either, it says what to do.
func TestRecover(t *testing.T) {
	dir := built(t)
	s := serve(t, dir)
	b := browser(t, s.proxied()...)

	s.spoiled(t, dir, ".wasm", 1)
	require.Equal(t, "empty", b.visit(), "a connection that is cut in the middle of the program, on the first visit")
	require.GreaterOrEqual(t, s.askedFor(".wasm"), 2)
	eval[chromedp.Void](b, waits, "navigator.serviceWorker.ready.then(() => {})")
	require.Equal(t, "empty", b.visit())
	require.Zero(t, s.askedFor(".wasm"), "the second visit asks the network for the program")

	const damaged = `async (cache, request) => {
		const whole = await cache.match(request), content = await whole.arrayBuffer();
		await cache.put(request, new Response(content.slice(0, content.byteLength / 2), { headers: whole.headers }));
	}`
	for _, c := range []struct{ name, file, suffix, change string }{
		{"the program is lost", wasmFile, ".wasm", `(cache, request) => cache.delete(request)`},
		{"the program is cut off", wasmFile, ".wasm", damaged},
		{"the program is something else", wasmFile, ".wasm", `(cache, request) => cache.put(request, new Response("<p>Welcome to the network of this hotel", { headers: { "content-type": "text/html" } }))`},
		{"the worker is lost", workerFile, ".js", `(cache, request) => cache.delete(request)`},
		{"the worker is cut off", workerFile, ".js", damaged},
		{"all is lost", wasmFile, ".wasm", `async () => { for (const name of await caches.keys()) await caches.delete(name); }`},
	} {
		b.kept(c.file, c.change)
		require.Equal(t, "empty", b.visit(), c.name)
		require.Positive(t, s.askedFor(c.suffix), c.name)
		require.Equal(t, "empty", b.visit(), c.name+": afterwards")
		require.Zero(t, s.askedFor(c.suffix), c.name+": it is not whole afterwards")
		if c.name == "all is lost" { // the rest comes with the visits
			require.Equal(t, "empty", b.visit())
		}
	}

	// What is kept cannot be read, once: at the first byte, and after some.
	for name, failing := range map[string]string{
		"the first byte": `Promise.reject(new TypeError("Failed to fetch"))`,
		"after some":     `asked(...args).then((r) => { const reader = r.body.getReader(); let n = 0; return new Response(new ReadableStream({ async pull(c) { const { value } = await reader.read(); if (n++ > 2) c.error(new TypeError("network error")); else c.enqueue(value); } }), { headers: r.headers }); })`,
	} {
		source := `{ const asked = fetch; let once = true; globalThis.fetch = (...args) => { if (!once || !String(args[0]).endsWith(".wasm")) return asked(...args); once = false; globalThis.failedOnce = true; return ` + failing + `; }; }`
		var id cdpage.AddScriptToEvaluateOnNewDocumentResult
		b.do(waits, func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
			return chromedp.Void{}, target.Call(ctx, cdpage.CommandAddScriptToEvaluateOnNewDocument, cdpage.AddScriptToEvaluateOnNewDocumentParams{Source: source}, &id)
		})
		require.Equal(t, "empty", b.visit(), name)
		require.True(t, eval[bool](b, waits, "globalThis.failedOnce === true"), name)
		b.do(waits, func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
			return chromedp.Void{}, target.Call(ctx, cdpage.CommandRemoveScriptToEvaluateOnNewDocument, cdpage.RemoveScriptToEvaluateOnNewDocumentParams(id), nil)
		})
	}

	// Without a network there is nothing to mend it with.
	for _, file := range []string{wasmFile, workerFile} {
		b.kept(file, `(cache, request) => cache.delete(request)`)
		s.goDown(true)
		require.Equal(t, "error", b.visit(), file)
		require.Contains(t, b.says("drop-error", "Connect to the network, then load the page again"), "Runs that were saved are safe")
		s.goDown(false)
		require.Equal(t, "empty", b.visit(), file+": with a network again")
	}
	// Nor where the host never gives the whole.
	b.kept(wasmFile, `(cache, request) => cache.delete(request)`)
	s.spoiled(t, dir, ".wasm", 1000)
	require.Equal(t, "error", b.visit())
	require.Contains(t, b.text("drop-error"), "could not be fetched whole")
	s.spoiled(t, dir, ".wasm", 0)
	require.Equal(t, "empty", b.visit())
}

// TestManyVisits comes again 60 times (VISITS sets another number) on a machine
// that is busy with something else: each time the page is ready.
func TestManyVisits(t *testing.T) {
	long(t)
	n := 60
	if v := os.Getenv("VISITS"); v != "" {
		var err error
		n, err = strconv.Atoi(v)
		require.NoError(t, err)
	}
	for range 2 {
		busy := exec.Command("sh", "-c", "while :; do :; done")
		require.NoError(t, busy.Start())
		t.Cleanup(func() {
			busy.Process.Kill()
			busy.Wait()
		})
	}
	b, s := page(t)
	eval[chromedp.Void](b, waits, "navigator.serviceWorker.ready.then(() => {})")
	s.asked()
	var failed []string
	var ready []float64
	mended := 0
	for i := range n {
		if b.visit() != "empty" {
			failed = append(failed, fmt.Sprintf("visit %d: %s", i+1, b.text("drop-error")))
		}
		ready = append(ready, eval[float64](b, waits, "performance.now() / 1000"))
		mended += s.askedFor(".wasm") + s.askedFor(".js")
	}
	slices.Sort(ready)
	t.Logf("%d visits, ready after %.2f s (median; at most %.2f), %d failed, %d mended", n, ready[n/2], ready[n-1], len(failed), mended)
	require.Empty(t, failed)
}
