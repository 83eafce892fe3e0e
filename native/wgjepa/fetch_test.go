package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// content is a file of a server.
var content = func() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 300_000)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}()

// partly serves content as a good server does.
func partly(w http.ResponseWriter, r *http.Request) {
	http.ServeContent(w, r, "f.npz", time.Time{}, bytes.NewReader(content))
}

// hijacked ends the connection after n bytes of the body.
func hijacked(w http.ResponseWriter, header string, body []byte) {
	conn, buffer, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(buffer, "HTTP/1.1 %s\r\n\r\n", header)
	buffer.Write(body)
	buffer.Flush()
	conn.Close()
}

// serve makes a downloader of a server whose n-th request, from 0, answer treats.
func serve(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request)) (*downloader, *[]string) {
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Range"))
		answer(len(asked)-1, w, r)
	}))
	t.Cleanup(s.Close)
	sum := md5.Sum(content)
	return &downloader{
		remoteFile: remoteFile{name: "f.npz", address: s.URL + "/f.npz", md5: hex.EncodeToString(sum[:])},
		part:       filepath.Join(t.TempDir(), ".f.npz.part"), client: s.Client(), stall: time.Second, pause: time.Millisecond,
		say: t.Logf, progress: func(int64, int64) {},
	}, &asked
}

func whole(t *testing.T, d *downloader) {
	t.Helper()
	n, err := d.run(context.Background())
	require.NoError(t, err)
	require.EqualValues(t, len(content), n)
	got, err := os.ReadFile(d.part)
	require.NoError(t, err)
	require.Equal(t, content, got)
}

