//go:build linux

package checkpoint

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain is also the writer that the tests below run in a process of its own.
func TestMain(m *testing.M) {
	switch path := os.Getenv("CHECKPOINT_TEST_PATH"); os.Getenv("CHECKPOINT_TEST_CHILD") {
	case "":
		os.Exit(m.Run())
	case "limit": // one file too large for the limit
		signal.Ignore(syscall.SIGXFSZ)
		limit := syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			fmt.Println("cannot limit:", err)
			return
		}
		fmt.Println(Write(path, big(2), nil, true))
	case "loop": // files one after another until killed
		for n := 1; ; n++ {
			if err := Write(path, big(n), nil, true); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			fmt.Println(n)
		}
	}
}

// big is 2 MB of n.
func big(n int) []Entry {
	v := make([]float64, 1<<18)
	for i := range v {
		v[i] = float64(n)
	}
	return append(number(n), Entry{"v", []int{len(v)}, v})
}

func child(t *testing.T, what, path string) *exec.Cmd {
	exe, err := os.Executable()
	require.NoError(t, err)
	c := exec.Command(exe)
	c.Env = append(os.Environ(), "CHECKPOINT_TEST_CHILD="+what, "CHECKPOINT_TEST_PATH="+path)
	return c
}

func TestFileSizeLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c")
	require.NoError(t, Write(path, number(1), nil, true))
	out, err := child(t, "limit", path).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "file too large")
	require.Contains(t, string(out), "ulimit -f")
	require.Equal(t, 1, read(t, path))
	require.Equal(t, []string{"c"}, folder(t, path))
}

// tmpfs mounts a small disk, where this user may.
func tmpfs(t *testing.T) string {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("cannot mount a small disk (needs root): %v", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	return dir
}

func TestFullDisk(t *testing.T) {
	path := filepath.Join(tmpfs(t), "c")
	require.NoError(t, Write(path, number(1), nil, true))
	err := Write(path, big(2), nil, true)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorContains(t, err, "free space")
	require.Equal(t, 1, read(t, path))
	require.Equal(t, []string{"c"}, folder(t, path))
}

func TestReadOnlyDisk(t *testing.T) {
	dir := tmpfs(t)
	path := filepath.Join(dir, "c")
	require.NoError(t, Write(path, number(1), nil, true))
	require.NoError(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	err := Write(path, number(2), nil, true)
	require.ErrorIs(t, err, syscall.EROFS)
	require.ErrorContains(t, err, "folder you may change")
	require.Equal(t, 1, read(t, path))
}

func TestReadOnlyFolder(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write to any folder; TestReadOnlyDisk covers root")
	}
	path := filepath.Join(t.TempDir(), "c")
	require.NoError(t, Write(path, number(1), nil, true))
	require.NoError(t, os.Chmod(filepath.Dir(path), 0o555))
	defer os.Chmod(filepath.Dir(path), 0o755)
	err := Write(path, number(2), nil, true)
	require.ErrorIs(t, err, os.ErrPermission)
	require.ErrorContains(t, err, "folder you may change")
	require.Equal(t, 1, read(t, path))
	require.Equal(t, []string{"c"}, folder(t, path))
}

// A process killed at any moment leaves a whole file, at most one write old.
func TestKill(t *testing.T) {
	for round := range 8 {
		path := filepath.Join(t.TempDir(), "c")
		c := child(t, "loop", path)
		out, err := c.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, c.Start())
		last := 0
		for s := bufio.NewScanner(out); s.Scan(); {
			n, err := strconv.Atoi(s.Text())
			require.NoError(t, err, s.Text())
			if last == 0 {
				time.AfterFunc(time.Duration(1+7*round)*time.Millisecond, func() { c.Process.Kill() })
			}
			last = n
		}
		_ = c.Wait() // killed
		require.Positive(t, last)
		f, note, err := Latest(path)
		require.NoError(t, err)
		require.Empty(t, note)
		v, _, err := f.Float64s("v")
		require.NoError(t, err)
		require.GreaterOrEqual(t, int(v[0]), last)
		require.LessOrEqual(t, int(v[0]), last+1)
		for i := range v {
			require.Equal(t, v[0], v[i])
		}
		require.NoError(t, f.Close())
	}
}
