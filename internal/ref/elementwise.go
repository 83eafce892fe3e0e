package ref

// FillParams mirrors fill.wgsl.
type FillParams struct {
	N     uint32
	Value float64
}

// Fill sets dst to a value.
func Fill(p FillParams, dst []float64) {
	for i := range int(p.N) {
		dst[i] = p.Value
	}
}

// CopyParams mirrors copy.wgsl.
type CopyParams struct {
	N uint32
}

// Copy is dst = x.
func Copy(p CopyParams, x, dst []float64) {
	copy(dst[:p.N], x[:p.N])
}

// ScaleRowsParams mirrors scale_rows.wgsl and scale_rows_add.wgsl.
type ScaleRowsParams struct {
	N, Row uint32 // elements in all and of each sample
}

// ScaleRows multiplies each sample by its own factor: dst = scale[b]·x.
func ScaleRows(p ScaleRowsParams, x, scale, dst []float64) {
	for i := range int(p.N) {
		dst[i] = scale[i/int(p.Row)] * x[i]
	}
}

// ScaleRowsAdd is stochastic depth (Huang et al. 2016): the branch of a
// residual block is dropped for some samples and scaled up for the others,
// y = residual + scale[b]·branch.
func ScaleRowsAdd(p ScaleRowsParams, residual, branch, scale, y []float64) {
	for i := range int(p.N) {
		y[i] = residual[i] + scale[i/int(p.Row)]*branch[i]
	}
}
