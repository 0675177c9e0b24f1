"""Small nodules among vessels: sensitivity at false positives per scan, beside peers in one run, on seeds not tuned on.

Run ``python benchmarks/nodules.py [SEED ...]``; the yardstick is looked for in ``../shared/bench`` beside the project.
Peers see the image with everything outside the lungs set to their median, and give blobs or maxima of their response.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
BENCH = ROOT.parent / "shared" / "bench"
AT = (1, 4, 16, 64, 256)
MRI, CT = ((100, 320, 320), (1.2, 1.2, 1.2), 120, "mri", 7), ((300, 512, 512), (1.2, 0.7, 0.7), 200, "ct", 9)
DIAMETERS_MM = (2.0, 3.0, 4.0, 5.0, 6.0)


def ours(image, lung, spacing):
    from ipha_toolkit.measure.nodules import nodule_candidates

    found = nodule_candidates(image, lung, spacing)
    return found[["i", "j", "k"]].to_numpy() * spacing, found["score"].to_numpy()


def skimage_blob_log(image, lung, spacing):
    from scipy import ndimage
    from skimage.feature import blob_log

    filled = _filled(image, lung)
    filled = (filled - filled.min()) / np.ptp(filled)
    blobs = blob_log(filled, min_sigma=0.6, max_sigma=1.8, num_sigma=5, threshold=0.02)
    index, response = blobs[:, :3].astype(int), np.zeros(len(blobs))
    for sigma in np.unique(blobs[:, 3]):  # blob_log keeps no response of its blobs: the same filter gives it again
        own = blobs[:, 3] == sigma
        response[own] = -(sigma**2) * ndimage.gaussian_laplace(filled, sigma)[tuple(index[own].T)]
    inside = lung[tuple(index.T)]
    return index[inside] * spacing, response[inside]


def skimage_hessian(image, lung, spacing):
    from skimage.feature import hessian_matrix, hessian_matrix_eigvals

    best = np.zeros(image.shape, np.float32)
    for diameter in (2.5, 4.0, 5.5):
        sigma = diameter / 2 / np.sqrt(3) / spacing[0]
        largest = hessian_matrix_eigvals(hessian_matrix(_filled(image, lung), sigma, use_gaussian_derivatives=False))[0]
        best = np.maximum(best, np.maximum(0, -largest) * sigma**2)
    return _maxima(best, lung, spacing)


def simpleitk_log(image, lung, spacing):
    import SimpleITK as sitk

    scan = sitk.GetImageFromArray(_filled(image, lung))
    scan.SetSpacing([float(s) for s in spacing[::-1]])
    responses = [
        -(d**2) * sitk.GetArrayFromImage(sitk.LaplacianRecursiveGaussian(scan, d / 2 / np.sqrt(3)))
        for d in DIAMETERS_MM
    ]
    return _maxima(np.max(responses, axis=0), lung, spacing)


def _filled(image, lung):
    return np.where(lung, image, np.median(image[lung])).astype(np.float32)


def _maxima(response, lung, spacing):
    from scipy import ndimage

    peaks = (response == ndimage.maximum_filter(response, 3)) & lung & (response > 0)
    return np.argwhere(peaks) * spacing, response[peaks]


def phantom_patient(modality, seed):
    """A chronic phantom patient: image, lungs, spacing, nodules."""
    import ipha_toolkit as ipha

    subject = ipha.simulate_subject("chronic", seed=seed, spacing_mm=1.3, modalities=[modality], size="child")
    volume, truth = subject.volumes[modality], subject.truth[modality]
    places = volume.to_index(truth.nodules[["x_mm", "y_mm", "z_mm"]].to_numpy()) * volume.spacing_mm
    table = np.column_stack([places, truth.nodules["diameter_mm"]])
    return volume.array, truth.masks["lung"].array, np.array(volume.spacing_mm), table


def score(name, method, image, lung, spacing, truth):
    from nodule_phantom import froc

    start, busy = time.perf_counter(), time.process_time()
    points, scores = method(image, lung, np.asarray(spacing, float))
    wall, cpu = time.perf_counter() - start, time.process_time() - busy
    found = froc(points, scores, truth, AT)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    line = f"| {name} | {method.__name__} | {wall:.1f} | {cpu:.1f} | {peak:.0f} | "
    line += " | ".join(f"{found[k]:.3f}" for k in AT) + " |"
    print(line, flush=True)
    return line


def main():
    if not BENCH.is_dir():
        sys.exit(f"the yardstick is not there: {BENCH}")
    sys.path.insert(0, str(BENCH))
    from nodule_phantom import make

    seeds = [int(seed) for seed in sys.argv[1:]] or [101]
    lines = [
        "| images | method | seconds | CPU s | peak so far, MB | " + " | ".join(f"{k} FP" for k in AT) + " |",
        "| --- | --- | --- | --- | --- |" + " --- |" * len(AT),
    ]
    warm, inside, _, _ = make((30, 60, 60), (1.2, 1.2, 1.2), 1, "mri", 1)
    ours(warm, inside, (1.2, 1.2, 1.2))
    for seed in seeds:
        for line in seed_lines(seed, make):
            lines.append(line)
            write(lines)


def seed_lines(seed, make):
    """One scored line after another."""
    shape, spacing, count, kind, roots = CT
    image, lung, truth, _ = make(shape, spacing, count, kind, seed, roots=roots)
    yield score(f"yardstick CT {seed}", ours, image, lung, spacing, truth)
    for modality in ("T1w", "ct"):
        yield score(f"phantom {modality} {seed}", ours, *phantom_patient(modality, seed))
    shape, spacing, count, kind, roots = MRI
    image, lung, truth, _ = make(shape, spacing, count, kind, seed, roots=roots)
    for method in (ours, simpleitk_log, skimage_hessian, skimage_blob_log):
        yield score(f"yardstick MRI {seed}", method, image, lung, spacing, truth)


def write(lines):
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    notes = "The peak holds the making of the phantom; a peer that is not done has no line.\n"
    text = "# Small nodules: sensitivity at false positives per scan\n\n" + "\n".join(lines) + "\n\n" + notes
    (results / "nodules.md").write_text(text, "utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