// TestFetchMends: the server fails in the usual ways, and the file is whole in the end.
func TestFetchMends(t *testing.T) {
	cut := func(w http.ResponseWriter, from, to int) {
		if from == 0 {
			hijacked(w, fmt.Sprintf("200 OK\r\nContent-Length: %d", len(content)), content[:to])
		} else {
			hijacked(w, fmt.Sprintf("206 Partial Content\r\nContent-Range: bytes %d-%d/%d\r\nContent-Length: %d", from, len(content)-1, len(content), len(content)-from), content[from:to])
		}
	}
	for name, c := range map[string]struct {
		had    []byte
		answer func(n int, w http.ResponseWriter, r *http.Request)
		asked  []string
	}{
		"good":         {nil, func(_ int, w http.ResponseWriter, r *http.Request) { partly(w, r) }, []string{""}},
		"interrupted":  {content[:123_456], func(_ int, w http.ResponseWriter, r *http.Request) { partly(w, r) }, []string{"bytes=123456-"}},
		"was whole":    {content, func(_ int, w http.ResponseWriter, r *http.Request) { partly(w, r) }, []string{"bytes=300000-"}},
		"was too long": {append(content[:len(content):len(content)], 1, 2), func(_ int, w http.ResponseWriter, r *http.Request) { partly(w, r) }, []string{"bytes=300002-", ""}},
		"was damaged":  {make([]byte, 1000), func(_ int, w http.ResponseWriter, r *http.Request) { partly(w, r) }, []string{"bytes=1000-", ""}},
		"cut often": {nil, func(n int, w http.ResponseWriter, r *http.Request) {
			if n < 12 { // more often than attempts: each brings something
				cut(w, n*20_000, (n+1)*20_000)
				return
			}
			partly(w, r)
		}, nil},
		"no ranges": {content[:5000], func(_ int, w http.ResponseWriter, _ *http.Request) { w.Write(content) }, []string{"bytes=5000-"}},
		"no ranges, cut": {nil, func(n int, w http.ResponseWriter, _ *http.Request) {
			if n == 0 {
				cut(w, 0, 100_000)
				return
			}
			w.Write(content)
		}, []string{"", "bytes=100000-"}},
		"busy": {nil, func(n int, w http.ResponseWriter, r *http.Request) {
			if n < 3 {
				http.Error(w, "later", []int{500, 429, 503}[n])
				return
			}
			partly(w, r)
		}, []string{"", "", "", ""}},
		"hangs up": {nil, func(n int, w http.ResponseWriter, r *http.Request) {
			if n == 0 {
				hijacked(w, "", nil)
				return
			}
			partly(w, r)
		}, nil},
		"stalls": {nil, func(n int, w http.ResponseWriter, r *http.Request) {
			if n > 0 {
				partly(w, r)
				return
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			w.Write(content[:70_000])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, nil},
		"slow": {nil, func(_ int, w http.ResponseWriter, _ *http.Request) {
			for b := content; len(b) > 0; b = b[min(len(b), 20_000):] { // longer in all than a stall
				w.Write(b[:min(len(b), 20_000)])
				w.(http.Flusher).Flush()
				time.Sleep(80 * time.Millisecond)
			}
		}, []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			d, asked := serve(t, c.answer)
			if name == "stalls" {
				d.stall = 200 * time.Millisecond
			}
			if c.had != nil {
				require.NoError(t, os.WriteFile(d.part, c.had, 0o644))
			}
			whole(t, d)
			if c.asked != nil {
				require.Equal(t, c.asked, *asked)
			}
		})
	}
}

// TestFetchRefuses: what cannot be mended ends at once, says what to do and leaves nothing
// that looks whole.
func TestFetchRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		answer   func(n int, w http.ResponseWriter, r *http.Request)
		want     string
		requests int
	}{
		"moved":     {func(_ int, w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, "404 Not Found: the file has moved", 1},
		"forbidden": {func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, "403 Forbidden", 1},
		"login":     {func(_ int, w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>please log in") }, "a web page came instead of the file", 1},
		"wrong": {func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Write(content[1:])
		}, "the server's file is another one: MD5 ", 1},
		"wrong and cut": {func(n int, w http.ResponseWriter, _ *http.Request) {
			if n%2 == 0 {
				hijacked(w, fmt.Sprintf("200 OK\r\nContent-Length: %d", len(content)), content[1:1001])
				return
			}
			hijacked(w, fmt.Sprintf("206 Partial Content\r\nContent-Range: bytes 1000-%d/%[1]d\r\nContent-Length: %d", len(content), len(content)-1000), content[1000:])
		}, "the server's file is another one: MD5 ", 2 * attempts},
		"wrong range": {func(n int, w http.ResponseWriter, _ *http.Request) {
			if n == 0 {
				hijacked(w, fmt.Sprintf("200 OK\r\nContent-Length: %d", len(content)), content[:1000])
				return
			}
			hijacked(w, "206 Partial Content\r\nContent-Range: bytes 0-9/10\r\nContent-Length: 10", content[:10])
		}, `asked for bytes from 1000, the server sent "bytes 0-9/10"`, 2},
		"down": {func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, "502 Bad Gateway, 5 times in a row", 5},
		"endless": {func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "99999999999999")
		}, "bytes are no such set", 1},
		"silent": {func(_ int, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no answer for 200ms, 5 times in a row", 5},
	} {
		t.Run(name, func(t *testing.T) {
			d, asked := serve(t, c.answer)
			if name == "silent" {
				d.stall = 200 * time.Millisecond
			}
			_, err := d.run(context.Background())
			require.ErrorContains(t, err, c.want)
			require.Len(t, *asked, c.requests)
			if strings.HasPrefix(name, "wrong") && name != "wrong range" {
				require.NoFileExists(t, d.part)
			}
		})
	}
	d, _ := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) { partly(w, r) })
	d.part = filepath.Join(t.TempDir(), "none", "f.part")
	_, err := d.run(context.Background())
	require.ErrorContains(t, err, "no such file or directory")
	ctx, cancel := context.WithCancel(context.Background())
	d, asked := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		w.Write(content[:50_000])
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
	})
	_, err = d.run(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, *asked, 1, "an interrupted download does not try again")
}

func TestContentRange(t *testing.T) {
	for header, want := range map[string][2]int64{"bytes 5-9/10": {5, 10}, "bytes */10": {-1, 10}, "bytes 5-9/*": {5, 0}, "": {-1, 0}, "bytes 0-1/-3": {0, 0}} {
		first, total := contentRange(header)
		require.Equal(t, want, [2]int64{first, total}, header)
	}
}

