"""Requirements in pip's format: what runs code, what is refused, and where it stands."""

from __future__ import annotations

import pytest

from littlest_hub.stacks.launch.environment.contents import Contents
from littlest_hub.stacks.launch.environment.requirements import (
    MOST_FILES,
    Built,
    Requirements,
    Wanted,
    inside,
)


def judged(text: str, **files: str) -> Contents:
    """Return the contents of a repository after its env/requirements.txt has been read."""
    return read(text, **files)[0]


def read(text: str, **files: str) -> tuple[Contents, Wanted]:
    """Return the same, and what can be installed."""
    texts = {"env/requirements.txt": text, **{f"env/{name}.txt": files[name] for name in files}}
    contents = Contents(
        [*texts, "top.txt", "env/a-1-py3-none-any.whl"],
        lambda file, most: texts.get(file, "").encode()[:most],
    )
    requirements = Requirements(contents)
    requirements.add_file("env/requirements.txt")
    return contents, requirements.wanted


@pytest.mark.parametrize(
    "text",
    [
        "numpy\nscipy>=1.2,<2 ; python_version >= '3.11'\n",
        "# a comment\n\nnumpy  # another, -e .\n",
        "numpy==2.2.1 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n",
        "--pre\n--prefer-binary\n--only-binary=:all:\n--no-binary :none:\n",
        "a @ https://files.pythonhosted.org/a-1-py3-none-any.whl#sha256=00\n",
        "./a-1-py3-none-any.whl\na-1-py3-none-any.whl[extra]\n",
        "uvicorn[standard]>=0.1\nfoo.bar\n",
        "x;sys_platform=='a/b'\n",
        "-i https://pypi.org/simple\n-r ../top.txt\n",
        "\ufeffnumpy\r\nscipy\r\n",
    ],
)
def test_wheels_by_name_run_nothing(text: str) -> None:
    contents = judged(text)
    assert (contents.code, contents.refused, contents.hosts) == ([], [], set())


@pytest.mark.parametrize(
    ("line", "remark"),
    [
        ("-e .", "'env' is built and installed"),
        ("-e..", "the repository itself is built and installed"),
        ("--editable=../lib[all]", "'lib' is built and installed"),
        (".", "'env' is built and installed"),
        ("../", "the repository itself is built and installed"),
        ("./a-1.tar.gz", "'env/a-1.tar.gz' is built and installed"),
        ("a-1.zip", "'env/a-1.zip' is built and installed"),
        (
            "git+https://git.example.org/a@main#egg=a",
            "built from a git repository at git.example.org",
        ),
        ("-e git+https://git.example.org/a", "built from a git repository at git.example.org"),
        ("a @ git+https://git.example.org/a", "'a' is built from a git repository"),
        ("a@git+https://git.example.org/a", "'a' is built from a git repository"),
        ("a @ https://git.example.org/a.tar.gz", "'a' is built from an archive at git.example.org"),
        ("https://git.example.org/archive/main", "built from an archive at git.example.org"),
        ("--no-binary=a", "'a' is built from its source"),
    ],
)
def test_whatever_else_is_built_and_said_with_its_line(line: str, remark: str) -> None:
    contents = judged(f"numpy\n{line}\n")
    (found,) = contents.code
    assert (found.file, found.line) == ("env/requirements.txt", 2)
    assert remark in found.text
    assert not contents.refused


