package volume

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"slices"
	"strings"
)

// Series is one image found among DICOM files.
type Series struct {
	// Name is the folder of its files, with eight digits that stand for its UID where the
	// folder holds several series, or the file's name where the file is all of it.
	Name  string
	Files []string // in order of name
	Image Image    // nil with Err
	Err   error    // why it is no image; [ErrNoImage] for files that hold something else
}

// OpenSeries sorts DICOM files, of any names, into series and opens each: columns left to
// right, rows bottom up, slices in order of position along their normal, in the places
// that the files say. These are the array and affine of dcm2niix, except for what it
// turns to RAS (thin slices that are not axial): the places are the same, the axes stay.
//
// Missing or uneven slices, several orientations or sizes and several images at one place
// are errors; where all places hold equally many images, the series is 4-D. Copies of a
// slice are left out and noted in [Header.Notes].
func OpenSeries(fsys fs.FS, names []string, opt Options) []Series {
	var all []Series
	bySeries := map[string][]*dicomFile{}
	var order []string
	for _, n := range names {
		f, err := readDICOM(fsys, n)
		if err != nil {
			all = append(all, Series{Name: n, Files: []string{n}, Err: err})
			continue
		}
		key := f.seriesUID
		if key == "" {
			key = "file " + n
		}
		if bySeries[key] == nil {
			order = append(order, key)
		}
		bySeries[key] = append(bySeries[key], f)
	}
	folders := map[string]int{} // series in each
	for _, key := range order {
		folders[folder(bySeries[key])]++
	}
	for _, key := range order {
		files := bySeries[key]
		s := Series{Name: folder(files)}
		if folders[s.Name] > 1 || s.Name == "." {
			h := sha256.Sum256([]byte(key))
			s.Name = path.Join(s.Name, "series-"+hex.EncodeToString(h[:4]))
		}
		if len(files) == 1 {
			s.Name = files[0].name
		}
		for _, f := range files {
			s.Files = append(s.Files, f.name)
		}
		slices.Sort(s.Files)
		if pictures(files) && len(files) > 1 {
			for _, f := range files { // X-ray views: each is an image
				one := Series{Name: f.name, Files: []string{f.name}}
				one.Image, one.Err = assemble(fsys, []*dicomFile{f}, opt)
				all = append(all, one)
			}
			continue
		}
		s.Image, s.Err = assemble(fsys, files, opt)
		all = append(all, s)
	}
	return all
}

// folder returns the deepest folder that holds all files.
func folder(files []*dicomFile) string {
	dir := path.Dir(files[0].name)
	for _, f := range files[1:] {
		for dir != "." && dir != "/" && !strings.HasPrefix(f.name, dir+"/") {
			dir = path.Dir(dir)
		}
	}
	return dir
}

// pictures says that none of the files says where it lies.
func pictures(files []*dicomFile) bool {
	return !slices.ContainsFunc(files, func(f *dicomFile) bool { return f.plane(0).position != nil })
}

// plane returns what is known of a frame.
func (f *dicomFile) plane(frame int) attributes {
	var a attributes
	if frame < len(f.each) {
		a = f.each[frame]
	}
	return a.over(f.shared).over(f.all)
}

// slice is one plane of a volume.
type slice struct {
	file             *dicomFile
	frame, tile      int // tile of a mosaic
	position         [3]float64
	along            float64 // the position on the normal
	slope, intercept float64
}

// dicom is a volume of DICOM slices, or a picture.
type dicom struct {
	fsys    fs.FS
	header  Header
	slices  []slice // of each channel, ascending along the normal
	flat    bool    // a picture: rows down, no third axis
	columns int     // of a slice
	rows    int
}

func (d *dicom) Header() Header { return d.header }

