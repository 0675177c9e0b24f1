"""Each session's log: versions, times, the whole traceback of what failed, no path but the cohort's own."""

import pandas as pd
from toys import break_file, put_session, toy_ct, toy_mr

from ipha_toolkit.run.cohort import run


def test_a_failure_names_its_log_which_holds_the_traceback(tmp_path):
    put_session(tmp_path / "cohort", "sub-1", "ses-1", [toy_mr(), toy_ct()])
    break_file(tmp_path / "cohort/sub-1/ses-1/ct/sub-1_ses-1_ct.nii.gz")
    run(tmp_path / "cohort", tmp_path / "out", progress=False)
    failures = pd.read_csv(tmp_path / "out" / "failures.tsv", sep="\t")
    assert len(failures) == 1, "one image, one failure"
    log = (tmp_path / "out" / failures["log"][0]).read_text()
    assert "numpy" in log and "Traceback" in log and "ReadError" in log and "ended after" in log
    assert "T1w sub-1_ses-1_T1w.nii.gz measured" in log
    assert str(tmp_path) not in log and "/site-packages/" not in log
