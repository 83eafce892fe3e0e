//go:build !js

package www

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// origin is where tests see the page. A name below localhost counts as a secure
// place, and nobody but a site answers for it.
const origin = "http://page.localhost"

// site serves the built page in /folder/ as the proxy of a whole browser: every
// request that the browser makes, from whatever tab, worker or part of its own,
// comes by here and is noted.
type site struct {
	*httptest.Server

	mu       sync.Mutex
	requests []string
	down     bool
	files    http.Handler
}

// built is the folder of the page as scripts/page.sh makes it.
func built(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(root(t), "build", "www")
	if _, err := os.Stat(filepath.Join(dir, "index.html")); err != nil {
		t.Skip("build/www is absent: make page builds it")
	}
	return dir
}

func serve(t testing.TB, dir string) *site {
	t.Helper()
	s := &site{files: http.StripPrefix("/folder/", http.FileServer(http.Dir(dir)))}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// proxied makes a browser ask s for everything.
func (s *site) proxied() []chromedp.ExecAllocatorOption {
	return []chromedp.ExecAllocatorOption{
		chromedp.ProxyServer(s.URL),
		chromedp.Flag("proxy-bypass-list", "<-loopback>"),
	}
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	address := r.URL.String()
	if r.Method == http.MethodConnect {
		address = "https://" + r.Host
	}
	s.mu.Lock()
	down, files := s.down, s.files
	s.requests = append(s.requests, r.Method+" "+address)
	s.mu.Unlock()
	switch {
	case down:
		// As a network that is gone: the connection ends without an answer.
		if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
			c.Close()
		}
	case r.Method == http.MethodConnect || !strings.HasPrefix(address, origin+"/"):
		http.Error(w, "there is no network beyond the page's own server", http.StatusBadGateway)
	default:
		w.Header().Set("Cache-Control", "no-cache")
		files.ServeHTTP(w, r)
	}
}

// goDown ends the network, and up brings it back.
func (s *site) goDown(down bool) {
	s.mu.Lock()
	s.down = down
	s.mu.Unlock()
}

// ownHosts are what Chromium itself asks, with any page or none, whatever it is
// told: for its updates, and whether somebody is signed in.
var ownHosts = []string{"update.googleapis.com", "accounts.google.com", "clients2.google.com"}

// asked returns the requests since the last call, without Chromium's own.
func (s *site) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []string{}
	for _, r := range s.requests {
		_, address, _ := strings.Cut(r, " ")
		if u, err := url.Parse(address); err != nil || !slices.Contains(ownHosts, u.Hostname()) {
			list = append(list, r)
		}
	}
	s.requests = nil
	return list
}

// elsewhere are those of the requests that went to another origin.
func elsewhere(requests []string) []string {
	list := []string{}
	for _, r := range requests {
		if _, address, _ := strings.Cut(r, " "); !strings.HasPrefix(address, origin+"/") {
			list = append(list, r)
		}
	}
	return list
}

// page opens the built page in a browser of its own.
func page(t testing.TB) (*tab, *site) {
	t.Helper()
	dir := built(t)
	s := serve(t, dir)
	b := browser(t, s.proxied()...)
	b.open(origin + "/folder/?test=1")
	b.state("empty")
	return b, s
}

// state waits until the page stands at one of the states.
func (b *tab) state(states ...string) string {
	b.t.Helper()
	b.until(waits, quote(states)+".includes(document.documentElement.dataset.state)")
	return eval[string](b, waits, "document.documentElement.dataset.state")
}

// text is what a person can read in an element.
func (b *tab) text(id string) string {
	b.t.Helper()
	return eval[string](b, waits, "document.getElementById("+quote(id)+").innerText")
}

// says waits until an element's text holds a part, and returns the text.
func (b *tab) says(id, part string) string {
	b.t.Helper()
	b.until(waits, "document.getElementById("+quote(id)+").innerText.includes("+quote(part)+")")
	return b.text(id)
}

// click presses what has an id, as a mouse does.
func (b *tab) click(id string) {
	b.t.Helper()
	b.until(waits, "!document.getElementById("+quote(id)+").disabled")
	b.do(waits, chromedp.ScrollIntoView("#"+id), chromedp.Click("#"+id, chromedp.NodeVisible))
}

// choose gives files to an input.
func (b *tab) choose(id string, files ...string) {
	b.t.Helper()
	b.do(waits, chromedp.SetUploadFiles("#"+id, files))
}

// write makes a file of a test and returns its path.
func write(t testing.TB, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, content, 0o644))
	return path
}
