"""Repositories as people name them: one spelling, or a refusal that says what is expected."""

from __future__ import annotations

from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.repository import (
    Policy,
    Repository,
    is_commit,
    parse,
    path_of,
    ref_of,
)

ANY = Policy()
COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.mark.parametrize(
    ("text", "url", "ref"),
    [
        ("https://github.com/org/repo", "https://github.com/org/repo", ""),
        (" https://GitHub.com/Org/Repo.git/\n", "https://github.com/Org/Repo", ""),
        ("https://github.com:443/org/repo", "https://github.com/org/repo", ""),
        ("https://git.example.org/~me/a b.git", "https://git.example.org/~me/a%20b.git", ""),
        ("https://git.example.org/a%20b", "https://git.example.org/a%20b", ""),
        ("https://xn--bcher-kva.example.org/a", "https://xn--bcher-kva.example.org/a", ""),
        ("gh/org/repo/main", "https://github.com/org/repo", "main"),
        ("gh/org/repo/HEAD", "https://github.com/org/repo", ""),
        ("gh/org/repo", "https://github.com/org/repo", ""),
        ("gh/org/repo.git/feature/x/", "https://github.com/org/repo", "feature/x"),
        ("gh/org/repo/feature%2Fx", "https://github.com/org/repo", "feature/x"),
        (f"gh/org/repo/{COMMIT}", "https://github.com/org/repo", COMMIT),
        ("gl/group%2Fsub%2Frepo/main", "https://gitlab.com/group/sub/repo", "main"),
        ("gist/user/0123abcd", "https://gist.github.com/user/0123abcd", ""),
        ("gist/user/0123abcd/master", "https://gist.github.com/user/0123abcd", ""),
        (
            "git/https%3A%2F%2Fgit.example.org%2Fa%2Fb.git/v1.0",
            "https://git.example.org/a/b.git",
            "v1.0",
        ),
        *(
            (text, "https://doi.org/10.5281/zenodo.3242074", "")
            for text in (
                *(
                    "10.5281/zenodo.3242074",
                    " doi:10.5281/Zenodo.3242074\n",
                    "zenodo/10.5281/zenodo.3242074/",
                ),
                *(
                    "https://doi.org/10.5281/zenodo.3242074",
                    "http://dx.doi.org/10.5281/zenodo.3242074",
                ),
                *("https://doi.org:443/10.5281/zenodo.3242074", "zenodo/10.5281%2Fzenodo.3242074"),
                *("https://zenodo.org/records/3242074", "https://zenodo.org/record/3242074?x=y#z"),
                "https://zenodo.org/doi/10.5281/zenodo.3242074",
            )
        ),
        (
            "figshare/10.6084/m9.figshare.9782777.v1",
            "https://doi.org/10.6084/m9.figshare.9782777.v1",
            "",
        ),
        ("dataverse/10.7910/DVN/TJCLKP", "https://doi.org/10.7910/dvn/tjclkp", ""),
    ],
)
def test_each_way_to_name_a_repository_has_one_result(text: str, url: str, ref: str) -> None:
    assert parse(text, ANY) == Repository(url, ref)
    assert parse(url, ANY).url == url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected the address of a git repository"),
        ("org/repo", "expected the address of a git repository"),
        ("--upload-pack=id", "expected the address of a git repository"),
        ("ext::sh -c id", "expected the address of a git repository"),
        ("file:///etc", "expected the address of a git repository"),
        ("/srv/git/repo", "expected the address of a git repository"),
        ("git://git.example.org/a", "expected the address of a git repository"),
        ("javascript:alert(1)//x", "expected the address of a git repository"),
        ("ssh://git@github.com/org/repo", "is an address for ssh"),
        ("git@github.com:org/repo", "is an address for ssh"),
        ("http://github.com/org/repo", "expected https://, found http://"),
        ("https://github.com", "expected https://HOST/PATH"),
        ("https:///org/repo", "expected https://HOST/PATH"),
        ("https://gith\u0443b.com/org/repo", "xn--… for others"),
        ("https://127\u30020\u30020\u30021/a", "xn--… for others"),
        ("https://[::1]/a", "no IPv6 address"),
        ("https://github.com\\.example.org/a/b", "expected https://HOST/PATH"),
        ("https://github.com/org/re\npo", "expected https://HOST/PATH"),
        ("https://github.com/org/re\0po", "in the path"),
        ("https://localhost/a", "no name in the public DNS"),
        ("https://hub/a", "no name in the public DNS"),
        ("https://gitlab.internal/a", "no name in the public DNS"),
        ("https://printer.home.arpa/a", "no name in the public DNS"),
        ("https://github.com./org/repo", "no name in the public DNS"),
        ("https://-a.example.org/a", "no name in the public DNS"),
        ("https://10.0.0.1/a", "found an address"),
        ("https://127.1/a", "found an address"),
        ("https://2130706433/a", "found an address"),
        ("https://0x7f.0.0.0x1/a", "found an address"),
        ("https://github.com:8443/org/repo", "expected no port"),
        ("https://github.com:99999999/org/repo", "expected https://HOST/PATH"),
        ("https://github.com/org", "branch and file are fields of their own"),
        ("https://github.com/org/repo/tree/main", "branch and file are fields of their own"),
        ("https://gitlab.com/org/repo/-/tree/main", "branch and file are fields of their own"),
        ("https://github.com/org/.git", "names no repository"),
        ("https://git.example.org/.git", "names no repository"),
        ("https://git.example.org/a/../b", "in the path"),
        ("https://git.example.org/a/%2e%2e/b", "in the path"),
        ("https://git.example.org/a%2Fb", "in the path"),
        ("https://git.example.org/a%252Fb", "in the path"),
        ("https://git.example.org//a", "in the path"),
        ("https://git.example.org/a?x=y", "in the path"),
        ("https://git.example.org/a#x", "in the path"),
        ("https://git.example.org/a%0a", "in the path"),
        ("https://git.example.org/a%ff", "in the path"),
        ("gh/org", "expected gh/ORGANIZATION/REPOSITORY/REF"),
        ("gh/org//main", "expected gh/"),
        ("gh/org%2Frepo/x/main", "in the path"),
        ("gh/../repo/main", "in the path"),
        ("gl/group/repo", "expected gl/GROUP%2FREPOSITORY/REF"),
        ("gist/user", "expected gist/USER/ID"),
        ("git/file%3A%2F%2F%2Fetc/main", "expected the address of a git repository"),
        ("git/ext%3A%3Ash%20-c%20id/main", "expected the address of a git repository"),
        ("git/https%3A%2F%2Flocalhost%2Fa/main", "no name in the public DNS"),
        ("gh/org/repo/-x", "is no branch, tag or commit"),
        ("zenodo/3242074", "expected a DOI such as 10.5281/zenodo.3242074"),
        ("zenodo/https://git.example.org/a", "expected a DOI such as"),
        ("https://doi.org/abc/def", "expected a DOI such as"),
        ("https://doi.org/10.5281/zenodo.1?x=y", "expected a DOI such as"),
        ("10.5281/zenodo.1/../2", "expected a DOI such as"),
        ("10.5281/zenodo.1%2F..%2F2", "expected a DOI such as"),
        ("doi:10.5281/zenodo 1", "expected a DOI such as"),
        ("hydroshare/b8f6eae9d89241cf8b5904033460af61", "HydroShare are not supported"),
        ("https://git.example.org/" + "a" * 500, "expected at most 500"),
    ],
)
def test_everything_else_is_refused_with_what_is_expected(text: str, expected: str) -> None:
    with pytest.raises(LittlestHubError) as error:
        parse(text, ANY)
    assert expected in error.value.message
    assert error.value.message.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "https://user:secret@github.com/org/repo",
        "https://user:se/cret@github.com/org/repo",
        "https://secret@github.com/org/repo",
        "https://user%3Asecret%40github.com/org/repo",
        "https://github.com/org/secret@x",
        "git/https%3A%2F%2Fuser%3Asecret%40github.com%2Forg%2Frepo/main",
        "ssh://git:secret@github.com/org/repo",
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(LittlestHubError) as error:
        parse(text, ANY)
    assert "secret" not in str(error.value)


