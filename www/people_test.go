//go:build !js

package www

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/tracing"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// unnamed are the controls of the accessibility tree that have no name.
func (b *tab) unnamed() []string {
	b.t.Helper()
	tree, err := chromedp.Call(b.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	require.NoError(b.t, err)
	controls := []string{"button", "link", "textbox", "searchbox", "combobox", "listbox", "slider", "spinbutton", "checkbox", "radio", "switch", "tab", "menuitem", "progressbar", "DisclosureTriangle", "tabpanel", "region", "log", "img", "image"}
	text := func(v *accessibility.Value) (s string) {
		if v != nil {
			json.Unmarshal(v.Value, &s)
		}
		return s
	}
	bad, seen := []string{}, 0
	for _, n := range tree.Nodes {
		if role := text(n.Role); !n.Ignored && slices.Contains(controls, role) {
			seen++
			if strings.TrimSpace(text(n.Name)) == "" {
				bad = append(bad, fmt.Sprintf("%s (node %s)", role, n.NodeID))
			}
		}
	}
	require.Greater(b.t, seen, 5)
	return bad
}

// overflow is how far the page is wider than the window.
func (b *tab) overflow() int {
	return eval[int](b, waits, "document.documentElement.scrollWidth - document.documentElement.clientWidth")
}

func (b *tab) window(width, height int64, scheme string) {
	b.t.Helper()
	b.do(waits, chromedp.EmulateViewport(width, height))
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	require.NoError(b.t, err)
}

// TestPeople: in every main state each control has a name for a screen reader
// and nothing is wider than a telephone. It writes pictures of them all to
// build/screenshots, for a person to look at.
func TestPeople(t *testing.T) {
	long(t)
	b, _ := page(t)
	dir := filepath.Join(root(t), "build", "screenshots")
	look := func(state string) {
		t.Helper()
		require.Empty(t, b.unnamed(), "%s: controls without a name", state)
		for _, width := range []int64{360, 1440, 1920} {
			for _, scheme := range []string{"light", "dark"} {
				b.window(width, 1000, scheme)
				time.Sleep(300 * time.Millisecond) // drawings follow the window's size
				require.LessOrEqual(t, b.overflow(), 0, "%s is wider than %d", state, width)
				b.picture(filepath.Join(dir, fmt.Sprintf("%s-%d-%s.png", state, width, scheme)))
			}
		}
		b.window(1440, 1000, "light")
	}
	look("1-empty")
	text := write(t, t.TempDir(), "text.nii.gz", []byte("this is not a scan"))
	b.drop(text)
	b.says("drop-error", "text.nii.gz")
	look("2-refused")
	b.generated(tiny)
	b.until(waits, `document.querySelectorAll("#view-stage canvas").length > 0`)
	look("3-data")
	b.do(waits, chromedp.Click("#config-details summary"))
	b.do(waits, chromedp.Click("#local-proof summary"))
	b.do(waits, chromedp.Click("#diagnostics summary"))
	look("4-details")
	b.do(waits, chromedp.Click("#config-details summary"))
	b.do(waits, chromedp.Click("#local-proof summary"))
	b.do(waits, chromedp.Click("#diagnostics summary"))
	b.configure(strings.Replace(tiny, "max_epochs = 4", "max_epochs = 30", 1))
	b.click("train")
	b.until(trains, "wgjepaPage.step() > 20")
	b.click("pause")
	b.state("paused")
	b.until(waits, "wgjepaPage.run().saved > 0")
	look("5-paused")
	b.click("pause")
	b.until(trains, `document.documentElement.dataset.state === "done"`)
	b.probed()
	b.click("similar-now")
	b.until(waits, `document.querySelectorAll("#similar li").length > 0`)
	look("6-done")
	for _, view := range []string{"features", "surprise"} {
		b.click("view-" + view)
		time.Sleep(5 * time.Second)
		look("7-" + view)
	}
	b.open(origin + "/folder/?test=1")
	b.state("empty")
	b.until(waits, `document.querySelectorAll("#resume-list li").length > 0`)
	look("8-continue")
}

// TestKeyboard walks the page by Tab, and opens and trains without a mouse.
func TestKeyboard(t *testing.T) {
	long(t)
	b, _ := page(t)
	// walk presses Tab through the page and returns the ids that had the focus.
	walk := func(to string) []string {
		t.Helper()
		var seen []string
		for range 200 {
			b.do(waits, chromedp.KeyEvent(kb.Tab))
			id := eval[string](b, waits, "document.activeElement?.id || document.activeElement?.tagName || ''")
			if id == to || (to == "" && id == "BODY") {
				return append(seen, id)
			}
			require.True(t, eval[bool](b, waits, `(() => {
				const e = document.activeElement, s = getComputedStyle(e), p = e.labels?.[0] && getComputedStyle(e.labels[0]);
				const shows = (s) => s && (s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0 || s.boxShadow !== "none");
				return e === document.body || shows(s) || shows(p) || shows(e.nextElementSibling && getComputedStyle(e.nextElementSibling)); })()`), "%s does not show that it has the focus", id)
			seen = append(seen, id)
		}
		require.Fail(t, "Tab did not come to its end", "to %q, seen %v", to, seen)
		return nil
	}
	require.Contains(t, walk("try-generated"), "files")
	b.do(waits, chromedp.KeyEvent(kb.Enter))
	b.state("data")
	b.configure(tiny)
	eval[chromedp.Void](b, waits, "document.activeElement?.blur(), scrollTo(0, 0)")
	walk("train")
	b.do(waits, chromedp.KeyEvent(" "))
	b.until(trains, `document.documentElement.dataset.state === "done"`)
	b.probed()
	// Every control that is to be seen can be reached.
	want := eval[[]string](b, waits, `[...document.querySelectorAll("button, input, select, textarea, summary")].filter((e) => e.id && e.checkVisibility() && !e.disabled && e.tabIndex >= 0).map((e) => e.id)`)
	require.Greater(t, len(want), 15)
	eval[chromedp.Void](b, waits, `document.querySelector(".skip").focus()`)
	reached := walk("")
	for _, id := range want {
		require.Contains(t, reached, id)
	}
}

// TestSmooth: while a training runs the page itself is never busy for more than
// 50 ms at a time. Long tasks by the clock are printed; on a machine whose cores
// all compute they are mostly waiting, so the tasks' own time is what counts.
func TestSmooth(t *testing.T) {
	long(t)
	b, _ := page(t)
	b.generated(endless)
	b.click("train")
	b.until(trains, "wgjepaPage.step() > 10")
	eval[chromedp.Void](b, waits, `void (globalThis.long = [], new PerformanceObserver((l) => long.push(...l.getEntries().map((e) => e.duration))).observe({ type: "longtask" }))`)
	own := b.traced(15 * time.Second)
	byClock := eval[[]float64](b, waits, "long")
	frames := eval[float64](b, waits, `new Promise((resolve) => { let n = 0; const start = performance.now(); const f = () => { n++; performance.now() - start < 3000 ? requestAnimationFrame(f) : resolve(n / 3); }; requestAnimationFrame(f); })`)
	slices.Sort(own)
	longest := own[len(own)-1]
	t.Logf("in 15 s of training: %d tasks of the page, the longest computed %.1f ms; long tasks by the clock: %d %.0f ms; %.0f frames a second", len(own), longest, len(byClock), byClock, frames)
	require.LessOrEqual(t, longest, 50.0, "milliseconds")
	b.state("training")
}

// traced returns the processor's milliseconds of every task of the page's main
// thread during a time.
func (b *tab) traced(during time.Duration) []float64 {
	b.t.Helper()
	type traceEvent struct {
		Name     string
		Pid, Tid int
		Tdur     float64 // µs of the processor
		Args     struct{ Name string }
	}
	type thread struct{ pid, tid int }
	tasks, pages := map[thread][]float64{}, map[thread]bool{}
	complete := make(chan struct{})
	require.NoError(b.t, chromedp.Listen(b.ctx, func(event any) {
		switch e := event.(type) {
		case *tracing.EventDataCollected:
			for _, v := range e.Value {
				var x traceEvent
				if json.Unmarshal(v, &x) != nil {
					continue
				}
				at := thread{x.Pid, x.Tid}
				switch {
				case x.Name == "thread_name" && x.Args.Name == "CrRendererMain":
					pages[at] = true
				case strings.HasSuffix(x.Name, "RunTask"):
					tasks[at] = append(tasks[at], x.Tdur/1000)
				}
			}
		case *tracing.EventTracingComplete:
			close(complete)
		}
	}))
	_, err := chromedp.Call(b.ctx, tracing.Start, tracing.StartParams{TraceConfig: &tracing.TraceConfig{IncludedCategories: []string{"toplevel", "disabled-by-default-devtools.timeline"}, ExcludedCategories: []string{"*"}}})
	require.NoError(b.t, err)
	time.Sleep(during)
	_, err = chromedp.Call(b.ctx, tracing.End, cdp.Empty{})
	require.NoError(b.t, err)
	select {
	case <-complete:
	case <-time.After(waits):
		require.Fail(b.t, "the trace did not come")
	}
	var all []float64
	for at := range pages {
		all = append(all, tasks[at]...)
	}
	require.NotEmpty(b.t, all, "the trace has no task of the page")
	return all
}

// TestFirstStep prints how long it takes from opening the page to the first
// step, on a second visit. The bound is for loaded machines.
func TestFirstStep(t *testing.T) {
	long(t)
	b, _ := page(t)
	first := func(visit string) float64 {
		// The page presses its own buttons as they can be pressed, and looks at its
		// own clock: seconds since it was opened.
		times := eval[[]float64](b, trains, `(async () => {
			const id = (id) => document.getElementById(id), times = [];
			const until = async (what) => {
				while (!what()) await new Promise((resolve) => setTimeout(resolve, 1));
				times.push(performance.now() / 1000);
			};
			await until(() => !id("try-generated").disabled);
			id("try-generated").click();
			await until(() => document.documentElement.dataset.state === "data" && !id("train").disabled);
			id("train").click();
			await until(() => wgjepaPage.step() > 0);
			return times;
		})()`)
		t.Logf("%s: ready after %.2f s, generated volumes open after %.2f s, first step after %.2f s", visit, times[0], times[1], times[2])
		return times[2]
	}
	eval[chromedp.Void](b, waits, "navigator.serviceWorker.ready.then(() => {})")
	first("first visit")
	b.click("stop")
	b.state("done")
	b.open("about:blank")
	b.open(origin + "/folder/?test=1")
	warm := first("second visit")
	require.Less(t, warm, 60.0)
}
