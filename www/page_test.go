//go:build !js

package www

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// waits is the longest that anything but a training may take: two cores that
// compute graphics and much else are slow at times.
const waits = 2 * time.Minute

// trains is the longest that a training may take.
const trains = 6 * time.Minute

// model is a training of a second or two once its kernels are compiled.
const model = `
batch_size = 4
max_epochs = 4
warmup_epochs = 1
learning_rate = 3e-3
predictor_embed_dim = 24
predictor_depth = 1
[encoder]
embed_dim = 48
depth = 1
num_heads = 2
patch_size = [6]
[regularize_tokens]
sigreg = 0.02
[probe]
dense_volumes = 8
resamples = 100
`

// tiny is model on generated volumes.
const tiny = model + `
[data]
val = 12
test = 24
[data.phantoms]
size = 24
count = 76
`

// generated opens generated volumes with the settings of conf, through the
// buttons for them.
func (b *tab) generated(conf string) {
	b.t.Helper()
	b.click("try-generated")
	b.state("data")
	b.configure(conf)
}

// configure imports settings and waits until they are taken.
func (b *tab) configure(conf string) {
	b.t.Helper()
	eval[chromedp.Void](b, waits, `void delete document.getElementById("fit").dataset.fits`)
	b.choose("config-import", write(b.t, b.t.TempDir(), "config.toml", []byte(conf)))
	b.until(waits, `document.getElementById("preset").value === "own" && document.getElementById("status").textContent.endsWith("ready.") && document.getElementById("fit").dataset.fits === "true"`)
}

// step is the last update whose figures the page has.
func (b *tab) step() int {
	b.t.Helper()
	return eval[int](b, waits, "wgjepaPage.step()")
}