def test_an_administrator_lists_private_hosts_and_ports() -> None:
    policy = Policy(hosts=("GitLab.internal", "10.1.2.3", "git.example.org:8443"))
    for url in (
        "https://gitlab.internal/a/b",
        "https://10.1.2.3/a",
        "https://git.example.org:8443/a",
    ):
        assert parse(url, policy).url == url
    for url in ("https://gitlab.internal:22/a", "https://10.1.2.4/a", "https://other.internal/a"):
        with pytest.raises(LittlestHubError):
            parse(url, policy)


def test_http_is_a_setting() -> None:
    policy = Policy(https_only=False)
    assert parse("http://git.example.org:80/a", policy).url == "http://git.example.org/a"


@pytest.mark.parametrize(
    ("policy", "is_permitted"),
    [
        (Policy(allowed=("github.com/Org/*",)), True),
        (Policy(allowed=("github.com/other/*",)), False),
        (Policy(allowed=("github.com/or/*", "gitlab.com/*")), False),
        (Policy(banned=("github.com/ORG/repo",)), False),
        (Policy(banned=("*/repo",)), False),
        (Policy(allowed=("github.com/*",), banned=("github.com/org/*",)), False),
        (Policy(banned=("github.com/org/rep",)), True),
    ],
)
@pytest.mark.parametrize(
    "text",
    [
        *("https://github.com/org/repo.git", "gh/Org/Repo/main", "https://GITHUB.com/org/repo/"),
        "git/https%3A%2F%2Fgithub.com%3A443%2Forg%2Frepo/HEAD",
    ],
)
def test_patterns_see_each_spelling_of_a_repository(
    policy: Policy, text: str, is_permitted: bool
) -> None:
    if is_permitted:
        parse(text, policy)
    else:
        with pytest.raises(LittlestHubError, match="does not launch this repository"):
            parse(text, policy)


