"""Links that launch: there and back, Binder's, badges, and the ways out."""

from __future__ import annotations

import html
import re
import shlex
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.environment.environment_files import Environment, Kind, environment
from littlest_hub.stacks.launch.links import (
    Form,
    badge,
    on_other_hubs,
    on_own_computer,
    on_public_binder,
    page_of,
    snippets,
)
from littlest_hub.stacks.launch.repository import Policy, Repository, parse

HUB = "https://hub.example.org/physics/"
REPOSITORY = Repository("https://github.com/org/repo", "main")
COMMIT = "0123456789" * 4
NASTY = "a]( \\ [b] <i>\"'&_*`!\n-- {{x}}"
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.builds(Form, texts, texts, texts, texts, texts, texts, texts, texts))
def test_each_state_of_the_form_is_a_link_and_comes_back(form: Form) -> None:
    link = form.url(HUB)
    assert link.isascii()
    assert link.isprintable()
    assert link.startswith("https://hub.example.org/physics/services/launch/")
    assert Form.of_query(parse_qs(urlsplit(link).query)) == form


def test_an_empty_form_has_no_query_and_what_is_unknown_is_ignored() -> None:
    assert Form().url(HUB) == "https://hub.example.org/physics/services/launch/"
    assert Form.of_query({"repo": ["a", "b"], "ref": [], "evil": ["x"]}) == Form(repo="a")


@pytest.mark.parametrize(
    ("query", "path", "urlpath"),
    [
        ("", "", ""),
        ("labpath=week%201%2Fa.ipynb", "week 1/a.ipynb", ""),
        ("labpath=%2Fa.ipynb", "a.ipynb", ""),
        ("filepath=notebooks/", "notebooks", ""),
        ("labpath=a.ipynb&filepath=b.ipynb&urlpath=c", "a.ipynb", ""),
        ("urlpath=lab/tree/a%2520b.ipynb", "a b.ipynb", ""),
        ("urlpath=%2Fnotebooks%2Fa.ipynb", "a.ipynb", ""),
        ("urlpath=doc/tree/a.ipynb", "a.ipynb", ""),
        ("urlpath=lab", "", ""),
        ("urlpath=tree/", "", ""),
        ("urlpath=rstudio", "", "rstudio"),
        ("urlpath=voila/render/a.ipynb", "", "voila/render/a.ipynb"),
    ],
)
def test_binders_own_links_fill_in_the_form(query: str, path: str, urlpath: str) -> None:
    form = Form.of_binder("gh/org/repo/main", parse_qs(query))
    assert form == Form(repo="gh/org/repo/main", path=path, urlpath=urlpath)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "git-pull?repo=https://x",
            "a#b",
            "../hub/logout",
            "a/../b",
            "a//b",
            "https://x",
            "%2e%2e",
        ),
        *("//x", "a b", "javascript:x", "a\\b", "\u00fc", "a" * 201, "-a"),
    ],
)
def test_a_page_that_leads_elsewhere_or_does_something_is_refused(text: str) -> None:
    if text == "//x":
        assert page_of(text) == "x"
        return
    with pytest.raises(LittlestHubError, match="no page of a server"):
        page_of(text)


def test_a_page_has_no_slashes_at_its_ends() -> None:
    assert [page_of(text) for text in ("", "/", " /rstudio/ ", "proxy/8501/")] == [
        *("", "", "rstudio", "proxy/8501"),
    ]


@pytest.mark.parametrize("text", ["launch", NASTY, "x" * 300, ""])
def test_a_badge_is_a_picture_with_its_text_in_it(text: str) -> None:
    picture = ET.fromstring(badge(text))
    label = " ".join(text.split())[:60]
    assert picture.attrib["aria-label"] == label
    assert [node.text or "" for node in picture if node.text or node.tag.endswith("text")][
        -1
    ] == label
    assert int(picture.attrib["width"]) <= 448


def test_snippets_escape_their_text_and_stay_one_link() -> None:
    link = Form(repo="https://github.com/org/repo", ref="a_", path="a (b)_").url(HUB)
    found = snippets(link, f"{HUB}services/launch/badge.svg", NASTY)
    text = " ".join(NASTY.split())
    assert "(" not in link.partition("//")[2]
    assert found["Markdown"].endswith(
        f"](https://hub.example.org/physics/services/launch/badge.svg)]({link})"
    )
    assert "\\]( \\\\ \\[b\\] \\<i\\>" in found["Markdown"]
    lines = found["reStructuredText"].splitlines()
    assert len(lines) == 3
    assert lines[1] == f"   :target: {link[:-1]}%5F"
    assert lines[2] == f"   :alt: {text}"
    anchor = ET.fromstring(found["HTML"].replace("></a>", "/></a>"))
    assert anchor.attrib["href"] == link
    assert anchor[0].attrib["alt"] == text
    assert html.escape(link) in found["HTML"]


