"""The files of conda environments: channels, packages, and what is refused."""

from __future__ import annotations

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.environment.channels import ALIAS, Channels
from littlest_hub.stacks.launch.environment.environment_files import (
    Environment,
    Kind,
    environment,
)

FORGE = f"{ALIAS}/conda-forge"
MIRROR = Channels({"conda-forge": "https://mirror.example.org/forge", "bioconda": FORGE})


def asked(channels: Channels | None = None, **files: str) -> Environment:
    named = {name.replace("_", "."): text for name, text in files.items()}
    return environment(named, lambda file, _: named[file].encode(), ["3.13.5"], channels)


def refused(found: Environment) -> list[str]:
    return [str(each) for each in found.refused]


def test_packages_are_kept_in_our_own_spelling() -> None:
    text = """\
channels: [conda-forge]
dependencies:
- NumPy=1.26
- pandas >= 2,<3
- scipy 1.*
- 'conda-forge::gdal==3.8.4=py312h_0'
- python
- pip:
  - rich
"""
    found = asked(environment_yml=text)
    assert refused(found) == []
    assert found.of_conda.channels == (FORGE,)
    gdal = f"{FORGE}::gdal==3.8.4=py312h_0"
    assert found.of_conda.specs == ("numpy=1.26", "pandas >= 2,<3", "scipy 1.*", gdal, "python")
    assert found.wanted.packages == ["rich"]


@pytest.mark.parametrize(
    "spec",
    [
        "numpy[url=http://127.0.0.1/x-1-0.conda]",
        "numpy[md5=0]",
        "https://example.org/linux-64/x-1-0.conda",
        "file:///srv/x-1-0.conda",
        "./x-1-0.conda",
        "../x",
        "x-1.0-0.tar.bz2",
        "x-1.0-0.conda",
        "-r",
        "--channel=x",
        "x; import os",
        "{a}",
    ],
)
def test_a_spec_that_is_more_than_a_name_and_versions_is_refused(spec: str) -> None:
    found = asked(environment_yml=f"dependencies:\n- '{spec}'\n")
    assert "environment.yml:2: " in refused(found)[0]
    assert "is no package of conda" in refused(found)[0]
    assert found.of_conda.specs == ()


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        ("bioconda", "environment.yml:2: 'bioconda' is none of the channels that this hub permits"),
        ("conda-forge/label/dev", "is none of the channels that this hub permits: conda-forge"),
        ("https://conda.example.org/x", "'https://conda.example.org/x' is none of the channels"),
        ("http://10.0.0.1/conda-forge", "'http://10.0.0.1/conda-forge' is none of the channels"),
        ("https://127.0.0.1/conda-forge", "is none of the channels"),
        ("file:///srv/channel", "is none of the channels"),
        ("/srv/channel", "is none of the channels"),
        ("defaults", "'defaults' is a channel of Anaconda, Inc., whose terms ask larger"),
        ("main", "is a channel of Anaconda, Inc."),
        ("https://repo.anaconda.com/pkgs/main", "is a channel of Anaconda, Inc."),
        ("pkgs/r", "is a channel of Anaconda, Inc."),
    ],
)
def test_a_channel_that_is_not_permitted_is_refused_with_the_reason(
    channel: str, message: str
) -> None:
    found = asked(environment_yml=f"channels:\n- {channel}\ndependencies: [numpy]\n")
    assert message in refused(found)[0]
    alone = asked(environment_yml=f"dependencies:\n- {channel}::numpy\n")
    assert refused(alone)
    assert alone.of_conda.specs == ()


def test_anacondas_channels_are_left_out_beside_a_permitted_one() -> None:
    text = "channels: [conda-forge, defaults, nodefaults]\ndependencies: [numpy]\n"
    found = asked(environment_yml=text)
    assert refused(found) == []
    [remark] = map(str, found.left_out)
    assert remark.startswith("environment.yml:1: 'defaults' is a channel of Anaconda")
    assert remark.endswith("it is not asked")


def test_anacondas_channels_are_used_where_the_administrator_permits_them() -> None:
    listed = Channels({"defaults": "https://repo.anaconda.com/pkgs/main"})
    found = asked(listed, environment_yml="channels: [defaults]\ndependencies: [numpy]\n")
    assert refused(found) == []
    assert found.of_conda.channels == ("https://repo.anaconda.com/pkgs/main",)


