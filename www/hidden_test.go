//go:build !js

package www

import (
	"strconv"
	"strings"
	"testing"
	"time"

	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// throttled is a page in a Chromium that treats hidden tabs as it does at home.
// Tests otherwise switch that off.
func throttled(t testing.TB) *tab {
	s := serve(t, built(t))
	b := browser(t, append(s.proxied(),
		chromedp.Flag("disable-background-timer-throttling", false),
		chromedp.Flag("disable-backgrounding-occluded-windows", false),
		chromedp.Flag("disable-renderer-backgrounding", false))...)
	b.open(origin + "/folder/?test=1")
	b.state("empty")
	return b
}

// covered opens another tab in the same window, in front.
func (b *tab) covered() *tab {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithNewWindow(false))
	b.t.Cleanup(cancel)
	other := attach(b.t, ctx)
	other.open("about:blank")
	other.front()
	b.until(waits, `document.visibilityState === "hidden"`)
	return other
}

// front brings a tab before the others.
func (b *tab) front() {
	b.t.Helper()
	_, err := chromedp.CallBrowser(b.ctx, target.ActivateTarget, target.ActivateTargetParams{TargetID: chromedp.FromContext(b.ctx).Target.TargetID})
	require.NoError(b.t, err)
}

// rate is how many updates a second a training does for a time.
func (b *tab) rate(during time.Duration) float64 {
	b.t.Helper()
	from, start := b.step(), time.Now()
	time.Sleep(during)
	return float64(b.step()-from) / time.Since(start).Seconds()
}

// TestHidden: a training goes on in a tab that is not seen, saves, and shows all
// of it when the tab is seen again; one ends and is probed there.
func TestHidden(t *testing.T) {
	long(t)
	b := throttled(t)
	b.generated(strings.Replace(tiny, "max_epochs = 4", "max_epochs = 40000", 1))
	b.click("train")
	b.until(trains, "wgjepaPage.step() > 10")
	seen := b.rate(8 * time.Second)
	other := b.covered()
	saved := eval[int](b, waits, "wgjepaPage.run().saved")
	unseen := b.rate(16 * time.Second)
	t.Logf("%.1f updates a second in sight, %.1f hidden", seen, unseen)
	require.Greater(t, unseen, seen/2)
	b.until(waits, "wgjepaPage.run().saved > "+strconv.Itoa(saved))
	require.Contains(t, b.text("saved"), "training goes on in the background")

	at := b.step()
	b.front()
	b.until(waits, `document.visibilityState === "visible"`)
	// The curves have what came meanwhile, to the last.
	b.until(waits, `Number(/at update ([\d]+)\.$/.exec(document.querySelector("#curves figcaption .visually-hidden").textContent)?.[1]) >= `+strconv.Itoa(at))
	require.NotContains(t, b.text("messages"), "nearly rest")
	b.until(waits, "wgjepaPage.step() > "+strconv.Itoa(at))
	b.click("stop")
	b.state("done")
	b.probed()

	// To the end, out of sight.
	b.generated(tiny)
	b.click("train")
	b.until(trains, "wgjepaPage.step() > 0")
	other.front()
	b.until(waits, `document.visibilityState === "hidden"`)
	b.until(trains, `document.documentElement.dataset.state === "done"`)
	b.probed()
	b.front()
	b.says("progress-text", "Finished: 40 updates")
	b.until(waits, `document.querySelector("#curves figcaption .visually-hidden").textContent.endsWith("at update 40.")`)
	b.quiet()
}

// TestFrozen: a tab that the browser freezes goes on when it thaws, from where
// it was, and the page says what became of the time.
func TestFrozen(t *testing.T) {
	long(t)
	b := throttled(t)
	freeze := func(state cdppage.SetWebLifecycleStateState) {
		_, err := chromedp.Call(b.ctx, cdppage.SetWebLifecycleState, cdppage.SetWebLifecycleStateParams{State: state})
		require.NoError(t, err)
	}
	b.generated(strings.Replace(tiny, "max_epochs = 4", "max_epochs = 40000", 1))
	b.click("train")
	b.until(trains, "wgjepaPage.step() > 10")
	seen := b.rate(5 * time.Second)
	b.covered()
	at := b.step()
	freeze(cdppage.SetWebLifecycleStateStateFrozen)
	time.Sleep(25 * time.Second)
	b.front()
	freeze(cdppage.SetWebLifecycleStateStateActive)
	b.until(waits, `document.visibilityState === "visible"`)
	during := float64(b.step()-at) / 25
	t.Logf("%.1f updates a second in sight, %.1f frozen", seen, during)
	require.Less(t, during, seen/4, "the tab was not frozen")
	b.says("messages", "let training nearly rest while the tab was hidden")
	now := b.step()
	b.until(trains, "wgjepaPage.step() > "+strconv.Itoa(now+10))
	b.state("training")
	b.click("save")
	b.until(waits, "wgjepaPage.run().saved > "+strconv.Itoa(now))
	b.click("stop")
	b.state("done")
	b.probed()
	b.quiet()
}
