"""Text that would run, colour, calculate or break where a page, a terminal or a spreadsheet takes it for its own."""

from __future__ import annotations

import json

from toys import put_session, toy_masks, toy_mr

import ipha_toolkit as ipha

PAYLOADS = {
    "attribute": '<img src=x onerror="window.__pwned=1">',
    "script": "</script><script>window.__pwned=2</script>",
    "quote": "'\"><svg onload=window.__pwned=3>",
    "template": "{{ 7*191 }}{% raw %}${window.__pwned=4}",
    "formula": "=cmd|'/C calc'!A0",
    "plus": "+7*191",
    "ansi": "\x1b[31mred\x1b]0;owned\x07\x9b1m",
    "markdown": "[a](javascript:window.__pwned=5) <javascript:window.__pwned=6>",
    "math": r"$\frac{$ x $\href{javascript:window.__pwned=7}{y}$",
    "direction": "sub-\u202egnp.exe\u2028line",
    "comment": "<!-- <b title='--><img src=x onerror=window.__pwned=8>'>",
}
ALL = " ".join(PAYLOADS.values())
COLOURS = ("\x1b", "\x9b", "\x07", "\u202e")
"""What a terminal takes for an order, or turns around what is read."""


def hostile_cohort(root):
    """A subject a payload, each in tables, sidecars, names of files, tools, labels; some of them in headers."""
    lines = ["participant_id\tgroup\tage\tsite\tcomment"]
    for n, text in enumerate(PAYLOADS.values()):
        subject = f"sub-{n}"
        put_session(root, subject, "ses-1", [toy_mr(lung=20 + n, seed=n)])
        folder = root / subject / "ses-1" / "anat"
        facts = {"ContrastBolusIngredient": text, "SeriesDescription": ALL, text: text, "PulseSequenceName": text}
        (folder / f"{subject}_ses-1_T1w.json").write_text(json.dumps(facts))
        cells = "\t".join(("ses-1", str(n), text, ALL, text))
        (root / subject / f"{subject}_sessions.tsv").write_text(f"session_id\tdays\tphase\tnote\t{text}\n{cells}\n")
        lines.append(f"{subject}\t{'control' if n % 2 else text}\t30\t{text}\t{ALL}")
        name = text.replace("/", ":").replace("_", "-")[:60]
        (folder / f"{subject}_ses-1_acq-{name}_T2w.nii.gz").write_bytes(b"no image")
        made = root / "derivatives" / name / subject / "ses-1"
        made.mkdir(parents=True)
        ipha.save(toy_masks()[0], made / f"{subject}_ses-1_acq-{name}_T2w_dseg.nii.gz")
        (made / f"{subject}_ses-1_acq-{name}_T2w_dseg.tsv").write_text(f"index\tname\n1\t{text}\n")
    lines += [f"{text}\tx\t1\ty\tz" for text in PAYLOADS.values()]
    (root / "participants.tsv").write_text("\n".join(lines) + "\n")
    return root
