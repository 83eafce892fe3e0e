"""What nibabel, SimpleITK, Pillow and pydicom read: formats.json beside this file.

usage: expected_formats.py DATA    (DATA: the folder that holds nifti/, nrrd_mha/, dicom/)

"files" are those of the shared data, "made" are small ones that those programs wrote,
in base64. Values are in the order (C, x, y, z), checksum as in expected.py. Made with
nibabel 5.4.2, SimpleITK 2.5.7, pydicom 3.0.2 and NumPy 2.4.6.
"""
import base64, json, os, sys, tempfile
import nibabel as nib, numpy as np, SimpleITK as sitk

data = sys.argv[1]
out = {"files": {}, "made": {}}
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

json.dump(out, open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "formats.json"), "w"), indent=0)
