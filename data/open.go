package data

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"math"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"wgjepa/data/volume"
)

// Open reads what paths name on this machine: image files, folders of them, arrays.
// On an error the report, where there is one, still says which files were refused.
func Open(paths []string, opt Options) (Dataset, *Report, error) {
	return OpenFS(volume.OS, paths, opt)
}

// OpenFS is [Open] on a file system, such as files that a page was given.
func OpenFS(fsys fs.FS, paths []string, opt Options) (Dataset, *Report, error) {
	if err := opt.Validate(); err != nil {
		return nil, nil, err
	}
	if len(paths) == 0 {
		return nil, nil, errors.New("data: no data was named: give files or a folder")
	}
	c := newCollection(fsys, opt)
	for _, p := range paths {
		p = path.Clean(filepath.ToSlash(p))
		s, err := fs.Stat(fsys, p)
		switch {
		case err != nil: // what was named must exist, also where bad files are skipped
			err = fmt.Errorf("data: %w", err)
		case s.IsDir():
			err = c.folder(p)
		case !s.Mode().IsRegular():
			c.refuse(p, errors.New("not a regular file"))
		default:
			err = c.file(p, len(paths) == 1)
		}
		if err != nil {
			return nil, c.report, err
		}
	}
	for _, s := range c.series(".") { // files that were named themselves
		if s.ok {
			c.items = append(c.items, s.item)
		}
	}
	return c.finish()
}

// collection gathers items while paths are read.
type collection struct {
	fsys          fs.FS
	opt           Options
	items         []item
	dicom         []string // DICOM files found, until they are sorted into series
	classes       []string
	names         map[string]int // class names in order of appearance, until they are sorted
	report        *Report
	hash          hash.Hash // of the data
	budget        budget
	generated     int // voxel classes that are known beforehand
	mislabelled   []string
	renamed       []string
	subjectColumn string
}

func newCollection(fsys fs.FS, opt Options) *collection {
	c := &collection{fsys: fsys, opt: opt, hash: sha256.New(), names: map[string]int{}}
	c.report = &Report{Formats: map[string]int{}, Sizes: map[string]int{}, Spacings: map[string]int{}, Orientations: map[string]int{}, Splits: map[string]int{}, Ignored: map[string]int{}}
	c.budget.left.Store(opt.cacheBytes())
	return c
}

func (c *collection) refuse(name string, err error) {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err // the name is said already
	}
	r := Refusal{Name: printable(name), Reason: err.Error()}
	errors.As(err, &r.Compressed)
	c.report.Refused = append(c.report.Refused, r)
}

func (c *collection) note(format string, a ...any) {
	c.report.Notes = append(c.report.Notes, fmt.Sprintf(format, a...))
}

// kind tells image files in a folder by extension; content decides when they are opened.
func kind(name string) string {
	name = strings.ToLower(name)
	for _, e := range []string{".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy", ".dcm", ".ima", ".dicom"} {
		if strings.HasSuffix(name, e) {
			return e
		}
	}
	return ""
}

// stem is a name without its image extension.
func stem(name string) string { return name[:len(name)-len(kind(name))] }

