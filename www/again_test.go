//go:build !js

package www

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// TestTwice: a button that is pressed twice does its work once.
func TestTwice(t *testing.T) {
	long(t)
	b, _ := page(t)
	b.generated(endless)
	eval[chromedp.Void](b, waits, `(async () => {
		const train = document.getElementById("train");
		for (let i = 0; i < 3; i++) { train.click(); await new Promise((resolve) => setTimeout(resolve, 2)); }
	})()`)
	b.until(trains, "wgjepaPage.step() > 2")
	require.NotContains(t, b.text("messages"), "another tab")
	require.Equal(t, "training", b.state("training", "data", "done"))
	b.click("stop")
	b.state("done")
	b.probed()
	require.Len(t, eval[[]string](b, waits, `[...document.querySelectorAll("#resume-list strong")].map((e) => e.textContent)`), 1)
	b.quiet()
}

// TestOtherData: data that are opened while the figures of the last training are
// still computed leave nothing of it, and no problem.
func TestOtherData(t *testing.T) {
	long(t)
	b, _ := page(t)
	b.generated(tiny)
	// As soon as training ends, the button for other data is pressed.
	eval[chromedp.Void](b, waits, `void new MutationObserver((_, o) => {
		if (document.documentElement.dataset.state !== "done") return;
		o.disconnect();
		globalThis.pressed = true;
		document.getElementById("try-generated").click();
	}).observe(document.documentElement, { attributes: true })`)
	b.click("train")
	b.until(trains, `globalThis.pressed && document.documentElement.dataset.state === "data" && document.getElementById("fit").textContent !== ""`)
	time.Sleep(2 * time.Second) // what was still asked of the last training
	require.Regexp(t, "samples ready|Ready", b.text("status"))
	require.NotContains(t, b.text("messages"), "Problem")
	require.Equal(t, 0, eval[int](b, waits, `document.querySelectorAll("#probe-table table").length`))
	require.Equal(t, "Not started.", b.text("progress-text"))
	require.Empty(t, b.text("saved"))
	b.quiet()
}

// TestUnfit: settings that are wrong train nothing until they are mended.
func TestUnfit(t *testing.T) {
	long(t)
	b, _ := page(t)
	b.generated(tiny)
	b.choose("config-import", write(t, t.TempDir(), "wrong.toml", []byte("batch_sise = 3\n")))
	b.says("config-error", "batch_sise")
	require.True(t, eval[bool](b, waits, `document.getElementById("train").disabled`), "it would train with the settings before these")
	b.configure(tiny)
	require.False(t, eval[bool](b, waits, `document.getElementById("train").disabled`))
}

// TestTableAnew: a table that was mended and is dropped again is read again, and is
// one table.
func TestTableAnew(t *testing.T) {
	long(t)
	folder := filepath.Join(t.TempDir(), "pictures")
	aged(t, folder, 10)
	b, _ := page(t)
	b.drop(folder)
	b.ready()
	for _, classes := range []int{2, 4} {
		text := "file;label\n"
		for i := range 20 {
			text += fmt.Sprintf("scan_%03d.png;%c\n", i, 'a'+i%classes)
		}
		b.drop(write(t, t.TempDir(), "mine.csv", []byte(text)))
		b.says("data-summary", fmt.Sprintf("%d classes", classes))
		b.ready()
		require.Equal(t, 3, eval[int](b, waits, `document.getElementById("labels-choice").options.length`))
	}
	b.quiet()
}

// TestLabelsAfterTraining: other labels of the same samples keep what was trained.
func TestLabelsAfterTraining(t *testing.T) {
	long(t)
	folder := filepath.Join(t.TempDir(), "pictures")
	aged(t, folder, 10)
	b, _ := page(t)
	b.drop(folder)
	b.ready()
	b.until(waits, `document.getElementById("label-column").options.length === 5`)
	b.pick("label-column", "sex")
	b.says("data-summary", "2 classes")
	b.configure(strings.NewReplacer("patch_size = [6]", "patch_size = [4]", "max_epochs = 4", "max_epochs = 2").Replace(model))
	b.click("train")
	b.until(trains, `document.documentElement.dataset.state === "done"`)
	b.probed()
	b.pick("label-column", "age [years]")
	b.says("data-summary", "years")
	b.ready()
	require.Equal(t, 0, eval[int](b, waits, `document.querySelectorAll("#probe-table table").length`))
	require.NotEmpty(t, b.download("download-weights"))
	b.click("probe-now")
	b.probed()
	b.quiet()
}