// assemble makes one image of the files of a series.
func assemble(fsys fs.FS, files []*dicomFile, opt Options) (Image, error) {
	files, notes := withoutCopies(files)
	first := files[0]
	for _, f := range files[1:] {
		switch {
		case f.rows != first.rows || f.columns != first.columns:
			return nil, fmt.Errorf("a series of images of several sizes: %s is %d×%d, %s %d×%d: separate them", path.Base(first.name), first.columns, first.rows, path.Base(f.name), f.columns, f.rows)
		case f.samples != first.samples || f.photometric != first.photometric || f.mosaic != first.mosaic || f.compressed() != first.compressed():
			return nil, fmt.Errorf("a series of images of several kinds: %s is %s, %s %s: separate them", path.Base(first.name), first.kind(), path.Base(f.name), f.kind())
		}
	}
	d := &dicom{fsys: fsys, rows: first.rows, columns: first.columns}
	h := Header{Format: "DICOM", Type: first.typeName(), Channels: first.samples, Frames: 1, Patient: first.patient, Study: first.study, Notes: notes}
	if first.photometric == "MONOCHROME1" {
		h.Notes = append(h.Notes, "MONOCHROME1: stored with bright as dark, turned round")
	}
	if pictures(files) {
		return d.picture(first, h, opt)
	}
	all, orientation, normal, err := collectSlices(files)
	if err != nil {
		return nil, err
	}
	spacing2 := first.plane(0).spacing
	if spacing2 == nil || !(spacing2[0] > 0 && spacing2[1] > 0) {
		return nil, errors.New("DICOM: no distance between its pixels (PixelSpacing)")
	}
	if first.mosaic > 0 {
		if all, err = d.tiles(first, all, orientation, normal, spacing2); err != nil {
			return nil, err
		}
	}
	for i := range all {
		all[i].along = dot(all[i].position, normal)
	}
	slices.SortStableFunc(all, func(a, b slice) int {
		return cmp.Compare(a.along, b.along)
	})
	places, step, uneven, err := even(all)
	if err != nil {
		return nil, err
	}
	if err := volumes(places); err != nil {
		return nil, err
	}
	h.Notes = append(h.Notes, uneven...)
	n := len(places)
	at, count, err := opt.frames(len(places[0]), []int{d.columns, d.rows, n})
	if err != nil {
		return nil, err
	}
	h.Frames, h.Channels = len(places[0]), h.Channels*count
	if h.Channels > 1 && count > 1 && first.samples > 1 {
		return nil, errors.New("DICOM: several colour volumes in one series: separate them")
	}
	for c := range count {
		for _, p := range places {
			d.slices = append(d.slices, p[at+c])
		}
	}
	// Columns of the affine: along a row, down a column, from slice to slice.
	a := Identity()
	low, high := places[0][0].position, places[n-1][0].position
	tilt := 0.0
	for i := range 3 {
		a[i][0], a[i][1], a[i][3] = orientation[i]*spacing2[1], orientation[3+i]*spacing2[0], low[i]
		if n > 1 {
			a[i][2] = (high[i] - low[i]) / float64(n-1)
		} else {
			if step = 1; first.between != nil && first.between[0] > 0 {
				step = first.between[0]
			}
			a[i][2] = normal[i] * step
		}
		tilt = max(tilt, math.Abs(a[i][2]-normal[i]*step))
	}
	if n > 1 && tilt > 0.02*step {
		h.Notes = append(h.Notes, "slices are sheared (a tilted gantry): the affine says so, axes are not at right angles")
	}
	for i := range 3 { // rows bottom up
		a[i][3] += a[i][1] * float64(d.rows-1)
		a[i][1] = -a[i][1]
	}
	a = fromLPS(a)
	if err := sound(a); err != nil {
		return nil, fmt.Errorf("DICOM: %w", err)
	}
	h.Size, h.Affine = []int{d.columns, d.rows, n}, a
	h.Spacing = spacing(a, 3)
	d.header = h
	if need, most := 4*int64(h.Len()), opt.maxBytes(); need > most {
		return nil, fmt.Errorf("%v voxels take %d bytes as float32, above the limit of %d", h.Size, need, most)
	}
	if first.compressed() {
		d.header.Notes = append(d.header.Notes, fmt.Sprintf("%d compressed files (%s), decoded by %s", len(d.files()), syntaxName(first.syntax), converter))
		return openConverted(d, first)
	}
	return d, nil
}

