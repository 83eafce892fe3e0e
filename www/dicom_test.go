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

// few is a training of two updates on flat volumes.
const few = `
batch_size = 2
max_epochs = 1
max_steps = 2
predictor_embed_dim = 24
predictor_depth = 1
[encoder]
img_size = [48, 48, 4]
embed_dim = 48
depth = 1
num_heads = 2
patch_size = [4, 4, 2]
[data]
size = [48, 48, 4]
fit = "resize"
`

// inSeries gives a DICOM file the number of a series of its own.
func inSeries(t testing.TB, content []byte, i int) []byte {
	t.Helper()
	_, uid, found := bytes.Cut(content, []byte("\x20\x00\x0e\x00UI"))
	require.True(t, found)
	uid = bytes.TrimRight(uid[2:2+int(uid[0])], "\x00")
	uid[len(uid)-1] = byte('1' + i)
	return content
}

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
			content = inSeries(t, content, i)
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

	// A mosaic, as it came and compressed in five ways.
	for i := range 6 {
		name := fmt.Sprintf("%d.dcm", []int{1, 5, 6, 7, 8, 9}[i])
		content, err := os.ReadFile(filepath.Join(from, "..", "..", "dcm_qa_ts", "In", name))
		require.NoError(t, err)
		write(t, filepath.Join(dir, "mosaics"), name, inSeries(t, content, i))
	}
	b.drop(filepath.Join(dir, "mosaics"))
	b.says("status", "6 samples ready")
	require.Contains(t, b.text("data-notes"), "5 samples hold the same as another")

	// Without a network. What was decoded is kept with a run.
	s.goDown(true)
	b.open(origin + "/folder/?test=1")
	b.state("empty")
	decoded()
	b.configure(few)
	b.click("train")
	b.until(trains, `document.documentElement.dataset.state === "done"`)
	b.until(waits, "wgjepaPage.run().saved === 2")
	b.open("about:blank")
	b.open(origin + "/folder/?test=1")
	b.state("empty")
	b.until(waits, `document.querySelectorAll("#resume-list li").length === 1`)
	b.do(waits, chromedp.Click("#resume-list button", chromedp.NodeVisible))
	b.says("data-notes", "3 samples hold the same as another")
	b.until(trains, `document.documentElement.dataset.state === "done"`)
	require.False(t, eval[bool](b, waits, `performance.getEntriesByType("resource").some((r) => r.name.includes("dcm2niix"))`), "what was kept was decoded again")
	for _, said := range b.console() { // nor names of files or patients
		require.NotRegexp(t, `(?i)security policy|refused to|IM-000|dicom2nifti`, said)
	}
}