// folder adds all images under dir.
func (c *collection) folder(dir string) error {
	root, labels := dir, ""
	// dir/images with dir/labels beside it; either dir or dir/images may be named.
	if c.isDir(path.Join(dir, "images")) {
		dir = path.Join(dir, "images")
	} else if path.Base(dir) == "images" {
		root = path.Dir(dir)
	}
	if path.Base(dir) == "images" && c.isDir(path.Join(path.Dir(dir), "labels")) {
		labels = path.Join(path.Dir(dir), "labels")
	}
	files, err := c.list(dir)
	if err != nil {
		return err
	}
	series := c.series(dir)
	if len(files)+len(series) == 0 {
		others := ""
		if len(c.report.Ignored) > 0 {
			keys := slices.Sorted(maps.Keys(c.report.Ignored))
			others = fmt.Sprintf("; other files there: %s", strings.Join(keys[:min(len(keys), 8)], ", "))
			if c.report.Ignored[".npz"] > 0 {
				others += " (an .npz set is named itself, not its folder)"
			}
		}
		return fmt.Errorf("data: no images in %s: .nii, .nii.gz, .hdr/.img, .nrrd, .mha, .mhd, DICOM, .npy, .png, .jpg or .tif are looked for%s", dir, others)
	}
	voxels := map[string]string{}
	if labels != "" {
		list, err := c.list(labels)
		if err != nil {
			return err
		}
		if len(c.dicom) > 0 {
			c.note("%d DICOM files in %s are not read as label maps", len(c.dicom), labels)
			c.dicom = nil
		}
		for _, p := range list {
			voxels[stem(strings.TrimPrefix(p, labels+"/"))] = p
		}
	}
	table, err := c.folderTable(root)
	if err != nil {
		return err
	}
	first := len(c.items)
	unlabelled, apart := []string{}, []string{}
	found := make([]candidate, 0, len(files)+len(series))
	piles := map[string][]string{} // pictures by their folder, where they are slices
	for _, p := range files {
		if c.opt.Stack && slices.Contains([]string{".png", ".jpg", ".jpeg", ".tif", ".tiff"}, kind(p)) {
			piles[path.Dir(p)] = append(piles[path.Dir(p)], p)
			continue
		}
		name := strings.TrimPrefix(p, dir+"/")
		it, ok := c.image(p, name)
		found = append(found, candidate{it, name, ok})
	}
	for _, d := range slices.Sorted(maps.Keys(piles)) {
		name := strings.TrimPrefix(d, dir+"/")
		if d == dir {
			name = path.Base(dir)
		}
		m, err := volume.OpenPile(c.fsys, piles[d], c.volumeOptions())
		for _, p := range piles[d] {
			if err == nil {
				err = c.fingerprint(p, strings.TrimPrefix(p, dir+"/"))
			}
		}
		if err != nil {
			c.refuse(fmt.Sprintf("%s (%d slices)", d, len(piles[d])), err)
			found = append(found, candidate{name: name})
			continue
		}
		found = append(found, candidate{c.newItem(name, m), name, true})
	}
	for _, f := range append(found, series...) {
		it, name, ok := f.item, f.name, f.ok
		s := stem(name)
		if v, has := voxels[s]; has {
			delete(voxels, s)
			if !ok {
				continue
			}
			m, err := volume.Open(c.fsys, v, c.volumeOptions())
			if err != nil {
				c.refuse(v, err)
				continue
			}
			l := labelSource{m, it.header}
			it.voxels = l
			if err := l.elsewhere(); err != nil {
				apart = append(apart, fmt.Sprintf("%s (%v)", name, err))
			}
		} else if labels != "" {
			unlabelled = append(unlabelled, name)
		}
		if !ok {
			continue
		}
		if table != nil {
			table.take(&it)
		}
		c.items = append(c.items, it)
	}
	if len(unlabelled) > 0 {
		c.note("%s no file in %s: %s", counted(len(unlabelled), "image has", "images have"), labels, some(unlabelled))
	}
	if len(apart) > 0 {
		c.note("%s where the image lies; voxels are paired by index: %s", counted(len(apart), "label map does not lie", "label maps do not lie"), some(apart))
	}
	if len(voxels) > 0 {
		c.note("%s no image: %s", counted(len(voxels), "label map has", "label maps have"), some(slices.Sorted(maps.Values(voxels))))
	}
	if table == nil || table.labels == "" {
		c.subfolders(c.items[first:])
	}
	if table != nil {
		return c.settle(table)
	}
	return nil
}

func (c *collection) isDir(p string) bool {
	s, err := fs.Stat(c.fsys, p)
	return err == nil && s.IsDir()
}

