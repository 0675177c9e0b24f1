"""Readings on a generator that the rules have not met, beside those of older rules, with Wilson intervals.

    python benchmarks/second_generator.py measure ROWS --half chosen|judged [--cases 8] [--first 0]
    python benchmarks/second_generator.py judge ROWS... [--old FOLDER]     # prints; of the judged half also writes

``measure`` draws cases of :mod:`other_generator` (conditions with sources), measures them in their true masks and
keeps rows and histograms; ``judge`` sets them against controls of the same sequences and reads them. Rules are chosen
on the half ``chosen`` and on the package's own phantom; the half ``judged`` has other seeds and is judged once.
``--old`` names a folder with an older ``ipha_toolkit``, whose rules then read the same rows in a process of its own.

A right answer is one that the truth allows: of a bleed its phase, or the open cause; of look-alikes the open cause.
Withheld and indeterminate readings are no answers and are counted apart.
"""

from __future__ import annotations

import argparse
import pickle
import subprocess
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from inspect import signature
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))
RESULT = Path(__file__).parent / "results" / "second_generator.md"
SEEDS = {"chosen": 11, "judged": 2903}  # 907, 1409, 2711 and 2803 were looked at once each, by earlier rules
CONTROLS = 8
NOTE = """Seed 2903, read once after the rules were frozen; seeds 907, 1409, 2711 and 2803 were looked at by earlier
rules. True masks, CT at 2 mm and MRI at 3 mm. "Known" cases are of a group known to bleed; older rules know no groups
and no open cause, and read look-alikes as phases. Intervals are Wilson's.
"""
NO_ANSWER = ("withheld", "indeterminate")


def measure_ct(case):
    from ipha_toolkit.measure.attenuation import measure_attenuation
    from ipha_toolkit.measure.nodules import detect_nodules, measure_nodules
    from ipha_toolkit.measure.texture import measure_texture
    from ipha_toolkit.regions.vessels import segment_vessels
    from ipha_toolkit.regions.zones import lung_regions

    ct, lungs = case.images["ct"], case.lungs["ct"]
    whole = {name: mask for name, mask in lung_regions(lungs).items() if name == "lung"}
    vessels = segment_vessels(ct, lungs)
    frames = [
        measure_attenuation(ct, lungs, vessels=vessels, regions=whole, flags=case.flags),
        measure_texture(ct, lungs, vessels=vessels, flags=case.flags).rows,
        measure_nodules(detect_nodules(ct, lungs), lungs, modality="ct", regions=whole, flags=case.flags,
                        rng=np.random.default_rng(0)),
    ]  # fmt: skip
    return pd.concat(frames, ignore_index=True), {}


def measure_mr(case):
    from ipha_toolkit.measure.hemosiderin import joint_histogram, pair_rows, ratio_pair
    from ipha_toolkit.measure.quality import estimate_noise, image_flags
    from ipha_toolkit.measure.rows import table
    from ipha_toolkit.measure.signal import measure_signal
    from ipha_toolkit.regions.muscle import muscle_level

    frames, histograms, flags = [], {}, set(case.flags)
    noise = {}
    for role, volume in case.images.items():
        lungs, muscle = case.lungs[role], case.muscle[role]
        noise[role] = estimate_noise(volume, lungs)
        flags |= image_flags(noise[role], volume, lungs, muscle_level(volume, muscle))
    for role, volume in case.images.items():
        lungs = case.lungs[role]
        found = measure_signal(volume, lungs, case.muscle[role], corrected=volume, regions={"lung": lungs},
                               noise=noise[role], flags=flags)  # fmt: skip
        frames.append(found.rows)
        histograms[role] = found.histogram
    t1w, t2w, lungs = case.images["T1w"], case.images["T2w"], case.lungs["T1w"]
    pair = ratio_pair(t1w, t2w, lungs, case.muscle["T1w"], corrected=(t1w, t2w), noise=(noise["T1w"], noise["T2w"]))
    histogram = joint_histogram(pair, {"lung": lungs}, lungs)
    frames.append(table(pair_rows(pair, histogram, {*pair.flags, *flags})))
    histograms["T1w+T2w"] = histogram
    return pd.concat(frames, ignore_index=True), histograms