// picture is an image without a place in space.
func (d *dicom) picture(f *dicomFile, h Header, opt Options) (Image, error) {
	if f.mosaic > 0 {
		return nil, errors.New("a mosaic without a position")
	}
	if f.compressed() {
		return nil, fmt.Errorf("compressed (%s), and it does not say where it lies: export it uncompressed or as PNG", syntaxName(f.syntax))
	}
	at, count, err := opt.frames(f.frames, []int{d.rows, d.columns})
	if err != nil {
		return nil, err
	}
	if count > 1 && f.samples > 1 {
		return nil, errors.New("DICOM: several colour frames: choose one")
	}
	for c := range count {
		a := f.plane(at + c)
		s := slice{file: f, frame: at + c}
		if s.slope, s.intercept, err = a.rescale(); err != nil {
			return nil, err
		}
		d.slices = append(d.slices, s)
	}
	h.Frames, h.Channels = f.frames, h.Channels*count
	h.Size, h.Spacing, h.Affine = []int{d.rows, d.columns}, ones(2), Identity()
	if s := f.plane(0).spacing; s != nil && s[0] > 0 && s[1] > 0 {
		h.Spacing = s
	}
	d.header, d.flat = h, true
	if need, most := 4*int64(h.Len()), opt.maxBytes(); need > most {
		return nil, fmt.Errorf("%v pixels take %d bytes as float32, above the limit of %d", h.Size, need, most)
	}
	return d, nil
}

func (a attributes) rescale() (slope, intercept float64, err error) {
	slope = 1
	if a.slope != nil {
		slope = a.slope[0]
	}
	if a.intercept != nil {
		intercept = a.intercept[0]
	}
	if slope == 0 {
		return 0, 0, errors.New("DICOM: rescale slope 0")
	}
	return slope, intercept, nil
}

// withoutCopies leaves out files that hold the same image as another, those first that
// are compressed.
func withoutCopies(files []*dicomFile) (unique []*dicomFile, notes []string) {
	kept := map[string]int{} // index in unique by UID
	for _, f := range files {
		i, copied := kept[f.instanceUID]
		switch {
		case f.instanceUID == "" || !copied:
			kept[f.instanceUID] = len(unique)
			unique = append(unique, f)
		case unique[i].compressed() && !f.compressed():
			unique[i] = f
		}
	}
	if n := len(files) - len(unique); n > 0 {
		notes = append(notes, fmt.Sprintf("%d files are copies of others of the series and were left out", n))
	}
	return unique, notes
}

// kind names what all files of a series must have in common.
func (f *dicomFile) kind() string {
	kind := fmt.Sprintf("%s with %d samples a pixel", f.photometric, f.samples)
	if f.mosaic > 0 {
		kind += fmt.Sprintf(", a mosaic of %d", f.mosaic)
	}
	if f.compressed() {
		kind += fmt.Sprintf(", compressed (%s)", syntaxName(f.syntax))
	}
	return kind
}

// collectSlices lists all planes of all files, and the one orientation that they have.
func collectSlices(files []*dicomFile) (all []slice, orientation [6]float64, normal [3]float64, err error) {
	for _, f := range files {
		for frame := range f.frames {
			a := f.plane(frame)
			if a.position == nil || a.orientation == nil {
				return nil, orientation, normal, fmt.Errorf("DICOM: %s does not say where its frame %d lies, others of the series do", path.Base(f.name), frame+1)
			}
			if f.frames > 1 && len(f.each) == 0 {
				return nil, orientation, normal, fmt.Errorf("DICOM: %d frames without a position of their own", f.frames)
			}
			s := slice{file: f, frame: frame, position: [3]float64(a.position)}
			if s.slope, s.intercept, err = a.rescale(); err != nil {
				return nil, orientation, normal, err
			}
			o := [6]float64(a.orientation)
			if len(all) == 0 {
				orientation = o
				x, y := [3]float64(o[:3]), [3]float64(o[3:])
				normal = cross(x, y)
				if math.Abs(dot(x, x)-1) > 1e-2 || math.Abs(dot(y, y)-1) > 1e-2 || math.Abs(dot(x, y)) > 1e-2 {
					return nil, orientation, normal, fmt.Errorf("DICOM: image orientation %v is no pair of unit vectors at right angles", o)
				}
			}
			for i := range o {
				if math.Abs(o[i]-orientation[i]) > 1e-3 {
					return nil, orientation, normal, fmt.Errorf("a series of several orientations: %.4g and, in %s, %.4g: a localizer, or several scans in one: leave it out or separate them", orientation, path.Base(f.name), o)
				}
			}
			all = append(all, s)
		}
	}
	return all, orientation, normal, nil
}