// TestSets: names, sizes and sums of the table, held to files of the shared data where
// they are.
func TestSets(t *testing.T) {
	require.Len(t, medmnistSets, 18)
	sums := map[string]bool{}
	for _, s := range medmnistSets {
		require.Equal(t, s.axes == 3, strings.HasSuffix(s.name, "3d"), s.name)
		require.Len(t, s.md5, map[int]int{2: 4, 3: 2}[s.axes], s.name)
		for size, sum := range s.md5 {
			require.Len(t, sum, 32)
			require.False(t, sums[sum], "%s of size %d", s.name, size)
			sums[sum] = true
		}
	}
	f, err := findSet("AdrenalMNIST3D", 64, medmnistSource)
	require.NoError(t, err)
	require.Equal(t, "https://zenodo.org/records/10519652/files/adrenalmnist3d_64.npz?download=1", f.address)
	f, err = findSet("breastmnist_224.npz", 28, "http://mirror/x/")
	require.NoError(t, err)
	require.Equal(t, "http://mirror/x/breastmnist_224.npz?download=1", f.address)
	for name, want := range map[string]string{"mnist": `no set "mnist"`, "adrenalmnist3d_128": "comes in sizes [28 64], not 128", "pathmnist_big": "no set"} {
		_, err := findSet(name, 28, medmnistSource)
		require.ErrorContains(t, err, want)
	}
	dir := os.Getenv("JEPA_TEST_DATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	files, _ := filepath.Glob(filepath.Join(dir, "medmnist*", "*.npz"))
	if len(files) == 0 {
		t.Logf("no shared test data in %s: sums are not compared with files", dir)
	}
	for _, path := range files {
		f, err := findSet(filepath.Base(path), 28, medmnistSource)
		require.NoError(t, err)
		sum, err := md5Of(path)
		require.NoError(t, err)
		require.Equal(t, sum, f.md5, path)
	}
}

// TestFetchCommand runs the command against a server that has one set: fetched, there
// already, another file in its place.
func TestFetchCommand(t *testing.T) {
	files, _ := filepath.Glob("../../../shared/data/medmnist2d/breastmnist.npz")
	if dir := os.Getenv("JEPA_TEST_DATA"); dir != "" {
		files = []string{filepath.Join(dir, "medmnist2d/breastmnist.npz")}
	}
	if len(files) == 0 {
		t.Skip("no shared test data: breastmnist.npz (set JEPA_TEST_DATA)")
	}
	s := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(files[0]))))
	defer s.Close()
	dir := filepath.Join(t.TempDir(), "data")
	call := func(args ...string) (int, string, string) {
		var out, err bytes.Buffer
		code := run(append([]string{"fetch", "--mirror", s.URL, "--dir", dir}, args...), &out, &err)
		return code, out.String(), err.String()
	}
	code, out, said := call("breastmnist")
	require.Zero(t, code, said)
	require.Contains(t, out, "breastmnist.npz: fetched, checksum right, 546.5 KiB, licence CC BY 4.0")
	require.Contains(t, said, "cite: Jiancheng Yang")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	_, out, _ = call("breastmnist", "--json")
	require.Contains(t, out, `"state":"is there already"`)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "breastmnist.npz"), content, 0o644))
	code, _, said = call("breastmnist")
	require.Equal(t, 1, code)
	require.Contains(t, said, "is there already and is another file")
	code, _, said = call("pathmnist")
	require.Equal(t, 1, code)
	require.Contains(t, said, "404 Not Found: the file has moved")
	code, _, _ = call("pathmnis")
	require.Equal(t, 2, code)
	code, out, _ = call("--list")
	require.Zero(t, code)
	require.Equal(t, 18, strings.Count(out, "\n"))
	require.Contains(t, out, "dermamnist       2-D    7007 train  1003 val  2005 test")
	require.Contains(t, out, "CC BY-NC 4.0")
}
