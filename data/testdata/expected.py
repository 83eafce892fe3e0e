"""What nibabel and NumPy read from the shared test data: expected.json beside this file.

usage: expected.py DATA    (DATA: the folder that holds nifti/, medmnist2d/, medmnist3d/)

checksum = sum of value · ((row-major index mod 97) + 1) / number of voxels, so that
an axis in the wrong place shows. Voxels that are not finite count as 0. Made with nibabel 5.4.2 and NumPy 2.4.6.
"""
import json, os, sys
import nibabel as nib, numpy as np

data = sys.argv[1]
out = {"nifti": {}, "npz": {}}

def stats(v):
    v = np.asarray(v, np.float64)
    bad = ~np.isfinite(v)
    v = np.where(bad, 0, v)
    return dict(nonfinite=int(bad.sum()), shape=list(v.shape), mean=float(v.mean()), std=float(v.std()), min=float(v.min()), max=float(v.max()),
                checksum=float((v.ravel() * (np.arange(v.size) % 97 + 1)).mean()))

for folder, _, files in sorted(os.walk(os.path.join(data, "nifti"))):
    for f in sorted(files):
        path = os.path.join(folder, f)
        if f.endswith((".img", ".img.gz", ".md", ".mgz")):
            continue
        try:
            image = nib.load(path)
            if not isinstance(image, (nib.Nifti1Image, nib.Nifti1Pair)) or isinstance(image, (nib.Nifti2Image, nib.Nifti2Pair)):
                continue
            if image.get_data_dtype().kind not in "iuf":
                continue
            v = image.get_fdata()
        except Exception as e:
            print(os.path.relpath(path, data), type(e).__name__, e)
            continue
        frames = v.shape[3] if v.ndim > 3 else 1
        v = v.reshape(v.shape[:4] if v.ndim > 3 else v.shape)
        out["nifti"][os.path.relpath(path, data)] = dict(stats(v[..., 0] if v.ndim == 4 else v), frames=frames, type=str(image.get_data_dtype().name), affine=image.affine[:3].tolist(),
                                                         spacing=nib.affines.voxel_sizes(image.affine)[: min(v.ndim, 3)].tolist())

for f in ("medmnist2d/breastmnist.npz", "medmnist3d/adrenalmnist3d.npz", "medmnist3d/adrenalmnist3d_64.npz"):
    z = np.load(os.path.join(data, f))
    out["npz"][f] = {s: dict(shape=list(z[s + "_images"].shape), sum=int(z[s + "_images"].sum(dtype=np.int64)), ones=int(z[s + "_labels"].sum()),
                             last=stats(z[s + "_images"][-1])) for s in ("train", "val", "test")}

json.dump(out, open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "expected.json"), "w"), indent=0)