// even groups sorted slices by place and checks that the places are evenly spaced and
// hold equally many.
func even(all []slice) (places [][]slice, step float64, notes []string, err error) {
	const near = 1e-3 // mm
	for _, s := range all {
		if n := len(places); n > 0 && s.along-places[n-1][0].along < near {
			places[n-1] = append(places[n-1], s)
		} else {
			places = append(places, []slice{s})
		}
	}
	n := len(places)
	if n == 1 && len(all) > 1 {
		return nil, 0, nil, fmt.Errorf("all %d images lie in one place: no volume", len(all))
	}
	for _, p := range places {
		if len(p) != len(places[0]) {
			return nil, 0, nil, fmt.Errorf("%d images lie %.3g mm along the normal, %d at %.3g mm: missing slices, or several scans in one series: export it again or separate them", len(places[0]), places[0][0].along, len(p), p[0].along)
		}
	}
	if n == 1 {
		return places, 0, nil, nil
	}
	gaps := make([]float64, n-1)
	for i := range gaps {
		gaps[i] = places[i+1][0].along - places[i][0].along
	}
	sorted := slices.Sorted(slices.Values(gaps))
	median := sorted[len(sorted)/2]
	if n == 3 {
		median = sorted[0]
	}
	for i, g := range gaps {
		if g > 1.5*median {
			return nil, 0, nil, fmt.Errorf("missing slices: %.4g mm between slices %d and %d, %.4g mm between others (about %.0f missing): export the series again", g, i+1, i+2, median, g/median-1)
		}
	}
	step = (places[n-1][0].along - places[0][0].along) / float64(n-1)
	if low, high := sorted[0], sorted[len(sorted)-1]; high-low > 0.1*step {
		return nil, 0, nil, fmt.Errorf("uneven slices: %.4g to %.4g mm apart: resample it to even distances", low, high)
	} else if high-low > 0.02*step {
		notes = append(notes, fmt.Sprintf("slices are %.4g to %.4g mm apart; %.4g is used", low, high, step))
	}
	return places, step, notes, nil
}

// volumes sorts the images at each place by the volume that they belong to: by time, echo and
// kind, since numbers of instances may begin again with each of these.
func volumes(places [][]slice) error {
	for _, p := range places {
		slices.SortStableFunc(p, func(a, b slice) int {
			return cmp.Or(cmp.Compare(a.file.time, b.file.time), cmp.Compare(a.file.echo, b.file.echo), cmp.Compare(a.file.imageType, b.file.imageType), cmp.Compare(a.file.instance, b.file.instance), cmp.Compare(a.frame, b.frame), cmp.Compare(a.file.name, b.file.name))
		})
		for i := range p {
			if first := places[0][i]; len(p) > 1 && first.file.echo != p[i].file.echo {
				return fmt.Errorf("several volumes in one series, of which the slices have other echo times: %s %g ms, %s %g ms: separate them", path.Base(first.file.name), first.file.echo, path.Base(p[i].file.name), p[i].file.echo)
			}
		}
	}
	return nil
}

