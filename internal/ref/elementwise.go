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
