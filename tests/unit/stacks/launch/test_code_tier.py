"""Builds that run code which somebody has approved: of the repository, of packages, of scripts.

They run in namespaces of their own, as in their unit, of which tests/container/test_launch_code.py
tests the rest.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.builder import cleaning
from littlest_hub.stacks.launch.order import Order
from littlest_hub.system.uv import Indexes, NoSolutionError
from tests.eventually import eventually
from tests.launch_site import Site, builder_at
from tests.projects import add_source, project
from tests.unit.stacks.launch.test_builder import lock

pytestmark = pytest.mark.needs("unshare", "ip")


def test_the_project_of_a_repository_is_built_and_installed_as_any_wheel(site: Site) -> None:
    site.index.add("alpha")
    built = site.launch(project())
    assert site.run(built, "import own, alpha, ipykernel_launcher; print(own.MADE)") == "1.0"
    assert "own @ built:" in built.lock
    again = site.launch(project(), commit="2" * 40)
    assert again == built, "the same source became the same wheel, and so the same environment"


def test_a_package_without_a_wheel_is_built_if_somebody_has_approved_that(site: Site) -> None:
    add_source(site.index, "onlysource")
    site.index.add("alpha", requires=["onlysource"])
    files = {"requirements.txt": "alpha"}
    with pytest.raises(
        NoSolutionError, match=r"code of onlysource .* nobody has approved"
    ) as found:
        site.launch(files)
    assert found.value.sources == ("onlysource",)
    built = site.builder.build(
        Order(files=files, built=("onlysource",), is_online=True), site.lines.append
    )
    assert site.run(built, "import alpha, onlysource; print(onlysource.MADE)") == "1.0"


@pytest.mark.long
def test_no_binary_and_a_directory_of_the_repository_are_built(site: Site) -> None:
    add_source(site.index, "onlysource")
    site.index.add("alpha")
    library = {f"lib/{name}": text for name, text in project("inner").items()}
    listed = {"requirements.txt": "--no-binary onlysource\nonlysource==1.0\n./lib\n"}
    built = site.launch({**listed, **library})
    assert site.run(built, "import inner, onlysource; print(inner.MADE)") == "1.0"


@pytest.mark.long
def test_the_project_of_a_uv_lock_and_a_directory_of_it_are_built(
    site: Site, tmp_path: Path
) -> None:
    site.index.add("alpha", "1.0")
    files = {**project("own"), **{f"lib/{name}": text for name, text in project("inner").items()}}
    text = files["pyproject.toml"].replace('["alpha"]', '["alpha", "inner"]')
    files["pyproject.toml"] = (
        text.replace("[build", 'requires-python = ">=3.11"\n[build')
        + '[tool.uv.sources]\ninner = { path = "lib" }\n'
    )
    directory = tmp_path / "project"
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(content)
    lock(directory, site)
    site.index.add("alpha", "2.0")
    built = site.launch({**files, "uv.lock": (directory / "uv.lock").read_text()})
    assert site.run(built, "import own, inner, alpha; print(alpha.VERSION)") == "1.0"
    assert site.lines.count("building ./lib") == 1


@pytest.mark.long
def test_a_project_with_nothing_but_a_setup_py_is_built_with_setuptools_of_the_index(
    site: Site,
) -> None:
    """A stand-in for setuptools, whose name pip knows, builds it."""
    legacy = "import types\n__legacy__ = types.SimpleNamespace(build_wheel=build_wheel)\n"
    backend = project("own", needs="")["backend.py"] + legacy
    files = {"setuptools/__init__.py": "", "setuptools/build_meta.py": backend}
    site.index.add("setuptools", "80.0", files=files)
    site.index.add("wheel", "1.0")
    built = site.launch({"setup.py": "from setuptools import setup\nsetup(name='own')\n"})
    assert site.run(built, "import own; print(own.MADE)") == "1.0"


def test_what_a_build_requires_comes_from_the_index_and_nothing_else_is_reached(
    site: Site,
) -> None:
    site.index.add("alpha")
    site.index.add("buildtool", "3.0")
    port = site.index.address.split(":")[2].partition("/")[0]
    code = f"""\
import buildtool, socket
made = buildtool.VERSION
for place in ("http://example.org/", "https://example.org/", "http://127.0.0.1:1/"):
    try:
        urllib.request.urlopen(place, timeout=10)
        made += " reached " + place
    except OSError as error:
        print(place, error)
try:
    socket.create_connection(("127.0.0.1", {port}), 5)
    made += " reached the index itself"
except OSError as error:
    print(error)
