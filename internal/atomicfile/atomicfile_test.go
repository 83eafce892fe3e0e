package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.csv")
	holds := func(want string, others ...string) {
		t.Helper()
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		names := []string{}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		require.Equal(t, append([]string{"a.csv"}, others...), names)
	}
	require.NoError(t, WriteBytes(path, []byte("old")))
	holds("old")

	// While the new contents are written, and after an error in it, the old ones stand.
	broken := errors.New("broken")
	long := strings.Repeat("x", 1<<20)
	require.ErrorIs(t, Write(path, func(w io.Writer) error {
		_, err := io.WriteString(w, long)
		require.NoError(t, err)
		holds("old", "a.csv.tmp")
		return broken
	}), broken)
	holds("old")

	// What a killed process left is written over.
	require.NoError(t, os.WriteFile(path+".tmp", []byte(long), 0o600))
	require.NoError(t, WriteBytes(path, []byte("new")))
	holds("new")

	// A name that cannot be replaced stays, and nothing is left beside it.
	taken := filepath.Join(dir, "folder")
	require.NoError(t, os.MkdirAll(filepath.Join(taken, "full"), 0o755))
	require.ErrorContains(t, WriteBytes(taken, nil), "no ordinary file")
	device := filepath.Join(dir, "device")
	require.NoError(t, os.Symlink(os.DevNull, device))
	require.ErrorContains(t, WriteBytes(device, nil), "no ordinary file")
	to, err := os.Readlink(device)
	require.NoError(t, err)
	require.Equal(t, os.DevNull, to)
	require.NoError(t, os.Remove(device))
	holds("new", "folder")
	require.ErrorIs(t, WriteBytes(filepath.Join(dir, "missing", "a"), nil), os.ErrNotExist)
}