def work(job):
    import other_generator as other

    from ipha_toolkit.io.acquisition import acquisition_of

    warnings.simplefilter("ignore")
    name, number, seed = job
    case = other.control(name.removeprefix("control, "), number, seed) if name.startswith("control") else other.make(
        name, number, seed
    )  # fmt: skip
    rows, histograms = (measure_ct if case.kind == "CT" else measure_mr)(case)
    subject = f"sub-{'c' if name.startswith('control') else ''}{name}-{number}".replace(" ", "").replace(",", "")
    facts = [{"modality": role} | acquisition_of(volume) for role, volume in case.images.items()]
    about = {"condition": case.condition, "kind": case.kind, "right": case.right, "known": case.known, "age": case.age,
             "clean": case.clean, "control": name.startswith("control")}  # fmt: skip
    return subject, about, rows, histograms, facts


def measure(path, half, cases, workers, first=0):
    import other_generator as other

    seed, sequences = SEEDS[half], (*other.SEQUENCES, other.CT_CONTROLS)
    jobs = [] if first else [(f"control, {s}", n, seed) for s in sequences for n in range(CONTROLS)]
    conditions = (*other.CT_CONDITIONS, *other.MR_CONDITIONS, *other.MORE_CONDITIONS)
    jobs += [(c, n, seed) for n in range(first, cases) for c in conditions]
    with ProcessPoolExecutor(workers) as pool:
        found = list(pool.map(work, jobs))
    path.write_bytes(pickle.dumps({"half": half, "cases": found}))


def gathered(paths):
    """The parts of one half, measured apart."""
    parts = [pickle.loads(path.read_bytes()) for path in paths]
    halves = {part["half"] for part in parts}
    if len(halves) > 1:
        raise SystemExit(f"parts of one half are read together, got {' and '.join(sorted(halves))}")
    return {"half": halves.pop(), "cases": [case for part in parts for case in part["cases"]]}


def read(found, *, old=False):
    """Reading of every case: subject -> (phase, margin)."""
    from ipha_toolkit.catalogue import MEASURES, ROW_COLUMNS
    from ipha_toolkit.compare import controls as module
    from ipha_toolkit.compare.phases import read_sessions
    from ipha_toolkit.flags import FLAGS

    frames, histograms, acquisitions, people, groups = [], [], [], {}, {}
    for subject, about, rows, counts, facts in found:
        rows = rows.assign(subject=subject, session="1")
        if old:
            known = rows["measure"].isin(list(MEASURES))
            rows = rows[known].assign(
                flag=[";".join(f for f in cell.split(";") if f in FLAGS) for cell in rows.loc[known, "flag"]]
            )
        frames.append(rows[list(ROW_COLUMNS)])
        histograms += [module.SessionHistogram(subject, "1", role, h) for role, h in counts.items()]
        acquisitions += [{"subject": subject, "session": "1"} | fact for fact in facts]
        people[subject] = {"age": about["age"]}
        groups[subject] = "control" if about["control"] else "iph" if about["known"] else "other"
    rows = pd.concat(frames, ignore_index=True)
    answers = {}
    for mri, names in _sets(found).items():
        own = rows[rows["subject"].isin(names)]
        members = [s for s in names if groups[s] == "control"]
        kept = [h for h in histograms if h.subject in names]
        if "acquisitions" not in signature(module.against_controls).parameters:
            more, _ = module.against_controls(own, kept, members)
            readings, _ = read_sessions(pd.concat([own, more], ignore_index=True))
        else:
            from ipha_toolkit.compare.matching import acquisition_table

            told = acquisition_table(fact for fact in acquisitions if fact["subject"] in names)
            more, reference = module.against_controls(own, kept, members, acquisitions=told, people=people)
            whole = pd.concat([own, more], ignore_index=True)
            readings, findings = read_sessions(whole, groups=groups, left_out=reference.left_out)
            answers.setdefault("findings", []).append(findings)
        for r in readings.to_dict("records"):
            answers[r["subject"]] = (r["phase"], r["margin"], r["reasons"])
        del mri
    return answers


