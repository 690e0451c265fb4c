"""Builds with real uv, from a package index on this machine."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from uv import find_uv_bin

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.builder.lock import Lock
from littlest_hub.stacks.launch.environment.channels import Channels
from littlest_hub.stacks.launch.order import Order
from littlest_hub.system.digests import sha256
from littlest_hub.system.uv import NoSolutionError
from tests.launch_site import Site, asked
from tests.package_index import PackageIndex


def test_an_environment_has_what_the_repository_asks_for_and_a_kernel(site: Site) -> None:
    site.index.add("alpha", "1.0", requires=["beta"])
    site.index.add("alpha", "2.0", requires=["beta"])
    site.index.add("beta")
    built = site.build(asked(requirements_txt="alpha<2  # old\n"))
    assert site.run(built, "import alpha, beta, traitlets; print(alpha.VERSION)") == "1.0"
    directory = site.place.environment(built.key)
    spec = json.loads((directory / "share/jupyter/kernels/python3/kernel.json").read_text())
    assert spec["argv"][0] == f"{directory}/bin/python"
    assert site.place.is_complete(built.key)


def test_nobody_else_may_write_to_a_file_of_an_environment(site: Site) -> None:
    site.index.add("alpha")
    directory = site.place.environment(site.build(asked(requirements_txt="alpha")).key)
    found = [each for each in directory.rglob("*") if each.lstat().st_mode & 0o022]
    assert [each.name for each in found if not each.is_symlink()] == []


def test_the_python_is_a_copy_that_does_not_need_the_release(site: Site) -> None:
    built = site.build(asked(requirements_txt=""))
    prefix = site.run(built, "import sys, os; print(sys.base_prefix, os.__file__)")
    assert str(site.place.pythons) in prefix
    assert str(site.release) not in prefix


def test_the_same_lock_is_built_once_whatever_file_it_comes_from(site: Site) -> None:
    site.index.add("alpha")
    first = site.build(asked(requirements_txt="alpha"))
    project = '[project]\nname = "x"\nversion = "1"\ndependencies = ["alpha>=1"]\n'
    second = site.build(asked(pyproject_toml=project))
    assert second.key == first.key
    assert site.lines[-1] == "the environment is there already: nothing was built"


def test_an_order_is_resolved_once(site: Site) -> None:
    site.index.add("alpha", "1.0")
    first = site.build(asked(requirements_txt="alpha"))
    site.index.add("alpha", "2.0")
    assert site.build(asked(requirements_txt="alpha")) == first
    again = site.build(asked(requirements_txt="alpha  # again"), lock=first.lock)
    assert again.key == first.key, "a lock that was kept is built as it is"


def test_environments_share_files_with_the_cache_but_not_our_kernel_spec(site: Site) -> None:
    site.index.add("alpha")
    built = [site.build(asked(requirements_txt=text)) for text in ("alpha", "alpha\ntraitlets<9")]
    site.index.add("beta")
    built[1] = site.build(asked(requirements_txt="alpha\nbeta"))
    one, other = (site.place.environment(each.key) for each in built)
    [module] = one.glob("lib/python3.*/site-packages/alpha.py")
    assert module.samefile(other / module.relative_to(one))
    assert module.stat().st_nlink == 3
    spec = "share/jupyter/kernels/python3/kernel.json"
    assert (one / spec).stat().st_nlink == 1
    cached = [each.read_text() for each in site.place.cache.rglob("kernel.json")]
    assert cached
    assert not any(str(site.place.home) in text for text in cached)


def test_a_kernel_that_the_repository_pins_is_taken(site: Site) -> None:
    site.index.add("ipykernel", "6.0", files={"ipykernel_launcher.py": "OLD = True\n"})
    built = site.build(asked(requirements_txt="ipykernel==6.0"))
    assert site.run(built, "import ipykernel_launcher; print(ipykernel_launcher.OLD)") == "True"


def test_a_conflict_names_the_pins_and_leaves_nothing(site: Site) -> None:
    site.index.add("alpha", "1.0", requires=["beta>=2"])
    site.index.add("gamma", "1.0", requires=["beta<2"])
    site.index.add("beta", "1.0")
    site.index.add("beta", "2.0")
    with pytest.raises(NoSolutionError) as raised:
        site.build(asked(requirements_txt="alpha\ngamma"))
    first, last = (
        "all versions of gamma depend on beta<2",
        "all versions of alpha depend on beta>=2",
    )
    required = "the repository requires alpha and gamma"
    beginning = f"there is no solution for Python {platform.python_version()}"
    assert raised.value.message == f"{beginning}: {first} and {last}; {required}"
    assert list(site.place.built.iterdir()) == []


def test_a_date_is_offered_if_there_was_a_solution_then(site: Site) -> None:
    site.index.add("alpha", "1.0", requires=["beta"], uploaded="2021-01-01T00:00:00Z")
    site.index.add("beta", "1.0", uploaded="2021-01-01T00:00:00Z")
    # A later upload that no version of beta satisfies, as when an old package loses its wheels.
    site.index.add("alpha", "1.1", requires=["beta>=2"], uploaded="2023-01-01T00:00:00Z")
    files = asked(requirements_txt="alpha>=1\nbeta<2\ntraitlets>5", constraints_txt="")
    site.index.add("traitlets", "4.0", uploaded="2021-01-01T00:00:00Z")
    with pytest.raises(NoSolutionError):
        site.build(files, committed="2022-06-01")
    assert site.builder.offer(Order(files=files, committed="2022-06-01")) == ""
    files = asked(requirements_txt="alpha<1.1\nbeta<2")
    assert site.builder.offer(Order(files=files, committed="2022-06-01")) == "2022-06-01"
    built = site.build(asked(requirements_txt="alpha"), as_of="2022-06-01")
    assert site.run(built, "import alpha; print(alpha.VERSION)") == "1.0"


def test_hashes_for_another_python_do_not_bind_what_something_else_requires(site: Site) -> None:
    site.index.add("alpha", "1.0")
    site.index.add("alpha", "2.0")
    site.index.add("beta", requires=["alpha"])
    digest = sha256(site.index.files / "alpha-1.0-py3-none-any.whl")
    other = f"alpha==1.0 ; python_version < '3' --hash=sha256:{digest}\n"
    built = site.build(asked(requirements_txt=f"beta\n{other}"))
    assert site.run(built, "import alpha; print(alpha.VERSION)") == "2.0"


def test_an_ordered_lock_file_of_uv_brings_its_packages(site: Site, tmp_path: Path) -> None:
    site.index.add("alpha", "1.0")
    project = '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.10"\n'
    text = f'{project}dependencies = ["alpha"]\n'
    (tmp_path / "project").mkdir()
    (tmp_path / "project/pyproject.toml").write_text(text)
    lock(tmp_path / "project", site)
    locked = (tmp_path / "project/uv.lock").read_text()
    built = site.launch({"pyproject.toml": text, "uv.lock": locked})
    assert site.run(built, "import alpha; print(alpha.VERSION)") == "1.0"


def test_a_python_that_is_not_to_be_had_is_refused_with_both_versions(site: Site) -> None:
    site.channels = Channels({})
    project = '[project]\nname = "x"\nrequires-python = ">=3.99"\ndependencies = []\n'
    version = ".".join(map(str, sys.version_info[:3]))
    with pytest.raises(LittlestHubError, match=rf"asks for Python '>=3.99'; to be had: {version}"):
        site.build(asked(pyproject_toml=project))
    with pytest.raises(LittlestHubError, match=rf"'==2.7.\*'; to be had: {version}"):
        site.build(asked(runtime_txt="python-2.7"))


def test_a_lock_of_uv_is_built_as_it_is(site: Site, tmp_path: Path) -> None:
    site.index.add("alpha", "1.0", requires=["beta"])
    site.index.add("beta", "1.0")
    project = tmp_path / "project"
    project.mkdir()
    text = '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.11"\n'
    (project / "pyproject.toml").write_text(f'{text}dependencies = ["alpha"]\n')
    lock(project, site)
    site.index.add("beta", "2.0")
    files = {name: (project / name).read_text() for name in ("pyproject.toml", "uv.lock")}
    built = site.build(files)
    assert site.run(built, "import alpha, beta; print(beta.VERSION)") == "1.0"


def test_a_lock_of_pipenv_is_built_with_its_hashes(site: Site) -> None:
    wheel = site.index.add("alpha", "1.0")
    site.index.add("alpha", "2.0")
    digest = sha256(wheel)

    def pipfile_lock(digest: str) -> dict[str, str]:
        entry = {"version": "==1.0", "hashes": [f"sha256:{digest}"], "index": "pypi"}
        source = {"name": "pypi", "url": "https://pypi.org/simple", "verify_ssl": True}
        locked = {"_meta": {"sources": [source]}, "default": {"alpha": entry}, "develop": {}}
        return {"Pipfile.lock": json.dumps(locked)}

    built = site.build(pipfile_lock(digest))
    assert site.run(built, "import alpha; print(alpha.VERSION)") == "1.0"
    with pytest.raises(LittlestHubError, match=r"alpha==1\.0: no file in the index has a hash"):
        site.build(pipfile_lock("0" * 64))


def test_a_file_that_was_replaced_in_the_index_is_not_installed(site: Site) -> None:
    site.index.add("alpha", "1.0")
    first = site.build(asked(requirements_txt="alpha"))
    site.index.add("alpha", "1.0", files={"alpha.py": "VERSION = 'replaced'\n"})
    other = Site(site.place.home.parent / "other", site.release, site.index)
    with pytest.raises(LittlestHubError, match=r"Hash mismatch for `alpha==1\.0`"):
        other.build(asked(requirements_txt="alpha"), lock=first.lock)
    assert list(other.place.built.iterdir()) == []
    assert list(other.place.records.iterdir()) == []


def test_the_main_index_of_a_repository_is_asked_instead_of_the_machines(
    site: Site, tmp_path: Path
) -> None:
    """https is expected of a repository, so this is about what becomes of the lines."""
    with PackageIndex(tmp_path / "theirs") as theirs:
        theirs.add("alpha", "2.0")
        site.index.add("alpha", "1.0")
        own = f"--index-url {theirs.address}"
        listed, limits = tmp_path / "listed.txt", tmp_path / "limits.txt"
        listed.write_text(f"{own}\nalpha\n")
        limits.write_text("")
        python = site.release / "bin/python3"
        assert "alpha==1.0" in site.uv.resolve(listed, limits, python)
        installer = Lock((), (own,)).installer(site.uv)
        assert "alpha==2.0" in installer.resolve(listed, limits, python)
        assert Lock((), ("--extra-index-url https://x",)).installer(site.uv) == site.uv


def lock(project: Path, site: Site) -> None:
    """Lock a project, as its author does at home."""
    home = project.parent / "author"
    command = [find_uv_bin(), "lock", "--project", str(project), "--cache-dir", str(home)]
    address = {"UV_DEFAULT_INDEX": site.index.address}
    subprocess.run(command, env={"PATH": "/usr/bin:/bin", **address}, check=True)
