import numpy as np
import pandas as pd
import pytest

from ipha_toolkit.io.redcap import from_redcap, to_redcap
from ipha_toolkit.measure.rows import row, table


def some_rows():
    return table(
        row("attenuation_mean", value, modality="ct", region="lung", n_voxels=9, flags=flags)
        | {"subject": subject, "session": "ses-01"}
        for subject, value, flags in (("sub-1", -850.25, []), ("sub-1", np.nan, ["child"]), ("sub-2", -800.0, []))
    )


def test_rows_come_back_from_redcap_as_they_went(tmp_path):
    rows, path = some_rows(), tmp_path / "redcap.csv"
    sent = to_redcap(rows)
    assert sent["redcap_repeat_instance"].tolist() == [1, 2, 1]
    other = pd.DataFrame({"record_id": ["sub-1"], "redcap_repeat_instrument": [""]})
    pd.concat([other, sent]).to_csv(path, index=False)
    pd.testing.assert_frame_equal(from_redcap(path), rows, check_dtype=False)


def test_an_export_that_lacks_columns_or_holds_text_is_refused(tmp_path):
    path = tmp_path / "redcap.csv"
    to_redcap(some_rows()).drop(columns="ipha_value").to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"redcap.csv: lacks the columns ipha_value"):
        from_redcap(path)
    to_redcap(some_rows()).assign(ipha_value="high").to_csv(path, index=False)
    with pytest.raises(ValueError, match="numbers alone"):
        from_redcap(path)
    to_redcap(some_rows()).assign(ipha_measure="magic").to_csv(path, index=False)
    with pytest.raises(ValueError, match="not in the catalogue: magic"):
        from_redcap(path)