@pytest.mark.parametrize(
    ("line", "remark"),
    [
        ("numpy==", "is no requirement (PEP 508)"),
        ("%$&", "is no requirement (PEP 508)"),
        ("a;" + "(" * 900, "is no requirement (PEP 508)"),
        ("a" * 1001, "is no requirement (PEP 508)"),
        ("a==${SECRET}", "variables are not replaced"),
        ("-r /etc/passwd", "is no file of the repository"),
        ("-r ../../x.txt", "is no file of the repository"),
        ("-r https://git.example.org/r.txt", "is no file of the repository"),
        ("--constraint=missing.txt", "is no file of the repository"),
        ("-r", "is no file of the repository"),
        ("/srv/x", "is not in the repository"),
        ("-e ../..", "is not in the repository"),
        ("~/x", "is not in the repository"),
        ("file:///srv/x", "expected https://"),
        ("a @ file:x", "expected https://"),
        ("http://git.example.org/a.whl", "expected https://"),
        ("git+ssh://git@github.com/a", "expected https://"),
        ("git+git@github.com:org/a", "is no requirement (PEP 508)"),
        ("-e git+git@github.com:org/a", "is not in the repository"),
        ("hg+https://git.example.org/a", "expected https://"),
        ("https://[/a.whl", "expected https://"),
        ("https://a\x1b[2J/b", "expected https://"),
        ("https://a\x1b/b", "expected https://"),
        ("--index-url http://index.example.org", "expected an index at https://"),
        ("-f ./wheels", "expected an index at https://"),
        ("--trusted-host x", "option '--trusted-host' is not supported"),
        ("--proxy=x", "option '--proxy' is not supported"),
        ("-", "option '-' is not supported"),
        ("a --config-settings=x=y", "the option --config-settings of a build is not supported"),
        ("a --hash=sha256:00 --global-option x", "--global-option of a build is not supported"),
        ("--no-binary :all:", "':all:': expected names of packages"),
    ],
)
def test_what_cannot_be_built_is_refused_with_its_line(line: str, remark: str) -> None:
    (found,) = judged(f"numpy\n{line}\n").refused
    assert (found.file, found.line) == ("env/requirements.txt", 2)
    assert remark in found.text


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://user:secret@index.example.org/simple",
        "git+https://secret@git.example.org/a",
        "a @ https://user:secret@git.example.org/a.whl",
        "-e git+user:secret@git.example.org/a",
    ],
)
def test_a_password_is_refused_and_not_repeated(line: str) -> None:
    (found,) = judged(line).refused
    assert "secret" not in str(found)


def test_hosts_besides_the_usual_ones_are_named() -> None:
    contents = judged(
        "--extra-index-url https://Index.example.org/simple\n"
        "a @ https://wheels.example.org:8443/a-1-py3-none-any.whl\n"
    )
    assert contents.hosts == {"index.example.org", "wheels.example.org"}


def test_included_files_are_read_once_with_their_own_lines() -> None:
    contents = judged("-r more.txt\n-c more.txt\n", more="-r requirements.txt\nnumpy\n-e .\n")
    assert [str(each) for each in contents.code] == ["env/more.txt:3: 'env' is built and installed"]
    assert contents.used == ["env/requirements.txt", "env/more.txt"]


def test_a_chain_of_included_files_has_an_end() -> None:
    files = {f"f{n}": f"-r f{n + 1}.txt\n" for n in range(60)}
    (found,) = judged("-r f0.txt\n", **files).refused
    assert found.text == f"more than {MOST_FILES} files are included" or "no file" in found.text


def test_lines_that_continue_have_the_number_of_their_first() -> None:
    contents = judged("numpy\n# no continuation \\\n-e \\\n  . \\\n")
    (found,) = contents.code
    assert found.line == 3


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        *(
            ("a.txt", "env/a.txt"),
            ("../a.txt", "a.txt"),
            ("./x/../a.txt", "env/a.txt"),
            ("..", "."),
        ),
        *(
            ("../../a", None),
            ("/a", None),
            ("~/a", None),
            ("c:a", None),
            ("a\\b", None),
            ("", "env"),
        ),
    ],
)
def test_a_path_that_leads_out_of_the_repository_is_none(path: str, expected: str | None) -> None:
    assert inside("env/requirements.txt", path) == expected


