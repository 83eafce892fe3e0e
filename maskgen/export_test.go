package maskgen

// NewNidlMended returns the sampler with which the reference's figures for a
// disjoint context were made: nidl with nothing mended but its complement.
func NewNidlMended(c Config) (*Sampler, error) {
	s, err := New(c)
	if err == nil {
		s.behaviour = behaviour{cutsHighest: true}
	}
	return s, err
}
