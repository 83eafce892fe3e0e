// Package data turns whatever images a person points at into batches for training and samples for probes.
//
// # Reading
//
// [Open] takes files, folders and arrays and returns a [Dataset] of samples that
// all have one shape, with a [Report] of what was found, used and refused:
//
//   - NIfTI-1 and -2 (.nii, .nii.gz, .hdr/.img), Analyze pairs, NRRD (.nrrd, .nhdr),
//     MetaImage (.mha, .mhd), .npy, PNG, JPEG and TIFF files, or folders of them;
//   - DICOM files of any names, sorted into series: each series is a sample, named after
//     its folder; files that hold no image are counted and left alone;
//   - MedMNIST .npz sets ({train,val,test}_images and _labels), and .npz or .npy
//     arrays of samples (N, …);
//   - folders of pictures that are the slices of a volume each ([Options.Stack]).
//
// Files are told apart by content. A folder is searched with its sub-folders; other
// files in it are counted and left alone. Axes are (H, W, D) = the file's (x, y, z)
// for volumes and (rows, columns) for pictures; colour pictures have three channels.
//
// # Labels
//
//   - Of a sample: an array beside the images in an .npz; a table, CSV or TSV, that
//     [Options.Labels] names or that lies in the folder as labels.csv, labels.tsv or
//     participants.tsv; for pictures, the names of the sub-folders. Labels are classes, or
//     numbers to predict ([Options.LabelKind]).
//   - Of a voxel: where the images lie in a folder images/, the files of the same
//     name in the folder labels/ beside it.
//
// A table has a column that names images (file, name, … by name or stem, or participant_id
// as BIDS has it), one of labels and perhaps one of subjects. Rows and images that do not
// find each other are named in the report; rows that contradict each other are an error,
// as is a table that fits no image.
//
// # Splits
//
// Samples of one person never lie in two parts of a split, and each part gets its share of
// each class. Persons are told by the table, by sub-XX in names or by DICOM's patient, or its
// study where all have one patient's ID ([Options.Subjects]); patients are never named. Samples of the same content are reported.
// Splits come from a file ([Options.Splits]), or from the source where it has them (train, val and test arrays of an
// .npz, or sub-folders train/, val/, test/ of pictures), else from [Options.Split].
//
// # Preprocessing
//
// Volumes are brought to the axes of RAS ([Options.Reorient]) and to one spacing
// ([Options.Spacing]) where that is asked for; label maps follow by the nearest voxel. A
// label map that is stored in another order of axes than its image is matched by its
// affine; one that lies elsewhere is named in the report.
//
// Each sample is brought to [Options.Size] (cropped or padded, or resized), and its
// intensities are normalised ([Options.Normalize]). Images of several sizes without a
// size to bring them to are refused, as are images of several channel counts.
// Voxels that are not numbers make a file unreadable unless
// [Options.ZeroNonFinite] says that they count as 0.
//
// # Training
//
// A [Loader] gives batch after batch. A batch is a pure function of the seed and the
// step: shuffling by (seed, epoch), augmentation by (seed, step, sample), so training
// continues after an interruption as if there had been none. Goroutines prepare the
// next batches while the device computes.
//
// # Memory
//
// Samples are kept in the smallest of uint8, int16, float16 and float32 that holds them
// exactly, up to [Options.CacheBytes]; the rest is read again each time.
package data

import (
	"fmt"
	"slices"

	"wgjepa/data/transform"
	"wgjepa/data/volume"
)

