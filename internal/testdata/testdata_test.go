package testdata

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFolder(t *testing.T) {
	t.Setenv("JEPA_TEST_DATA", "")
	require.Equal(t, filepath.Join("..", "..", "..", "shared", "data"), Data.Path(), "from this package's folder")

	dir := t.TempDir()
	t.Setenv("JEPA_TEST_DATA", dir)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x"), nil, 0o644))
	require.Equal(t, filepath.Join(dir, "x"), Data.Find(t, "x"))
	require.Equal(t, []string{filepath.Join(dir, "x")}, Data.Glob(t, "x*"))
	skipped := false
	t.Run("absent", func(t *testing.T) {
		defer func() { skipped = t.Skipped() }()
		Data.Find(t, "y")
	})
	require.True(t, skipped)

	t.Setenv("JEPA_TEST_DATA", "")
	t.Chdir(dir)
	require.Equal(t, filepath.Join("shared", "data"), Data.Path())
}
