package gpu

// tuning is the choice of kernel variants for an adapter.
type tuning struct {
	// registers selects kernels that keep their tile in registers and use no
	// workgroup memory, and attention by matrix products: a processor that
	// computes shaders has no fast workgroup memory to gain from.
	registers bool
}

func tuningFor(info Info) tuning {
	return tuning{registers: info.Kind == Software || info.Kind == Twins}
}
