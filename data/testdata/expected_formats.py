"""What nibabel, SimpleITK, Pillow and pydicom read: formats.json beside this file.

usage: expected_formats.py DATA    (DATA: the folder that holds nifti/, nrrd_mha/, dicom/)

"files" are those of the shared data, "made" are small ones that those programs wrote,
in base64. Values are in the order (C, x, y, z), checksum as in expected.py. Made with
nibabel 5.4.2, SimpleITK 2.5.7, pydicom 3.0.2 and NumPy 2.4.6.
"""
import base64, json, os, sys, tempfile
import nibabel as nib, numpy as np, SimpleITK as sitk

data = sys.argv[1]
out = {"files": {}, "made": {}, "series": {}}
LPS = np.diag([-1.0, -1, 1, 1])

def stats(v):
    v = np.asarray(v, np.float64)
    return dict(mean=float(v.mean()), std=float(v.std()), min=float(v.min()), max=float(v.max()),
                checksum=float((v.ravel() * (np.arange(v.size) % 97 + 1)).mean()))

def of_nibabel(path):
    image = nib.load(path)
    v = np.asanyarray(image.dataobj)
    frames = v.shape[3] if v.ndim > 3 else 1
    if v.ndim > 3:
        v = v[..., 0].reshape(v.shape[:3])
    if v.dtype.fields:
        v = np.stack([v[f] for f in v.dtype.names])
    else:
        v = v[None]
    return dict(stats(v), shape=list(v.shape), frames=frames, affine=image.affine[:3].tolist())

def of_itk(path):
    image = sitk.ReadImage(path)
    n = image.GetDimension()
    v = sitk.GetArrayFromImage(image).astype(np.float64)
    if image.GetNumberOfComponentsPerPixel() > 1:
        v = np.moveaxis(v, -1, 0)
    else:
        v = v[None]
    v = v.transpose([0] + list(range(n, 0, -1)))
    frames = 1
    if n == 4:
        frames, v, n = v.shape[4], v[..., 0], 3
    direction = np.array(image.GetDirection()).reshape(image.GetDimension(), -1)[:n, :n]
    affine = np.eye(4)
    affine[:n, :n] = direction * np.array(image.GetSpacing()[:n])
    affine[:n, 3] = image.GetOrigin()[:n]
    if n == 3:
        affine = LPS @ affine
    return dict(stats(v), shape=list(v.shape), frames=frames, affine=affine[:3].tolist())

for p in ("nifti/nifti-rs/rgb/3D.nii", "nifti/nifti-rs/rgb/4D.nii", "nifti/nifti-rs/rgba/4D.nii", "nifti/nibabel/example_nifti2.nii.gz"):
    out["files"][p] = of_nibabel(os.path.join(data, p))

for folder, _, files in sorted(os.walk(os.path.join(data, "nrrd_mha"))):
    for f in sorted(files):
        path = os.path.join(folder, f)
        name = os.path.relpath(path, data)
        if not f.endswith((".nrrd", ".nhdr", ".mha")):
            continue
        try:
            out["files"][name] = of_itk(path)
        except Exception as e:
            print(name, str(e).strip().splitlines()[-1])

def made(name, files, read, folder):
    out["made"][name] = dict(read(os.path.join(folder, files[0])), files={f: base64.b64encode(open(os.path.join(folder, f), "rb").read()).decode() for f in files})

