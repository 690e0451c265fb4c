"""Links to material: what they contain, and which repositories are refused."""

from urllib.parse import parse_qs, urlsplit

import pytest

from littlest_hub.stacks.classroom.assignments.links import NOTEBOOK, Material

REPOSITORY = "https://example.org/teaching/course.git"


def query(material: Material) -> dict[str, str]:
    assert material.problems() == {}
    link = urlsplit(material.link("https://hub.example.org/class/"))
    assert link.path == "/class/hub/user-redirect/git-pull"
    return {name: value for name, (value,) in parse_qs(link.query).items()}


def test_a_repository_alone_opens_its_directory() -> None:
    assert query(Material(REPOSITORY)) == {
        "repo": REPOSITORY,
        "targetpath": "course",
        "urlpath": "lab/tree/course",
    }


def test_branch_file_and_interface_are_in_the_link() -> None:
    found = query(Material(REPOSITORY, "term/2026", "week 1/start & go.ipynb", NOTEBOOK))
    assert found["branch"] == "term/2026"
    assert found["urlpath"] == "tree/course/week%201/start%20%26%20go.ipynb"


@pytest.mark.parametrize("ending", ["", "/", ".git/"])
def test_the_directory_is_named_as_git_clone_names_it(ending: str) -> None:
    assert Material(f"https://example.org/a/course{ending}").directory == "course"


@pytest.mark.parametrize(
    ("field", "material"),
    [
        ("repository", Material("course")),
        ("repository", Material("file:///home/alice")),
        ("repository", Material("javascript:alert(1)")),
        ("repository", Material("ssh://git@example.org/course")),
        ("repository", Material("https://user:secret@example.org/course")),
        ("repository", Material("https://example.org/")),
        ("repository", Material("https://example.org/..")),
        ("repository", Material("https://example.org/a b")),
        ("repository", Material("https://[example.org/course")),
        ("branch", Material(REPOSITORY, "--upload-pack=x")),
        ("branch", Material(REPOSITORY, "a..b")),
        ("path", Material(REPOSITORY, "", "../../etc/passwd")),
        ("path", Material(REPOSITORY, "", "a\nb")),
    ],
)
def test_what_cannot_be_a_link_is_refused(field: str, material: Material) -> None:
    assert list(material.problems()) == [field]


@pytest.mark.parametrize(
    ("page", "repository"),
    [
        ("github.com/a/course/blob/main/week1/start.ipynb", "github.com/a/course"),
        ("gitlab.com/group/a/course/-/tree/main/week1", "gitlab.com/group/a/course"),
        ("codeberg.org/a/course/src/branch/main/start.ipynb", "codeberg.org/a/course"),
    ],
)
def test_a_page_about_a_file_is_refused_with_the_address_of_its_repository(
    page: str, repository: str
) -> None:
    text = Material(f"https://{page}").problems()["repository"]
    assert text.endswith(f" probably https://{repository}")
    assert not Material(f"https://{repository}").problems()
