//go:build !js

package www

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// TestFiles: the worker's files in a real browser, where /runs is kept in the
// origin-private file system.
func TestFiles(t *testing.T) {
	long(t)
	b, _ := harness(t, nil)
	eval[chromedp.Void](b, waits, `harness.request("adapters").then(() => {})`)
	said := eval[string](b, waits, `(async () => {
		const ask = async (m) => { const { content, ...rest } = await harness.ask(m); return { ...rest, content }; };
		const must = (yes, what) => { if (!yes) throw new Error(what); };
		const bytes = Uint8Array.from({ length: 100000 }, (_, i) => i * i);
		must(!(await ask({ put: "/runs/a/one.bin", content: bytes })).error, "put");
		const one = (await ask({ get: "/runs/a/one.bin" })).content;
		must(one instanceof Blob && one.size === bytes.length, "a file of /runs is not a File: " + one);
		const back = new Uint8Array(await one.arrayBuffer());
		must(back.every((v, i) => v === bytes[i]), "other bytes came back");
		must((await ask({ get: "/runs/a/none" })).code === "ENOENT", "a missing file has no code");
		must((await ask({ get: "/none" })).code === "ENOENT", "a missing file in memory has no code");
		await ask({ put: "/data/sub/two.bin", content: new Blob([bytes]) });
		must((await ask({ keep: "/data/sub/two.bin", to: "/runs/a/data/sub/two.bin" })).error === undefined, "keep");
		const listed = (await ask({ list: "/runs" })).listed;
		must(JSON.stringify(listed.map((f) => [f.path, f.size]).sort()) === JSON.stringify([["/runs/a/data/sub/two.bin", 100000], ["/runs/a/one.bin", 100000]]), JSON.stringify(listed));
		must(!(await ask({ remove: "/runs/a" })).error, "remove");
		must((await ask({ list: "/runs" })).listed.length === 0, "something is left");
		return "yes";
	})()`)
	require.Equal(t, "yes", said)
}

// TestSaves: a training writes its run as the native command does, over and
// over, and leaves nothing half written; a lost device ends it as such.
func TestSaves(t *testing.T) {
	long(t)
	b, _ := harness(t, nil)
	ask[map[string]any](b, waits, "open", map[string]any{"paths": []string{"phantoms"}, "config": []string{tiny}, "set": []string{"max_epochs=400"}})
	eval[chromedp.Void](b, waits, `void (globalThis.training = harness.request("train", { dir: "/runs/x", checkpoint_every: 2, stats_ms: 1 }))`)
	for range 3 {
		eval[chromedp.Void](b, trains, `(async () => {
			const { error } = await harness.request("save", { path: "/runs/x/checkpoint.safetensors" });
			if (error) throw new Error(error.message);
		})()`)
		time.Sleep(200 * time.Millisecond)
	}
	eval[chromedp.Void](b, waits, `void harness.worker.postMessage({ lose: true })`)
	end := eval[answered[any]](b, trains, "training")
	require.NotNil(t, end.Error)
	require.Equal(t, "lost", end.Error.Kind, end.Error.Message)
	names := eval[[]string](b, waits, `harness.ask({ list: "/runs/x" }).then((m) => m.listed.map((f) => f.path.slice(8)).sort())`)
	require.Contains(t, names, "checkpoint.safetensors")
	for _, name := range names {
		require.NotRegexp(t, `\.tmp$|\.part$`, name)
	}
	// From the last state another training goes on.
	ask[map[string]any](b, waits, "load", map[string]any{"path": "/runs/x/checkpoint.safetensors"})
}
