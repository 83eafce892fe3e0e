"""Reads the same NIfTI files with nibabel and with this project, on one core each.

    pip install nibabel
    go build -o bin/wgjepa ./native/wgjepa
    python tools/readers/readers.py [--wgjepa bin/wgjepa] [FOLDER…]

FOLDER: folders of .nii.gz files, by default the hippocampus images of the shared test
data. Two folders of made volumes are added: 128³ of float32 and 256×256×128 of int16,
smooth with noise, so that gzip has about as much to do as with MR images. Each folder
is read in turns, three times by each program, and the least processor time counts
(time on the clock would measure what else the machine does; opening the data set and
starting the program are taken off):

    nibabel      nibabel.load(path).get_fdata(dtype=float32), first axis fastest
    row-major    the same, made row-major as PyTorch wants it
    wgjepa       the same values, row-major (wgjepa bench data --only read)

Sums of values are compared, so that both have read the same. Exits with 1 where wgjepa
reads at less than 0.8 of the rate of nibabel, which does not turn the array.
"""
import argparse, json, os, resource, subprocess, sys, tempfile, time

import nibabel, numpy as np

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
DATA = os.environ.get("JEPA_TEST_DATA", os.path.join(ROOT, "..", "shared", "data"))


def make(folder, count, shape, dtype):
    os.makedirs(folder)
    rng = np.random.default_rng(1)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    for i in range(count):
        x = sum(np.sin(rng.uniform(2, 9) * a + rng.uniform(0, 6)) for a in axes)
        x = 400 * np.clip(x, 0, None) * (sum(a * a for a in axes) < 1) + rng.normal(0, 8, shape)
        if dtype == np.float32:
            x = np.round(x * 4) / 4
        nibabel.save(nibabel.Nifti1Image(x.astype(dtype), np.eye(4)), os.path.join(folder, f"{i:03}.nii.gz"))


def by_nibabel(files, row_major):
    start, total = time.process_time(), 0.0
    for f in files:
        x = nibabel.load(f).get_fdata(dtype=np.float32)
        if row_major:
            x = np.ascontiguousarray(x)
        total += float(x[0, 0, 0]) + float(x[-1, -1, -1])
    return time.process_time() - start, total


def by_wgjepa(program, folder):
    def run(passes):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        out = subprocess.run([program, "bench", "data", folder, "--only", "read", "--passes", str(passes), "--json"], capture_output=True, text=True, env={**os.environ, "GOMAXPROCS": "1"})
        if out.returncode:
            sys.exit(out.stderr)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, json.loads(out.stdout.splitlines()[-1])

    one, row = run(1)
    more, _ = run(4)
    return (more - one) / 3, row["corners"], row["samples"]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--wgjepa", default=os.path.join(ROOT, "bin", "wgjepa"))
    p.add_argument("folders", nargs="*", default=None)
    a = p.parse_args()
    print(f"nibabel {nibabel.__version__}, NumPy {np.__version__}, Python {sys.version.split()[0]}; volumes a second, one core")
    print(f"{'':34}{'nibabel':>10}{'row-major':>11}{'wgjepa':>10}{'to nibabel':>12}{'to row-major':>14}")
    worst = 1e9
    with tempfile.TemporaryDirectory() as made:
        make(os.path.join(made, "128³ float32"), 6, (128, 128, 128), np.float32)
        make(os.path.join(made, "256×256×128 int16"), 4, (256, 256, 128), np.int16)
        for folder in (a.folders or [os.path.join(DATA, "hippocampus", "images")]) + [os.path.join(made, f) for f in sorted(os.listdir(made))]:
            files = sorted(os.path.join(folder, f) for f in os.listdir(folder) if f.endswith(".nii.gz"))
            best = [1e9, 1e9, 1e9]
            for _ in range(3):
                t, corners = by_nibabel(files, False)
                best[0] = min(best[0], t)
                best[1] = min(best[1], by_nibabel(files, True)[0])
                t, ours, n = by_wgjepa(a.wgjepa, folder)
                best[2] = min(best[2], t)
                if n != len(files) or abs(ours - corners) > 1e-3 * (1 + abs(corners)):
                    sys.exit(f"{folder}: {n} of {len(files)} files, corners sum to {ours}, nibabel's to {corners}")
            rates = [len(files) / t for t in best]
            worst = min(worst, rates[2] / rates[0])
            print(f"{os.path.basename(folder):34}{rates[0]:10.1f}{rates[1]:11.1f}{rates[2]:10.1f}{rates[2] / rates[0]:12.2f}{rates[2] / rates[1]:14.2f}", flush=True)
    return 0 if worst >= 0.8 else 1


if __name__ == "__main__":
    sys.exit(main())