def test_other_hubs_get_the_same_query() -> None:
    form = Form(repo="gh/org/repo/main", hours="2")
    links = on_other_hubs(form, {"Chemistry": "https://chem.example.org/", "Physics": HUB})
    assert list(links) == ["Chemistry", "Physics"]
    assert len({urlsplit(link).query for link in links.values()}) == 1
    assert links["Chemistry"].startswith("https://chem.example.org/services/launch/?repo=gh%2F")


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("gh/org/repo/main", "https://mybinder.org/v2/gh/org/repo/main"),
        ("gh/org/repo", "https://mybinder.org/v2/gh/org/repo/HEAD"),
        ("gh/org/repo/a/b#c", "https://mybinder.org/v2/gh/org/repo/a/b%23c"),
        ("gl/a%2Fb%2Fc/main", "https://mybinder.org/v2/gl/a%2Fb%2Fc/main"),
        ("gist/user/0123", "https://mybinder.org/v2/gist/user/0123/HEAD"),
        ("10.5281/zenodo.7", "https://mybinder.org/v2/zenodo/10.5281/zenodo.7/"),
        ("10.6084/m9.figshare.7.v1", "https://mybinder.org/v2/figshare/10.6084/m9.figshare.7.v1/"),
        ("10.7910/DVN/TJCLKP", "https://mybinder.org/v2/dataverse/10.7910/dvn/tjclkp/"),
        (
            "https://git.example.org/a.git",
            "https://mybinder.org/v2/git/https%3A%2F%2Fgit.example.org%2Fa.git/HEAD",
        ),
    ],
)
def test_the_public_binder_launches_the_same_repository(text: str, link: str) -> None:
    repository = parse(text, Policy())
    assert on_public_binder(repository) == link
    spec = urlsplit(link).path.removeprefix("/v2/")
    assert parse(spec, Policy()) == repository


def test_the_public_binder_opens_the_same_file() -> None:
    assert on_public_binder(REPOSITORY, "w 1/a.ipynb").endswith("/main?labpath=w+1%2Fa.ipynb")
    assert on_public_binder(REPOSITORY, page="rstudio").endswith("/main?urlpath=rstudio")


def asked(*files: str) -> Environment:
    texts = {"pyproject.toml": b'[project]\nname = "x"\n', "runtime.txt": b"python-3.12"}
    return environment(files, lambda file, _: texts.get(file, b""), ["3.12"])


@pytest.mark.parametrize(
    ("found", "commands"),
    [
        (
            asked("requirements.txt", "runtime.txt"),
            [
                "uv venv --python 3.12",
                "uv pip install --requirement requirements.txt",
                "uv run --no-project --with jupyterlab jupyter lab ./a.ipynb",
            ],
        ),
        (
            asked("binder/environment.yml"),
            [
                "micromamba create --yes --name repo --file environment.yml",
                "micromamba install --yes --name repo jupyterlab",
                "micromamba run --name repo jupyter lab ../a.ipynb",
            ],
        ),
        (
            asked("pyproject.toml"),
            [
                "uv venv --python 3.12",
                "uv pip install --requirement pyproject.toml",
                "uv run --no-project --with jupyterlab jupyter lab ./a.ipynb",
            ],
        ),
        (
            asked("environment.yaml"),
            [
                "micromamba create --yes --name repo --file environment.yaml",
                "micromamba install --yes --name repo jupyterlab",
                "micromamba run --name repo jupyter lab ./a.ipynb",
            ],
        ),
        (asked(), ["uv venv", "uv run --no-project --with jupyterlab jupyter lab ./a.ipynb"]),
    ],
)
def test_commands_do_the_same_on_ones_own_computer(found: Environment, commands: list[str]) -> None:
    assert on_own_computer(REPOSITORY, COMMIT, found, "a.ipynb") == [
        "git clone -- https://github.com/org/repo repo",
        f"git -C repo checkout --detach {COMMIT}",
        f"cd repo/{found.directory}".rstrip("/"),
        *commands,
    ]


def test_the_files_of_a_doi_are_not_cloned() -> None:
    found = Environment(
        Kind.REQUIREMENTS, "", ("requirements.txt",), "", False, "", "", (), (), (), ()
    )
    commands = on_own_computer(parse("10.5281/zenodo.7", Policy()), COMMIT, found)
    assert commands[:3] == [
        "mkdir zenodo.7",
        "# Download the files of https://doi.org/10.5281/zenodo.7 to it, and unpack them",
        "cd zenodo.7",
    ]


@pytest.mark.parametrize("kind", Kind)
def test_commands_contain_names_as_single_words(kind: Kind, tmp_path: Path) -> None:
    repository = parse("https://git.example.org/it is a test", Policy())
    found = Environment(kind, "", (str(kind),), "", True, "", "", (), (), (), ())
    commands = on_own_computer(repository, COMMIT, found, "a; touch x {name} '$(touch y)'.ipynb")
    assert shlex.split(commands[-1])[-1] == "./a; touch x {name} '$(touch y)'.ipynb"
    assert shlex.split(commands[0])[-1] == "it is a test"
    # No program of these commands is there: the shell only takes them apart.
    script = "".join(f"{command}\n" for command in commands)
    subprocess.run(
        ["/bin/sh", "-c", f"PATH=/nonexistent\n{script}"], cwd=tmp_path, capture_output=True
    )
    assert list(tmp_path.iterdir()) == []


def test_a_badge_is_as_long_as_its_label_whatever_characters_are_in_it() -> None:
    def lengths(text: str) -> list[str]:
        return re.findall(r'(?:width|textLength)="([0-9]+)"', badge(text))

    assert lengths("a & <b>") == lengths("a b c d")
