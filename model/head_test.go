package model

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLayerRuns asserts that the runs are the whole arena, each part once.
func TestLayerRuns(t *testing.T) {
	v := small()
	require.NoError(t, v.Complete())
	w := NewEncoderWeights(cpu(t), "a", v, true)
	at := 0
	for _, r := range w.LayerRuns() {
		require.Equal(t, at, r.Offset)
		require.Equal(t, r.Decays, r.Offset < w.Decayed)
		at += r.Len
		for _, p := range w.Params {
			if p.offset >= r.Offset && p.offset < at {
				require.Equal(t, w.layerOf(p.Name), r.Layer, p.Name)
			}
		}
	}
	require.Equal(t, w.Values.Len(), at)
	require.Equal(t, []int{0, 1, 2, v.Depth + 1}, []int{w.layerOf("pos_embed"), w.layerOf("blocks.0.norm1.bias"), w.layerOf("blocks.1.mlp.fc1.weight"), w.layerOf("norm.weight")})
}
