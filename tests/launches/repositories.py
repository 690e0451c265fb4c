"""Public repositories of different kinds: where, at which commit, and what their files ask for.

The files are written for this test: they have the names, packages and versions of the repository's
own files at that commit, and do in scripts what those do. A project's own code is a stand-in.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Launched:
    """A repository that is launched."""

    name: str
    """Its owner and name on GitHub."""
    commit: str
    files: Mapping[str, str]
    cell: str = ""
    """A first cell; it prints "42 " and the version of a package. "": it does not come so far."""
    pins: tuple[str, ...] = field(default=())
    """Versions in its uv.lock, which uv writes again from them."""

    @property
    def kinds(self) -> str:
        """The files that decide, for people."""
        decide = (
            *("environment.yml", "pixi.lock", "Pipfile.lock", "uv.lock", "requirements.txt"),
            *("pyproject.toml", "runtime.txt", "postBuild", "apt.txt", "Dockerfile", "install.R"),
        )
        names = [*self.files, *(["uv.lock"] if self.pins else [])]
        found = [name for each in decide for name in names if name.rpartition("/")[2] == each]
        return ", ".join(found)


def _lines(packages: str | Iterable[str]) -> str:
    found = packages.split() if isinstance(packages, str) else packages
    return "".join(f"{each}\n" for each in found)


def _script(text: str) -> str:
    return textwrap.dedent(text).lstrip()


def _project(name: str, dependencies: str, **extras: str) -> dict[str, str]:
    """Return a stand-in for a project that is built with hatchling, its version by git's tags."""
    listed = "".join(f"{extra} = {each.split()!r}\n" for extra, each in extras.items())
    return {
        "pyproject.toml": (
            f'[project]\nname = "{name}"\ndynamic = ["version"]\nrequires-python = ">=3.10"\n'
            f"dependencies = {dependencies.split()!r}\n"
            f"[project.optional-dependencies]\n{listed}"
            '[build-system]\nrequires = ["hatchling", "hatch-vcs"]\n'
            'build-backend = "hatchling.build"\n'
            '[tool.hatch.version]\nsource = "vcs"\n'
        ),
        f"src/{name}/__init__.py": "ANSWER = 42\n",
        f"src/{name}/__main__.py": 'print("converted")\n',
    }


def _conda(packages: str, pip: str = "", name: str = "example") -> str:
    lines = [f"name: {name}", "channels:", "  - conda-forge", "dependencies:"]
    lines += [f"  - {each}" for each in packages.split()]
    lines += ["  - pip:", *(f"    - {each}" for each in pip.split("|"))] if pip else []
    return _lines(lines)


def _pipfile_lock(python: str, pins: str) -> str:
    entries = ",\n".join(
        f'  "{name}": {{"version": "=={version}"}}'
        for name, version in (each.split("==") for each in pins.split())
    )
    meta = (
        f'{{"requires": {{"python_version": "{python}"}},'
        ' "sources": [{"name": "pypi", "url": "https://pypi.org/simple"}]}'
    )
    return f'{{"_meta": {meta},\n "default": {{\n{entries}\n }},\n "develop": {{}}}}\n'


_PINS_OF_TUTORIAL = """
    asttokens==3.0.0 comm==0.2.2 contourpy==1.3.2 cycler==0.12.1 debugpy==1.8.14 decorator==5.2.1
    executing==2.2.0 fonttools==4.58.1 iniconfig==2.1.0 ipykernel==6.29.5 ipympl==0.9.7
    ipytest==0.14.2 ipython==9.2.0 ipython-pygments-lexers==1.1.1 ipywidgets==8.1.7 jedi==0.19.2
    jupyter==1.1.1 jupyter-client==8.6.3 jupyter-core==5.7.2 jupyterlab==4.4.2
    jupyterlab-language-pack-de-de==4.4.post0 jupyterlab-widgets==3.0.15 kiwisolver==1.4.8
    matplotlib==3.10.3 matplotlib-inline==0.1.7 mpl-interactions==0.24.2 nest-asyncio==1.6.0
    numpy==2.2.6 packaging==25.0 parso==0.8.4 pexpect==4.9.0 pillow==11.2.1 platformdirs==4.3.7
    pluggy==1.6.0 prompt-toolkit==3.0.51 psutil==7.0.0 ptyprocess==0.7.0 pure-eval==0.2.3
    pygments==2.19.1 pyparsing==3.2.3 pytest==8.3.5 pytest-mock==3.14.1
    python-dateutil==2.9.0.post0 pyyaml==6.0.2 pyzmq==26.4.0 six==1.17.0 stack-data==0.6.3
    tornado==6.4.2 traitlets==5.14.3 typing-extensions==4.13.2 wcwidth==0.2.13
    widgetsnbextension==4.0.14
"""
_TUTORIAL = """\
[project]
name = "test-binder"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = [
  "ipympl>=0.9.7", "ipytest>=0.14.2", "jupyterlab-language-pack-de-de>=4.4.post0",
  "matplotlib>=3.10.3", "mpl-interactions>=0.24.2", "numpy>=2.2.6", "pillow>=11.2.1",
  "pytest>=8.3.5", "pytest-mock>=3.14.1", "pyyaml>=6.0.2",
]
[dependency-groups]
local = ["jupyter>=1.1.1"]
"""
# Both scripts turn the examples of the repository into notebooks, and remove everything else.
_ONLY_IN_DOCKER = """\
#!/bin/bash
set -e
if [[ ! -f /.dockerenv ]]; then
  echo "this removes files: it runs in a container of Docker only"
  exit 1
fi
"""
_EXAMPLES_ONLY = """\
kept="$(mktemp -d /tmp/examples.XXXXXX)"
cp -r examples .binder "$kept"
find . -mindepth 1 -delete
find "$kept/examples" -name '*.py' -exec sphx_glr_python_to_jupyter.py {} +
mkdir notebooks
mv "$kept"/examples/*.ipynb notebooks/
mv "$kept/.binder" .
rm -rf "$kept"
"""
_EXAMPLE = '"""\nAn example\n==========\n"""\n\nprint(6 * 7)\n'

