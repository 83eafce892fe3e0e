//go:build !js

package www

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// TestOtherDataAfterRun: data of another kind, dropped after a run that was continued,
// are opened with settings that suit them, not with those of the run.
func TestOtherDataAfterRun(t *testing.T) {
	long(t)
	folder := filepath.Join(t.TempDir(), "pictures")
	aged(t, folder, 10)
	b, _ := page(t)
	b.drop(folder)
	b.ready()
	suiting := b.text("epochs-says") + b.text("fit")
	b.generated(endless)
	b.click("train")
	b.until(trains, "wgjepaPage.step() > 2")
	b.click("stop")
	b.state("done")
	b.open("about:blank")
	b.open(origin + "/folder/?test=1")
	b.state("empty")
	b.do(waits, chromedp.Click(`#resume-list button[aria-label^="Continue"]:enabled`, chromedp.NodeVisible))
	b.state("training")
	b.until(trains, "wgjepaPage.step() > 4")
	b.drop(folder)
	b.says("drop-error", "A training runs")
	b.click("stop")
	b.state("done")
	require.Empty(t, b.text("drop-error"), "no training runs any more")
	b.drop(folder)
	b.says("data-summary", "20 samples")
	b.ready()
	require.Equal(t, "recommended", eval[string](b, waits, `document.getElementById("preset").value`))
	require.Equal(t, suiting, b.text("epochs-says")+b.text("fit"))
	b.quiet()
}

// TestOwnSettings: the person's own settings that are for other data can be changed
// where nothing can be opened with them.
func TestOwnSettings(t *testing.T) {
	long(t)
	folder := filepath.Join(t.TempDir(), "pictures")
	aged(t, folder, 10)
	b, _ := page(t)
	b.generated(tiny)
	b.configure(strings.Replace(tiny, "[data]\n", "[data]\nsize = [24, 24, 24]\n", 1))
	b.drop(folder)
	b.says("drop-error", "own settings")
	require.True(t, eval[bool](b, waits, `document.getElementById("config-text").checkVisibility({ contentVisibilityAuto: true }) || document.getElementById("config-details").checkVisibility()`))
	require.Contains(t, eval[string](b, waits, `document.getElementById("config-text").value`), "size = [24, 24, 24]")
	require.True(t, eval[bool](b, waits, `document.getElementById("train").disabled || !document.getElementById("train").checkVisibility()`))
	require.True(t, eval[bool](b, waits, `(() => { const again = [...document.querySelectorAll("#drop-error button")].find((e) => e.textContent === "Start over"); again?.click(); return Boolean(again); })()`))
	b.says("data-summary", "20 samples")
	b.ready()
	require.Empty(t, b.text("drop-error"))
	require.False(t, eval[bool](b, waits, `document.getElementById("train").disabled`))
	require.Equal(t, "recommended", eval[string](b, waits, `document.getElementById("preset").value`))
	// Settings that suit the data also come with the button in the settings.
	suiting := eval[string](b, waits, `document.getElementById("epochs-says").textContent`)
	b.configure(strings.NewReplacer("patch_size = [6]", "patch_size = [4]").Replace(model))
	b.click("config-reset")
	b.until(waits, `document.getElementById("preset").value === "recommended"`)
	b.ready()
	require.Equal(t, suiting, eval[string](b, waits, `document.getElementById("epochs-says").textContent`))
	b.quiet()
}

// TestDoesNotFit: what does not fit is said in units that people read, with the batch
// that would.
func TestDoesNotFit(t *testing.T) {
	long(t)
	b, _ := page(t)
	b.generated(tiny)
	conf := strings.NewReplacer("batch_size = 4", "batch_size = 256", "embed_dim = 48", "embed_dim = 384", "patch_size = [6]", "patch_size = [2]", "size = 24\ncount = 76", "size = 32\ncount = 400").Replace(tiny)
	b.choose("config-import", write(t, t.TempDir(), "config.toml", []byte(conf)))
	said := b.says("fit", "Does not fit")
	require.Regexp(t, `needs \d\.\d GiB, .* at most 1\.0 GiB in one buffer\. A batch of \d+ samples would: .*batch_size = \d+ and accumulate_grad_batches = \d+\.`, said)
	require.NotRegexp(t, `\d{5}|\[`, said)
	require.True(t, eval[bool](b, waits, `document.getElementById("train").disabled`))
}

// TestLongNames: names without a space keep to a telephone's width, and stay as the
// files are called.
func TestLongNames(t *testing.T) {
	long(t)
	b, _ := page(t)
	folder := filepath.Join(t.TempDir(), "study")
	aged(t, folder, 4)
	pictures, err := filepath.Glob(filepath.Join(folder, "*.png"))
	require.NoError(t, err)
	same, err := os.ReadFile(pictures[0])
	require.NoError(t, err)
	for _, name := range []string{"a", "b"} {
		write(t, folder, fmt.Sprintf("%s_%s.png", name, strings.Repeat("a_very_long_name", 8)), same)
	}
	b.drop(folder)
	b.ready()
	require.Contains(t, b.text("data-notes"), "hold the same")
	b.window(360, 800, "light")
	require.LessOrEqual(t, b.overflow(), 0)
}

// TestCheckpointAfterData: a checkpoint that is dropped after its data goes on with them.
func TestCheckpointAfterData(t *testing.T) {
	long(t)
	b, _ := page(t)
	b.generated(tiny)
	b.click("train")
	b.until(trains, "wgjepaPage.step() >= 5")
	b.click("pause")
	b.state("paused")
	at := b.step()
	checkpoint := write(t, t.TempDir(), "mine.safetensors", b.download("download-checkpoint"))
	b.open("about:blank")
	b.open(origin + "/folder/?test=1")
	b.state("empty")
	b.generated(tiny)
	b.drop(checkpoint)
	b.says("train", fmt.Sprintf("Continue from update %d", at))
	b.click("train")
	b.until(trains, `document.documentElement.dataset.state === "done"`)
	b.says("progress-text", "Finished: 40 updates")
	require.NotContains(t, b.text("messages"), "Problem")
	b.quiet()
}
