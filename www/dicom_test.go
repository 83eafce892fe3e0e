//go:build !js

package www

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// TestCompressedDICOM: series that are compressed are decoded by dcm2niix, which
// comes from the page's own folder when the first of them is opened, under the
// page's policy, and then without a network.
func TestCompressedDICOM(t *testing.T) {
	long(t)
	from := filepath.Join(shared(t, "data", "JEPA_TEST_DATA"), "dicom", "dicom2nifti", "generic")
	dir := t.TempDir()
	for i, kind := range []string{"rle", "jpeg", "jpegls", "j2k"} { // one image, encoded in four ways
		names, err := filepath.Glob(filepath.Join(from, "compressed_"+kind, "001", "*.dcm"))
		require.NoError(t, err)
		require.Len(t, names, 4)
		for _, name := range names {
			content, err := os.ReadFile(name)
			require.NoError(t, err)
			// They are copies of each other by their numbers, and would be left out.
			content = bytes.ReplaceAll(content, []byte(".498.1725697665093567298"), fmt.Appendf(nil, ".498.172569766509356729%d", i))
			write(t, filepath.Join(dir, "scans", kind), filepath.Base(name), content)
		}
	}

	b, s := page(t)
	index, err := os.ReadFile(filepath.Join(built(t), "index.html"))
	require.NoError(t, err)
	policy := regexp.MustCompile(`http-equiv="Content-Security-Policy" content="([^"]+)"`).FindSubmatch(index)
	require.NotNil(t, policy)
	require.Regexp(t, `script-src 'self' 'wasm-unsafe-eval';`, string(policy[1]))
	s.mu.Lock()
	files := s.files
	s.files = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // of workers, too, which do not inherit it
		w.Header().Set("Content-Security-Policy", string(policy[1]))
		files.ServeHTTP(w, r)
	})
	s.mu.Unlock()
	b.open(origin + "/folder/?test=1")
	b.state("empty")
	eval[chromedp.Void](b, waits, "navigator.serviceWorker.ready.then(() => {})")

	// Run lengths the program decodes itself.
	b.drop(filepath.Join(dir, "scans", "rle"))
	b.state("data")
	b.says("status", "1 sample ready")
	time.Sleep(time.Second) // what loading brings after itself
	loading := s.asked()
	require.NotEmpty(t, loading)
	dcm2niix := func(requests []string) []string {
		return slices.DeleteFunc(requests, func(r string) bool { return !strings.Contains(r, "dcm2niix") })
	}
	require.Empty(t, dcm2niix(loading), "dcm2niix came with the page")

	decoded := func() {
		t.Helper()
		b.drop(filepath.Join(dir, "scans"))
		b.says("status", "4 samples ready")
		require.Empty(t, b.text("data-refused"))
		notes := b.text("data-notes")
		for _, syntax := range []string{"JPEG lossless", "JPEG-LS", "JPEG 2000"} {
			require.Contains(t, notes, "4 compressed files ("+syntax+"), decoded by dcm2niix")
		}
		// The same voxels as those that were not compressed, to the last bit.
		require.Contains(t, notes, "3 samples hold the same as another")
		require.Equal(t, []string{"j2k", "jpeg", "jpegls", "rle"}, eval[[]string](b, waits, "wgjepaPage.opened().names"))
	}
	start := time.Now()
	decoded()
	t.Logf("three series in %.1f s", time.Since(start).Seconds())
	asked := s.asked()
	require.Empty(t, elsewhere(asked))
	asked = dcm2niix(asked)
	slices.Sort(asked)
	require.Len(t, asked, 2, "%q", asked)
	require.Regexp(t, `^GET `+origin+`/folder/dcm2niix-[0-9A-Z]{8}\.js$`, asked[0])
	require.Regexp(t, `^GET `+origin+`/folder/dcm2niix-[0-9A-Z]{8}\.wasm$`, asked[1])

	// A series that dcm2niix cannot decode is named beside the others.
	cut := filepath.Join(dir, "more", "cut")
	require.NoError(t, os.CopyFS(cut, os.DirFS(filepath.Join(dir, "scans", "jpegls"))))
	entries, err := os.ReadDir(cut)
	require.NoError(t, err)
	for _, e := range entries {
		name := filepath.Join(cut, e.Name())
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(name, content[:len(content)-60_000], 0o644))
	}
	require.NoError(t, os.CopyFS(filepath.Join(dir, "more", "jpeg"), os.DirFS(filepath.Join(dir, "scans", "jpeg"))))
	b.drop(filepath.Join(dir, "more"))
	b.says("status", "1 sample ready")
	refused := b.text("data-refused")
	require.Contains(t, refused, "cut")
	require.Contains(t, refused, "dcm2niix")
	t.Log(refused)

	// Without a network.
	s.goDown(true)
	b.open(origin + "/folder/?test=1")
	b.state("empty")
	decoded()
	for _, said := range b.console() {
		require.NotRegexp(t, `(?i)security policy|refused to|\bIM-000`, said)
	}
}
