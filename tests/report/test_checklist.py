from toys import toy_cohort, whole_box

from ipha_toolkit.cli import main
from ipha_toolkit.io.redcap import from_redcap
from ipha_toolkit.run.cohort import run


def test_a_results_folder_fills_the_checklist_and_goes_to_redcap(tmp_path):
    out = tmp_path / "out"
    analysis = run(toy_cohort(tmp_path / "cohort"), out, segment=whole_box, progress=False)
    assert main(["checklist", str(out), "--out", str(tmp_path / "claim.html")]) == 0
    text = (tmp_path / "claim.html").read_text("utf-8")
    assert "3 subjects, 3 sessions measured in T1w, ct" in text and "for the authors to write" in text
    assert all(f">{number}<" in text for number in range(1, 43)) and ">43<" not in text
    assert "10.1148/ryai.2020200029" in text and "<script src" not in text
    assert main(["redcap", str(out), "--out", str(tmp_path / "rows.csv")]) == 0
    assert len(from_redcap(tmp_path / "rows.csv")) == len(analysis.rows)
