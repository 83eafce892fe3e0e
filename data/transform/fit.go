package transform

// CroppedAffine returns the affine after [CropOrPad] of an image with this affine.
func CroppedAffine(affine [4][4]float64, from, to []int) [4][4]float64 {
	out := affine
	for a := range from {
		shift := (from[a] - to[a]) / 2 // towards zero: what is padded in front is (to−from)/2
		for r := range 3 {
			out[r][3] += affine[r][a] * float64(shift)
		}
	}
	return out
}

// ResizedAffine returns the affine after [Resize] of an image with this affine.
func ResizedAffine(affine [4][4]float64, from, to []int) [4][4]float64 {
	had, wanted := make([]float64, len(from)), make([]float64, len(from))
	for a := range from {
		had[a], wanted[a] = float64(to[a]), float64(from[a]) // the distance of voxels is as their number inversely
	}
	return ResampledAffine(affine, had, wanted)
}
