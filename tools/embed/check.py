"""Reads what `wgjepa embed` and `wgjepa predict` write with the programs that others read it with.

    pip install numpy pandas pyarrow nibabel
    python tools/embed/check.py WGJEPA [DIR]

Generates scans that lie askew in space, trains a tiny encoder for a moment, writes tables of each
format and maps (all in DIR, or a temporary folder), and holds them against each other: numbers,
names, and the places of patches and voxels as nibabel has them. Exits with 1 where they differ.
"""
import os, subprocess, sys, tempfile

import nibabel, numpy, pandas

TINY = """
batch_size = 4
predictor_embed_dim = 12
predictor_depth = 1
warmup_epochs = 0.0
min_keep = 1
num_target_blocks = 2
[encoder]
img_size = [24, 24, 24]
patch_size = [6]
embed_dim = 12
depth = 1
num_heads = 2
[data]
reorient = true
spacing = [1.5, 1.5, 1.5]
"""
AFFINE = numpy.array([[-0.2, 0.1, -1.9, 40], [1.4, 0.3, 0.1, -30], [0.2, -1.2, 0.2, 12], [0, 0, 0, 1]])


def main(wgjepa, folder):
    path = lambda *p: os.path.join(folder, *p)
    call = lambda *a: subprocess.run([wgjepa, *a, "--adapter", "cpu", "--quiet"], check=True, stdout=subprocess.DEVNULL)
    rng = numpy.random.default_rng(0)
    os.makedirs(path("scans"), exist_ok=True)
    sizes = [(30, 41, 27), (33, 35, 22), (28, 30, 30), (36, 36, 36), (31, 40, 29)]
    for i, size in enumerate(sizes):
        nibabel.save(nibabel.Nifti1Image(rng.normal(size=size).astype("f4"), AFFINE), path("scans", f"{i}.nii.gz"))
    open(path("tiny.toml"), "w").write(TINY)
    call("train", path("scans"), "--config", path("tiny.toml"), "--out", path("run"), "--max-steps", "2", "--pictures=false", "--overwrite", "--set", "data.val=0", "--set", "data.test=0")

    failed = []

    def check(what, ok):
        print(f"{'ok' if ok else 'FAILED':8}{what}")
        if not ok:
            failed.append(what)

    for kind, flags in {"pooled": [], "patches": ["--patches"]}.items():
        for ext in ("npy", "csv", "parquet"):
            call("embed", path("run"), path("scans"), "--out", path(f"{kind}.{ext}"), "--overwrite", *flags)
        a, ids = numpy.load(path(f"{kind}.npy")), pandas.read_csv(path(f"{kind}.ids.csv"))
        c, p = pandas.read_csv(path(f"{kind}.csv")), pandas.read_parquet(path(f"{kind}.parquet"))
        rows = a.reshape(-1, a.shape[-1])
        per = len(rows) // len(ids)
        check(f"{kind}: shape {a.shape}, {a.dtype}", a.dtype == "f4" and len(ids) == 5 and per == (64 if flags else 1))
        check(f"{kind}: csv", numpy.array_equal(c.filter(regex=r"^z\d+$").to_numpy("f4"), rows))
        check(f"{kind}: parquet, columns {list(p.columns)}", numpy.array_equal(numpy.stack(p.embedding), rows))
        check(f"{kind}: names", list(c.name) == list(p.name) == list(numpy.repeat(ids.name.to_numpy(), per)))
        if flags:
            places = numpy.stack(numpy.unravel_index(numpy.arange(64), (4, 4, 4)), 1)
            check("patches: places", numpy.array_equal(c[["i", "j", "k"]].to_numpy(), numpy.tile(places, (5, 1))) and numpy.array_equal(numpy.stack(p.patch), numpy.tile(places, (5, 1))))

    for window in ([], ["--window"]):
        for grid in ("patches", "scan"):
            maps = path(f"maps-{grid}{len(window)}")
            call("embed", path("run"), path("scans"), "--out", path("m.csv"), "--patches", "--maps", maps, "--channels", "0", "--maps-grid", grid, "--overwrite", *window)
            table = pandas.read_csv(path("m.csv"))
            worst = 0
            for i, size in enumerate(sizes):
                m, scan = nibabel.load(os.path.join(maps, f"{i}.features.nii.gz")), nibabel.load(path("scans", f"{i}.nii.gz"))
                rows = table[table.name == f"{i}.nii.gz"]
                z = rows.filter(regex=r"^z\d+$").to_numpy()
                if grid == "patches":
                    v = m.get_fdata()
                    worst = max(worst, numpy.abs(v.reshape(-1, v.shape[-1]) - z).max())
                    # As nibabel reorients and resamples: the same corner of the field of view.
                    ras = nibabel.as_closest_canonical(scan)
                    spacing = nibabel.affines.voxel_sizes(ras.affine)
                    n = numpy.round(numpy.array(ras.shape) * spacing / 1.5)
                    first = ras.affine @ [*(0.5 * 1.5 / spacing - 0.5), 1]
                    step = ras.affine[:3, :3] / spacing * 1.5
                    covered = numpy.array(v.shape[:3]) * 6
                    before = numpy.trunc((covered - n) / 2) # padding in front; negative where it is cropped
                    centre = first[:3] + step @ (2.5 - before)
                    check(f"map {i}{' of windows' if window else ''} lies where nibabel has its patches", numpy.allclose(m.affine[:3, 3], centre, atol=1e-3) and numpy.allclose(m.affine[:3, :3], step * 6, atol=1e-4))
                else:
                    check(f"map {i}{' of windows' if window else ''} on the scan's voxels", m.shape[:3] == scan.shape and numpy.allclose(m.affine, scan.affine))
                    # Each voxel has the features of the patch whose centre is nearest along the axes.
                    low = nibabel.load(os.path.join(path(f"maps-patches{len(window)}"), f"{i}.features.nii.gz"))
                    v, back = m.get_fdata(), numpy.linalg.inv(low.affine) @ scan.affine
                    at = rng.integers(0, size, (500, 3))
                    place = at @ back[:3, :3].T + back[:3, 3]
                    sure = (numpy.abs(place - numpy.floor(place) - 0.5) > 1e-3).all(1)
                    p = numpy.round(place).astype(int)
                    inside = ((p >= 0) & (p < low.shape[:3])).all(1)
                    got = v[tuple(at.T)]
                    check(f"map {i}: NaN outside the encoder's view", numpy.isnan(got[sure & ~inside]).all() and not numpy.isnan(got[sure & inside]).any())
                    check(f"map {i}: nearest patch", numpy.array_equal(got[sure & inside], low.get_fdata()[tuple(p[sure & inside].T)]))
            if grid == "patches":
                check(f"maps{' of windows' if window else ''} hold the table's numbers", worst < 1e-6)

    call("predict", path("run"), path("scans"), "--out", path("surprise"), "--overwrite")
    table = pandas.read_csv(path("surprise", "surprise.csv"))
    check("surprise: the most surprising first", (numpy.diff(table.mean_error) <= 0).all() and len(table) == 5)
    for r in table.itertuples():
        m, scan = nibabel.load(path("surprise", r.map)), nibabel.load(path("scans", r.name))
        v = m.get_fdata()
        check(f"surprise of {r.name}", m.shape == scan.shape and numpy.allclose(m.affine, scan.affine) and abs(numpy.nanmax(v) - r.largest_error) < 1e-6)
    print(f"\n{len(failed)} failed")
    return bool(failed)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit(main(sys.argv[1], sys.argv[2]))
    with tempfile.TemporaryDirectory() as tmp:
        sys.exit(main(sys.argv[1], tmp))