// tiles turns a Siemens mosaic into its slices: a square of tiles, row by row, whose
// position is that of the whole as if it were one large slice.
func (d *dicom) tiles(f *dicomFile, all []slice, orientation [6]float64, normal [3]float64, spacing2 []float64) ([]slice, error) {
	side := int(math.Ceil(math.Sqrt(float64(f.mosaic))))
	if d.rows%side != 0 || d.columns%side != 0 {
		return nil, fmt.Errorf("a mosaic of %d images does not divide %d×%d pixels", f.mosaic, d.columns, d.rows)
	}
	if f.between == nil || !(f.between[0] > 0) {
		return nil, errors.New("a mosaic without the distance between its slices")
	}
	direction := normal
	if f.normal != nil {
		direction = [3]float64(f.normal)
		if math.Abs(math.Abs(dot(direction, normal))-1) > 1e-2 {
			return nil, fmt.Errorf("a mosaic whose normal %v is not at right angles to its rows", f.normal)
		}
	}
	columns, rows := d.columns/side, d.rows/side
	right, down := spacing2[1]*float64(d.columns-columns)/2, spacing2[0]*float64(d.rows-rows)/2
	var tiles []slice
	for _, s := range all {
		for t := range f.mosaic {
			one := s
			one.tile = t
			for i := range 3 {
				one.position[i] += orientation[i]*right + orientation[3+i]*down + direction[i]*f.between[0]*float64(t)
			}
			tiles = append(tiles, one)
		}
	}
	d.columns, d.rows = columns, rows
	return tiles, nil
}

func (d *dicom) Read(dst []float32) ([]float32, error) {
	for _, s := range d.slices {
		if s.file.syntax == syntaxDeflated && s.frame == 0 && s.tile == 0 {
			// What inflates is known only afterwards: see that it is there before memory
			// is reserved for all of it.
			if err := s.file.eachFrame(d.fsys, func(int, []byte, binary.ByteOrder, bool) error { return nil }); err != nil {
				return dst, fmt.Errorf("%s: %w", path.Base(s.file.name), err)
			}
		}
	}
	at, n := len(dst), d.header.Len()
	dst = slices.Grow(dst, n)[:at+n]
	var files []*dicomFile
	where := map[*dicomFile]map[int][]int{} // indices of slices by frame
	for i, s := range d.slices {
		if where[s.file] == nil {
			where[s.file] = map[int][]int{}
			files = append(files, s.file)
		}
		where[s.file][s.frame] = append(where[s.file][s.frame], i)
	}
	for _, f := range files {
		left := len(where[f])
		err := f.eachFrame(d.fsys, func(frame int, pixels []byte, order binary.ByteOrder, planar bool) error {
			if len(where[f][frame]) == 0 {
				return nil
			}
			for _, i := range where[f][frame] {
				d.place(dst[at:], i, pixels, order, planar)
			}
			if left--; left == 0 && frame < f.frames-1 {
				return io.EOF // the rest is not wanted
			}
			return nil
		})
		if err != nil && err != io.EOF {
			return dst[:at], fmt.Errorf("%s: %w", path.Base(f.name), err)
		}
	}
	return dst, nil
}

// place writes slice i.
func (d *dicom) place(dst []float32, i int, pixels []byte, order binary.ByteOrder, planar bool) {
	s := d.slices[i]
	f := s.file
	value, width := f.values(order), f.allocated/8
	depth := 1
	if !d.flat {
		depth = d.header.Size[2]
	}
	side := f.columns / d.columns
	left, top := s.tile%side*d.columns, s.tile/side*d.rows
	z, channel := i%depth, i/depth
	for c := range f.samples {
		out := dst[(channel+c)*d.columns*d.rows*depth:]
		for y := range d.rows {
			for x := range d.columns {
				p := (top+y)*f.columns + left + x
				if planar {
					p += c * f.rows * f.columns
				} else {
					p = p*f.samples + c
				}
				v := float32(value(pixels[p*width:])*s.slope + s.intercept)
				if d.flat {
					out[y*d.columns+x] = v
				} else {
					out[(x*d.rows+d.rows-1-y)*depth+z] = v
				}
			}
		}
	}
}

func dot(a, b [3]float64) float64 { return a[0]*b[0] + a[1]*b[1] + a[2]*b[2] }

func cross(a, b [3]float64) [3]float64 {
	return [3]float64{a[1]*b[2] - a[2]*b[1], a[2]*b[0] - a[0]*b[2], a[0]*b[1] - a[1]*b[0]}
}

func syntaxName(uid string) string {
	if n, ok := syntaxNames[uid]; ok {
		return n
	}
	return fmt.Sprintf("transfer syntax %.40q", uid)
}