// Dataset is a set of samples of one shape. Its methods are safe for concurrent use.
type Dataset interface {
	// Len returns the number of samples.
	Len() int
	// Shape returns the channels and the size, (H, W) or (H, W, D), after preprocessing.
	Shape() (channels int, size []int)
	// Read writes sample i, preprocessed, (C, H, W[, D]) row-major, to dst.
	Read(i int, dst []float32) error
	// ReadRaw appends sample i as its file holds it, (C, H, W[, D]) of its Header.
	ReadRaw(i int, dst []float32) ([]float32, error)
	// Normalize applies the set's intensity normalisation to one sample, again after
	// an augmentation.
	Normalize(x []float32)
	// Name returns the sample's file name, or its place in an array.
	Name(i int) string
	// Header describes sample i as it is stored, before preprocessing.
	Header(i int) volume.Header
	// Label returns the class of sample i, an index into Classes; false without a label.
	Label(i int) (class int, ok bool)
	// Target returns the number that is to be predicted for sample i, where labels are
	// numbers; false without. A sample has a class or a target, not both.
	Target(i int) (value float64, ok bool)
	// Subject returns a name for whose sample i is: equal for samples of one person. It is
	// the sample's name where nothing is known.
	Subject(i int) string
	// Classes returns the names of the classes; empty where samples have no labels.
	Classes() []string
	// VoxelLabels writes the labels of sample i's voxels, in the geometry of Read
	// without channels, to dst; false where it has none.
	VoxelLabels(i int, dst []uint8) (ok bool, err error)
	// VoxelClasses returns the number of voxel classes with the background, 0 without
	// voxel labels.
	VoxelClasses() int
	// Fingerprint identifies the data: names, lengths and parts of the content that
	// hold its checksums.
	Fingerprint() string
	// Split returns the samples of "train", "val" or "test", in ascending order; empty,
	// not nil, where there are none.
	Split(name string) []int
}

// Fit says how an image is brought to a size.
type Fit string

const (
	FitCropOrPad Fit = "crop-or-pad" // keep the scale, cut or extend around the centre (default)
	FitResize    Fit = "resize"      // interpolate
)

// Pad says what cropping or padding puts outside an image. Labels get 0.
type Pad string

const (
	PadEdge Pad = "edge" // the border's value (default)
	PadZero Pad = "zero" // 0, before normalisation
)

// Normalization of intensities.
type Normalization string

const (
	NormalizeZ          Normalization = "z"            // (x − μ)/(σ + 1e-8) of each channel (default)
	NormalizeForeground Normalization = "z-foreground" // the same, μ and σ of the voxels above the channel's mean
	NormalizeRobust     Normalization = "robust"       // percentiles 1 to 99 of each channel to 0 to 1, clipped
	NormalizeNone       Normalization = "none"
)

// RobustPercentiles are those of NormalizeRobust.
var RobustPercentiles = [2]float64{1, 99}

// Options of [Open]. The zero value reads images of one size as they are, z-normalised.
type Options struct {
	Size             []int         // (H, W) or (H, W, D) of every sample; empty: the files' own
	Fit              Fit           // how Size is reached
	Pad              Pad           // what is outside
	Normalize        Normalization // of intensities
	Reorient         bool          // bring the axes of volumes to RAS (x right, y front, z up) before anything else
	Spacing          []float64     // mm a voxel to resample to, before Size; empty: the files' own
	Dim              int           // 2 or 3 where an array's axes leave it open or only such images are wanted; 0: as found
	Frame            int           // use this volume of 4-D files, from 1; 0 refuses them
	FramesAsChannels bool          // use all volumes of 4-D files as channels
	Channels         int           // bring pictures to 1 or 3 channels; 0: as found, and grey ones among coloured ones to 3
	Stack            bool          // the pictures of a folder are the slices of one volume
	ZeroNonFinite    bool          // read NaN and Inf voxels as 0
	SkipBad          bool          // leave unreadable files out instead of refusing the whole
	HeadersOnly      bool          // read no pixels at opening; damage shows when a sample is read
	Split            *SplitPlan    // nil: DefaultSplit
	Splits           string        // a CSV with the columns name and split to use instead, as [WriteSplits] writes it
	Labels           string        // a CSV or TSV of labels and subjects; "": labels.csv, labels.tsv or participants.tsv in a folder
	LabelColumn      string        // its column of labels; "": label, class, target, diagnosis or group
	SubjectColumn    string        // its column of subjects; "": subject, subject_id, patient, patient_id or participant_id
	LabelKind        LabelKind     // whether labels are classes or numbers
	Subjects         SubjectSource // how samples of one person are told; they never lie in two parts of a split
	CacheBytes       int64         // samples kept in memory; 0: 1 GiB, negative: none
	MaxBytes         int64         // largest single image as float32; 0: 2 GiB
	// Progress is told how many of the samples have been read while they are opened, from
	// one goroutine at a time; an error ends the opening. nil: nobody asks.
	Progress func(done, total int) error
}

