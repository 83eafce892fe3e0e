package volume

import "math"

const analyzeFormat = "Analyze 7.5"

// analyze reads what an Analyze 7.5 header has instead of NIfTI's transforms, as SPM
// wrote it and nibabel reads it: an origin in voxels, and a scale from the recorded
// ranges where there is no slope.
func (n *niftiFields) analyze(h []byte) {
	n.format, n.qform, n.sform = analyzeFormat, 0, 0
	float := func(at int) float64 { return float64(math.Float32frombits(n.order.Uint32(h[at:]))) }
	integer := func(at int) float64 { return float64(int32(n.order.Uint32(h[at:]))) }
	for i := range n.origin {
		n.origin[i] = int16(n.order.Uint16(h[253+2*i:]))
	}
	if finite(n.slope) && n.slope != 0 {
		if !finite(n.inter) {
			n.inter = 0
		}
		return
	}
	calMax, calMin, glMax, glMin := float(124), float(128), integer(140), integer(144)
	if stored, scaled := glMax-glMin, calMax-calMin; stored != 0 && scaled != 0 && finite(scaled) {
		n.slope = scaled / stored
		n.inter = calMin - n.slope*glMin
	}
}