// some lists a few names.
func some(names []string) string {
	if len(names) > 5 {
		return strings.Join(names[:5], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}

// list returns the image files under dir in order of name, one for an .hdr/.img pair.
// Links to folders are not followed, so they cannot loop.
func (c *collection) list(dir string) ([]string, error) {
	var files []string
	err := fs.WalkDir(c.fsys, dir, func(p string, d fs.DirEntry, err error) error {
		switch base := path.Base(p); {
		case err != nil:
			if p == dir {
				return fmt.Errorf("data: %w", err)
			}
			c.refuse(p, err)
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
		case p != dir && strings.HasPrefix(base, "."):
			if d.IsDir() {
				return fs.SkipDir
			}
		case d.IsDir():
		case d.Type()&fs.ModeSymlink != 0 && c.isDir(p):
			c.note("%s is a link to a folder and was not followed", p)
		case slices.Contains([]string{"", ".dcm", ".ima", ".dicom"}, kind(base)) && volume.IsDICOM(c.fsys, p):
			c.dicom = append(c.dicom, p)
		case kind(base) == "":
			ext := path.Ext(base)
			if ext == "" {
				ext = "no extension"
			}
			c.report.Ignored[ext]++
		default:
			files = append(files, p)
		}
		return nil
	})
	pairs := map[string]bool{}
	for _, f := range files {
		if strings.HasPrefix(kind(f), ".hdr") {
			pairs[stem(f)] = true
		}
	}
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasPrefix(kind(f), ".img") && pairs[stem(f)] })
	sort.Strings(files)
	return files, err
}

func (c *collection) volumeOptions() volume.Options {
	return volume.Options{Frame: c.opt.Frame, FramesAsChannels: c.opt.FramesAsChannels, MaxBytes: c.opt.MaxBytes}
}

// candidate is an image that was found, ok when it can be used.
type candidate struct {
	item item
	name string
	ok   bool
}

// series opens the DICOM series among the files that were found; names begin below dir.
func (c *collection) series(dir string) []candidate {
	var found []candidate
	for _, s := range volume.OpenSeries(c.fsys, c.dicom, c.volumeOptions()) {
		name := strings.TrimPrefix(s.Name, dir+"/")
		if s.Name == dir {
			name = path.Base(dir)
		}
		err := s.Err
		if errors.Is(err, volume.ErrNoImage) {
			c.report.Ignored["DICOM without an image"]++
			continue
		}
		for _, f := range s.Files {
			if err == nil {
				err = c.fingerprint(f, strings.TrimPrefix(f, dir+"/"))
			}
		}
		if err == nil && c.opt.Dim != 0 && len(s.Image.Header().Size) != c.opt.Dim {
			err = fmt.Errorf("has %d axes (%s), %d are wanted", len(s.Image.Header().Size), sizeText(s.Image.Header().Size), c.opt.Dim)
		}
		if err != nil {
			what := s.Name
			if len(s.Files) > 1 {
				what = fmt.Sprintf("%s (%d DICOM files)", s.Name, len(s.Files))
			}
			c.refuse(what, err)
			found = append(found, candidate{name: name})
			continue
		}
		found = append(found, candidate{c.newItem(name, s.Image), name, true})
	}
	c.dicom = nil
	return found
}

// image opens one image file; a refusal is recorded.
func (c *collection) image(p, name string) (item, bool) {
	m, err := volume.Open(c.fsys, p, c.volumeOptions())
	if err == nil {
		err = c.fingerprint(p, name)
	}
	if err == nil && c.opt.Dim != 0 && len(m.Header().Size) != c.opt.Dim {
		err = fmt.Errorf("has %d axes (%s), %d are wanted", len(m.Header().Size), sizeText(m.Header().Size), c.opt.Dim)
	}
	if err != nil {
		c.refuse(p, err)
		return item{}, false
	}
	if f := formatOf(name); f != "" && f != strings.TrimRight(m.Header().Format, "-127. ") {
		c.mislabelled = append(c.mislabelled, fmt.Sprintf("%s is %s", printable(name), m.Header().Format))
	}
	return c.newItem(name, m), true
}

// newItem is a sample without a label.
func (c *collection) newItem(name string, m volume.Image) item {
	shown := printable(name)
	if shown != name {
		c.renamed = append(c.renamed, shown)
	}
	return item{name: shown, header: m.Header(), image: fileSource{m}, class: -1}
}

