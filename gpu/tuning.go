package gpu

import (
	"math"
	"slices"
	"strings"
)

// tuning is the choice of kernel variants for an adapter.
type tuning struct {
	// registers selects kernels that keep their tile in registers and use no
	// workgroup memory, and attention by matrix products: a processor that
	// computes shaders has no fast workgroup memory to gain from.
	registers bool
	// subgroups lets the kernels in registers share reads within subgroups of
	// this many: 8, 4, or 0.
	subgroups int
	// tall is how many workgroups there must be for a tile of 128×64 to be
	// taken rather than one of 64×64.
	tall int
	// scores is how many attention scores may be in memory at once where
	// attention is computed by matrix products.
	scores int
	// parallel is about how many outputs of a product give the whole adapter
	// work: smaller products over many rows are split by rows.
	parallel int
	// alone says that the adapter's compiler takes seconds to minutes, and
	// gigabytes, for the variants that are not chosen: tests leave them out.
	alone bool
}

func tuningFor(info Info) tuning {
	if info.Kind != Software && info.Kind != Twins {
		return tuning{tall: 256, scores: 8 << 20, parallel: 512 << 10}
	}
	t := tuning{registers: true, subgroups: subgroups(info), tall: math.MaxInt, scores: 1 << 20, parallel: 8 << 10}
	if info.Kind == Software && !strings.Contains(info.Name, "llvmpipe") {
		// SwiftShader and its like cannot compile large tiles in registers.
		t.alone, t.registers = true, t.subgroups > 0
		t.subgroups = min(t.subgroups, 4)
	}
	return t
}

// subgroups is how many invocations every subgroup is known to have, of the
// sizes that kernels use. Where nobody tells, llvmpipe's name says it: its
// subgroups are one vector of the machine.
func subgroups(info Info) int {
	switch {
	case !slices.Contains(info.Features, "subgroups"):
		return 0
	case info.Subgroup >= 8, strings.Contains(info.Name, "256 bits"), strings.Contains(info.Name, "512 bits"):
		return 8
	case info.Subgroup >= 4, strings.Contains(info.Name, "128 bits"):
		return 4
	}
	return 0
}

// tile chooses the variant of matmul.wgsl for c (m, n) in batches.
func (t tuning) tile(m, n, batches int) int {
	switch {
	case t.registers && t.subgroups == 8:
		return sharedRegisters
	case t.registers && t.subgroups == 4:
		return quadRegisters
	case t.registers:
		return registers
	case ceil(m, 128)*ceil(n, 64)*batches >= t.tall:
		return tallTile
	}
	return squareTile
}

// splits is the number of parts to split a sum over k rows into, for a result
// of size elements.
func (t tuning) splits(size, k int) int {
	const shortest = 256 // rows a part, for the second stage to be cheap beside the first
	return max(1, min(t.parallel/max(1, size), k/shortest))
}