REPOSITORIES = (
    Launched(
        "rougier/numpy-100",
        "6447594ad639908dc979446a4ec7f0f2e62fb23b",
        {
            "requirements.txt": _lines("numpy mdutils nbformat"),
            "runtime.txt": "python-3.7.17\n",
        },
        cell="import mdutils, nbformat, numpy; print(numpy.full(6, 7).sum(), numpy.__version__)",
    ),
    Launched(
        "binder-examples/requirements",
        "505a59f0430cb6414a4acbdd88803ce33c7fd953",
        {
            "requirements.txt": _lines(
                "contourpy==1.3.1 cycler==0.12.1 fonttools==4.61.0 kiwisolver==1.4.8"
                " matplotlib==3.10.0 numpy==2.2.2 packaging==24.2 pandas==2.2.3 pillow==12.1.1"
                " pyparsing==3.2.1 python-dateutil==2.9.0.post0 pytz==2025.1 scipy==1.15.3"
                " seaborn==0.13.2 six==1.17.0 tzdata==2025.1"
            ),
            "runtime.txt": "python-3.10\n",
        },
        cell="import pandas as p, scipy, seaborn; print(p.Series([35, 7]).sum(), p.__version__)",
    ),
    Launched(
        "es-ude/Python-Tutorial",
        "86ee657ce8478377dbef57ecf46c569e8f4180fb",
        {
            "pyproject.toml": _TUTORIAL,
            "requirements.txt": _lines("numpy==2.2.6 matplotlib==3.10.3"),
            "runtime.txt": "python-3.11\n",
        },
        cell="import ipympl, mpl_interactions, numpy as n; print(n.dot([6], [7]), n.__version__)",
        pins=tuple(_PINS_OF_TUTORIAL.split()),
    ),
    Launched(
        "mwouts/jupytext",
        "73adc61c18b51389202ed7b3e0007ae4b71e2a5c",
        {
            "binder/requirements.txt": _lines(
                "jupyterlab>=4 notebook>=7 plotly matplotlib wordcloud pandas wbdata bash_kernel"
            ),
            "binder/postBuild": _script("""
                set -e
                HATCH_BUILD_HOOKS_ENABLE=true pip install .
                mkdir -p "$HOME/.jupyter/labconfig"
                cp binder/labconfig/* "$HOME/.jupyter/labconfig"
                python -m jupytext demo/start.md
                rm demo/start.md
                jupyter trust demo/population.ipynb
                python -m bash_kernel.install
            """),
            "binder/labconfig/default.json": "{}\n",
            "demo/start.md": "# Start\n",
            "demo/population.ipynb": (
                '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}\n'
            ),
            **_project("jupytext", "markdown-it-py>=1.0 mdit-py-plugins nbformat packaging pyyaml"),
        },
        cell="import jupytext, plotly, wordcloud; print(jupytext.ANSWER, plotly.__version__)",
    ),
    Launched(
        "scikit-hep/hist",
        "44ef0867c0328adf838b76e39444d78df0117707",
        {
            "binder/postBuild": _lines(
                (
                    "python -m pip install --upgrade .[plot]",
                    "python -m pip install uncertainties",
                )
            ),
            **_project(
                "hist",
                "boost-histogram>=1.6,<1.8 histoprint>=2.2.0 numpy>=1.21.3 packaging>=23",
                plot="matplotlib>=3.10.7 mplhep>=0.3.33",
            ),
        },
        cell="import hist, mplhep, uncertainties; print(hist.ANSWER, uncertainties.__version__)",
    ),
    Launched(
        "binder-examples/apt_install",
        "9d3102b9cd84bc7322779216f6493f6cbe8d82bb",
        {"apt.txt": _lines("lolcat cowsay"), "postBuild": 'export PATH="/usr/games:$PATH"'},
        cell="import ipykernel; print(6 * 7, ipykernel.__version__)",
    ),
    Launched(
        "skrub-data/skrub",
        "9fb3ac55e1d5ee1e1e3d15108c852aef8fe5955c",
        {
            ".binder/requirements.txt": _lines(
                "sphinx-gallery dirty-cat sphinxext-opengraph matplotlib seaborn statsmodels"
                " pydata-sphinx-theme"
            ),
            ".binder/runtime.txt": "python-3.9\n",
            ".binder/postBuild": _ONLY_IN_DOCKER + _EXAMPLES_ONLY,
            "examples/plot_answer.py": _EXAMPLE,
            "pyproject.toml": '[project]\nname = "skrub"\nversion = "0"\n',
        },
    ),
    Launched(
        "scikit-learn/scikit-learn",
        "1715ed4e45b2beb192929e7208ac120ab7de25f0",
        {
            # Its further index is of wheels that are built each night.
            ".binder/requirements.txt": "--extra-index https://nightly.example.org/simple"
            " scikit-learn\n--pre\n"
            + _lines("matplotlib scikit-image pandas sphinx-gallery scikit-learn shap"),
            ".binder/postBuild": _ONLY_IN_DOCKER + _EXAMPLES_ONLY,
            "examples/plot_answer.py": _EXAMPLE,
        },
    ),
    Launched(
        "trekhleb/homemade-machine-learning",
        "7510d8e0648077f4acaac6080804c1f9dd588e91",
        {
            "requirements.txt": _lines(
                "jupyter==1.0.0 matplotlib==3.0.1 numpy==1.15.3 pandas==0.23.4 plotly==3.4.1"
                " pylint==2.1.1 scipy==1.1.0"
            )
        },
    ),
    Launched(
        "binder-examples/pipfile",
        "21d4a4022b4af8302c892d935d6f890a7c74266f",
        {
            "Pipfile.lock": _pipfile_lock(
                "3.7",
                "cycler==0.10.0 kiwisolver==1.1.0 matplotlib==3.1.0 numpy==1.16.4 pandas==0.24.2"
                " pyparsing==2.4.0 python-dateutil==2.8.0 pytz==2019.1 scipy==1.3.0"
                " seaborn==0.9.0 six==1.12.0",
            )
        },
    ),
    Launched(
        "binder-examples/conda",
        "f00a783146e9c6a2ed9726f01fc09fbfbad2f89e",
        {
            "environment.yml": _conda(
                "python=3.11 numpy psutil toolz matplotlib dill pandas partd bokeh dask"
            )
        },
    ),
    Launched(
        "jakevdp/PythonDataScienceHandbook",
        "d66231454ef753818dc9213c9b5942e067266966",
        {
            "environment.yml": _conda("python=3.5", "-r requirements.txt"),
            "requirements.txt": _lines(
                "numpy==1.11.1 pandas==0.18.1 scipy==0.17.1 scikit-learn==0.17.1"
                " scikit-image==0.12.3 pillow==3.4.2 matplotlib==1.5.1 seaborn==0.7.0 jupyter"
                " notebook line_profiler memory_profiler numexpr pandas-datareader netcdf4"
            ),
        },
    ),
    Launched(
        "rasbt/LLMs-from-scratch",
        "b6be9e309688d4b936d95ea6bc99e0d45fb0d387",
        {
            "pixi.lock": "version: 6\nenvironments:\n  default:\n    channels:\n"
            "    - url: https://conda.anaconda.org/conda-forge/\n    packages:\n      linux-64:\n"
            "      - conda: https://conda.anaconda.org/conda-forge/noarch/tzdata-2025b-h78e105d_0"
            ".conda\npackages:\n"
            "- conda: https://conda.anaconda.org/conda-forge/noarch/tzdata-2025b-h78e105d_0.conda\n"
            f"  sha256: {'5a' * 32}\n",
            "requirements.txt": _lines("torch>=2.3.0 jupyterlab>=4.0 tiktoken>=0.5.1"),
        },
    ),
    Launched(
        "binder-examples/r",
        "5c755623ccbe1d16c651ff08b2ba2de1088bd5d7",
        {
            "install.R": _lines(
                f'install.packages("{each}")'
                for each in ("tidyverse", "rmarkdown", "httr", "shinydashboard", "leaflet")
            ),
            "runtime.txt": "r-4.3.2-2024-01-10\n",
        },
    ),
    Launched(
        "binder-examples/minimal-dockerfile",
        "9bd912f3c1892cdde4cb89d6c760a480af1f028c",
        {"Dockerfile": "FROM python:3.7-slim\nRUN pip install --no-cache notebook\n"},
    ),
)
