"""nbgrader's execution of submissions, with a kernel in a unit of its own.

This process, the grader's, sends cells to the kernel and reads the results. The kernel, which runs
what students have written, sees neither the gradebook nor the sources of assignments.
"""

from __future__ import annotations

import copy
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from nbformat.v4 import new_output
from nbgrader.preprocessors import Execute

from littlest_hub import installation
from littlest_hub.stacks.courses import place
from littlest_hub.stacks.courses.grading.isolation import MEMORY
from littlest_hub.stacks.courses.jupyter import COURSE

_DIED = (
    f"The kernel ended in this cell, twice: its code has ended it, or needed more than {MEMORY}B of"
    " memory."
)
_NOT_RUN = "This cell was not run, because the kernel had ended in one before it."
_CLIENT = "littlest_hub.stacks.courses.grading.client"


class IsolatedKernelManager(AsyncKernelManager):  # type: ignore[misc]
    """A manager of one kernel that talks through sockets of files, since it has no network."""

    def __init__(self, **options: Any) -> None:
        layout = installation.of_this_release()
        course = os.environ[COURSE]
        runtime = Path("/run") / place.runtime_of(layout, course)
        self._directory = Path(tempfile.mkdtemp(prefix="kernel-", dir=runtime))
        # Its parent lets only the grader pass; the kernel is another user, who sees this alone.
        self._directory.chmod(0o777)
        # Without the name: mkstemp's file would be there already.
        super().__init__(
            **{
                **options,
                "transport": "ipc",
                "ip": str(self._directory / "s"),
                "connection_file": str(self._directory / "connection.json"),
            }
        )
        self._course = course

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        """Return the command of the process that stands for the kernel."""
        command = super().format_kernel_cmd(extra_arguments)
        program = shutil.which(command[0]) or command[0]
        ours = [sys.executable, "-I", "-m", _CLIENT, self._course, str(self._directory)]
        return [*ours, program, *command[1:]]

    def write_connection_file(self, **options: Any) -> None:
        """Write the file, which the kernel reads as another user."""
        super().write_connection_file(**options)
        Path(self.connection_file).chmod(0o644)

    def cleanup_resources(self, restart: bool = False) -> None:
        """Remove the sockets."""
        super().cleanup_resources(restart)
        if not restart:
            shutil.rmtree(self._directory, ignore_errors=True)


class IsolatedExecute(Execute):  # type: ignore[misc]
    """Runs the cells of a submission; one that ends its kernel gets no points for the rest.

    nbgrader itself would not grade it, however often somebody tries.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        options["kernel_manager_class"] = IsolatedKernelManager
        super().__init__(*args, **options)
        self._is_second = self._is_dead = False

    def preprocess(self, nb: Any, resources: Any = None, km: Any = None) -> Any:
        """Run all cells; if the kernel dies, once more, since the machine may have been at fault.

        Raises:
            Exception: the kernel did not start.
        """
        again = copy.deepcopy(nb)
        self._is_second = self._is_dead = False
        try:
            return super().preprocess(nb, resources, km)
        except DeadKernelError:
            self._is_second = True
            return super().preprocess(again, resources, km)

    def preprocess_cell(self, cell: Any, resources: Any, index: int) -> Any:
        """Run a cell, or note that the kernel is dead.

        Raises:
            DeadKernelError: it died for the first time.
        """
        if not self._is_dead:
            try:
                return super().preprocess_cell(cell, resources, index)
            except DeadKernelError:
                if not self._is_second:
                    raise
                self._is_dead = True
                return self._failed(cell, _DIED), resources
        return self._failed(cell, _NOT_RUN), resources

    def _failed(self, cell: Any, text: str) -> Any:
        """Give a cell of code an error, before its other outputs: they could be points."""
        if cell.cell_type == "code":
            error = new_output("error", ename="DeadKernelError", evalue=text, traceback=[text])
            cell.outputs.insert(0, error)
        return cell