func (o Options) cacheBytes() int64 {
	if o.CacheBytes == 0 {
		return 1 << 30
	}
	return max(o.CacheBytes, 0)
}

func (o Options) maxBytes() int64 {
	if o.MaxBytes == 0 {
		return 2 << 30
	}
	return o.MaxBytes
}

// Validate fills in nothing and says what is wrong.
func (o Options) Validate() error {
	if n := len(o.Size); n != 0 && n != 2 && n != 3 {
		return fmt.Errorf("data: size %v must have 2 or 3 axes", o.Size)
	}
	for _, s := range o.Size {
		if s < 1 || s > 1<<14 {
			return fmt.Errorf("data: size %v: each axis must be 1 to %d", o.Size, 1<<14)
		}
	}
	if o.Dim != 0 && o.Dim != 2 && o.Dim != 3 {
		return fmt.Errorf("data: dim %d must be 2 or 3", o.Dim)
	}
	if o.Dim != 0 && len(o.Size) != 0 && o.Dim != len(o.Size) {
		return fmt.Errorf("data: size %v has %d axes, but dim is %d", o.Size, len(o.Size), o.Dim)
	}
	if n := len(o.Spacing); n != 0 && n != 2 && n != 3 || o.Dim != 0 && n != 0 && o.Dim != n {
		return fmt.Errorf("data: spacing %v must have one number for each axis, 2 or 3", o.Spacing)
	}
	for _, s := range o.Spacing {
		if !(s > 1e-3 && s < 1e4) {
			return fmt.Errorf("data: spacing %v: each must be 0.001 to 10000 mm", o.Spacing)
		}
	}
	if o.Frame < 0 || o.FramesAsChannels && o.Frame > 0 {
		return fmt.Errorf("data: volume %d of 4-D files, all as channels %t: choose one from 1, or all as channels", o.Frame, o.FramesAsChannels)
	}
	if o.Channels < 0 {
		return fmt.Errorf("data: channels %d must be positive, or 0 to take them as found", o.Channels)
	}
	if !slices.Contains([]Fit{"", FitCropOrPad, FitResize}, o.Fit) {
		return fmt.Errorf("data: fit %q must be %q or %q", o.Fit, FitCropOrPad, FitResize)
	}
	if !slices.Contains([]Pad{"", PadEdge, PadZero}, o.Pad) {
		return fmt.Errorf("data: pad %q must be %q or %q", o.Pad, PadEdge, PadZero)
	}
	if !slices.Contains([]Normalization{"", NormalizeZ, NormalizeForeground, NormalizeRobust, NormalizeNone}, o.Normalize) {
		return fmt.Errorf("data: normalize %q must be %q, %q, %q or %q", o.Normalize, NormalizeZ, NormalizeForeground, NormalizeRobust, NormalizeNone)
	}
	if !slices.Contains([]LabelKind{"", LabelAuto, LabelClass, LabelNumber}, o.LabelKind) {
		return fmt.Errorf("data: label kind %q must be %q, %q or %q", o.LabelKind, LabelAuto, LabelClass, LabelNumber)
	}
	if !slices.Contains([]SubjectSource{"", SubjectAuto, SubjectTable, SubjectBIDS, SubjectFolder, SubjectNone}, o.Subjects) {
		return fmt.Errorf("data: subjects by %q must be %q, %q, %q, %q or %q", o.Subjects, SubjectAuto, SubjectTable, SubjectBIDS, SubjectFolder, SubjectNone)
	}
	if s := o.Split; s != nil && !(s.Val >= 0 && s.Test >= 0 && s.Val < 1<<31 && s.Test < 1<<31) {
		return fmt.Errorf("data: split val %g, test %g: shares below 1 or counts", s.Val, s.Test)
	}
	return nil
}

