package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

const webAddr = "127.0.0.1:8642"

// pagePolicy is the Content-Security-Policy that www/index.html has too; only a
// header may hold the last part.
const pagePolicy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'"

const framePolicy = "; frame-ancestors 'none'"

func webCommand(c *console) *cobra.Command {
	var addr, dir string
	var hosts []string
	var open bool
	cmd := &cobra.Command{
		Use:   "web",
		Short: "Serve the page that trains in a browser tab",
		Long: `Serves the page to this computer's browsers until Ctrl-C. The page computes in the
browser, on its WebGPU; this command only hands out its files and is sent nothing.

It is reached from this computer alone. With another --addr the page can be opened from
others, but browsers give pages WebGPU only from https or from their own localhost: put
a server with TLS before it, and name it with --host.`,
		Example: `  wgjepa web
  wgjepa web --open
  wgjepa web --addr 127.0.0.1:9000 --dir build/www`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return web(c, addr, cmd.Flags().Changed("addr"), dir, hosts, open)
		},
	}
	f := cmd.Flags()
	f.StringVar(&addr, "addr", webAddr, "address to serve at; when the default's port is taken, one of the next")
	f.StringVar(&dir, "dir", "", "folder of the page (default ../build/www or www beside this program)")
	f.StringArrayVar(&hosts, "host", nil, "also answer to this `name`, when a server before this one has it")
	f.BoolVar(&open, "open", false, "open the page in the browser")
	return cmd
}

// web runs the command.
func web(c *console, addr string, chosen bool, dir string, hosts []string, open bool) error {
	if runtime.GOOS == "js" {
		return errors.New("this runtime gives no port to serve at: use the native command, or any server of files on build/www")
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return usagef("--addr %s: %w (an address such as %s)", addr, err, webAddr)
	}
	page, err := findPage(dir)
	if err != nil {
		return err
	}
	l, err := listen(addr, chosen)
	if err != nil {
		return err
	}
	if host != "" && net.ParseIP(host) == nil {
		hosts = append(hosts, host)
	}
	at := l.Addr().(*net.TCPAddr)
	url := "http://" + at.String() + "/"
	if !at.IP.IsLoopback() {
		c.warn("%s can be reached from other computers. This server is sent nothing that is opened in the page, but over http from another computer browsers give the page no WebGPU", at)
	}
	if at.IP.IsUnspecified() {
		url = fmt.Sprintf("http://localhost:%d/", at.Port)
	}
	if l.Addr().String() != addr && !chosen {
		c.warn("port %s is taken, perhaps by another wgjepa web. Runs that the browser keeps belong to an address: those of %s are not seen here", portOf(webAddr), webAddr)
	}
	c.result(map[string]string{"url": url, "dir": string(page)}, "%s\n", url)
	c.say("serving %s; Ctrl-C ends it", page)
	if open {
		if err := openBrowser(url); err != nil {
			c.warn("%v: open %s by hand", err, url)
		}
	}

	server := &http.Server{Handler: &pageHandler{files: page, hosts: hosts}, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	ctx, stop := interruptible(nil)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serving at %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	stop() // a second Ctrl-C ends at once
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		server.Close() // a download that does not end
	}
	return nil
}

// pageFolder is the folder of a page, of which nothing outside can be read. Each
// file is looked for anew: the page may be built again while it is served.
type pageFolder string

func (p pageFolder) Open(name string) (fs.File, error) {
	root, err := os.OpenRoot(string(p))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.Open(name)
}

// findPage returns the folder of the page.
func findPage(dir string) (pageFolder, error) {
	candidates := []string{dir}
	if dir == "" {
		program, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("where this program lies is not known, give --dir: %w", err)
		}
		if real, err := filepath.EvalSymlinks(program); err == nil {
			program = real
		}
		beside := filepath.Dir(program)
		candidates = []string{filepath.Join(beside, "..", "build", "www"), filepath.Join(beside, "www")}
	}
	for _, candidate := range candidates {
		if s, err := os.Stat(filepath.Join(candidate, "index.html")); err != nil || !s.Mode().IsRegular() {
			continue
		}
		if _, err := os.Stat(filepath.Join(candidate, "sw.js")); err != nil {
			return "", fmt.Errorf("%s is not a built page, there is no sw.js in it: make page builds build/www", candidate)
		}
		return pageFolder(filepath.Clean(candidate)), nil
	}
	return "", fmt.Errorf("there is no page in %s: make page builds it, --dir names another folder", strings.Join(candidates, " or "))
}

