//go:build !js

package www

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// dropAt drags files from outside, or items as of another page, to a place in
// the window.
func (b *tab) dropAt(x, y float64, files []string, items ...*input.DragDataItem) {
	b.t.Helper()
	if items == nil {
		items = []*input.DragDataItem{}
	}
	for _, kind := range []input.DispatchDragEventType{input.DispatchDragEventTypeDragEnter, input.DispatchDragEventTypeDragOver, input.DispatchDragEventTypeDrop} {
		_, err := chromedp.Call(b.ctx, input.DispatchDragEvent, input.DispatchDragEventParams{
			Type: kind, X: x, Y: y, Data: &input.DragData{Items: items, Files: files, DragOperationsMask: 1},
		})
		require.NoError(b.t, err)
	}
}

// hippocampi writes n of the hippocampus volumes with their labels below a folder.
func hippocampi(t testing.TB, folder string, n int) {
	t.Helper()
	for _, kind := range []string{"images", "labels"} {
		files, err := filepath.Glob(filepath.Join(shared(t, "data", "JEPA_TEST_DATA"), "hippocampus", kind, "*.nii*"))
		require.NoError(t, err)
		slices.Sort(files)
		require.Greater(t, len(files), n)
		for _, file := range files[:n] {
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			write(t, filepath.Join(folder, kind), filepath.Base(file), content)
		}
	}
}

// TestDrop drops real files and folders, with what people have beside them.
func TestDrop(t *testing.T) {
	long(t)
	data := shared(t, "data", "JEPA_TEST_DATA")
	b, s := page(t)

	// One volume.
	volumes, err := filepath.Glob(filepath.Join(data, "hippocampus", "images", "*.nii*"))
	require.NoError(t, err)
	b.drop(volumes[0])
	b.state("data")
	require.Contains(t, b.says("data-list", filepath.Base(volumes[0])), "mm")

	// An array set, beside a file that is none: it is named with its reason.
	hostile, err := filepath.Glob(filepath.Join(data, "hostile", "npy", "*.np*"))
	require.NoError(t, err)
	require.NotEmpty(t, hostile)
	b.drop(filepath.Join(data, "medmnist2d", "breastmnist.npz"))
	b.says("data-summary", "780 samples")
	b.drop(hostile[0])
	said := b.says("drop-error", filepath.Base(hostile[0]))
	require.Greater(t, len(said), len(filepath.Base(hostile[0]))+15, "too short to say why: %s", said)

	// A folder with folders in it, rubbish of the system, a link that leads
	// nowhere, and volumes that are none.
	folder := filepath.Join(t.TempDir(), "study of 2024", "hippocampus")
	hippocampi(t, folder, 12)
	write(t, folder, ".DS_Store", []byte("rubbish"))
	write(t, filepath.Join(folder, "images"), "._hippocampus_001.nii.gz", []byte("rubbish"))
	write(t, filepath.Join(folder, "images"), "text.nii.gz", []byte("this is not a scan"))
	bad, err := filepath.Glob(filepath.Join(data, "hostile", "nifti", "*"))
	require.NoError(t, err)
	require.NotEmpty(t, bad)
	content, err := os.ReadFile(bad[0])
	require.NoError(t, err)
	write(t, filepath.Join(folder, "images"), "crashes.nii", content)
	require.NoError(t, os.Symlink(filepath.Join(folder, "gone"), filepath.Join(folder, "images", "link.nii.gz")))
	b.drop(folder)
	b.says("data-list", "hippocampus_")
	refused := b.says("data-refused", "text.nii.gz")
	require.Contains(t, refused, "crashes.nii")
	require.NotContains(t, refused+b.text("data-list"), "._hippocampus")
	require.NotContains(t, refused, "DS_Store")
	require.Contains(t, b.text("data-summary"), "12 samples")
	require.Contains(t, b.text("data-summary"), "voxel labels")
	t.Logf("refused: %s; the page says %q", refused, b.text("drop-error"))
	b.configure(strings.Replace(model, "max_epochs = 4", "max_steps = 3\nmax_epochs = 4", 1) + "[data]\nsize = [36, 48, 36]\nval = 2\ntest = 4\nskip_bad = true\n")
	b.click("train")
	b.until(trains, `document.documentElement.dataset.state === "done"`)
	b.says("progress-text", "Finished: 3 updates")
	require.Empty(t, elsewhere(s.asked()))
	b.quiet()
}

// TestDropMissed: what is dropped beside the zone, or is no file, never makes
// the browser leave the page.
func TestDropMissed(t *testing.T) {
	long(t)
	b, _ := page(t)
	eval[chromedp.Void](b, waits, "void (globalThis.stays = true)")
	bottom := func() float64 { return eval[float64](b, waits, "innerHeight - 4") }
	path := write(t, t.TempDir(), "text.nii.gz", []byte("this is not a scan"))
	b.dropAt(5, bottom(), []string{path})
	b.says("drop-error", "text.nii.gz")
	url := &input.DragDataItem{MimeType: "text/uri-list", Data: "https://example.com/scan.nii.gz"}
	text := &input.DragDataItem{MimeType: "text/plain", Data: "patch_size = [6]"}
	for _, item := range []*input.DragDataItem{url, text} {
		b.dropAt(5, bottom(), nil, item)
		b.says("drop-error", "text or a link")
		b.drop(path)
		b.says("drop-error", "text.nii.gz")
	}
	b.drop(t.TempDir())
	b.says("drop-error", "There are no files")

	// Text goes into a field of text as ever.
	b.generated(endless)
	eval[chromedp.Void](b, waits, `void (document.getElementById("config-details").open = true, document.getElementById("config-text").value = "", document.getElementById("config-text").scrollIntoView({ block: "center" }))`)
	at := eval[struct{ X, Y float64 }](b, waits, `(() => { const r = document.getElementById("config-text").getBoundingClientRect(); return { X: r.x + 40, Y: r.y + 30 }; })()`)
	b.dropAt(at.X, at.Y, nil, text)
	b.until(waits, `document.getElementById("config-text").value.includes("patch_size")`)
	eval[chromedp.Void](b, waits, "void document.activeElement.blur()")
	b.says("config-error", "patch_size")
	b.configure(endless)

	// A training goes on whatever is dropped.
	b.click("train")
	b.until(trains, "wgjepaPage.step() > 2")
	b.dropAt(5, bottom(), []string{path})
	b.says("drop-error", "A training runs")
	b.dropAt(5, bottom(), nil, url)
	b.says("drop-error", "text or a link")
	at2 := b.step()
	b.until(trains, "wgjepaPage.step() > "+quote(at2))
	time.Sleep(300 * time.Millisecond)
	require.True(t, eval[bool](b, waits, "globalThis.stays === true"), "the browser left the page")
	b.state("training")
}