with tempfile.TemporaryDirectory() as t:
    r = np.random.default_rng(1)
    v = r.integers(-300, 300, (5, 4, 3)).astype(np.int16)
    h = nib.Spm2AnalyzeHeader()
    h.set_data_dtype(np.int16)
    h.set_data_shape(v.shape)
    h.set_zooms((2, 1.5, 3))
    h["origin"][:3], h["scl_slope"] = (2, 4, 1), 0.5
    open(t + "/spm.hdr", "wb").write(h.binaryblock)
    open(t + "/spm.img", "wb").write(v.tobytes(order="F"))
    made("Analyze with an origin", ["spm.hdr", "spm.img"], of_nibabel, t)
    h = nib.Spm2AnalyzeHeader(endianness=">")
    h.set_data_dtype(np.int16)
    h["glmax"], h["glmin"], h["cal_max"], h["cal_min"] = 300, -300, 30, 6
    h.set_data_shape(v.shape)
    h.set_zooms((2, 1.5, 3))
    h["scl_slope"] = 0
    open(t + "/old.hdr", "wb").write(h.binaryblock)
    open(t + "/old.img", "wb").write(v.astype(">i2").tobytes(order="F"))
    made("Analyze, big-endian, with ranges", ["old.hdr", "old.img"], of_nibabel, t)
    oblique = np.array([[-1.9, 0.3, 0.5, 14.0], [0.4, 1.4, -0.2, -33], [0.3, 0.2, 2.9, -6], [0, 0, 0, 1]])
    big = nib.Nifti2Image(v.astype(np.float64) / 7, oblique, nib.Nifti2Header(endianness=">"))
    big.header.set_data_dtype(np.float32)
    nib.save(big, t + "/big.nii")
    made("NIfTI-2, big-endian", ["big.nii"], of_nibabel, t)
    pair = nib.Nifti2Pair(v, None)
    pair.set_qform(oblique, code=1)
    pair.header.set_slope_inter(0.25, -2)
    nib.save(pair, t + "/pair.hdr")
    made("NIfTI-2, a pair, qform", ["pair.hdr", "pair.img"], of_nibabel, t)

    a, b, c = 0.3, -0.5, 0.2
    R = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    def image(v, **k):
        m = sitk.GetImageFromArray(v.transpose(2, 1, 0, *range(3, v.ndim)), **k)
        m.SetDirection(R.ravel().tolist())
        m.SetSpacing((1.5, 0.7, 2.5))
        m.SetOrigin((-11.0, 22, 5.5))
        return m
    colour = r.integers(0, 255, (5, 4, 3, 3)).astype(np.uint8)
    for suffix in ("nrrd", "nhdr", "mha", "mhd"):
        extra = {"nhdr": ["raw"], "mhd": ["raw"]}.get(suffix, [])
        for name, m, compressed in ((suffix + " int16", image(v), False), (suffix + " uint8 compressed", image((v + 300).astype(np.uint8)), True),
                                    (suffix + " float64", image(v / 7), False), (suffix + " three channels", image(colour, isVector=True), True)):
            base = name.replace(" ", "-")
            sitk.WriteImage(m, f"{t}/{base}.{suffix}", compressed)
            files = [f for f in sorted(os.listdir(t)) if f.startswith(base + ".")]
            files.sort(key=lambda f: not f.endswith("." + suffix))
            made(name, files, of_itk, t)
    four = sitk.JoinSeries([image(v), image(v + 1), image(v * 2)])
    for suffix in ("nrrd", "mha"):
        sitk.WriteImage(four, f"{t}/four.{suffix}")
        made(suffix + " 4-D", ["four." + suffix], of_itk, t)

    from PIL import Image
    def of_tiff(path):
        m = Image.open(path)
        pages = []
        for i in range(m.n_frames):
            m.seek(i)
            pages.append(np.asarray(m).astype(np.float64))
        v = pages[0] if len(pages) == 1 else np.stack(pages, -1)
        v = np.moveaxis(v, -1, 0) if pages[0].ndim == 3 else v[None]
        return dict(stats(v), shape=list(v.shape), frames=1, affine=np.eye(4)[:3].tolist())
    grey = r.integers(0, 65535, (3, 5, 4)).astype(np.uint16)
    for name, v, compression in (("one 16-bit page", grey[:1], None), ("three 16-bit pages", grey, "tiff_lzw"), ("three 8-bit pages", (grey >> 8).astype(np.uint8), "tiff_deflate")):
        pages = [Image.fromarray(p) for p in v]
        base = name.replace(" ", "-") + ".tif"
        pages[0].save(f"{t}/{base}", save_all=True, append_images=pages[1:], compression=compression)
        made("TIFF, " + name, [base], of_tiff, t)
    Image.fromarray(colour[:, :, 0]).save(t + "/colour.tif")
    made("TIFF, colour", ["colour.tif"], of_tiff, t)

