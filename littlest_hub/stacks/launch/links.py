"""Links that launch: the form as an address and back, badges, and the same on other machines."""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from urllib.parse import quote, unquote, urlencode

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.environment.environment_files import Environment, Kind
from littlest_hub.stacks.launch.repository import GIST, GITHUB, GITLAB, Repository

SERVICE = "services/launch/"
PUBLIC_BINDER = "https://mybinder.org/"
# Pages of JupyterLab and of Notebook that show a file; JupyterLab shows it here.
_FILE_PAGE = re.compile(r"(?:lab/tree|doc/tree|tree|notebooks|edit)/(.+)")
_SEVERAL = ("mount", "share")
"""Fields that a query may have several times."""
_HOME_PAGES = ("lab", "doc", "tree", "lab/tree", "doc/tree")
# No "%", "?" and "#": the page is a place in the server, and never does something at once.
_PAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~/=@,+-]{0,199}")


@dataclass(frozen=True)
class Form:
    """The launch form as somebody has filled it in. Nothing of it has been checked."""

    repo: str = ""
    ref: str = ""
    path: str = ""
    """A file of the repository that opens."""
    urlpath: str = ""
    """Instead of a file, a page of the server that opens, such as "voila/render/a.ipynb"."""
    name: str = ""
    """"": a name that nobody has chosen."""
    memory_gb: str = ""
    processors: str = ""
    hours: str = ""
    as_of: str = ""
    """A date: versions of packages that are later are not used; "": the latest are."""
    built: str = ""
    """Packages that are built from their source, since they have no wheel."""
    mount: str = ""
    """Volumes that the server has, with spaces between; NAME:rw is one to write to."""
    share: str = ""
    """Users who may use the server, with spaces or commas between."""
    temporary: str = ""
    """"yes": nothing is left of the server when it stops."""
    private: str = ""
    """"yes": the person has a name and a token for the repository, which are in no link."""
    webdav: str = ""
    """The address of a WebDAV folder of the person's; name and password are in no link."""

    @classmethod
    def of_query(cls, query: Mapping[str, Sequence[str]]) -> Form:
        """Return the form that a query describes; what it does not know is ignored."""
        found = {each.name: query[each.name][0] for each in fields(cls) if query.get(each.name)}
        for name in _SEVERAL:
            if query.get(name):
                found[name] = " ".join(filter(None, query[name]))
        return cls(**found)

    @classmethod
    def of_binder(cls, spec: str, query: Mapping[str, Sequence[str]]) -> Form:
        """Return the form of a link as BinderHub has them (its documentation, "API").

        Args:
            spec: what follows /v2/ in the link, as it came: "gh/ORG/REPOSITORY/REF".
            query: labpath, filepath or urlpath.
        """
        path, page = "", ""
        for name in ("labpath", "filepath"):
            path = path or (query.get(name) or [""])[0].strip("/")
        if not path:
            page = (query.get("urlpath") or [""])[0].strip("/")
        if found := _FILE_PAGE.fullmatch(page):
            path, page = unquote(found[1]), ""
        return cls(repo=spec, path=path, urlpath="" if page in _HOME_PAGES else page)

    @property
    def filled(self) -> dict[str, str]:
        """The fields that are filled in, by name."""
        return {name: text for name, text in vars(self).items() if text}

    def url(self, hub: str) -> str:
        """Return the link that leads to this form.

        Args:
            hub: the address of a hub, with its path and a slash at the end.
        """
        query = urlencode(self.filled, quote_via=quote)
        return f"{hub}{SERVICE}?{query}" if query else f"{hub}{SERVICE}"


def page_of(text: str) -> str:
    """Return a page of a server, without slashes at its ends.

    Raises:
        LittlestHubError: it may lead elsewhere, or do something when it opens.
    """
    page = text.strip().strip("/")
    is_inside = {"", ".", ".."}.isdisjoint(page.split("/"))
    if page and not (_PAGE.fullmatch(page) and is_inside):
        raise LittlestHubError(
            f"{text[:80]!r} is no page of a server; expected such as voila/render/a.ipynb, without"
            " a query"
        )
    return page


def badge(text: str) -> str:
    """Return a picture of a button, as SVG.

    Args:
        text: its label, such as "launch on Physics Hub".
    """
    label = " ".join(text.split())[:60]
    # Without a font to measure: a wide letter of Verdana, 11 pixels high, has about 7.
    length = 7 * len(label)
    width = 28 + length
    label = html.escape(label)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img"'
        f' aria-label="{label}"><title>{label}</title>'
        f'<rect width="{width}" height="20" rx="4" fill="#1d4f73"/>'
        '<path d="M8 5l8 5-8 5z" fill="#ffd166"/>'
        f'<text x="22" y="14" fill="#fff" textLength="{length}"'
        f' font-family="Verdana,Geneva,sans-serif" font-size="11">{label}</text></svg>\n'
    )


