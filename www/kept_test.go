//go:build !js

package www

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// small trains on the twins, without a GPU.
const small = `
batch_size = 4
max_epochs = 10
warmup_epochs = 1
predictor_embed_dim = 24
predictor_depth = 1
[encoder]
embed_dim = 48
depth = 1
num_heads = 2
patch_size = [4]
[data]
val = 2
test = 2
[data.phantoms]
size = 16
count = 24
`

const smallSteps = 50

// told is an answer of wasm/worker.js to a message about files.
type told struct {
	Error, Code string
	Listed      []struct {
		Path string
		Size int
	}
	Text string // of content
}

// file sends a message of wasm/worker.js.
func (b *tab) file(message string) told {
	b.t.Helper()
	return eval[told](b, time.Minute, fmt.Sprintf(`harness.ask(%s).then(async (m) => ({ ...m, content: undefined, text: m.content && (await new Response(m.content).text()) }))`, message))
}

// paths are the files below /runs.
func (b *tab) paths() map[string]int {
	b.t.Helper()
	answer := b.file(`{ list: "/runs" }`)
	require.Empty(b.t, answer.Error)
	files := map[string]int{}
	for _, f := range answer.Listed {
		files[f.Path] = f.Size
	}
	return files
}

// digest is that of a file's content.
func (b *tab) digest(path string) string {
	b.t.Helper()
	return eval[string](b, time.Minute, fmt.Sprintf(`harness.ask({ get: %q }).then(async (m) => [...new Uint8Array(await crypto.subtle.digest("SHA-256", await new Response(m.content).arrayBuffer()))].join())`, path))
}

// TestKeptFiles: /runs is in the origin-private file system, and does what
// files do.
func TestKeptFiles(t *testing.T) {
	b, url := harness(t, nil)
	require.Empty(t, b.file(`{ put: "/runs/a/page.json", content: new TextEncoder().encode("one") }`).Error)
	require.Empty(t, b.file(`{ put: "/runs/a/page.json", content: new Blob(["two"]) }`).Error)
	require.Equal(t, "two", b.file(`{ get: "/runs/a/page.json" }`).Text)
	require.Equal(t, "File", eval[string](b, time.Minute, `harness.ask({ get: "/runs/a/page.json" }).then((m) => m.content.constructor.name)`))
	require.Empty(t, b.file(`{ put: "/data/scan", content: new Blob([new Uint8Array(5 << 20).fill(65)]) }`).Error)
	require.Empty(t, b.file(`{ keep: "/data/scan", to: "/runs/a/data/deep/scan" }`).Error)
	require.Equal(t, b.digest("/data/scan"), b.digest("/runs/a/data/deep/scan"))
	require.Equal(t, map[string]int{"/runs/a/page.json": 3, "/runs/a/data/deep/scan": 5 << 20}, b.paths())
	for _, message := range []string{`{ get: "/runs/none" }`, `{ get: "/runs/none/none" }`, `{ get: "/data/none" }`, `{ keep: "/data/none", to: "/runs/a/x" }`, `{ list: "/runs/none" }`} {
		require.Equal(t, "ENOENT", b.file(message).Code, message)
	}
	require.Equal(t, "EISDIR", b.file(`{ get: "/runs/a" }`).Code)

	// What is kept outlasts the tab; what is in memory does not.
	b.open(url + "/www/testdata/harness.html")
	b.until(time.Minute, "globalThis.harness")
	require.Len(t, b.paths(), 2)
	require.Equal(t, "ENOENT", b.file(`{ get: "/data/scan" }`).Code)
	require.Empty(t, b.file(`{ remove: "/runs/a" }`).Error)
	require.Empty(t, b.file(`{ remove: "/runs/a" }`).Error, "to remove what is not there")
	require.Empty(t, b.paths())
}

// TestKeptFull: a quota that is used up is told, and costs nothing that was there.
func TestKeptFull(t *testing.T) {
	b, url := harness(t, nil)
	ask[any](b, time.Minute, "open", map[string]any{"paths": []string{"phantoms"}, "config": []string{small}, "set": []string{"max_epochs=1"}})
	ask[any](b, time.Minute, "train", map[string]any{"adapter": "cpu", "dir": "/runs/full"})
	const path = "/runs/full/checkpoint.safetensors"
	before, files := b.digest(path), b.paths()
	limit := func(bytes float64) {
		b.do(time.Minute, func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
			return chromedp.Void{}, target.Call(ctx, storage.CommandOverrideQuotaForOrigin, storage.OverrideQuotaForOriginParams{Origin: url, QuotaSize: &bytes}, nil)
		})
	}
	limit(1000)
	answer := b.file(`{ put: "/runs/full/more", content: new Blob([new Uint8Array(30 << 20)]) }`)
	require.Equal(t, "ENOSPC", answer.Code)
	require.Contains(t, answer.Error, "no room")
	saved := eval[answered[any]](b, time.Minute, `harness.request("save", { path: `+quote(path)+` })`)
	require.NotNil(t, saved.Error)
	require.Contains(t, saved.Error.Message, "free space")
	require.Equal(t, before, b.digest(path))
	require.Equal(t, files, b.paths(), "something half was left")
	limit(1 << 30)
	ask[any](b, time.Minute, "save", map[string]any{"path": path})
	ask[any](b, time.Minute, "load", map[string]any{"path": path})
}