# DICOM series of 4 slices of 5 rows and 6 columns, oblique, written by pydicom. Values are
# pydicom's, (C, x, y, z) with rows bottom up and slices ascending along the normal; the
# affine is that of PS3.3 C.7.6.2.1.1, in RAS.
import pydicom, warnings
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian
warnings.simplefilter("ignore")
r = np.random.default_rng(2)
across, down = R[:, 0], R[:, 1]
normal = np.cross(across, down)
texts = lambda v: ["%.12g" % x for x in v]

def place(k, step=2.5):
    return np.array([-11.0, 22, 5.5]) + normal * step * k

def slice_of(pixels, k, syntax, uid="1.2.3", slope=None, position=None, orientation=None, invert=False):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = "1.2.840.10008.5.1.4.1.1.4", f"1.2.3.{k}", syntax
    d = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128, is_implicit_VR=syntax.is_implicit_VR, is_little_endian=syntax.is_little_endian)
    d.SOPClassUID, d.SOPInstanceUID, d.SeriesInstanceUID = meta.MediaStorageSOPClassUID, f"{uid}.{k}", uid
    d.PatientName, d.PatientID, d.PatientBirthDate = "SECRET^PERSON", "SECRET-ID", "19700101"
    d.Modality, d.InstanceNumber, d.ImageType = "MR", k + 1, ["ORIGINAL", "PRIMARY"]
    d.ImagePositionPatient = texts(place(k) if position is None else position)
    d.ImageOrientationPatient = texts(np.concatenate([across, down]) if orientation is None else orientation)
    d.PixelSpacing, d.SliceThickness = texts((0.7, 1.5)), "2"
    icon = Dataset()  # an image in the image, to be passed over
    icon.Rows, icon.Columns, icon.PixelData = 1, 1, b"\0\0"
    icon["PixelData"].VR = "OB"
    d.IconImageSequence = Sequence([icon])
    d.Rows, d.Columns = pixels.shape[:2]
    d.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    d.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME1" if invert else "MONOCHROME2"
    if pixels.ndim == 3:
        d.PlanarConfiguration = 0
    d.BitsAllocated = 8 * pixels.dtype.itemsize
    d.BitsStored = 12 if pixels.dtype == np.uint16 else d.BitsAllocated
    d.HighBit, d.PixelRepresentation = d.BitsStored - 1, int(pixels.dtype.kind == "i")
    if slope:
        d.RescaleSlope, d.RescaleIntercept = texts(slope)
    d.PixelData = pixels.astype(pixels.dtype.newbyteorder(">" if syntax == ExplicitVRBigEndian else "<")).tobytes()
    d["PixelData"].VR = "OW" if d.BitsAllocated > 8 else "OB"
    return d

def save(d, path):
    s = d.file_meta.TransferSyntaxUID
    d.save_as(path, enforce_file_format=True)
    return base64.b64encode(open(path, "rb").read()).decode()

def series(name, slices, values=None, error=None, notes="", step=2.5):
    with tempfile.TemporaryDirectory() as t:
        files = {f"{n}.dcm": save(d, f"{t}/x") for n, d in slices}
    e = dict(files=files, notes=notes, error=error or "")
    if values is not None:
        v = np.asarray(values, np.float64)  # (z, rows, columns[, C])
        v = np.moveaxis(v, -1, 0) if v.ndim == 4 else v[None]
        v = v[:, :, ::-1].transpose(0, 3, 2, 1)
        a = np.eye(4)
        a[:3, 0], a[:3, 1], a[:3, 2], a[:3, 3] = across * 1.5, down * 0.7, normal * step, place(0)
        flip = np.eye(4)
        flip[1, 1], flip[1, 3] = -1, 4
        e.update(stats(v), shape=list(v.shape), frames=1, affine=(LPS @ a @ flip)[:3].tolist())
    out["series"][name] = e