// formatOf says what a file's extension promises, "" where that is open.
func formatOf(name string) string {
	switch e := strings.TrimSuffix(kind(name), ".gz"); e {
	case ".nii":
		return "NIfTI"
	case ".nrrd", ".nhdr":
		return "NRRD"
	case ".mha", ".mhd":
		return "MetaImage"
	case ".png":
		return "PNG"
	case ".jpg", ".jpeg":
		return "JPEG"
	case ".tif", ".tiff":
		return "TIFF"
	case ".npy":
		return "NPY"
	}
	return ""
}

// printable writes what is not UTF-8, and what would move a terminal's cursor, as \xNN.
func printable(name string) string {
	plain := true
	for _, r := range name {
		plain = plain && r != utf8.RuneError && !unicode.IsControl(r)
	}
	if plain {
		return name
	}
	var b strings.Builder
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRuneInString(name[i:])
		if r == utf8.RuneError && n == 1 || unicode.IsControl(r) {
			for _, c := range []byte(name[i : i+n]) {
				fmt.Fprintf(&b, "\\x%02x", c)
			}
		} else {
			b.WriteString(name[i : i+n])
		}
		i += n
	}
	return b.String()
}

// fingerprint adds a file to the data's hash: its name, its length, its first 4 KiB and
// its last 64 KiB, where gzip and zip keep the checksums of their content.
func (c *collection) fingerprint(p, name string) error {
	f, err := c.fsys.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	s, err := f.Stat()
	if err != nil {
		return err
	}
	fmt.Fprintf(c.hash, "%q %d ", name, s.Size())
	if _, err := io.CopyN(c.hash, f, min(s.Size(), 4<<10)); err != nil {
		return err
	}
	rest, tail := s.Size()-min(s.Size(), 4<<10), int64(64<<10)
	if seeker, ok := f.(io.Seeker); ok && rest > tail {
		if _, err := seeker.Seek(-tail, io.SeekEnd); err != nil {
			return err
		}
		rest = tail
	}
	_, err = io.CopyN(c.hash, f, rest)
	return err
}

// finish decides the common shape, reads what fits into memory and divides the samples.
func (c *collection) finish() (Dataset, *Report, error) {
	if err := c.refusals(); err != nil {
		return nil, c.report, err
	}
	c.recolour()
	size, err := c.shape()
	if err != nil {
		return nil, c.report, err
	}
	if err := c.describe(); err != nil {
		return nil, c.report, err
	}
	d := &dataset{items: c.items, preprocess: preprocess{c.items[0].header.Channels, size, c.opt}}
	d.cache.left.Store(c.budget.left.Load())
	d.cache.samples = make([]*packed, len(d.items))
	if c.generated > 0 {
		d.voxelClasses = c.generated
	} else if err := c.verify(d); err != nil {
		return nil, c.report, err
	}
	d.classes = c.classes
	d.fingerprint = hex.EncodeToString(c.hash.Sum(nil))
	plan := DefaultSplit
	if c.opt.Split != nil {
		plan = *c.opt.Split
	}
	d.splits = split(d.items, plan)
	if err := c.leaks(d); err != nil {
		return nil, c.report, err
	}
	c.summarise(d)
	return d, c.report, nil
}

// nonFinite says which samples hold voxels that are no numbers and are read as 0.
func (c *collection) nonFinite(d *dataset) {
	if !c.opt.ZeroNonFinite {
		return // refused
	}
	voxels, names := 0, []string{}
	for i, it := range d.items {
		if n, ok := d.replaced.Load(i); ok {
			voxels += n.(int)
			names = append(names, it.name)
		}
	}
	if len(names) > 0 {
		c.note("%d voxels of %d samples are NaN or Inf and are read as 0: %s", voxels, len(names), some(names))
	}
}

