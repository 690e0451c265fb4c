"""Releases and their order."""

import json
from pathlib import Path

from littlest_hub import __version__
from littlest_hub.lifecycle.release import SERIES, title
from littlest_hub.lifecycle.release_files import altered_files, missing_files


def test_the_last_known_series_is_that_of_this_checkout() -> None:
    assert __version__.rpartition(".")[0] == SERIES[-1]


def test_entries_that_the_installer_hides_have_a_name_for_people() -> None:
    assert title("2026.11.0") == "release 2026.11.0"
    for hidden in (".2026.11.0.installing", ".2026.11.0.removing"):
        assert title(hidden) == "earlier files of release 2026.11.0"


def test_a_damaged_record_counts_as_altered_and_hides_no_other_file(tmp_path: Path) -> None:
    records = tmp_path / "conda-meta"
    records.mkdir()
    (records / "a-1.json").write_text('{"paths_data": {"pat')
    (records / "b-1.json").write_text("{}")
    entry = {"_path": "lib/gone", "path_type": "hardlink", "sha256": "0" * 64}
    (records / "c-1.json").write_text(json.dumps({"paths_data": {"paths": [entry]}}))
    gone = tmp_path / "lib" / "gone"
    assert list(missing_files(tmp_path)) == [gone]
    damaged = [f"{records / name}-1.json was altered" for name in "ab"]
    assert list(altered_files(tmp_path)) == [*damaged, f"{gone} is missing"]