"""
    built = site.launch(project(code=code, requires='"buildtool"'))
    assert site.run(built, "import own; print(own.MADE)") == "3.0"
    refused = "is not reached: it is not among the hosts that were approved"
    for place in ("example.org:80", "example.org:443", "127.0.0.1:1"):
        assert f"{place} {refused}" in site.lines


def test_without_an_approved_network_nothing_is_reached(site: Site) -> None:
    site.index.add("alpha")
    site.index.add("buildtool")
    before = list(site.index.requested)
    with pytest.raises(LittlestHubError, match=r"\./\. cannot be built: .*buildtool"):
        site.launch(project(requires='"buildtool"'), is_online=False)
    assert site.index.requested == before
    assert site.launch(project(), is_online=False)


def test_a_script_changes_the_environment_of_its_launch_alone(site: Site) -> None:
    site.index.add("alpha")
    script = (
        "#!/bin/sh\nset -e\ncat data.txt\n"
        'python -c "import alpha; print(alpha.__file__)"\n'
        'echo "VERSION = 9" >"$(python -c "import alpha; print(alpha.__file__)")"\n'
        'echo "#!/bin/sh" >"$NB_PYTHON_PREFIX/bin/tool"\n'
        'ln -s missing.py "$(dirname "$(python -c "import alpha; print(alpha.__file__)")")/x.py"\n'
        'chmod a+rwxs "$NB_PYTHON_PREFIX/bin/tool"\n'
    )
    files = {"requirements.txt": "alpha", "binder/postBuild": script, "data.txt": "some data\n"}
    files["binder/requirements.txt"] = "alpha"
    plain = site.launch({"requirements.txt": "alpha"})
    changed = site.launch(files)
    assert "some data" in site.lines
    assert changed.lock == plain.lock
    assert changed.key != plain.key
    assert site.run(changed, "import alpha; print(alpha.VERSION)") == "9"
    assert site.run(plain, "import alpha; print(alpha.VERSION)") == "1.0"
    directory = site.place.environment(changed.key)
    assert (directory / "bin/tool").stat().st_mode & 0o7777 == 0o755
    spec = json.loads((directory / "share/jupyter/kernels/python3/kernel.json").read_text())
    assert spec["argv"][0] == f"{directory}/bin/python"
    site.builder.finish(changed)
    assert list(directory.rglob("alpha.*.pyc"))
    assert site.launch(files).key == changed.key
    assert site.launch(files, commit="3" * 40).key != changed.key


@pytest.mark.long
def test_code_trusts_the_authorities_that_the_machines_pip_is_configured_for(
    site: Site, tmp_path: Path
) -> None:
    authorities = tmp_path / "authorities.pem"
    authorities.touch()
    indexes = Indexes(default=site.index.address, certificates=str(authorities))
    script = 'echo "$PIP_CERT $SSL_CERT_FILE $REQUESTS_CA_BUNDLE $GIT_SSL_CAINFO"'
    builder = builder_at(site.place, site.release, indexes, site.channels)
    assert builder.build(site.order({"postBuild": script}), site.lines.append)
    assert " ".join([str(authorities)] * 4) in site.lines


@pytest.mark.long
def test_a_repository_may_have_nothing_but_a_script(site: Site) -> None:
    script = "python -m pip --version && pip install --no-deps alpha"
    site.index.add("alpha")
    built = site.launch({"postBuild": script})
    assert site.run(built, "import alpha; print(alpha.VERSION)") == "1.0"


def test_a_script_that_fails_is_quoted_and_leaves_nothing(site: Site) -> None:
    with pytest.raises(LittlestHubError, match=r"postBuild has ended with 3: first / last words"):
        site.launch({"postBuild": "#!/bin/sh\necho first\necho last words >&2\nexit 3\n"})
    assert list(site.place.built.iterdir()) == []
    assert list(site.place.records.iterdir()) == []


@pytest.mark.long
def test_a_program_that_a_script_leaves_running_holds_nobody_up(site: Site) -> None:
    script = "#!/bin/sh\n(while :; do echo again; read x <data; done) &\nmkfifo data\n"
    assert site.launch({"postBuild": script})


def test_code_that_nobody_has_approved_is_not_run(site: Site) -> None:
    site.index.add("alpha")
    order = site.order({"postBuild": "#!/bin/sh\n", **project()})
    [own, script] = order.code
    for approved, missing in (((own,), "postBuild:1"), ((script,), "pyproject.toml:1"), ((), "")):
        with pytest.raises(LittlestHubError, match=rf"code of {missing}.* nobody has approved"):
            site.builder.build(
                Order(files=order.files, code=approved, source=order.source), site.lines.append
            )
    assert site.lines == []


@pytest.mark.long
def test_wheels_that_were_removed_with_their_environment_are_built_again(site: Site) -> None:
    site.index.add("alpha")
    first = site.launch(project())
    for file in (*site.place.wheels.rglob("*.whl"), site.place.record(first.key)):
        file.unlink()
    order = site.order(project(), lock=first.lock)
    assert site.builder.build(order, site.lines.append).key == first.key
    assert site.run(first, "import own; print(own.MADE)") == "1.0"


@pytest.mark.long
def test_cleaning_removes_wheels_with_the_last_environment_that_has_them(site: Site) -> None:
    site.index.add("alpha")
    built = site.launch(project())
    (site.place.wheels / ".new-left").mkdir()
    cleaning.clean(site.place, site.uv, 1, [built.key])
    [kept] = site.place.wheels.iterdir()
    assert f"built:{kept.name}/" in built.lock
    cleaning.clean(site.place, site.uv, 1)
    assert list(site.place.wheels.iterdir()) == []
    assert site.launch(project()).key == built.key


@pytest.mark.long
def test_a_build_under_another_name_is_refused(site: Site) -> None:
    add_source(site.index, "onlysource", 'global NAME\nNAME = "pip"\n')
    with pytest.raises(LittlestHubError, match="onlysource"):
        site.launch({"requirements.txt": "--no-binary onlysource\nonlysource"})
    assert not list(site.place.wheels.rglob("*.whl"))


def test_a_killed_builder_takes_the_code_with_it_and_the_next_one_builds(
    site: Site, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    script = f"#!/bin/sh\necho begun\nexec cat {fifo}\n"
    order = site.order({"postBuild": script})
    killed = site.start(order)

    def has_begun() -> bool:
        with contextlib.suppress(FileNotFoundError):
            return "begun" in site.place.log(order.id).read_text()
        return False

    eventually(has_begun, 60, "the script")
    killed.kill()
    killed.wait()

    def nobody_reads() -> bool:
        try:
            os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            return error.errno == errno.ENXIO
        return False

    eventually(nobody_reads, 60, "the script to end")
    assert list(site.place.records.iterdir()) == []
    fifo.unlink()
    fifo.write_text("")
    assert site.start(order).wait(60) == 0
    assert len(list(site.place.records.iterdir())) == 1
