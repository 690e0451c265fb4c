"""Bytecode that environments share."""

from __future__ import annotations

import sys
from pathlib import Path

from littlest_hub.stacks.launch.builder.cleaning import clean
from tests.launch_site import Site, asked

TAG = sys.implementation.cache_tag


def bytecode(site: Site, key: str, module: str) -> list[Path]:
    return list(site.place.environment(key).glob(f"lib/**/__pycache__/{module}.*.pyc"))


def test_a_module_is_compiled_once_for_all_environments(site: Site) -> None:
    site.index.add("alpha", files={"alpha.py": "def f():\n    return 1 / 0\n"})
    site.index.add("beta")
    one = site.build(asked(requirements_txt="alpha"))
    site.builder.finish(one)
    other = site.build(asked(requirements_txt="alpha\nbeta"))
    site.builder.finish(other)
    [first], [second] = (bytecode(site, each.key, "alpha") for each in (one, other))
    assert first.samefile(second)
    program = "import alpha, traceback\ntry:\n alpha.f()\nexcept Exception:\n traceback.print_exc()"
    code = "import alpha; print(alpha.f.__code__.co_filename, alpha.__cached__)"
    assert site.run(other, code) == f"{second.parents[1]}/alpha.py {second}"
    assert site.run(other, program) == ""


def test_what_does_not_compile_or_stands_in_the_way_changes_nothing(site: Site) -> None:
    site.index.add(
        "alpha",
        files={
            "alpha/__init__.py": "",
            "alpha/later.py": "print 'Python 2'\n",
            "alpha/deep.py": "(" * 100_000,
            "alpha/nothing.py": "\0",
            "blocked/__init__.py": "VALUE = 1\n",
            "blocked/__pycache__": "no directory",
            "brought/__init__.py": "",
            f"brought/__pycache__/__init__.{TAG}.pyc": "its own",
        },
    )
    built = site.build(asked(requirements_txt="alpha"))
    site.builder.finish(built)
    assert site.run(built, "import alpha, blocked; print(blocked.VALUE)") == "1"
    assert bytecode(site, built.key, "deep") == []


def test_a_package_cannot_offer_bytecode_for_the_modules_of_others(site: Site) -> None:
    """Its own __pycache__ stays its own; the store has only what we have compiled."""
    lie = {"alpha.py": "", f"__pycache__/beta.{TAG}.pyc": "evil", "__pycache__/x.txt": ""}
    site.index.add("alpha", files=lie)
    site.index.add("beta", files={"beta.py": "VALUE = 'right'\n"})
    evil = site.build(asked(requirements_txt="alpha"))
    site.builder.finish(evil)
    good = site.build(asked(requirements_txt="beta"))
    site.builder.finish(good)
    assert site.run(good, "import beta; print(beta.VALUE)") == "right"
    assert not [each for each in site.place.bytecode.rglob("*") if each.name.endswith(".pyc")]
    assert all(b"evil" not in each.read_bytes() for each in _files(site.place.bytecode))


def test_cleaning_removes_what_no_environment_uses(site: Site) -> None:
    site.index.add("alpha")
    built = site.build(asked(requirements_txt="alpha"))
    site.builder.finish(built)
    clean(site.place, site.uv, 1 << 40)
    assert _files(site.place.bytecode)
    clean(site.place, site.uv, 0)
    assert _files(site.place.bytecode) == []


def _files(directory: Path) -> list[Path]:
    return [each for each in directory.rglob("*") if each.is_file()]
