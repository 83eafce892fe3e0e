// Package testdata finds what tests compare with and the project does not hold:
// results of the reference implementations and public data sets.
package testdata

import (
	"os"
	"path/filepath"
	"testing"
)

// Folder is one of the folders beside the project.
type Folder struct{ name, variable string }

var (
	Golden = Folder{"golden", "JEPA_TEST_GOLDEN"} // ../shared/golden: the references' results
	Data   = Folder{"data", "JEPA_TEST_DATA"}     // ../shared/data: files of other programs
)

// Path is where the folder is looked for, be it there or not: the variable's
// value, or its place beside the project's root.
func (f Folder) Path() string {
	if path := os.Getenv(f.variable); path != "" {
		return path
	}
	for dir := "."; ; dir = filepath.Join(dir, "..") {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "..", "shared", f.name)
		}
		if path, err := filepath.Abs(dir); err != nil || path == filepath.Dir(path) {
			return filepath.Join("shared", f.name) // no project around here
		}
	}
}

// Find returns the path of a part of the folder, or skips the test.
func (f Folder) Find(t testing.TB, part string) string {
	t.Helper()
	path := filepath.Join(f.Path(), filepath.FromSlash(part))
	if _, err := os.Stat(path); err != nil {
		t.Skipf("test data are absent: %v (%s sets another folder than ../shared/%s)", err, f.variable, f.name)
	}
	return path
}

// Glob returns the files of the folder that match any of the patterns, of which
// each has at least one, or skips the test where the folder is absent.
func (f Folder) Glob(t testing.TB, patterns ...string) []string {
	t.Helper()
	dir := f.Find(t, "")
	var files []string
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern)))
		if err != nil || len(found) == 0 {
			t.Fatalf("no file of %s matches %s", dir, pattern)
		}
		files = append(files, found...)
	}
	return files
}
