package data

import (
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func TestProgress(t *testing.T) {
	files := fstest.MapFS{}
	for _, name := range []string{"a.nii", "b.nii", "c.nii"} {
		files["in/"+name] = &fstest.MapFile{Data: nii([3]int{4, 4, 4}, float32(len(files)))}
	}
	var done []int
	tell := func(n, total int) error {
		require.Equal(t, 3, total)
		done = append(done, n)
		return nil
	}
	ds, _, err := OpenFS(fs.FS(files), []string{"in"}, Options{Progress: tell})
	require.NoError(t, err)
	require.Equal(t, []int{1, 2, 3}, done)
	require.Equal(t, []int{4, 4, 4}, ds.Header(1).Size)
	stop := errors.New("enough")
	_, _, err = OpenFS(fs.FS(files), []string{"in"}, Options{Progress: func(int, int) error { return stop }})
	require.ErrorIs(t, err, stop)
}

func TestSizesError(t *testing.T) {
	files := fstest.MapFS{
		"in/a.nii": &fstest.MapFile{Data: nii([3]int{4, 4, 4}, 1)},
		"in/b.nii": &fstest.MapFile{Data: nii([3]int{4, 5, 4}, 2)},
	}
	_, _, err := OpenFS(fs.FS(files), []string{"in"}, Options{})
	var differ *SizesError
	require.ErrorAs(t, err, &differ)
	require.Equal(t, [][]int{{4, 4, 4}, {4, 5, 4}}, differ.Sizes)
	require.ErrorContains(t, err, "2 different sizes")
}
