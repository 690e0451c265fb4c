"""The lists of packages belong to the administrator: comments and order stay."""

from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout, PackageSet
from littlest_hub.packages import requirements
from littlest_hub.packages.requirements import parse


def test_lists_are_read_with_the_place_of_each_line(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    file = tmp_path / "packages/hub.txt"
    file.parent.mkdir()
    file.write_text("# logins\n\nOAuthenticator[google] >= 17  # of the campus\n")
    lists = requirements.read(layout)
    (found,) = lists[PackageSet.HUB]
    assert (found.text, found.name) == ("OAuthenticator[google]>=17", "oauthenticator")
    assert found.place == f"{file}:3"
    assert lists[PackageSet.SERVER] == ()


@pytest.mark.parametrize(
    "line", ["-r other.txt", "a b", "./x.whl", "x @ https://host/x.whl", "x; python_version<'4'"]
)
def test_a_line_that_is_no_name_and_version_is_refused_with_its_place(
    tmp_path: Path, line: str
) -> None:
    file = tmp_path / "packages/server.txt"
    file.parent.mkdir()
    file.write_text(f"good\n{line}\n")
    with pytest.raises(LittlestHubError) as refused:
        requirements.read(Layout(tmp_path))
    assert refused.value.message.startswith(f"{file}:2: ")


def test_a_change_of_a_list_keeps_comments_and_order(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    file = tmp_path / "packages/hub.txt"
    file.parent.mkdir()
    file.write_text("# logins\nzebra\nApple==1  # pinned\nbanana\n")
    wanted = (parse("zebra"), parse("apple==2"), parse("cherry"))
    requirements.write_lists(layout, {PackageSet.HUB: wanted})
    assert file.read_text() == "# logins\nzebra\napple==2  # pinned\ncherry\n"
    assert not (tmp_path / "packages/tools.txt").exists()