def test_a_mirror_is_asked_in_place_of_a_channel() -> None:
    for channel in ("conda-forge", FORGE, f"{FORGE}/", "https://mirror.example.org/forge"):
        found = asked(MIRROR, environment_yml=f"channels: ['{channel}']\ndependencies: [numpy]\n")
        assert found.of_conda.channels == ("https://mirror.example.org/forge",)
    url = f"{FORGE}/linux-64/x-1-0.conda"
    assert MIRROR.file(url) == "https://mirror.example.org/forge/linux-64/x-1-0.conda"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/conda-forge/linux-64/x-1-0.conda",
        f"{FORGE}/../x/linux-64/x-1-0.conda",
        f"{FORGE}/win-64/x-1-0.conda",
        f"{FORGE}/linux-64/x-1-0.whl",
        f"{FORGE}/linux-64/..",
        f"{FORGE}@10.0.0.1/linux-64/x-1-0.conda",
        f"{FORGE}x/linux-64/x-1-0.conda",
        "x-1-0.conda",
    ],
)
def test_a_file_is_taken_from_a_permitted_channel_alone(url: str) -> None:
    assert Channels().file(url) == ""


@pytest.mark.parametrize(
    "address",
    ["", "conda-forge", "ftp://x/y", "https://u:p@x/y", "https://x/y?z", "https://x/../y z"],
)
def test_a_channel_of_the_administrator_has_an_address(address: str) -> None:
    with pytest.raises(LittlestHubError, match="is no address of a channel"):
        Channels.of_words([f"own={address}"])


def test_channels_are_the_same_on_a_command_line() -> None:
    assert Channels.of_words(MIRROR.words) == MIRROR
    assert Channels.of_words(Channels({}).words) == Channels({})


def test_a_hub_may_permit_no_channels() -> None:
    found = asked(Channels({}), environment_yml="dependencies: [numpy]\n")
    assert refused(found) == ["environment.yml:1: this hub permits no channels of conda"]


@pytest.mark.parametrize("name", ["conda-lock.yml", "pixi.lock"])
def test_packages_of_other_channels_in_a_lock_file_are_refused_with_their_line(name: str) -> None:
    address = "https://conda.anaconda.org/bioconda/linux-64/samtools-1.21-h_0.conda"
    texts = {
        "conda-lock.yml": "version: 1\npackage:\n- name: samtools\n  manager: conda\n"
        f"  platform: linux-64\n  url: {address}\n",
        "pixi.lock": "version: 6\nenvironments:\n  default:\n    packages:\n      linux-64:\n"
        f"      - conda: {address}\npackages:\n- conda: {address}\n"
        "- conda: https://conda.anaconda.org/conda-forge/osx-64/x-1-0.conda\n",
    }
    found = environment([name], lambda file, _: texts[file].encode(), [])
    [remark] = refused(found)
    assert "'https://conda.anaconda.org/bioconda' is none of the channels" in remark


def test_a_python_that_the_hub_does_not_have_comes_from_conda() -> None:
    found = asked(runtime_txt="python-3.9", requirements_txt="numpy<2")
    assert refused(found) == []
    assert found.kind is Kind.REQUIREMENTS
    assert (found.of_conda.channels, found.of_conda.specs) == ((FORGE,), ("python ==3.9.*",))
    assert found.wanted.packages == ["numpy<2"]
    own = asked(runtime_txt="python-3.13", requirements_txt="numpy<2")
    assert own.of_conda.specs == ()
    without = asked(Channels({}), runtime_txt="python-3.9")
    assert without.python == "3.13.5"
    assert "this hub has 3.13.5, which is used instead" in str(without.left_out[0])


def test_variables_and_unknown_managers_are_left_out_and_said_so() -> None:
    text = "dependencies:\n- numpy\n- npm: [x]\nvariables:\n  A: b\n"
    remarks = [str(each) for each in asked(environment_yml=text).left_out]
    assert remarks == [
        "environment.yml:3: expected the name of a package, or pip",
        "environment.yml:4: variables are not set",
    ]