def test_a_pattern_sees_a_doi_below_doi_org() -> None:
    zenodo = Policy(allowed=("doi.org/10.5281/zenodo.*",))
    assert parse("zenodo/10.5281/Zenodo.7", zenodo).doi == "10.5281/zenodo.7"
    with pytest.raises(LittlestHubError, match="does not launch this repository"):
        parse("10.7910/DVN/TJCLKP", zenodo)
    assert not parse("https://git.example.org/10.5281/zenodo.7", ANY).doi


def test_a_pattern_sees_ports_and_no_ending() -> None:
    policy = Policy(banned=("git.example.org:8443/a",), hosts=("git.example.org:8443",))
    with pytest.raises(LittlestHubError, match="does not launch"):
        parse("https://git.example.org:8443/a.git", policy)


def test_a_pattern_sees_a_path_as_people_write_it() -> None:
    for text in ("https://git.example.org/a b", "https://git.example.org/%61%20b.git"):
        with pytest.raises(LittlestHubError, match="does not launch"):
            parse(text, Policy(banned=("git.example.org/a b",)))


def test_one_text_instead_of_a_list_bans_nothing_and_is_refused() -> None:
    with pytest.raises(ValueError, match="banned: expected a list"):
        Policy(banned="github.com/evil/*")  # type: ignore[arg-type]


@given(st.text(max_size=60) | st.text("ghlist/.%2F:@-a \n", max_size=40))
def test_whatever_is_accepted_is_safe_and_stays_the_same(text: str) -> None:
    try:
        found = parse(text, ANY)
    except LittlestHubError:
        return
    parts = urlsplit(found.url)
    assert parts.scheme == "https"
    assert parts.hostname
    assert "." in parts.hostname
    assert parts.netloc == parts.hostname
    assert found.url == f"https://{parts.netloc}{parts.path}"
    assert {"", ".", ".."}.isdisjoint(unquote(parts.path)[1:].split("/"))
    assert not found.ref.startswith("-")
    assert parse(found.url, ANY).url == found.url


@given(st.text(max_size=60).map(lambda text: f"https://git.example.org/{text}"))
def test_whatever_is_refused_is_shown_without_what_a_terminal_obeys(text: str) -> None:
    try:
        message = parse(text, ANY).url
    except LittlestHubError as error:
        message = error.message
    assert message.isprintable()


@given(st.lists(st.text("abz019._~+ -", min_size=1, max_size=8), min_size=1, max_size=4))
def test_the_short_form_of_an_address_means_the_address(names: list[str]) -> None:
    url = f"https://git.example.org/{'/'.join(names)}".strip()
    try:
        found = parse(url, ANY)
    except LittlestHubError:
        return
    assert parse(f"git/{quote(url, safe='')}/main", ANY) == Repository(found.url, "main")


@pytest.mark.parametrize(
    "ref", ["main", "feature/x", "v1.0", "refs/pull/1/head", "@x"[1:], "pkg@1.2", "a+b", COMMIT]
)
def test_branches_tags_and_commits_are_refs(ref: str) -> None:
    assert ref_of(f" {ref} ") == ref


@pytest.mark.parametrize(
    "ref",
    [
        *(
            "-x",
            "--upload-pack=id",
            "a..b",
            "a b",
            "a:b",
            "+a",
            "a~1",
            "a^",
            "a?",
            "a*",
            "a[",
            "a\\b",
        ),
        *(
            "a//b",
            "/a",
            "a/",
            ".a",
            "a/.b",
            "a.",
            "a./b",
            "a.lock",
            "a.lock/b",
            "@",
            "a@{1}",
            "a\n",
        ),
        *("a\nb", "a" * 201, "\u00fc", "$(id)", "a;b"),
    ],
)
def test_what_git_would_take_for_something_else_is_no_ref(ref: str) -> None:
    if ref.strip() != ref:
        assert ref_of(ref) == ref.strip()
        return
    with pytest.raises(LittlestHubError, match="no branch, tag or commit"):
        ref_of(ref)


def test_a_commit_has_its_full_name() -> None:
    assert is_commit(COMMIT)
    assert is_commit("a" * 64)
    assert not any(map(is_commit, ["abc123", COMMIT.upper(), f"{COMMIT}\n", "main"]))


def test_a_name_is_that_of_the_directory_that_git_makes() -> None:
    assert parse("https://git.example.org/x/a%20b.git", ANY).name == "a b"
    assert parse("gh/org/repo/main", ANY).name == "repo"


@pytest.mark.parametrize(
    ("text", "path"),
    [("", ""), ("/", ""), ("a.ipynb", "a.ipynb"), (" /w 1/\u00fc.ipynb/ ", "w 1/\u00fc.ipynb")],
)
def test_a_path_is_one_in_the_repository(text: str, path: str) -> None:
    assert path_of(text) == path


@pytest.mark.parametrize(
    "text", ["..", "a/../b", "./a", "a//b", "a\\b", "a\nb", "a\0", "\u202ea", "a/" * 300 + "b"]
)
def test_a_path_that_leads_elsewhere_or_deceives_is_refused(text: str) -> None:
    with pytest.raises(LittlestHubError, match="no path in the repository"):
        path_of(text)
