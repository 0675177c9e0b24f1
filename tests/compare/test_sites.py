import pandas as pd

from ipha_toolkit.compare.sites import compare_sites
from ipha_toolkit.measure.rows import row, table


def test_images_rated_unusable_count_at_no_site():
    rows, labels, sites = [], {}, {}
    for n in range(12):
        subject = f"sub-{n:02}"
        labels[subject], sites[subject] = ("control", "iph")[n % 2], ("north", "south")[n // 6]
        flags = ["rated_unusable"] if n == 11 else []
        value = 9000.0 if n == 11 else 3000.0 + 100 * (n % 2) + n
        made = row("lung_volume", value, modality="ct", region="lung", n_voxels=9, flags=flags)
        rows.append(made | {"subject": subject, "session": "ses-1"})
    (found,) = compare_sites(table(rows), pd.Series(labels), pd.Series(sites)).to_dict("records")
    assert (found["n"], found["n_reference"]) == (5, 6)
    assert 50 < found["difference"] < 150