// preprocess brings raw images to one geometry and normalises intensities.
type preprocess struct {
	channels int
	size     []int
	Options
}

// place says how a stored image is brought to the axes and the spacing that are wanted.
type place struct {
	stored    []int
	reorient  bool
	axes      transform.Orientation
	turned    []int // size after reorientation
	spacing   []float64
	resampled []int // size after resampling; turned without
}

// place of an image with this header.
func (o Options) place(h volume.Header) place {
	p := place{stored: h.Size, turned: h.Size, spacing: h.Spacing}
	if o.Reorient && len(h.Size) == 3 {
		p.axes = transform.ToRAS(h.Affine)
		if p.reorient = p.axes.String() != "RAS"; p.reorient {
			p.turned = p.axes.Size(h.Size)
			p.spacing = []float64{h.Spacing[p.axes.Axes[0]], h.Spacing[p.axes.Axes[1]], h.Spacing[p.axes.Axes[2]]}
		}
	}
	p.resampled = p.turned
	if len(o.Spacing) == len(h.Size) {
		p.resampled = transform.ResampledSize(p.turned, p.spacing, o.Spacing)
	}
	return p
}

// resamples says that values are interpolated.
func (p *preprocess) resamples(at place) bool {
	return len(p.Spacing) > 0 && !slices.Equal(at.spacing, p.Spacing)
}

// geometry writes src (C, stored…) to dst (C, size…).
func (p *preprocess) geometry(dst, src []float32, at place) {
	if at.reorient {
		turned := make([]float32, len(src))
		transform.Reorient(turned, src, p.channels, at.stored, at.axes)
		src = turned
	}
	if p.resamples(at) {
		resampled := make([]float32, p.channels*volumeOf(at.resampled))
		transform.Resample(resampled, src, p.channels, at.turned, at.resampled, at.spacing, p.Spacing)
		src = resampled
	}
	switch from := at.resampled; {
	case slices.Equal(from, p.size):
		copy(dst, src)
	case p.Fit == FitResize:
		transform.Resize(dst, src, p.channels, from, p.size)
	case p.Pad == PadZero:
		transform.CropOrPad(dst, src, p.channels, from, p.size, transform.Constant, 0)
	default:
		transform.CropOrPad(dst, src, p.channels, from, p.size, transform.Edge, 0)
	}
}

// labels writes labels (stored…) to dst (size…) in the same geometry.
func (p *preprocess) labels(dst, src []uint8, at place) {
	if at.reorient {
		turned := make([]uint8, len(src))
		transform.Reorient(turned, src, 1, at.stored, at.axes)
		src = turned
	}
	if p.resamples(at) {
		resampled := make([]uint8, volumeOf(at.resampled))
		transform.ResampleNearest(resampled, src, 1, at.turned, at.resampled, at.spacing, p.Spacing)
		src = resampled
	}
	switch from := at.resampled; {
	case slices.Equal(from, p.size):
		copy(dst, src)
	case p.Fit == FitResize:
		transform.ResizeNearest(dst, src, 1, from, p.size)
	default:
		transform.CropOrPad(dst, src, 1, from, p.size, transform.Constant, 0)
	}
}

func volumeOf(size []int) int {
	n := 1
	for _, s := range size {
		n *= s
	}
	return n
}

func (p *preprocess) normalize(x []float32) {
	n := len(x) / p.channels
	for c := range p.channels {
		v := x[c*n : (c+1)*n]
		p.rescale(v).Apply(v)
	}
}

// rescale is what normalises the values v of a channel.
func (p *preprocess) rescale(v []float32) transform.Rescale {
	switch p.Options.Normalize {
	case "", NormalizeZ:
		return transform.Standard(v, nil)
	case NormalizeForeground:
		return transform.Foreground(v)
	case NormalizeRobust:
		return transform.Robust(v, RobustPercentiles, [2]float64{0, 1})
	}
	return transform.Unscaled
}
