"""Later releases of this checkout, built from a modified copy of it."""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from construct.builder import OWN_FILES, SHARED
from construct.cache import Cache, key_of
from littlest_hub import __version__
from littlest_hub.lifecycle.release import SERIES

# Each change to the sources makes another installer of 150 MB.
UNUSED_S = 24 * 3600
REPOSITORY = Path(__file__).parents[1]
SOURCES = (
    *OWN_FILES,
    *filter(None, SHARED),
    "construct",
    "construct.yaml",
    "environment.yml",
    "recipe",
)
# Files that contain the release's version.
VERSIONED = (
    "construct.yaml",
    "environment.yml",
    "littlest_hub/__init__.py",
    "pyproject.toml",
    "recipe/littlest-hub/recipe.yaml",
)

# The end of the builder's function for our own package; a migration is inserted before it.
_PACKED = "            condapkg.compile_python(target, interpreter)\n            return replace("
MIGRATION = '''
"""a column that older releases do not know"""
revision = "{revision}"
down_revision = "{before}"
from alembic import op
import sqlalchemy as sa
def upgrade():
    op.add_column("users", sa.Column("nickname", sa.Unicode(255), server_default="none"))
def downgrade():
    op.drop_column("users", "nickname")
'''


def build(
    version: str,
    *,
    series: Sequence[str] = (),
    patches: Mapping[str, Mapping[str, str]] | None = None,
    migration: str = "",
) -> Path:
    """Build and return the installer of a later release.

    Args:
        version: its version.
        series: the minor series that it knows (default: its own and those of this checkout).
        patches: for each file, text to replace and its replacement; the text must be there.
        migration: a revision of the database's schema to add after JupyterHub's own.
    """
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "checkout"
        root.mkdir()
        for name in SOURCES:
            source = REPOSITORY / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, root / name, ignore=ignored)
            else:
                shutil.copyfile(source, root / name)
        for name in VERSIONED:
            _replace(root / name, {__version__: version})
        own = version.rpartition(".")[0]
        names = series or (*SERIES, *([own] if own not in SERIES else []))
        text = (root / "littlest_hub/lifecycle/release.py").read_text()
        tuple_text = "SERIES = (" + "".join(f'"{name}", ' for name in names) + ")"
        found = re.sub(r"^SERIES = \(.*?\)", tuple_text, text, count=1, flags=re.M | re.S)
        (root / "littlest_hub/lifecycle/release.py").write_text(found)
        for name, changes in (patches or {}).items():
            _replace(root / name, changes)
        if migration:
            _add_migration(root, migration)
        key = key_of([root / name for name in SOURCES])
        Cache().prune(["releases"], UNUSED_S)
        return next(Cache().get("releases", version, key, lambda to: _build(root, to)).glob("*.sh"))


def _build(root: Path, output: Path) -> None:
    command = [sys.executable, "-m", "construct", "--output", str(output)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _replace(file: Path, changes: Mapping[str, str]) -> None:
    text = file.read_text()
    for before, after in changes.items():
        assert before in text, f"{file.name} has no {before!r}"
        text = text.replace(before, after)
    file.write_text(text)


def _add_migration(root: Path, revision: str) -> None:
    from littlest_hub.hub.database import head

    (root / "construct/migration.py").write_text(MIGRATION.format(revision=revision, before=head()))
    put = (
        "            site = target / condapkg.SITE_PACKAGES\n"
        '            versions = site / "jupyterhub/alembic/versions"\n'
        "            versions.mkdir(parents=True)\n"
        f'            shutil.copyfile(HERE / "migration.py", versions / "{revision}_test.py")\n'
    )
    _replace(root / "construct/builder.py", {_PACKED: put + _PACKED})
