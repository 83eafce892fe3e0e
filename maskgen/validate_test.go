package maskgen_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"wgjepa/maskgen"
)

func TestRefused(t *testing.T) {
	with := func(change func(c *maskgen.Config), grid ...int) maskgen.Config {
		c := maskgen.Default(grid...)
		change(&c)
		return c
	}
	for name, test := range map[string]struct {
		config maskgen.Config
		says   string
	}{
		"preset": {
			with(func(c *maskgen.Config) { c.Preset = "papre" }, 8, 8),
			`maskgen: preset is "papre": choose "default", "nidl" or "paper"`,
		},
		"no preset": {
			with(func(c *maskgen.Config) { c.Preset = "" }, 8, 8),
			`maskgen: preset is "": choose`,
		},
		"one axis":  {maskgen.Default(64), "maskgen: the grid [64] has 1 axes: give the patches along 2 or 3"},
		"four axes": {maskgen.Default(8, 8, 8, 8), "has 4 axes"},
		"flat":      {maskgen.Default(8, 8, 1), "maskgen: the grid is 8×8×1 patches, and a block's side is at most one less than the axis: use smaller patches"},
		"negative":  {maskgen.Default(8, -8), "maskgen: the grid is 8×-8 patches"},
		"huge":      {maskgen.Default(math.MaxInt, math.MaxInt, math.MaxInt), "above the limit of 262144 in all: use larger patches"},
		"scale order": {
			with(func(c *maskgen.Config) { c.TargetScale = [2]float64{0.2, 0.15} }, 8, 8),
			"maskgen: target_block_scale is (0.2, 0.15): give two ascending shares",
		},
		"scale above 1": {
			with(func(c *maskgen.Config) { c.ContextScale = [2]float64{0.85, 1.1} }, 8, 8),
			"maskgen: context_block_scale is (0.85, 1.1)",
		},
		"scale NaN": {
			with(func(c *maskgen.Config) { c.ContextScale = [2]float64{math.NaN(), 1} }, 8, 8),
			"maskgen: context_block_scale is (NaN, 1)",
		},
		"aspect ratio": {
			with(func(c *maskgen.Config) { c.AspectRatio = [2]float64{0, 1} }, 8, 8),
			"maskgen: aspect_ratio is (0, 1): give two ascending positive numbers",
		},
		"aspect ratio infinite": {
			with(func(c *maskgen.Config) { c.AspectRatio = [2]float64{1, math.Inf(1)} }, 8, 8),
			"maskgen: aspect_ratio is (1, +Inf)",
		},
		"no targets": {
			with(func(c *maskgen.Config) { c.Targets = 0 }, 8, 8),
			"maskgen: num_target_blocks is 0: choose 1 to 64 in preset default",
		},
		"more targets than nidl can count": {
			with(func(c *maskgen.Config) { c.Targets, c.Preset = 32, maskgen.PresetNidl }, 8, 8),
			"maskgen: num_target_blocks is 32: choose 1 to 31 in preset nidl",
		},
		"min_keep": {
			with(func(c *maskgen.Config) { c.MinKeep = -1 }, 8, 8),
			"maskgen: min_keep is -1: choose 0 or more",
		},
		// nidl never returns from the next three.
		"target too small": {
			maskgen.Default(3, 3, 3),
			"maskgen: the target block can be 1×2×2 = 4 patches, and a mask keeps more than min_keep = 4: lower min_keep to 3, raise target_block_scale (0.15, 0.2) or use smaller patches (the grid is 3×3×3)",
		},
		"target empty": {
			with(func(c *maskgen.Config) { c.TargetScale, c.MinKeep = [2]float64{0.001, 0.2}, 0 }, 8, 8),
			"= 0 patches, and a mask keeps more than min_keep = 0: raise target_block_scale (0.001, 0.2) or use smaller patches",
		},
		"context too small": {
			with(func(c *maskgen.Config) { c.ContextScale, c.AllowOverlap = [2]float64{0.05, 1}, true }, 8, 8),
			"maskgen: the context block can be 2×2 = 4 patches, and a mask keeps more than min_keep = 4: lower min_keep to 3, raise context_block_scale (0.05, 1)",
		},
		// The smallest of the sizes decides: it will be drawn some day.
		"target too small at times": {
			with(func(c *maskgen.Config) { c.TargetScale = [2]float64{0.07, 0.5} }, 8, 8),
			"maskgen: the target block can be 2×2 = 4 patches",
		},
		// Here the references drop constraints for each and every sample.
		"targets leave nothing": {
			with(func(c *maskgen.Config) { c.TargetScale, c.MinKeep = [2]float64{0.9, 1}, 20 }, 8, 8),
			"maskgen: the context block, at most 7×7 = 49 patches, kept no more than min_keep = 20 patches outside the 4 target blocks, of up to 7×7 = 49 patches each, in any of 64 samples: lower num_target_blocks, target_block_scale (0.9, 1) or min_keep, raise context_block_scale (0.85, 1), or set allow_overlap",
		},
		"too many targets": {
			with(func(c *maskgen.Config) { c.Targets = 60 }, 8, 8),
			"outside the 60 target blocks",
		},
		"too many targets for the paper": {
			with(func(c *maskgen.Config) { c.Targets, c.MinKeep, c.Preset = 60, 10, maskgen.PresetPaper }, 12, 12),
			"outside the 60 target blocks",
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.config.Validate()
			require.ErrorContains(t, err, test.says)
			_, fromNew := maskgen.New(test.config)
			assert.Equal(t, err, fromNew)
		})
	}
}

// What the references can run is accepted.
func TestAccepted(t *testing.T) {
	for _, grid := range [][]int{{14, 14}, {16, 16}, {7, 7}, {8, 8, 8}, {4, 4, 4}, {8, 12, 8}, {512, 512}, {64, 64, 64}} {
		assert.NoError(t, maskgen.Default(grid...).Validate(), "%v", grid)
		assert.NoError(t, maskgen.Nidl(grid...).Validate(), "%v", grid)
	}
	for _, grid := range [][]int{{14, 14}, {12, 12}, {16, 16}, {28, 28}} {
		assert.NoError(t, maskgen.Paper(grid...).Validate(), "%v", grid)
	}
	// nidl's constraint is void, so nothing can be too much for it; nor where
	// contexts may overlap.
	covered := maskgen.Nidl(8, 8)
	covered.TargetScale, covered.MinKeep = [2]float64{0.9, 1}, 20
	assert.NoError(t, covered.Validate())
	covered.Preset, covered.AllowOverlap = maskgen.PresetDefault, true
	assert.NoError(t, covered.Validate())
}

// Validation takes seconds at most, whatever it is given.
func TestValidationIsBounded(t *testing.T) {
	c := maskgen.Default(512, 512)
	c.Targets, c.MinKeep = 64, 50000
	c.TargetScale, c.AspectRatio = [2]float64{0.25, 0.25}, [2]float64{1, 1}
	require.Error(t, c.Validate()) // a validation without an end meets the test's own time limit
}
