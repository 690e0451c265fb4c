"""The documentation: its links, and its pictures."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from docs.pictures.draw import PICTURES, draw
from tests.documentation import PAGES, ROOT, Command, prose, steps

pytestmark = pytest.mark.unit


def _anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), target
        assert not anchor or anchor in _anchors(linked), target


def test_each_page_is_linked_from_another() -> None:
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    }
    # README links the directory of how-tos and that of references.
    reachable = linked | {page for page in PAGES if page.parent in linked}
    assert {page for page in PAGES if page not in reachable} <= {ROOT / "README.md"}


NOT_FOLLOWED = {"tutorial/launch.md": "packages and repositories come from the internet"}
"""Pages with commands that no test types, and why."""


def test_each_page_with_commands_is_followed_by_a_test() -> None:
    followed = (ROOT / "tests/container/test_docs.py").read_text()
    for page in PAGES:
        is_followed = f'{page.name}"' in followed or f'"{page.stem}",\n' in followed
        name = str(page.relative_to(ROOT)).removeprefix("docs/")
        has_commands = any(isinstance(step, Command) for step in steps(page))
        assert not has_commands or is_followed or name in NOT_FOLLOWED, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_here_documents_can_be_pasted_and_end(page: Path) -> None:
    for step in steps(page):
        if isinstance(step, Command) and (here := re.search(r"<<'(\w+)'", step.text)):
            text = step.text.splitlines()
            assert text[-1] == here[1], step.text
            assert not [line for line in text if line.startswith("> ")], step.text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_merge_has_doubled_a_row_or_cut_a_sentence_off(page: Path) -> None:
    paragraphs = re.split(r"\n\s*\n", prose(page).strip())
    for text, following in pairwise([*paragraphs, ""]):
        rows = [line.strip() for line in text.splitlines() if line.lstrip().startswith("|")]
        assert len({*rows}) == len(rows), f"a row is there twice: {rows}"
        cells = {re.sub(r"`[^`]*`|\\\|", "", row).count("|") for row in rows}
        assert len(cells) <= 1, f"rows differ in their number of cells: {rows[0]}"
        last = text.splitlines()[-1]
        is_sentence = not last.startswith(("    ", "|", "#", "<", "!"))
        goes_on_as_list = re.match(r" *(?:-|\d+\.) ", following)
        if is_sentence and not goes_on_as_list:
            assert re.search(r"[.:!?)*`”…\"]$", last), last


@pytest.mark.parametrize("source", sorted(PICTURES.glob("*.toml")), ids=lambda file: file.stem)
def test_each_picture_is_drawn_from_its_source(source: Path) -> None:
    assert source.with_suffix(".svg").read_text() == draw(source), "run `make pictures`"


def test_the_architecture_page_has_a_row_for_each_part_of_the_package() -> None:
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
    for path in sorted((ROOT / "littlest_hub").iterdir()):
        if path.suffix == ".py" and path.stem != "__init__":
            assert f"`{path.stem}`" in page, path.name
        elif (path / "__init__.py").exists():
            assert re.search(rf"^\| `{path.name}/` \|", page, re.MULTILINE), path.name


FEATURES = ("docs/reference/tljh.md", "docs/reference/launch.md", "docs/explanation/courses.md")
"""Pages with features, each with the tests that prove it."""
NAMING_TESTS = (*FEATURES, "docs/explanation/launch.md")


@pytest.mark.parametrize("page", NAMING_TESTS)
def test_a_page_names_tests_that_exist(page: str) -> None:
    tests = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+…?)`", (ROOT / page).read_text()))
    assert named
    assert {name for name in named if f"def {name}(" not in tests} == set()


@pytest.mark.parametrize("page", FEATURES)
def test_each_feature_has_a_test_or_none_is_said(page: str) -> None:
    tables = re.findall(r"^\|.*\| test \|\n\|[-|]+\n((?:\|.*\n)+)", (ROOT / page).read_text(), re.M)
    rows = [row for table in tables for row in table.splitlines()]
    assert len(rows) > 15
    for row in rows:
        said = row.rstrip(" |").rpartition(" | ")[2]
        assert said.startswith(("`test_", "none", "the tests of `make ")), row


def test_the_pages_for_contributors_name_files_that_exist() -> None:
    homes = (ROOT, *(ROOT / name for name in ("littlest_hub", "construct", "jupyterhub_config.d")))
    for page in (ROOT / "CONTRIBUTING.md", ROOT / "docs" / "explanation" / "architecture.md"):
        for name in re.findall(r"`([\w./-]+\.(?:py|sh|toml))`", page.read_text()):
            # On the machine that serves, or a name in general.
            if "NN-" in name or name.startswith("state/") or name in {"utils.py", "patches.py"}:
                continue
            assert any((home / name).exists() for home in homes), f"{page.name}: {name}"


def test_messages_and_ready_fragments_name_pages_that_exist() -> None:
    sources = [*ROOT.glob("littlest_hub/**/*.py"), *ROOT.glob("jupyterhub_config.d/*")]
    named = {
        (source.name, name)
        for source in sources
        for name in re.findall(r"(?:\bdocs|documentation\})(/[\w./-]+\.md)", source.read_text())
    }
    assert len(named) > 5
    for source, name in named:
        assert (ROOT / f"docs{name}").exists(), f"{source}: docs{name}"
