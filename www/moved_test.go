//go:build !js

package www

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// adapters are the values of the choice of adapters, the present one first.
func (b *tab) adapters() []string {
	b.t.Helper()
	return eval[[]string](b, waits, `(() => { const e = document.getElementById("adapter"); return [e.value, ...[...e.options].map((o) => o.value).filter((v) => v !== e.value)]; })()`)
}

// TestAdapterAfterTraining: another adapter, chosen after a training, has what was
// trained, also where the settings were changed meanwhile.
func TestAdapterAfterTraining(t *testing.T) {
	long(t)
	b, _ := page(t)
	b.generated(small)
	b.click("train")
	b.until(trains, `document.documentElement.dataset.state === "done"`)
	b.until(trains, `!document.getElementById("probe-now").disabled && document.getElementById("probe-table").childElementCount > 0`)
	before := b.download("download-weights")
	adapters := b.adapters()
	require.Greater(t, len(adapters), 1)
	b.pick("model-size", "tiny")
	b.until(waits, `document.getElementById("model-size").value === "tiny" && !document.getElementById("train").disabled`)
	for _, to := range []string{adapters[1], adapters[0]} {
		eval[chromedp.Void](b, waits, `void (document.getElementById("fit").textContent = "")`)
		b.pick("adapter", to)
		b.until(trains, `document.getElementById("fit").textContent !== "" && !document.getElementById("train").disabled`)
		require.NotContains(t, b.text("messages"), "no longer")
		require.NotZero(t, eval[int](b, waits, `document.getElementById("probe-table").childElementCount`), "the table of the encoder that is still there")
		require.Equal(t, before, b.download("download-weights"))
		b.click("similar-now")
		b.until(waits, `document.querySelectorAll("#similar li").length > 0 && !document.getElementById("similar-now").disabled`)
	}
	b.quiet()
}

// stopped presses Stop and waits until what follows a training is done.
func (b *tab) stopped() {
	b.t.Helper()
	b.click("stop")
	b.state("done")
	b.until(trains, `!document.getElementById("probe-now").disabled`)
}

// trainedElsewhere trains the newest run that is kept in a second tab for a while, and closes
// that tab.
func (b *tab) trainedElsewhere() (step int) {
	b.t.Helper()
	second := b.beside()
	second.do(waits, chromedp.Click(`#resume-list button[aria-label^="Continue"]:enabled`, chromedp.NodeVisible))
	second.state("training")
	at := second.step()
	second.until(trains, fmt.Sprintf("wgjepaPage.step() > %d", at+5))
	second.click("stop")
	second.state("done")
	second.until(waits, "(wgjepaPage.run()?.saved ?? 0) >= wgjepaPage.step()")
	step = second.step()
	second.until(trains, `!document.getElementById("probe-now").disabled`)
	time.Sleep(time.Second) // it describes the run once more
	require.NoError(b.t, chromedp.Cancel(second.ctx))
	return step
}

// TestTrainedElsewhere: a run that another tab has trained further meanwhile goes on
// from there, and is not written over; one that was removed comes back from memory.
func TestTrainedElsewhere(t *testing.T) {
	long(t)
	b, _ := page(t)
	b.generated(endless)
	b.click("train")
	b.until(trains, "wgjepaPage.step() > 2")
	b.stopped()
	mine := b.step()

	there := b.trainedElsewhere()
	require.Greater(t, there, mine)
	b.click("save")
	b.says("messages", fmt.Sprintf("saved at update %d stays", there))
	b.click("train")
	b.says("messages", fmt.Sprintf("it goes on from update %d", there))
	b.until(trains, fmt.Sprintf("wgjepaPage.step() > %d", there))
	b.stopped()

	// Removed in a second tab.
	mine = b.step()
	second := b.beside()
	second.do(waits, chromedp.Click(`#resume-list button[aria-label^="Remove"]:enabled`, chromedp.NodeVisible))
	second.do(waits, chromedp.Click(`#resume-list button[aria-label^="Remove"]:enabled`, chromedp.NodeVisible))
	second.until(waits, `document.querySelectorAll("#resume-list li").length === 0`)
	b.click("train")
	b.until(trains, fmt.Sprintf("wgjepaPage.step() > %d", mine))
	require.NotContains(t, b.text("messages"), "Problem")
	b.stopped()
	b.click("save")
	b.says("messages", fmt.Sprintf("It is saved at update %d", b.step()))
	b.quiet()
}

// TestRemoveBusy: a list that is old does not remove a run that another tab trains.
func TestRemoveBusy(t *testing.T) {
	long(t)
	b, _ := page(t)
	b.generated(endless)
	b.click("train")
	b.until(trains, "wgjepaPage.step() > 2")
	b.stopped()
	second := b.beside()
	second.until(waits, `document.querySelectorAll("#resume-list li").length === 1`)
	at := b.step()
	b.click("train")
	b.until(trains, fmt.Sprintf("wgjepaPage.step() > %d", at))
	eval[chromedp.Void](second, waits, `(async () => {
		const away = document.querySelector('#resume-list button[aria-label^="Remove"]');
		away.click();
		away.click();
	})()`)
	second.says("drop-error", "open in another tab")
	b.click("save")
	b.says("messages", "Saved at update")
	b.click("stop")
	b.state("done")
}

// TestLostAfterTraining: a device that is lost after a training does not take along
// what was trained.
func TestLostAfterTraining(t *testing.T) {
	long(t)
	b, _ := page(t)
	b.generated(tiny)
	b.click("train")
	b.until(trains, `document.documentElement.dataset.state === "done"`)
	b.probed()
	before := b.download("download-weights")
	eval[chromedp.Void](b, waits, "void wgjepaPage.lose()")
	b.click("probe-now")
	b.says("messages", "loaded again, as it was saved at update 40")
	require.Equal(t, before, b.download("download-weights"))
	b.click("probe-now")
	b.probed()
}
