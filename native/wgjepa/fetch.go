package main

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func fetchCommand(c *console) *cobra.Command {
	var dir, mirror string
	var size int
	var list bool
	cmd := &cobra.Command{
		Use:   "fetch NAME…",
		Short: "Download MedMNIST sets from their official site, checksums verified",
		Long: `Downloads sets of MedMNIST from their official record on Zenodo: images (28², 64², 128²,
224²) and volumes (28³, 64³) of one kind each, with labels and a split. An interrupted
download goes on where it was; a file gets its name when its checksum is right. Licence
and citation are shown. The environment variables HTTPS_PROXY and NO_PROXY are followed.`,
		Example: `  wgjepa fetch --list
  wgjepa fetch adrenalmnist3d organmnist3d --size 64 --dir data
  wgjepa train data/adrenalmnist3d_64.npz`,
		ValidArgs: setNames(),
		RunE: func(_ *cobra.Command, names []string) error {
			if list {
				listSets(c)
				return nil
			}
			if len(names) == 0 {
				return usagef("fetch: name sets, such as adrenalmnist3d; --list shows all")
			}
			var files []remoteFile
			for _, name := range names {
				f, err := findSet(name, size, mirror)
				if err != nil {
					return usageError{err}
				}
				files = append(files, f)
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return fmt.Errorf("the folder for the files: %w: choose another with --dir", err)
			}
			ctx, stop := interruptible(nil)
			defer stop()
			var failed error
			for _, f := range files {
				if err := fetchFile(ctx, c, f, dir); err != nil {
					failed = errors.Join(failed, err)
				}
				if ctx.Err() != nil {
					break
				}
			}
			if len(files) > 0 && failed == nil {
				c.say("cite: %s", medmnistCitation)
			}
			return failed
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "dir", ".", "`folder` for the files")
	completeFiles(cmd, "dir")
	f.IntVar(&size, "size", 28, "length of an axis: 28 or 64, of images 128 and 224 too")
	f.BoolVar(&list, "list", false, "show the sets that there are")
	f.StringVar(&mirror, "mirror", medmnistSource, "`address` of the folder that holds the files; checksums hold for any")
	return cmd
}

// setNames are those of the sets.
func setNames() (names []string) {
	for _, s := range medmnistSets {
		names = append(names, s.name)
	}
	return names
}

// listSets prints the table of sets.
func listSets(c *console) {
	for _, s := range medmnistSets {
		sizes := slices.Sorted(maps.Keys(s.md5))
		if c.json {
			c.emit(map[string]any{"name": s.name, "axes": s.axes, "channels": s.channels, "task": s.task, "train": s.samples[0], "val": s.samples[1], "test": s.samples[2], "sizes": sizes, "licence": s.licence})
			continue
		}
		fmt.Fprintf(c.out, "%-16s %d-D  %6d train %5d val %5d test  %-38s sizes %s  %s\n", s.name, s.axes, s.samples[0], s.samples[1], s.samples[2], s.task, strings.Trim(fmt.Sprint(sizes), "[]"), s.licence)
	}
}

// remoteFile is a file to download.
type remoteFile struct {
	name, address string
	md5           string
	licence       string
}

// findSet finds a set by its name or its file's name; a size in the name goes before size.
func findSet(name string, size int, folder string) (remoteFile, error) {
	base, suffix, has := strings.Cut(strings.TrimSuffix(strings.ToLower(name), ".npz"), "_")
	if has {
		n, err := strconv.Atoi(suffix)
		if err != nil {
			return remoteFile{}, fmt.Errorf("there is no set %q; wgjepa fetch --list shows all", name)
		}
		size = n
	}
	i := slices.IndexFunc(medmnistSets, func(s medmnistSet) bool { return s.name == base })
	if i < 0 {
		return remoteFile{}, fmt.Errorf("there is no set %q; wgjepa fetch --list shows all", name)
	}
	s := &medmnistSets[i]
	sum, ok := s.md5[size]
	if !ok {
		return remoteFile{}, fmt.Errorf("%s comes in sizes %v, not %d", s.name, slices.Sorted(maps.Keys(s.md5)), size)
	}
	address, err := url.JoinPath(folder, s.file(size))
	if err != nil {
		return remoteFile{}, fmt.Errorf("--mirror %q: %w", folder, err)
	}
	return remoteFile{s.file(size), address + "?download=1", sum, s.licence}, nil
}

// fetchFile downloads one file into dir, or sees that it is there already.
func fetchFile(ctx context.Context, c *console, f remoteFile, dir string) error {
	path := filepath.Join(dir, f.name)
	report := func(state string, n int64) {
		c.result(map[string]any{"file": path, "bytes": n, "state": state, "md5": f.md5, "licence": f.licence, "source": f.address},
			"%s: %s, %s, licence %s\n", path, state, bytesText(uint64(n)), f.licence)
	}
	if s, err := os.Stat(path); err == nil {
		sum, err := md5Of(path)
		if err != nil {
			return err
		}
		if sum != f.md5 {
			return fmt.Errorf("%s is there already and is another file (MD5 %s, not %s): remove it, or choose another --dir", path, sum, f.md5)
		}
		report("is there already", s.Size())
		return nil
	}
	unlock, err := lock(filepath.Join(dir, "."+f.name+".lock"), path)
	if err != nil {
		return err
	}
	defer unlock()
	d := downloader{remoteFile: f, part: filepath.Join(dir, "."+f.name+".part"), client: http.DefaultClient, stall: 30 * time.Second, pause: time.Second, say: c.say}
	// Sizes are told by the server only: the bar counts in MiB, once it is known.
	var b *bar
	d.progress = func(done, total int64) {
		if b == nil && total > 0 {
			b = c.bar(f.name+" MiB", int((total+1<<20-1)>>20), int(done>>20))
		}
		if b != nil {
			b.set(int(done >> 20))
		}
	}
	n, err := d.run(ctx)
	b.end()
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%s: interrupted after %s: the same command goes on from there", f.name, bytesText(uint64(n)))
		}
		return fmt.Errorf("%s: %w", f.name, err)
	}
	if err := os.Rename(d.part, path); err != nil {
		return err
	}
	report("fetched, checksum right", n)
	return nil
}

func md5Of(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := md5.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
