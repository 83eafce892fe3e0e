//go:build race

package data

// raceDetector: with it sync.Pool forgets a quarter of what it is given, so that
// totals of allocated bytes say nothing.
const raceDetector = true
