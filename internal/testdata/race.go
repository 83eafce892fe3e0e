//go:build race

package testdata

// Race says that the race detector is in the program: with it sync.Pool forgets a quarter of
// what it is given and calls allocate, so that counts of allocations say nothing.
const Race = true
