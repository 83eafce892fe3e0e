package main

import (
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

// freeAddr NAME sets a variable to an address whose port is free.
func freeAddr(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Check(l.Close())
	ts.Setenv(args[0], l.Addr().String())
}

// fetch ADDRESS TEXT waits until a server is there, and for TEXT in its page.
func fetch(ts *testscript.TestScript, _ bool, args []string) {
	var last error
	for range 1000 {
		var r *http.Response
		if r, last = http.Get("http://" + args[0] + "/"); last == nil {
			defer r.Body.Close()
			body, err := io.ReadAll(r.Body)
			ts.Check(err)
			if !strings.Contains(string(body), args[1]) {
				ts.Fatalf("%s: %s: %s", args[0], r.Status, body)
			}
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("nothing is served: %v", last)
}

// served is a page of a few files.
func served(hosts ...string) *pageHandler {
	pack := func(s string) []byte {
		var b strings.Builder
		z := gzip.NewWriter(&b)
		io.WriteString(z, s)
		z.Close()
		return []byte(b.String())
	}
	return &pageHandler{hosts: hosts, files: fstest.MapFS{
		"index.html":           {Data: []byte("<title>the page</title>")},
		"index.html.gz":        {Data: pack("<title>the page</title>")},
		"sw.js":                {Data: []byte("0;")},
		"wgjepa-0A1B2C3D.wasm": {Data: []byte("\x00asm rest")},
		"icon.svg":             {Data: []byte("<svg/>")},
		"notes.md":             {Data: []byte("not of the page")},
		"folder/index.html":    {Data: []byte("below")},
	}}
}

func request(h http.Handler, method, target string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, "http://localhost:8642/", nil)
	r.URL.Path = target
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return string(b)
}

func TestWebFiles(t *testing.T) {
	h := served()
	for target, want := range map[string]struct{ kind, cache, body string }{
		"/":                     {"text/html; charset=utf-8", "no-cache", "<title>the page</title>"},
		"/index.html":           {"text/html; charset=utf-8", "no-cache", "<title>the page</title>"},
		"/sw.js":                {"text/javascript; charset=utf-8", "no-cache", "0;"},
		"/icon.svg":             {"image/svg+xml", "no-cache", "<svg/>"},
		"/wgjepa-0A1B2C3D.wasm": {"application/wasm", "public, max-age=31536000, immutable", "\x00asm rest"},
	} {
		r := request(h, "GET", target)
		require.Equal(t, 200, r.StatusCode, target)
		require.Equal(t, want.kind, r.Header.Get("Content-Type"), target)
		require.Equal(t, want.cache, r.Header.Get("Cache-Control"), target)
		require.Equal(t, want.body, body(t, r), target)
		again := request(h, "GET", target, "If-None-Match", r.Header.Get("ETag"))
		require.Equal(t, 304, again.StatusCode, target)
		require.Equal(t, "Accept-Encoding", again.Header.Get("Vary"), target)
		head := request(h, "HEAD", target)
		require.Equal(t, 200, head.StatusCode, target)
		require.Empty(t, body(t, head), target)
	}
	for _, target := range []string{
		"/nothing.js", "/notes.md", "/folder", "/folder/", "/index.html/", "/index.html.gz", "/../web.go", "/./sw.js", "//sw.js", "/sw.js\x00.html", "/.html",
	} {
		require.Equal(t, 404, request(h, "GET", target).StatusCode, target)
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
		r := request(h, method, "/")
		require.Equal(t, 405, r.StatusCode, method)
		require.Equal(t, "GET, HEAD", r.Header.Get("Allow"))
	}
}

// TestWebOutside: a link out of the folder leads nowhere.
func TestWebOutside(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/index.html", []byte("in"), 0o644))
	require.NoError(t, os.WriteFile(dir+"/sw.js", []byte("0;"), 0o644))
	require.NoError(t, os.WriteFile(outside+"/secret.txt", []byte("out"), 0o644))
	if err := os.Symlink(outside+"/secret.txt", dir+"/secret.txt"); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	page, err := findPage(dir)
	require.NoError(t, err)
	h := &pageHandler{files: page}
	require.Equal(t, "in", body(t, request(h, "GET", "/")))
	require.Equal(t, 404, request(h, "GET", "/secret.txt").StatusCode)

	// Built again while it is served.
	require.NoError(t, os.RemoveAll(dir))
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, os.WriteFile(dir+"/index.html", []byte("new"), 0o644))
	require.Equal(t, "new", body(t, request(h, "GET", "/")))
}

func TestWebPacked(t *testing.T) {
	h := served()
	plain := request(h, "GET", "/")
	for _, offer := range []string{"gzip", "deflate, gzip;q=0.5, br", "gzip, br"} {
		r := request(h, "GET", "/", "Accept-Encoding", offer, "Range", "bytes=0-3")
		require.Equal(t, 200, r.StatusCode, offer)
		require.Equal(t, "gzip", r.Header.Get("Content-Encoding"), offer)
		require.NotEqual(t, plain.Header.Get("ETag"), r.Header.Get("ETag"), offer)
		z, err := gzip.NewReader(r.Body)
		require.NoError(t, err)
		text, err := io.ReadAll(z)
		require.NoError(t, err)
		require.Equal(t, "<title>the page</title>", string(text))
	}
	for _, offer := range []string{"", "br", "gzip;q=0", "x-gzip"} {
		r := request(h, "GET", "/", "Accept-Encoding", offer)
		require.Empty(t, r.Header.Get("Content-Encoding"), offer)
		require.Equal(t, "<title>the page</title>", body(t, r), offer)
	}
	// There is nothing packed of this one.
	require.Empty(t, request(h, "GET", "/sw.js", "Accept-Encoding", "gzip").Header.Get("Content-Encoding"))
}

// TestWebHeaders: on everything, refusals too.
func TestWebHeaders(t *testing.T) {
	h := served()
	for _, r := range []*http.Response{
		request(h, "GET", "/"), request(h, "GET", "/none.js"), request(h, "POST", "/"), request(h, "GET", "/", "Host", "evil.example"),
	} {
		for name, value := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			require.Equal(t, value, r.Header.Get(name))
		}
		require.Contains(t, r.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'")
		require.Empty(t, r.Header.Get("Access-Control-Allow-Origin"))
	}
}

// TestWebPolicy: header and document say the same, and allow no other origin,
// nothing inline and no eval but that of WebAssembly.
func TestWebPolicy(t *testing.T) {
	page, err := os.ReadFile("../../www/index.html")
	require.NoError(t, err)
	require.Contains(t, string(page), fmt.Sprintf("<meta http-equiv=%q content=%q>", "Content-Security-Policy", pagePolicy))
	for _, bad := range []string{"http", "unsafe-inline", "'unsafe-eval'", "*", "ws"} {
		require.NotContains(t, pagePolicy, bad)
	}
}

// TestWebHost: names that an attacker can point at this machine are refused.
func TestWebHost(t *testing.T) {
	h := served("page.example")
	for host, want := range map[string]int{
		"localhost:8642": 200, "localhost": 200, "LOCALHOST.": 200, "a.localhost:1": 200, "127.0.0.1:8642": 200, "[::1]:8642": 200, "::1": 200, "192.168.1.7": 200, "page.example": 200, "Page.Example:443": 200,
		"evil.example": 421, "evil.example:8642": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example": 421, "xlocalhost": 421, "page.example.evil": 421, "": 421,
	} {
		require.Equal(t, want, request(h, "GET", "/", "Host", host).StatusCode, host)
	}
}

// TestWebPort: a taken port is passed over when it was not chosen.
func TestWebPort(t *testing.T) {
	first, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer first.Close()
	taken := first.Addr().String()
	_, err = listen(taken, true)
	require.ErrorContains(t, err, "is taken")
	require.ErrorContains(t, err, "--addr")
	l, err := listen(taken, false)
	require.NoError(t, err)
	defer l.Close()
	require.NotEqual(t, taken, l.Addr().String())
	require.True(t, l.Addr().(*net.TCPAddr).IP.IsLoopback())
	_, err = listen("256.0.0.1:1", false)
	require.ErrorContains(t, err, "serving at 256.0.0.1:1")
}
