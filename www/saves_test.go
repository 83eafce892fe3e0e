//go:build !js

package www

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

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
