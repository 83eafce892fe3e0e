package gpu

// tuning is the choice of kernel variants for an adapter.
type tuning struct {
	// registers selects kernels that keep their tile in registers and use no
	// workgroup memory, and attention by matrix products: a processor that
	// computes shaders has no fast workgroup memory to gain from.
	registers bool
	// scores is how many attention scores may be in memory at once where
	// attention is computed by matrix products.
	scores int
	// parallel is about how many outputs of a product give the whole adapter
	// work: smaller products over many rows are split by rows.
	parallel int
}

func tuningFor(info Info) tuning {
	if info.Kind == Software || info.Kind == Twins {
		return tuning{registers: true, scores: 4 << 20, parallel: 8 << 10}
	}
	return tuning{scores: 8 << 20, parallel: 512 << 10}
}

// splits is the number of parts to split a sum over k rows into, for a result
// of size elements.
func (t tuning) splits(size, k int) int {
	const shortest = 256 // rows a part, for the second stage to be cheap beside the first
	return max(1, min(t.parallel/max(1, size), k/shortest))
}