// TestKeptChanged: a file that is changed or removed after it was dropped is
// refused by its name, and the program lives on.
func TestKeptChanged(t *testing.T) {
	b, _ := harness(t, nil)
	path := filepath.Join(t.TempDir(), "scan.npy")
	require.NoError(t, os.WriteFile(path, make([]byte, 3<<20), 0o644))
	eval[any](b, time.Minute, `{
		const input = Object.assign(document.createElement("input"), { type: "file", id: "files" });
		document.body.append(input);
		globalThis.troubles = [];
		harness.worker.addEventListener("message", ({ data }) => { if (data.trouble) troubles.push(data.trouble + ": " + data.message); });
	}`)
	for _, spoil := range []func() error{
		func() error { return os.WriteFile(path, make([]byte, 4<<20), 0o644) },
		func() error { return os.Remove(path) },
	} {
		b.do(time.Minute, chromedp.SetUploadFiles("#files", []string{path}))
		require.Empty(t, b.file(`{ put: "/data/scan.npy", content: document.getElementById("files").files[0] }`).Error)
		require.NoError(t, spoil())
		opened := eval[answered[any]](b, time.Minute, `harness.request("open", { paths: ["/data/scan.npy"] })`)
		require.NotNil(t, opened.Error)
		require.Contains(t, opened.Error.Message, "/data/scan.npy")
		b.until(time.Minute, `troubles.length > 0`)
		require.Contains(t, eval[string](b, time.Minute, `troubles.pop()`), "/data/scan.npy: it was changed, moved or removed after it was given")
		eval[any](b, time.Minute, `{ troubles.length = 0; }`)
		kept := b.file(`{ keep: "/data/scan.npy", to: "/runs/r/scan.npy" }`)
		require.Equal(t, "EIO", kept.Code)
		require.Empty(t, b.paths())
	}
	ask[any](b, time.Minute, "open", map[string]any{"paths": []string{"phantoms"}})
}

// TestKeptKilled: a training that saves after every update ends in the same
// bits, whenever its tab is reloaded.
func TestKeptKilled(t *testing.T) {
	kills := 8
	if testing.Short() {
		kills = 2
	}
	b, _ := harness(t, nil)
	data := map[string]any{"paths": []string{"phantoms"}, "config": []string{small}}
	train := map[string]any{"adapter": "cpu", "checkpoint_every": 1, "stats_ms": 1}
	ask[any](b, time.Minute, "open", data)
	train["dir"] = "/runs/whole"
	ask[any](b, 5*time.Minute, "train", train)
	want := b.digest("/runs/whole/weights.safetensors")

	train["dir"] = "/runs/parts"
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed) // of the moments, which are not the same bits twice anyway
	r := rand.New(rand.NewPCG(seed, 0))
	reached := 0.0
	for kill := 0; ; kill++ {
		ask[any](b, time.Minute, "open", data)
		if _, ok := b.paths()["/runs/parts/checkpoint.safetensors"]; ok || reached > 1 {
			loaded := ask[struct{ Step float64 }](b, time.Minute, "load", map[string]any{"path": "/runs/parts/checkpoint.safetensors"})
			require.GreaterOrEqual(t, loaded.Step, reached-1, "more than the update at hand was lost")
			reached = loaded.Step
		}
		if kill == kills || reached > smallSteps-10 {
			t.Logf("%d kills, the last start from update %.0f", kill, reached)
			break
		}
		// The page reloads itself, so that the moment is not the test's, which
		// may be slow: two updates after the start, and then at any moment.
		eval[any](b, time.Minute, fmt.Sprintf(`{
			sessionStorage.step = 0;
			globalThis.old = true;
			void harness.client.request("train", %s, (e) => {
				if (!e.stats) return;
				sessionStorage.step = e.stats.step;
				if (e.stats.step === %d) setTimeout(() => location.reload(), %d);
			}).catch(() => {});
		}`, quote(train), int(reached)+2, r.IntN(250)))
		b.until(2*time.Minute, "!globalThis.old && globalThis.harness")
		reached = max(reached, eval[float64](b, time.Minute, "Number(sessionStorage.step)"))
	}
	require.Greater(t, reached, 1.0, "no kill landed within the training")
	result := ask[struct{ Step int }](b, 5*time.Minute, "train", train)
	require.Equal(t, smallSteps, result.Step)
	require.Equal(t, want, b.digest("/runs/parts/weights.safetensors"), "other weights than the training that was not interrupted")
	for path := range b.paths() {
		require.NotRegexp(t, `\.(tmp|part|keep)$`, path)
	}
}

// TestKeptNowhere: a browser that has the file system and cannot write to it, as
// WebKitGTK, keeps runs in memory, and nothing fails in mid-training.
func TestKeptNowhere(t *testing.T) {
	worker, err := os.ReadFile(filepath.Join(root(t), "wasm", "worker.js"))
	require.NoError(t, err)
	b, _ := harness(t, map[string]http.Handler{"/wasm/worker.js": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		w.Write([]byte(`FileSystemFileHandle.prototype.createSyncAccessHandle = () => Promise.reject(new DOMException("Backend does not support this operation", "NotSupportedError"));`))
		w.Write(worker)
	})})
	require.Empty(t, b.file(`{ put: "/runs/a/page.json", content: new Blob(["one"]) }`).Error)
	require.Equal(t, "one", b.file(`{ get: "/runs/a/page.json" }`).Text)
	require.Equal(t, "Blob", eval[string](b, waits, `harness.ask({ get: "/runs/a/page.json" }).then((m) => m.content.constructor.name)`), "it is not in memory") // a File is of the disk
	require.Zero(t, eval[int](b, waits, `navigator.storage.getDirectory().then(async (d) => { let n = 0; for await (const _ of d.keys()) n++; return n; })`), "something was left")
}