// describe settles labels, subjects and the splits that are given, before damaged samples
// are left out.
func (c *collection) describe() error {
	if c.opt.Labels != "" {
		t, err := c.table(filepath.ToSlash(c.opt.Labels))
		if err != nil {
			return err
		}
		for i := range c.items {
			t.take(&c.items[i])
		}
		if err := c.settle(t); err != nil {
			return err
		}
	}
	if len(c.classes) == 0 {
		if err := c.resolve(); err != nil {
			return err
		}
		c.sortClasses()
	}
	if len(c.mislabelled) > 0 {
		c.note("%d files are of another format than their names say and were read by what they hold: %s", len(c.mislabelled), some(c.mislabelled))
	}
	if len(c.renamed) > 0 {
		c.note("%d names are not UTF-8 or hold control characters and are shown with \\x: %s", len(c.renamed), some(c.renamed))
	}
	if err := c.findSubjects(); err != nil {
		return err
	}
	if c.opt.Splits != "" {
		return c.readSplits(filepath.ToSlash(c.opt.Splits))
	}
	return nil
}

// refusals is the error for unreadable files, nil where they are to be skipped.
func (c *collection) refusals() error {
	bad := c.report.Refused
	if len(bad) > 0 && (!c.opt.SkipBad || len(c.items) == 0) {
		var b strings.Builder
		for i, r := range bad {
			if i == 10 {
				fmt.Fprintf(&b, "\n  and %d more", len(bad)-i)
				break
			}
			fmt.Fprintf(&b, "\n  %s: %s", r.Name, r.Reason)
		}
		if len(c.items) == 0 {
			return fmt.Errorf("data: nothing could be read:%s", b.String())
		}
		return fmt.Errorf("data: %d of %d files cannot be used; mend or remove them, or have bad files skipped:%s", len(bad), len(bad)+len(c.items), b.String())
	}
	if len(c.items) == 0 {
		return errors.New("data: no samples")
	}
	return nil
}

// ErrAxes says that some images have two axes and some three, and nobody said which are wanted.
var ErrAxes = errors.New("images and volumes together")

// SizesError says that images of several sizes need one to be brought to.
type SizesError struct {
	Sizes [][]int // of every image
	text  string
}

func (e *SizesError) Error() string { return e.text }

// shape returns the size of all samples, or an error that names files that differ.
func (c *collection) shape() ([]int, error) {
	first := c.items[0]
	for _, it := range c.items[1:] {
		if len(it.header.Size) != len(first.header.Size) {
			return nil, fmt.Errorf("data: %w: %s has %d axes (%s), %s has %d (%s): name those of one kind, or set the size", ErrAxes, first.name, len(first.header.Size), sizeText(first.header.Size), it.name, len(it.header.Size), sizeText(it.header.Size))
		}
	}
	for _, it := range c.items[1:] {
		if it.header.Channels != first.header.Channels {
			return nil, fmt.Errorf("data: channels differ: %s has %d, %s has %d: keep one kind", first.name, first.header.Channels, it.name, it.header.Channels)
		}
	}
	if len(c.opt.Spacing) > 0 {
		if len(c.opt.Spacing) != len(first.header.Size) {
			return nil, fmt.Errorf("data: spacing %v has %d axes, but %s has %d", c.opt.Spacing, len(c.opt.Spacing), first.name, len(first.header.Size))
		}
		for _, it := range c.items {
			need := float64(4 * it.header.Channels)
			for _, n := range c.opt.place(it.header).resampled {
				need *= float64(n)
			}
			if need > float64(c.opt.maxBytes()) {
				return nil, fmt.Errorf("data: %s with spacing %v takes %.3g bytes, above the limit of %d: is its own spacing of %s right?", it.name, c.opt.Spacing, need, c.opt.maxBytes(), spacingText(it.header.Spacing))
			}
		}
	}
	if len(c.opt.Size) > 0 {
		if len(c.opt.Size) != len(first.header.Size) {
			return nil, fmt.Errorf("data: size %s has %d axes, but %s has %d (%s)", sizeText(c.opt.Size), len(c.opt.Size), first.name, len(first.header.Size), sizeText(first.header.Size))
		}
		need, most := int64(4*first.header.Channels), c.opt.maxBytes()
		for _, n := range c.opt.Size {
			need *= int64(n)
		}
		if need > most {
			return nil, fmt.Errorf("data: size %s with %d channels takes %d bytes a sample, above the limit of %d", sizeText(c.opt.Size), first.header.Channels, need, most)
		}
		return c.opt.Size, nil
	}
	examples, sizes := []string{}, map[string]bool{}
	differ := &SizesError{}
	for _, it := range c.items {
		size := c.opt.place(it.header).resampled
		differ.Sizes = append(differ.Sizes, size)
		if s := sizeText(size); !sizes[s] {
			sizes[s] = true
			if len(examples) < 5 {
				examples = append(examples, it.name+" is "+s)
			}
		}
	}
	if len(sizes) > 1 {
		differ.text = fmt.Sprintf("data: %d images have %d different sizes (%s): set the size to bring them to, cropped or padded or resized", len(c.items), len(sizes), strings.Join(examples, ", "))
		return nil, differ
	}
	return c.opt.place(first.header).resampled, nil
}