// download presses a button and returns the file that came of it.
func (b *tab) download(id string) []byte {
	b.t.Helper()
	dir, err := os.MkdirTemp("", "wgjepa-download")
	require.NoError(b.t, err)
	defer os.RemoveAll(dir)
	yes := true
	_, err = chromedp.CallBrowser(b.ctx, cdpbrowser.SetDownloadBehavior, cdpbrowser.SetDownloadBehaviorParams{
		Behavior: cdpbrowser.SetDownloadBehaviorBehaviorAllow, DownloadPath: dir, EventsEnabled: &yes,
	})
	require.NoError(b.t, err)
	b.click(id)
	deadline := time.Now().Add(waits)
	for {
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		require.NoError(b.t, err)
		if len(files) == 1 && !strings.HasSuffix(files[0], ".crdownload") && !strings.Contains(files[0], "org.chromium") {
			content, err := os.ReadFile(files[0])
			require.NoError(b.t, err)
			return content
		}
		if time.Now().After(deadline) {
			require.Fail(b.t, "no file came", "%s: %v; the page says %q", id, files, b.text("download-says"))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// drop drags files or folders from outside onto the page.
func (b *tab) drop(paths ...string) {
	b.t.Helper()
	at := eval[struct{ X, Y float64 }](b, waits, `(() => { scrollTo(0, 0); const r = document.getElementById("drop").getBoundingClientRect(); return { X: r.x + r.width / 2, Y: r.y + r.height / 2 }; })()`)
	for _, kind := range []input.DispatchDragEventType{input.DispatchDragEventTypeDragEnter, input.DispatchDragEventTypeDragOver, input.DispatchDragEventTypeDrop} {
		_, err := chromedp.Call(b.ctx, input.DispatchDragEvent, input.DispatchDragEventParams{
			Type: kind, X: at.X, Y: at.Y, Data: &input.DragData{Items: []*input.DragDataItem{}, Files: paths, DragOperationsMask: 1},
		})
		require.NoError(b.t, err)
	}
}

// command is the native program.
func command(t testing.TB) string {
	t.Helper()
	program := filepath.Join(root(t), "bin", "wgjepa")
	if _, err := os.Stat(program); err != nil {
		t.Skip("bin/wgjepa is absent: make build builds it")
	}
	return program
}

// native runs the command.
func native(t testing.TB, args ...string) string {
	t.Helper()
	program := command(t)
	ctx, cancel := context.WithTimeout(context.Background(), trains)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "NODEVICE_SELECT=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "wgjepa %s\n%s", strings.Join(args, " "), out)
	return string(out)
}

// TestGenerated is the story of who only looks: generated volumes, training,
// the loss falls, the table of the probe fills.
func TestGenerated(t *testing.T) {
	b, s := page(t)
	b.generated(tiny)
	require.Contains(t, b.text("data-summary"), "76")
	begin := eval[float64](b, waits, `(() => {
		globalThis.losses = [];
		globalThis.sampling = setInterval(() => { const s = wgjepaPage.stats(); if (s && s.step !== losses.at(-1)?.step) losses.push({ step: s.step, loss: s.loss }); }, 20);
		return performance.now(); })()`)
	b.click("train")
	b.state("training")
	b.until(trains, "losses.length > 0")
	t.Logf("first figures %.1f s after Train", (eval[float64](b, waits, "performance.now()")-begin)/1000)
	b.until(trains, `document.documentElement.dataset.state === "done"`)
	b.says("progress-text", "Finished: 40 updates")
	losses := eval[[]struct {
		Step int
		Loss float64
	}](b, waits, "clearInterval(sampling), losses")
	require.Less(t, losses[len(losses)-1].Loss, losses[0].Loss, "%v", losses)
	b.probed()
	table := b.text("probe-table")
	for _, word := range []string{"Trained", "Untrained", "Which class is a sample?", "balanced accuracy"} {
		require.Contains(t, strings.ToLower(table), strings.ToLower(word))
	}
	require.Regexp(t, regexp.MustCompile(`\d\.\d{3}`), table)
	require.Empty(t, elsewhere(s.asked()))
	b.quiet()
}

// endless is tiny, of which the training does not end by itself while a test looks.
var endless = strings.Replace(tiny, "max_epochs = 4", "max_epochs = 4000", 1)

// probed waits until the probe at the end of a training has filled its table.
func (b *tab) probed() {
	b.t.Helper()
	b.until(trains, `document.getElementById("probe-says").innerText.startsWith("After " + wgjepaPage.step().toLocaleString("en") + " update") && !document.getElementById("probe-now").disabled`)
	require.NotZero(b.t, eval[int](b, waits, `document.querySelectorAll("#probe-table tbody tr").length`))
}

// quiet asserts that the page had nothing to complain of in its console.
func (b *tab) quiet() {
	b.t.Helper()
	for _, m := range b.console() {
		kind, _, _ := strings.Cut(m, " ")
		require.NotContains(b.t, []string{"error", "exception"}, kind, m)
	}
}

// TestReload: a training that is interrupted by reloading or closing the tab goes
// on to the same weights, bit for bit, as one that was not; and the native
// command goes on from the page's checkpoint.
func TestReload(t *testing.T) {
	long(t)
	b, _ := page(t)
	const updates = 120
	conf := strings.Replace(tiny, "max_epochs = 4", "max_epochs = 12", 1)
	train := func() []byte {
		b.until(trains, `document.documentElement.dataset.state === "done"`)
		b.says("progress-text", "Finished: 120 updates")
		b.probed()
		return b.download("download-weights")
	}
	b.generated(conf)
	b.click("train")
	whole := train()
	require.Greater(t, len(whole), 100_000)

	// The second run is paused, so that where it stands is known, then the tab
	// is loaded again.
	b.open(origin + "/folder/?test=1")
	b.state("empty")
	b.generated(conf)
	b.click("train")
	b.until(trains, "wgjepaPage.step() >= 5")
	b.click("pause")
	b.state("paused")
	at := b.step()
	require.Less(t, at, updates, "the pause came too late")
	time.Sleep(300 * time.Millisecond)
	require.Equal(t, at, b.step(), "a paused training moved")
	b.until(waits, "(wgjepaPage.run()?.saved ?? 0) >= wgjepaPage.step()")
	checkpoint := b.download("download-checkpoint")
	settings := b.download("config-export")

	b.open("about:blank")
	b.open(origin + "/folder/?test=1")
	b.state("empty")
	b.until(waits, `document.querySelectorAll("#resume-list li").length === 2`)
	list := b.text("resume-list")
	require.Contains(t, list, "at update "+strconv.Itoa(at))
	require.Contains(t, list, "finished, 120 updates")
	b.do(waits, chromedp.Click(`#resume-list button[aria-label^="Continue"]`, chromedp.NodeVisible))
	parts := train()
	require.True(t, bytes.Equal(whole, parts), "the interrupted training ended in other weights")

	// The third is closed in mid-training, without a word.
	third := b.beside()
	third.generated(conf)
	third.click("train")
	third.until(trains, "wgjepaPage.step() >= 3")
	third.click("save")
	third.until(waits, "wgjepaPage.run().saved > 0")
	require.Less(t, third.step(), updates, "it was saved too late")
	require.NoError(t, chromedp.Cancel(third.ctx))
	b.open("about:blank")
	b.open(origin + "/folder/?test=1")
	b.state("empty")
	b.do(waits, chromedp.Click(`#resume-list button[aria-label^="Continue"]:enabled`, chromedp.NodeVisible))
	require.True(t, bytes.Equal(whole, train()), "the training whose tab was closed ended in other weights")

	// Natively to the end, from the state in mid-training and the page's settings.
	run := filepath.Join(t.TempDir(), "run")
	write(t, run, "checkpoint.safetensors", checkpoint)
	write(t, run, "config.toml", settings)
	out := native(t, "train", "phantoms", "--resume", "--out", run)
	weights, err := os.Stat(filepath.Join(run, "weights.safetensors"))
	require.NoError(t, err, out)
	require.EqualValues(t, len(whole), weights.Size())
}

// TestLost: the device goes in mid-training; the page says so and goes on from
// its autosave by itself, to the same weights.
func TestLost(t *testing.T) {
	long(t)
	b, _ := page(t)
	b.generated(strings.Replace(tiny, "max_epochs = 4", "max_epochs = 12", 1))
	b.click("train")
	b.until(trains, "wgjepaPage.step() >= 3")
	b.click("save")
	b.until(waits, "wgjepaPage.run().saved > 0")
	eval[chromedp.Void](b, waits, "void wgjepaPage.lose()")
	b.says("messages", "The graphics device was lost")
	b.until(trains, `document.documentElement.dataset.state === "done"`)
	b.says("progress-text", "Finished: 120 updates")
}

// TestHippocampus drops a folder of real volumes with voxel labels.
func TestHippocampus(t *testing.T) {
	long(t)
	folder := filepath.Join(t.TempDir(), "hippocampus")
	hippocampi(t, folder, 32)
	b, s := page(t)
	b.drop(folder)
	b.state("data")
	b.until(waits, `!document.getElementById("data").hidden`)
	require.Contains(t, b.text("data-list"), "hippocampus_")
	require.Contains(t, b.text("data-list"), "1\u00a0mm")
	b.says("view-stage", "Axial left | right")
	b.says("slices", "Back to front")
	b.until(waits, `document.getElementById("fit").textContent !== ""`)
	b.configure(strings.Replace(model, "max_epochs = 4", "max_epochs = 2", 1) + "[data]\nsize = [36, 48, 36]\nval = 4\ntest = 8\n")
	b.click("train")
	b.until(trains, `document.documentElement.dataset.state === "done"`)
	b.says("progress-text", "Finished")
	b.probed()
	require.Contains(t, b.text("probe-table"), "Which label has a patch?")
	require.Empty(t, elsewhere(s.asked()))
}

// TestAdrenal drops a set of MedMNIST, whose labels are in the file.
func TestAdrenal(t *testing.T) {
	long(t)
	dir := shared(t, "data", "JEPA_TEST_DATA")
	b, s := page(t)
	b.drop(filepath.Join(dir, "medmnist3d", "adrenalmnist3d.npz"))
	b.state("data")
	require.Contains(t, b.says("data-summary", "1,584"), "28")
	b.configure(strings.NewReplacer("max_epochs = 4", "max_epochs = 1\nmax_steps = 8", "patch_size = [6]", "patch_size = [7]").Replace(model))
	b.click("train")
	b.until(trains, `document.documentElement.dataset.state === "done"`)
	b.says("progress-text", "Finished: 8 updates")
	b.probed()
	require.Contains(t, b.text("probe-table"), "Which class is a sample?")
	require.Empty(t, elsewhere(s.asked()))
}

// TestNativeCheckpoint: a training that the native command began, and that was
// interrupted, goes on in the page to its end.
func TestNativeCheckpoint(t *testing.T) {
	long(t)
	set := filepath.Join(shared(t, "data", "JEPA_TEST_DATA"), "medmnist3d", "adrenalmnist3d.npz")
	program := command(t)
	b, _ := page(t)
	run := filepath.Join(t.TempDir(), "run")
	conf := write(t, t.TempDir(), "config.toml", []byte(strings.NewReplacer("max_epochs = 4", "max_epochs = 2\nmax_steps = 400", "patch_size = [6]", "patch_size = [7]").Replace(model)))
	cmd := exec.Command(program, "train", set, "--config", conf, "--out", run, "--checkpoint-every", "1")
	cmd.Env = append(os.Environ(), "NODEVICE_SELECT=1")
	require.NoError(t, cmd.Start())
	state := filepath.Join(run, "checkpoint.safetensors")
	for deadline := time.Now().Add(waits); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(state); err == nil {
			break
		}
		require.True(t, time.Now().Before(deadline), "the native training saved nothing")
	}
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.Error(t, cmd.Wait(), "it was not interrupted")

	b.drop(state, set)
	said := b.says("train", "Continue from update")
	at, err := strconv.Atoi(strings.TrimPrefix(said, "Continue from update "))
	require.NoError(t, err, said)
	require.Greater(t, at, 0)
	b.click("train")
	b.until(trains, `document.documentElement.dataset.state === "done"`)
	b.says("progress-text", "Finished: 400 updates")
	require.GreaterOrEqual(t, b.step(), 400)
}
