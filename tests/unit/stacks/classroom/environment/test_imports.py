"""Sources of `environment import`, and files that are none."""

from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.packages import source
from littlest_hub.stacks.classroom.environment import imports


@pytest.mark.parametrize("content", [b"PK\3\4\0\0\0", b"\x89PNG\r\n" * 9, b"\xff" * 90000])
def test_a_file_of_another_kind_is_refused_before_pip_sees_it(
    tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "roster.xlsx"
    file.write_bytes(content)
    with (
        pytest.raises(LittlestHubError, match="is no list of requirements"),
        imports.opened(str(file)),
    ):
        pass


@pytest.mark.parametrize("text", ["", "numpy\n", "# für alle\nnumpy>=2\n", "é" * 40000])
def test_a_text_is_given_to_pip(tmp_path: Path, text: str) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(text)
    with imports.opened(str(file)) as found:
        assert found.arguments == ["--requirement", str(file)]


def test_a_file_that_is_no_bundle_is_named_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "other.tar"
    file.write_text("other")
    with pytest.raises(LittlestHubError) as refused, source.opened(file):
        pass
    assert str(refused.value) == f"{file} is no bundle, or is damaged"
