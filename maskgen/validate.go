package maskgen

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// What a grid and a configuration may hold at most: far above what attention
// can take, low enough that validation is quick.
const (
	maxPatches = 1 << 18
	maxTargets = 64
	// nidl multiplies its int32 masks by −2 for each target block that covers a
	// patch; the product wraps round to zero at the 32nd.
	maxTargetsNidl = 31
)

// trials is the number of samples that must all fail to find a context free of
// their targets before a configuration is refused for it.
const trials = 64

// Validate refuses a configuration whose masks can never, or practically never,
// keep more than MinKeep patches, where the reference would loop for ever or
// drop its constraint each time. The error says which block it is, its size and
// what to change.
func (c Config) Validate() error {
	_, err := New(c)
	return err
}

// checkFields checks each value for itself.
func (c Config) checkFields() error {
	if _, known := behaviours[c.Preset]; !known {
		return fmt.Errorf("maskgen: preset is %q: choose %q, %q or %q", c.Preset, PresetDefault, PresetNidl, PresetPaper)
	}
	if len(c.Grid) != 2 && len(c.Grid) != 3 {
		return fmt.Errorf("maskgen: the grid %v has %d axes: give the patches along 2 or 3", c.Grid, len(c.Grid))
	}
	patches := 1
	for _, side := range c.Grid {
		if side < 2 {
			return fmt.Errorf("maskgen: the grid is %s patches, and a block's side is at most one less than the axis: use smaller patches, so that each axis has 2 or more", times(c.Grid))
		}
		if side > maxPatches/patches {
			return fmt.Errorf("maskgen: the grid is %s patches, above the limit of %d in all: use larger patches", times(c.Grid), maxPatches)
		}
		patches *= side
	}
	for _, scale := range []struct {
		key string
		of  [2]float64
	}{{"context_block_scale", c.ContextScale}, {"target_block_scale", c.TargetScale}} {
		if from, to := scale.of[0], scale.of[1]; !(0 < from && from <= to && to <= 1) {
			return fmt.Errorf("maskgen: %s is %s: give two ascending shares of the image, above 0 and at most 1", scale.key, interval(scale.of))
		}
	}
	if from, to := c.AspectRatio[0], c.AspectRatio[1]; !(0 < from && from <= to && !math.IsInf(to, 1)) {
		return fmt.Errorf("maskgen: aspect_ratio is %s: give two ascending positive numbers", interval(c.AspectRatio))
	}
	most := maxTargets
	if c.Preset == PresetNidl {
		most = maxTargetsNidl
	}
	if c.Targets < 1 || c.Targets > most {
		return fmt.Errorf("maskgen: num_target_blocks is %d: choose 1 to %d in preset %s", c.Targets, most, c.Preset)
	}
	if c.MinKeep < 0 {
		return fmt.Errorf("maskgen: min_keep is %d: choose 0 or more", c.MinKeep)
	}
	return nil
}

// checkBlocks checks that the blocks which the configuration gives can make
// valid masks.
func (s *Sampler) checkBlocks() error {
	if volume(s.smallestTarget) <= s.config.MinKeep {
		return fmt.Errorf("maskgen: %w", s.tooSmall("target", s.smallestTarget))
	}
	if volume(s.smallestContext) <= s.config.MinKeep {
		return fmt.Errorf("maskgen: %w", s.tooSmall("context", s.smallestContext))
	}
	if !s.disjoint() {
		return nil
	}
	targets := make([]block, s.config.Targets)
	scratch := make([]uint32, s.MaxContext())
	for step := range uint64(trials) {
		target, context := s.sizes(0, step)
		g := newStream(0, step, forPositions, 0)
		s.placeTargets(&g, targets, target)
		for range tries {
			if s.indices(scratch, s.place(&g, context), targets) > s.config.MinKeep {
				return nil
			}
		}
	}
	return fmt.Errorf("maskgen: the context block, at most %s, kept no more than min_keep = %d patches outside the %d target blocks, of up to %s each, in any of %d samples: "+
		"lower num_target_blocks, target_block_scale %s or min_keep, raise context_block_scale %s, or set allow_overlap",
		s.patchesOf(s.largestContext), s.config.MinKeep, s.config.Targets, s.patchesOf(s.largestTarget), trials,
		interval(s.config.TargetScale), interval(s.config.ContextScale))
}

// tooSmall says that a block of the given size cannot keep enough patches.
func (s *Sampler) tooSmall(name string, size [3]int) error {
	scale := s.config.TargetScale
	if name == "context" {
		scale = s.config.ContextScale
	}
	remedy := fmt.Sprintf("raise %s_block_scale %s or use smaller patches (the grid is %s)", name, interval(scale), times(s.config.Grid))
	if n := volume(size); n > 0 {
		remedy = fmt.Sprintf("lower min_keep to %d, ", n-1) + remedy
	}
	return fmt.Errorf("the %s block can be %s, and a mask keeps more than min_keep = %d: %s", name, s.patchesOf(size), s.config.MinKeep, remedy)
}

func (s *Sampler) patchesOf(size [3]int) string {
	return fmt.Sprintf("%s = %d patches", times(size[:s.axes]), volume(size))
}

// times formats sides as "8×8×4".
func times(sides []int) string {
	words := make([]string, len(sides))
	for i, side := range sides {
		words[i] = strconv.Itoa(side)
	}
	return strings.Join(words, "×")
}

func interval(of [2]float64) string { return fmt.Sprintf("(%v, %v)", of[0], of[1]) }
