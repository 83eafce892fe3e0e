//go:build !race

package testdata

// Race says that the race detector is in the program.
const Race = false