// content is a hash of a sample's values, 0 where they are all equal: an empty image is no
// copy of another.
func content(x []float32) uint64 {
	if !slices.ContainsFunc(x, func(v float32) bool { return v != x[0] }) {
		return 0
	}
	h := uint64(len(x))
	for _, v := range x {
		h = (h ^ uint64(math.Float32bits(v))) * 0x9e3779b97f4a7c15
		h ^= h >> 32
	}
	return max(h, 1)
}

// progress counts samples for who asked.
type progress struct {
	tell  func(done, total int) error
	total int

	mu   sync.Mutex
	done int
	err  error // that ended it
}

// more tells that another sample is being read.
func (p *progress) more() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tell != nil && p.err == nil {
		p.done++
		p.err = p.tell(p.done, p.total)
	}
	return p.err
}

// verify reads every file once, so that damage is found before training, as long as
// the samples fit into memory; beyond that only headers have been checked, unless bad
// files are to be skipped: then they must be known now.
func (c *collection) verify(d *dataset) error {
	n := len(d.items)
	errs := make([]error, n)
	classes := make([]int, n)
	contents := make([]uint64, n) // of samples that were read; 0 for those that are the same everywhere
	next := make(chan int)
	var workers sync.WaitGroup
	read := progress{tell: c.opt.Progress, total: n}
	for range min(n, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			x := make([]float32, d.channels*d.voxelCount())
			for i := range next {
				if read.more() != nil {
					continue
				}
				if errs[i] = d.load(i, x); errs[i] == nil {
					contents[i] = content(x)
				}
				if errs[i] == nil && d.items[i].voxels != nil {
					labels, err := d.rawLabels(i)
					if err != nil {
						errs[i] = fmt.Errorf("its labels: %w", err)
					} else if len(labels) > 0 {
						classes[i] = int(slices.Max(labels)) + 1
					}
				}
			}
		})
	}
	checked := 0
	for ; checked < n && !c.opt.HeadersOnly && (d.items[checked].resident || c.opt.SkipBad || c.opt.cacheBytes() > 0 && !d.cache.full.Load()); checked++ {
		next <- checked
	}
	close(next)
	workers.Wait()
	if read.err != nil {
		return read.err
	}
	c.report.HeaderOnly = n - checked
	c.nonFinite(d)
	good, cached := d.items[:0:0], []*packed{}
	firsts := map[uint64]string{}
	for i, it := range d.items {
		d.voxelClasses = max(d.voxelClasses, classes[i])
		if errs[i] != nil {
			c.refuse(it.name, errs[i])
			continue
		}
		good, cached = append(good, it), append(cached, d.cache.samples[i])
		if h := contents[i]; h == 0 {
		} else if first, copied := firsts[h]; copied {
			c.report.Copies = append(c.report.Copies, [2]string{it.name, first})
		} else {
			firsts[h] = it.name
		}
	}
	c.items, d.items, d.cache.samples = good, good, cached
	if d.voxelClasses == 0 && slices.ContainsFunc(good, func(it item) bool { return it.voxels != nil }) {
		d.voxelClasses = 256 // not read yet: whatever a label map can hold
	}
	return c.refusals()
}