def snippets(link: str, picture: str, text: str) -> dict[str, str]:
    """Return what people paste into their pages, by format: a badge with a link.

    Args:
        link: where it leads, percent-encoded.
        picture: the address of the badge.
        text: what is read out instead of the picture.
    """
    text = " ".join(text.split())
    in_markdown = re.sub(r"([\\`*_\[\]<>&!])", r"\\\1", text)
    # An underscore at the end would make a name of it: docutils, "image", option "target".
    in_rest = f"{link[:-1]}%5F" if link.endswith("_") else link
    return {
        "Markdown": f"[![{in_markdown}]({picture})]({link})",
        "reStructuredText": f".. image:: {picture}\n   :target: {in_rest}\n   :alt: {text}\n",
        "HTML": f'<a href="{html.escape(link)}"><img src="{html.escape(picture)}"'
        f' alt="{html.escape(text)}"></a>',
    }


def on_other_hubs(form: Form, hubs: Mapping[str, str]) -> dict[str, str]:
    """Return the same form on other hubs, by title.

    Args:
        form: what somebody has filled in.
        hubs: addresses of hubs by title, each with a slash at the end.
    """
    return {title: form.url(address) for title, address in hubs.items()}


_KINDS = {"10.5281/zenodo.": "zenodo", "10.6084/m9.figshare.": "figshare"}
"""Names of archives in links of Binder, by the beginning of their DOIs."""


def on_public_binder(repository: Repository, path: str = "", page: str = "") -> str:
    """Return the link that launches a repository at mybinder.org."""
    host, _, place = repository.place.partition("/")
    ref = quote(repository.ref or "HEAD")
    if repository.doi:
        kinds = (kind for start, kind in _KINDS.items() if repository.doi.startswith(start))
        spec = f"{next(kinds, 'dataverse')}/{quote(repository.doi)}/"
    elif host == GITHUB or (host == GIST and "/" in place):
        spec = f"{'gh' if host == GITHUB else 'gist'}/{quote(place)}/{ref}"
    elif host == GITLAB:
        spec = f"gl/{quote(place, safe='')}/{ref}"
    else:
        spec = f"git/{quote(repository.url, safe='')}/{ref}"
    query = urlencode({"labpath": path} if path else {"urlpath": page} if page else {})
    return f"{PUBLIC_BINDER}v2/{spec}" + (f"?{query}" if query else "")


_CREATE = "micromamba create --yes --name {name} --file {file}"
_LAB = "micromamba install --yes --name {name} jupyterlab"
_RUN = "micromamba run --name {name} jupyter lab {path}"
_PIPENV_LAB = "uvx pipenv run pip install jupyterlab"
_PIPENV_RUN = "uvx pipenv run jupyter lab {path}"
_COMMANDS: dict[Kind, tuple[str, ...]] = {
    Kind.CONDA_LOCK: (_CREATE, _LAB, _RUN),
    Kind.CONDA: (_CREATE, _LAB, _RUN),
    Kind.PIXI: ("pixi run --frozen jupyter lab {path}",),
    Kind.PIPFILE_LOCK: ("uvx pipenv sync --dev", _PIPENV_LAB, _PIPENV_RUN),
    Kind.PIPFILE: ("uvx pipenv install --dev --skip-lock", _PIPENV_LAB, _PIPENV_RUN),
    Kind.UV: ("uv run --frozen --with jupyterlab jupyter lab {path}",),
    Kind.REQUIREMENTS: ("uv pip install --requirement {file}",),
    Kind.PROJECT: (),
    Kind.PYTHON: (),
    Kind.USUAL: (),
}
"""Commands that install an environment and run JupyterLab in it, as the programs' documentation has
them."""
_OF_UV = (Kind.REQUIREMENTS, Kind.PROJECT, Kind.PYTHON, Kind.USUAL)


def on_own_computer(
    repository: Repository, commit: str, environment: Environment, path: str = ""
) -> list[str]:
    """Return the commands that do the same on one's own computer; its postBuild is left out.

    Args:
        repository: what to launch.
        commit: the full name of the commit.
        environment: what it asks for.
        path: a file of it that opens.
    """
    directory = environment.directory
    name = shlex.quote(repository.name)
    file = environment.files[0] if environment.kind is Kind.CONDA else environment.kind
    words = {
        "name": name,
        "file": file.removeprefix(f"{directory}/"),
        "path": shlex.quote(f"{'../' if directory else './'}{path}"),
    }
    commands = list(_COMMANDS[environment.kind])
    if environment.kind in _OF_UV:
        version = f" --python {environment.python}" if environment.python else ""
        if environment.installs_repository:
            commands.append("uv pip install .")
        elif environment.kind is Kind.PROJECT:
            commands.append("uv pip install --requirement pyproject.toml")
        run = "uv run --no-project --with jupyterlab jupyter lab {path}"
        commands = [f"uv venv{version}", *commands, run]
    fetched = [
        f"git clone -- {shlex.quote(repository.url)} {name}",
        f"git -C {name} checkout --detach {commit}",
    ]
    if repository.doi:
        fetched = [
            f"mkdir {name}",
            f"# Download the files of {repository.url} to it, and unpack them",
        ]
    return [
        *fetched,
        f"cd {name}/{directory}".rstrip("/"),
        *(command.format(**words) for command in commands),
    ]
