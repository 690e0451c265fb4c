"""Files around the generations: kernel specs, and the programs that users type.

They are outside of generations, so that no change of the environment breaks them.
"""

from __future__ import annotations

import json
from pathlib import Path

from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.environment.place import Place
from littlest_hub.system import files

IMPORTS = """\
# Modules that have to work after each change of the environment, one on each line; a change after
# which one of them fails is refused.
ipykernel
"""
_PIP, _CONDA = ("pip", "pip3"), ("conda", "mamba")


def write(layout: Layout, place: Place) -> None:
    """Write the kernel specs and the programs."""
    ours, others = place.kernels
    for name, spec in _specs(place).items():
        files.write(ours / "kernels" / name / "kernel.json", json.dumps(spec, indent=1) + "\n")
    # Only the kernel specs of Jupyter's data in the environment are used. Extensions of JupyterLab
    # are those of the server, because a broken one would affect everybody.
    files.link(others / "kernels", Path("..", "..", place.link.name, "share/jupyter/kernels"))
    for names in (_PIP, _CONDA):
        template = (Path(__file__).parent / "terminal" / f"{names[0]}.sh").read_text()
        command = f"{layout.hub}/bin/littlest-hub"
        text = template.replace("@ENVIRONMENT@", str(place.link)).replace("@COMMAND@", command)
        for name in names:
            files.write(place.programs / name, text.replace("@NAME@", name), 0o755)
    for directory in (ours, others, place.programs, *ours.rglob("*/")):
        if directory.is_dir():
            directory.chmod(0o755)


def _specs(place: Place) -> dict[str, dict[str, object]]:
    """Return the kernel specs by name.

    Most notebooks ask for python3, which is the environment; the release's own kernel has another
    name.
    """
    arguments = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
    common = {"language": "python", "metadata": {"debugger": True}}
    return {
        "python3": {
            "argv": [str(place.python), *arguments],
            "display_name": f"Python 3 ({place.link.name})",
            **common,
        },
        # jupyter_client puts the server's interpreter in the place of "python".
        "python3-hub": {
            "argv": ["python", *arguments],
            "display_name": "Python 3 (hub's own, without packages)",
            **common,
        },
    }
