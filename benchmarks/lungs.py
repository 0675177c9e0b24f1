"""CT lungs of 300x512x512 voxels beside the SimpleITK and scikit-image recipes users would write: time, memory, Dice.

Run ``python benchmarks/lungs.py``; the yardstick is looked for in ``../shared/bench`` beside the project. Each
contestant runs in a process of its own, so that its peak memory is its own; making the phantom takes some as well.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
BENCH = ROOT.parent / "shared" / "bench"


def ours(hu, affine):
    from ipha_toolkit.regions.lungs import segment_lungs
    from ipha_toolkit.volume import Volume

    volume = Volume(hu, affine, modality="ct", name="yardstick")
    start = time.perf_counter()
    return segment_lungs(volume).array, time.perf_counter() - start


def simpleitk(hu, affine):
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(hu)
    start = time.perf_counter()
    air = sitk.BinaryThreshold(image, -2000, -400)
    outside = sitk.ConnectedThreshold(air, [(0, 0, k) for k in range(0, hu.shape[0], 10)], 1, 1)
    inside = sitk.And(air, sitk.Not(outside))
    largest = sitk.RelabelComponent(sitk.ConnectedComponent(inside), minimumObjectSize=100_000)
    closed = sitk.BinaryMorphologicalClosing(sitk.BinaryThreshold(largest, 1, 2), [5, 5, 5])
    return sitk.GetArrayFromImage(closed) > 0, time.perf_counter() - start


def skimage(hu, affine):
    from skimage import measure, morphology, segmentation

    start = time.perf_counter()
    air = segmentation.clear_border((hu < -400).transpose(2, 1, 0)).transpose(2, 1, 0)
    labels = measure.label(air)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    lungs = np.isin(labels, np.argsort(sizes)[-2:])
    return morphology.isotropic_closing(lungs, 4), time.perf_counter() - start


def run(name, send):
    sys.path.insert(0, str(BENCH))
    from nodule_phantom import make

    phantom, truth, _, _ = make((300, 512, 512), (1.2, 0.7, 0.7), 200, "ct", 1, roots=9)
    hu = np.ascontiguousarray(phantom[:, ::-1].transpose(2, 1, 0), np.float32)
    truth = truth[:, ::-1].transpose(2, 1, 0)
    del phantom
    before = peak_mb()
    lungs, seconds = globals()[name](hu, np.diag([0.7, 0.7, 1.2, 1.0]))
    overlap = 2 * np.count_nonzero(lungs & truth) / (np.count_nonzero(lungs) + np.count_nonzero(truth))
    send.send((seconds, before, peak_mb(), overlap))


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    if not BENCH.is_dir():
        sys.exit(f"the yardstick is not there: {BENCH}")
    names = sys.argv[1:] or ["ours", "simpleitk", "skimage"]
    lines = [
        "| contestant | seconds | peak of the process, MB (making the phantom) | Dice |",
        "| --- | --- | --- | --- |",
    ]
    for name in names:
        receive, send = multiprocessing.Pipe(False)
        process = multiprocessing.get_context("spawn").Process(target=run, args=(name, send))
        process.start()
        send.close()
        try:
            seconds, before, peak, overlap = receive.recv()
            lines.append(f"| {name} | {seconds:.1f} | {peak:.0f} ({before:.0f}) | {overlap:.4f} |")
        except EOFError:
            lines.append(f"| {name} | failed or not installed | | |")
        process.join()
    text = "# CT lungs, 300x512x512\n\n" + "\n".join(lines) + "\n"
    print(text)
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "lungs.md").write_text(text, "utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