def _sets(found):
    """Cohorts in which cases are read: MRI of a sequence with the controls a site would have, CT alone."""
    controls = [(s, a["condition"].removeprefix("control, ")) for s, a, *_ in found if a["control"]]
    sets = {}
    for subject, about, *_ in found:
        if about["control"]:
            continue
        name = about["condition"]
        variant = name.split(", ", 1)[1] if about["kind"] == "MRI" else "CT"
        if "children as controls" in name:
            variant = "CT of children"
        key = "none" if "no controls" in name or variant == "CT" else variant
        key = key if key == "none" or any(v == key for _, v in controls) else "VIBE and TSE"
        sets.setdefault(key, [s for s, v in controls if v == key]).append(subject)
    return sets


def wilson(right, n):
    if not n:
        return ""
    z, p = 1.96, right / n
    middle, half = (p + z * z / 2 / n), z * np.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
    low, high = ((middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n))
    return f"{100 * p:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def table(found, answers):
    lines = ["| condition | n | right of answers given | wrong | withheld | indeterminate | answers |"]
    lines += ["| --- " * 7 + "|"]
    totals = {"given": 0, "right": 0, "clean": 0, "clean given": 0, "healthy": 0, "acute none": 0}
    for name in dict.fromkeys(a["condition"] for _, a, *_ in found if not a["control"]):
        own = [(a, answers[s]) for s, a, *_ in found if a["condition"] == name]
        phases = [answer[0] for _, answer in own]
        given = [(a, answer) for a, answer in own if answer[0] not in NO_ANSWER]
        right = sum(answer[0] in a["right"] for a, answer in given)
        counts = pd.Series(phases).value_counts()
        stopped, unsure = (phases.count(word) for word in NO_ANSWER)
        said = ", ".join(f"{n} {p}" for p, n in counts.items())
        rate, wrong = wilson(right, len(given)), len(given) - right
        lines.append(f"| {name} | {len(own)} | {rate} | {wrong} | {stopped} | {unsure} | {said} |")
        totals["given"] += len(given)
        totals["right"] += right
        totals["clean"] += sum(a["clean"] for a, _ in own)
        totals["clean given"] += sum(a["clean"] for a, _ in given)
        totals["healthy"] += sum(
            "none" in a["right"] and answer[0] != "none" and answer[1] > 0.3 for a, answer in given
        )
        totals["acute none"] += sum("acute" in name and answer[0] == "none" for _, answer in given)
    lines += [
        "",
        f"Right of the answers given: {wilson(totals['right'], totals['given'])}, {totals['given']} answers. "
        f"Answered under clean conditions: {wilson(totals['clean given'], totals['clean'])}. "
        f"Health called disease with a margin over 0.3: {totals['healthy']}. "
        f"Acute called none: {totals['acute none']}.",
    ]
    return "\n".join(lines)


def old_answers(paths, folder):
    """Readings by the package in another folder, in a process of its own."""
    script = f"import sys; sys.path[0] = {str(Path(__file__).parent)!r}; import second_generator as s, pickle, pathlib, warnings; warnings.simplefilter('ignore'); found = s.gathered([pathlib.Path(p) for p in {list(map(str, paths))!r}])['cases']; sys.stdout.buffer.write(pickle.dumps(s.read(found, old=True)))"  # noqa: E501
    import os

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, env=os.environ | {"PYTHONPATH": str(folder)}
    )
    return pickle.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("measure", "judge"))
    parser.add_argument("rows", type=Path, nargs="+")
    parser.add_argument("--half", choices=tuple(SEEDS), default="chosen")
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--first", type=int, default=0, help="case to begin with; controls are measured with case 0")
    parser.add_argument("--old", type=Path, action="append", default=[], help="may be given again")
    options = parser.parse_args()
    if options.task == "measure":
        measure(options.rows[0], options.half, options.cases, options.workers, options.first)
        return
    kept = gathered(options.rows)
    text = f"# Readings on the second generator, half {kept['half']}\n\n{NOTE}\n## Rules of this package\n\n"
    text += table(kept["cases"], read(kept["cases"])) + "\n"
    for folder in options.old:
        text += f"\n## Rules before: {folder.name}\n\n{table(kept['cases'], old_answers(options.rows, folder))}\n"
    print(text)
    if kept["half"] == "judged":
        RESULT.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