names = [7, 2, 9, 4]
u, i16 = r.integers(0, 4095, (4, 5, 6)).astype(np.uint16), r.integers(-30000, 30000, (4, 5, 6)).astype(np.int16)
scale = [(0.5 + k, -100.0 * k) for k in range(4)]
scaled = [i16[k] * scale[k][0] + scale[k][1] for k in range(4)]
for label, syntax in (("explicit", ExplicitVRLittleEndian), ("implicit", ImplicitVRLittleEndian), ("big-endian", ExplicitVRBigEndian), ("deflated", DeflatedExplicitVRLittleEndian)):
    series(label + ", signed, rescaled", [(names[k], slice_of(i16[k], k, syntax, slope=scale[k])) for k in range(4)], scaled)
E = ExplicitVRLittleEndian
series("12 of 16 bits", [(names[k], slice_of(u[k], k, E)) for k in range(4)], u)
series("MONOCHROME1", [(names[k], slice_of(u[k], k, E, invert=True)) for k in range(4)], 4095 - u.astype(int), notes="MONOCHROME1")
c = r.integers(0, 255, (4, 5, 6, 3)).astype(np.uint8)
series("colour", [(names[k], slice_of(c[k], k, E)) for k in range(4)], c)
series("copies", [(names[k], slice_of(u[k], k, E)) for k in range(4)] + [(20, slice_of(u[1], 1, E))], u, notes="1 files are copies")
series("a gap", [(k, slice_of(u[j], k, E)) for j, k in enumerate((0, 1, 2, 4))], error="missing slices: 5 mm between slices 3 and 4, 2.5 mm between others (about 1 missing)")
series("uneven", [(k, slice_of(u[k], k, E, position=place(k, 2.5) if k < 3 else place(k, 2.7))) for k in range(4)], error="uneven slices")
series("one slice twice", [(k, slice_of(u[k % 4], k, E, position=place(k % 4))) for k in range(5)], error="several scans in one series")
series("a localizer", [(k, slice_of(u[k], k, E, orientation=None if k else (1, 0, 0, 0, 0, -1))) for k in range(4)], error="several orientations")
series("two sizes", [(k, slice_of(u[k] if k else u[k][:4], k, E)) for k in range(4)], error="several sizes")
series("zero slope", [(k, slice_of(u[k], k, E, slope=(0, 1))) for k in range(4)], error="slope 0")

def enhanced(order):
    d = slice_of(u[0], 0, E)
    for n in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(d, n)
    item = lambda **k: Sequence([pydicom.Dataset()]) if not k else Sequence([_fill(**k)])
    def _fill(**k):
        x = Dataset()
        for n, v in k.items():
            setattr(x, n, v)
        return x
    shared = Dataset()
    shared.PlaneOrientationSequence = item(ImageOrientationPatient=texts(np.concatenate([across, down])))
    shared.PixelMeasuresSequence = item(PixelSpacing=texts((0.7, 1.5)), SliceThickness="2")
    d.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for k in order:
        f = Dataset()
        f.PlanePositionSequence = item(ImagePositionPatient=texts(place(k)))
        f.PixelValueTransformationSequence = item(RescaleSlope="%g" % (k + 1), RescaleIntercept="-3", RescaleType="US")
        frames.append(f)
    d.PerFrameFunctionalGroupsSequence = Sequence(frames)
    d.PerFrameFunctionalGroupsSequence.is_undefined_length = True
    d.NumberOfFrames = 4
    d.PixelData = b"".join(u[k].tobytes() for k in order)
    return d
series("enhanced", [(0, enhanced([2, 0, 3, 1]))], [u[k] * (k + 1.0) - 3 for k in range(4)])

json.dump(out, open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "formats.json"), "w"), indent=0)