// listen opens addr. When the user did not choose it and its port is taken, one
// of the next ports is as good.
func listen(addr string, chosen bool) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err == nil {
		return l, nil
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("serving at %s: %w (--addr chooses another)", addr, err)
	}
	if !chosen {
		host, port, _ := net.SplitHostPort(addr)
		first, _ := strconv.Atoi(port)
		for p := first + 1; p <= first+10; p++ {
			if l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(p))); err == nil {
				return l, nil
			}
		}
	}
	return nil, fmt.Errorf("the port of %s is taken: end what uses it, perhaps another wgjepa web, or choose another with --addr", addr)
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// openBrowser shows a page in the user's browser.
func openBrowser(url string) error {
	program, args := "xdg-open", []string{url}
	switch runtime.GOOS {
	case "darwin":
		program = "open"
	case "windows":
		program, args = "rundll32", []string{"url.dll,FileProtocolHandler", url}
	}
	full, err := exec.LookPath(program)
	if err != nil {
		return fmt.Errorf("there is no %s to open a browser with", program)
	}
	cmd := exec.Command(full, args...)
	if err := cmd.Start(); err != nil {
		return err
	}
	go cmd.Wait()
	return nil
}

// pageHandler serves the files of the page and nothing else.
type pageHandler struct {
	files fs.FS
	hosts []string // names that it answers to besides localhost
}

// contentTypes of the files that a page may have; others are not served. The
// machine's own table may say anything.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".wasm": "application/wasm",
	".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/x-icon", ".webmanifest": "application/manifest+json", ".txt": "text/plain; charset=utf-8",
}

// immutableRE finds names with a digest of their content.
var immutableRE = regexp.MustCompile(`-[0-9A-Z]{8}\.[a-z]+$`)

func (h *pageHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	for name, value := range map[string]string{
		"Content-Security-Policy":      pagePolicy + framePolicy,
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"X-Content-Type-Options":       "nosniff",
		"Referrer-Policy":              "no-referrer",
		"Permissions-Policy":           "camera=(), geolocation=(), microphone=()",
	} {
		header.Set(name, value)
	}
	if !h.answersTo(r.Host) {
		http.Error(w, "this server does not answer to that name; wgjepa web --host NAME lets it", http.StatusMisdirectedRequest)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "this server only hands out the page", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	if name == "" {
		name = "index.html"
	}
	contentType, ok := contentTypes[path.Ext(name)]
	if !ok || !fs.ValidPath(name) {
		http.NotFound(w, r)
		return
	}
	header.Set("Vary", "Accept-Encoding")
	if acceptsGzip(r) {
		if f, err := h.files.Open(name + ".gz"); err == nil {
			defer f.Close()
			header.Set("Content-Encoding", "gzip")
			h.serve(w, r, name, contentType, f)
			return
		}
	}
	f, err := h.files.Open(name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	h.serve(w, r, name, contentType, f)
}

// serve sends f as the file called name.
func (h *pageHandler) serve(w http.ResponseWriter, r *http.Request, name, contentType string, f fs.File) {
	content, err := io.ReadAll(f)
	if err != nil {
		w.Header().Del("Content-Encoding")
		http.Error(w, name+" cannot be read", http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(content))) // of these bytes: the packed ones have their own
	header.Set("Cache-Control", "no-cache")
	if immutableRE.MatchString(name) {
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if header.Get("Content-Encoding") != "" {
		r.Header.Del("Range") // parts of packed bytes are of no use
	}
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
}

// acceptsGzip reports whether the answer may be packed.
func acceptsGzip(r *http.Request) bool {
	for _, offer := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		coding, quality, _ := strings.Cut(strings.TrimSpace(offer), ";")
		if coding == "gzip" {
			q, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(quality), "q="), 64)
			return err != nil || q > 0
		}
	}
	return false
}

// answersTo reports whether host, of a request, is one of ours. A name that an
// attacker's site points at this machine (DNS rebinding) is not; numbers are,
// since no name server is asked for them.
func (h *pageHandler) answersTo(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	return net.ParseIP(host) != nil || host == "localhost" || strings.HasSuffix(host, ".localhost") ||
		slices.ContainsFunc(h.hosts, func(own string) bool { return strings.EqualFold(own, host) })
}
