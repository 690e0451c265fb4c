"""Jupyter's programs as a grader, or a student in a terminal, runs them: with our packages.

The modules of this package that import this one run as users without rights.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from littlest_hub import installation
from littlest_hub.layout import SERVER_PACKAGES, PackageSet
from littlest_hub.stacks.courses import place
from littlest_hub.stacks.courses.grading import generating
from littlest_hub.system import json_file
from littlest_hub.system.import_path import append_packages

COURSE = "LITTLEST_HUB_COURSE"
"""Variable of a grader's programs: the course."""


def use_packages() -> None:
    """Let this process, and Jupyter in it, find nbgrader behind the packages of the release."""
    overlay = _packages()
    append_packages(overlay, PackageSet.SERVER)
    if overlay:
        _append("JUPYTER_PATH", f"{overlay}/{PackageSet.SERVER}/share/jupyter")
        _append("JUPYTER_CONFIG_PATH", f"{overlay}/{PackageSet.SERVER}/etc/jupyter")


def _packages() -> Path | None:
    # In a server, its own: on another machine, this release may be at another path than the hub's.
    if chosen := os.environ.get(SERVER_PACKAGES):
        return Path(chosen)
    layout = installation.of_this_release()
    return installation.active_overlay(layout, installation.release_of_this_interpreter())


def use_course(name: str) -> dict[str, Any]:
    """Let Jupyter in this process work for a course; return what the hub publishes."""
    published = read_published("hub.json")
    for directory in reversed([*filter(None, str(published.get("kernels", "")).split(":"))]):
        _prepend("JUPYTER_PATH", directory)
    settings = Path(tempfile.mkdtemp(prefix="settings-", dir=os.environ["JUPYTER_RUNTIME_DIR"]))
    (settings / "nbgrader_config.json").write_text(json.dumps(_settings(name)))
    _prepend("JUPYTER_CONFIG_PATH", str(settings))
    # nbgrader runs alembic, which has to find nbgrader.
    own = installation.release_of_this_interpreter() / "bin"
    ours = f"{place.PROGRAMS}/grader:{place.PROGRAMS}"
    os.environ["PATH"] = f"{ours}:{own}:{os.environ.get('PATH', '/usr/bin:/bin')}"
    os.environ[COURSE] = name
    return published


def read_published(file: str) -> dict[str, Any]:
    """Return what the hub publishes in a file; {}: nothing so far."""
    return json_file.read_object(place.SEEN / file)


def submission_mb() -> int:
    """Return the largest size of a submission, as the hub publishes it."""
    return int(read_published("hub.json").get("submission_mb", place.SUBMISSION_MB))


def _settings(name: str) -> dict[str, Any]:
    layout = installation.of_this_release()
    grading = "littlest_hub.stacks.courses.grading"
    limit_kb = submission_mb() * 1000
    return {
        "CourseDirectory": {
            "course_id": name,
            "root": str(place.home_of(layout, name)),
            "max_dir_size": limit_kb,
            "max_file_size": limit_kb,
        },
        "Exchange": {"root": str(place.exchange(layout))},
        "ExchangeFactory": {
            "collect": f"{grading}.collecting.Collect",
            "release_assignment": f"{grading}.releasing.Release",
            "release_feedback": f"{grading}.releasing.ReleaseFeedback",
        },
        # The formgrader's buttons do the same. Without force, files of a killed command would stay.
        "ExchangeCollect": {"update": True},
        "GenerateAssignment": {
            "force": True,
            "preprocessors": [
                "nbgrader.preprocessors.IncludeHeaderFooter",
                "nbgrader.preprocessors.InstantiateTests",
                "nbgrader.preprocessors.LockCells",
                "nbgrader.preprocessors.ClearSolutions",
                "nbgrader.preprocessors.ClearOutput",
                "nbgrader.preprocessors.CheckCellMetadata",
                "nbgrader.preprocessors.ComputeChecksums",
                f"{grading}.preprocessors.WholeNotebook",
                "nbgrader.preprocessors.ClearHiddenTests",
                "nbgrader.preprocessors.ClearMarkScheme",
                "nbgrader.preprocessors.ComputeChecksums",
                "nbgrader.preprocessors.CheckCellMetadata",
            ],
        },
        "Autograde": {
            "pre_convert_hook": f"{grading}.begun.begin",
            "post_convert_hook": f"{grading}.begun.end",
            "autograde_preprocessors": [
                f"{grading}.kernels.IsolatedExecute",
                "nbgrader.preprocessors.IgnorePattern",
                "nbconvert.preprocessors.ClearMetadataPreprocessor",
                "nbgrader.preprocessors.LimitOutput",
                f"{grading}.preprocessors.SaveGrades",
                f"{grading}.preprocessors.LatePenalties",
                "nbgrader.preprocessors.CheckCellMetadata",
            ],
        },
        "GenerateFeedback": {
            "force": True,
            "preprocessors": [
                f"{grading}.preprocessors.Grades",
                "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
            ],
        },
    }


def nbgrader() -> None:
    """Run nbgrader's command line, as `programs/nbgrader`."""
    use_packages()
    if name := os.environ.get(COURSE):
        settings = os.environ["JUPYTER_CONFIG_PATH"].partition(":")[0]
        if not Path(settings).is_dir():
            use_course(name)
        generating.replace_in_one_step()
    from nbgrader.apps.nbgraderapp import main

    sys.argv[0] = "nbgrader"
    main()


def alembic() -> None:
    """Run alembic's command line, as nbgrader does for a new gradebook."""
    use_packages()
    from alembic.config import main

    main(sys.argv[1:])


def program(name: str) -> str:
    """Return the path of one of our programs."""
    found = shutil.which(name, path=str(place.PROGRAMS))
    assert found, f"{name} is missing in {place.PROGRAMS}"
    return found


def _append(variable: str, directory: str) -> None:
    present = [*filter(None, os.environ.get(variable, "").split(os.pathsep))]
    if directory not in present:
        os.environ[variable] = os.pathsep.join([*present, directory])


def _prepend(variable: str, directory: str) -> None:
    present = [*filter(None, os.environ.get(variable, "").split(os.pathsep))]
    os.environ[variable] = os.pathsep.join([directory, *(e for e in present if e != directory)])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alembic"]:
        del sys.argv[1]
        alembic()
    else:
        nbgrader()