def test_what_is_wanted_is_spelled_by_us() -> None:
    text = "Numpy>=1,<2 # why\n-r more.txt\n-c limits.txt\nx[b,a];python_version>'3'\n--pre\n"
    _, wanted = read(text, more="scipy ==1.* --hash=sha256:00", limits="idna<4\n-r more.txt\n")
    assert wanted.packages == ["Numpy<2,>=1", "scipy==1.*", 'x[a,b]; python_version > "3"']
    assert wanted.constraints == ["idna<4"]
    assert wanted.hashes == {"scipy": ["sha256:00"]}
    assert wanted.prereleases


def test_of_several_main_indexes_the_last_one_counts_and_the_usual_one_is_the_machines() -> None:
    text = "-i https://one.example.org/simple\n--extra-index-url=https://two.example.org/simple\n"
    more = "--index-url https://three.example.org/simple\n-f https://four.example.org/\n"
    _, wanted = read(text + more)
    assert wanted.indexes == [
        "--extra-index-url https://two.example.org/simple",
        "--index-url https://three.example.org/simple",
        "--find-links https://four.example.org/",
    ]
    _, wanted = read(text + "-i https://pypi.org/simple")
    assert wanted.indexes == ["--extra-index-url https://two.example.org/simple"]


def test_the_beginning_of_an_option_and_words_after_an_address_are_read_as_pip_does() -> None:
    _, wanted = read("--extra-index https://one.example.org/simple numpy\n--no-bin=:none:\nscipy")
    assert wanted.indexes == ["--extra-index-url https://one.example.org/simple"]
    assert wanted.packages == ["scipy"]


@pytest.mark.parametrize(
    "line",
    [
        "-i https://x.example.org/simple --no-binary :all:",
        "https://x.example.org/a-1-py3-none-any.whl -e .",
        "a @ https://x.example.org/a-1-py3-none-any.whl#egg=a -e .",
        "-e https://x.example.org/a-1-py3-none-any.whl",
        "./a-1-py3-none-any.whl",
        "a\\\n-e .",
        "a\v-e .",
        "a\x85-e .",
    ],
)
def test_an_option_or_a_path_is_never_wanted(line: str) -> None:
    _, wanted = read(line)
    for each in (*wanted.packages, *wanted.constraints, *wanted.indexes):
        assert "-e" not in each.split()
        assert "--no-binary" not in each
        assert len(each.splitlines()) == 1
        assert not each.startswith((".", "-e"))


def test_what_is_built_is_spelled_by_us() -> None:
    _, wanted = read(
        "git+https://git.example.org/a@main#egg=A[x]&subdirectory=s\n"
        "-e git+https://git.example.org/b\n"
        "c[y] @ git+https://git.example.org/c ; python_version > '3'\n"
        "d @ https://git.example.org/d.tar.gz#sha256=00\n"
        "../lib[all]\n-e .\n-e sub\n./sub\n--no-binary Scipy,numpy\n"
    )
    assert wanted.built == [
        Built("git+https://git.example.org/a@main#subdirectory=s", "A", "[x]"),
        Built("git+https://git.example.org/b"),
        Built("git+https://git.example.org/c", "c", "[y]", 'python_version > "3"'),
        Built("https://git.example.org/d.tar.gz#sha256=00", "d"),
        Built("./lib", extras="[all]"),
        Built("./env"),
        Built("./env/sub"),
        Built(name="scipy"),
        Built(name="numpy"),
    ]
    assert wanted.packages == []


@pytest.mark.parametrize(
    "line",
    [
        "git+https://git.example.org/a --upload-pack=x",
        "git+https://git.example.org/a\t-x",
        "a @ git+https://u:p@git.example.org/a",
        "./lib -x",
        "../../lib",
        "/etc",
        "--no-binary -x",
        "-c limits.txt",
    ],
)
def test_an_option_or_a_place_elsewhere_is_never_built(line: str) -> None:
    _, wanted = read(line, limits="git+https://git.example.org/only-constrained")
    for each in wanted.built:
        assert not {"-x", "--upload-pack=x", "p@"} & set(each.what.split())
        assert each.what.startswith(("./", "git+https://git.example.org/a"))
        assert ".." not in each.what
