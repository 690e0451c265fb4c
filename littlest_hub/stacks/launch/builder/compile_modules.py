"""Compiles modules: a program for the Python that they are for, which has nothing of ours.

Standard input is a JSON list of sources and results.
"""

import contextlib
import json
import py_compile
import sys
from pathlib import Path


def main() -> None:
    """Compile the modules that standard input lists."""
    for source, result in json.load(sys.stdin):
        Path(result).parent.mkdir(exist_ok=True)
        # Some sources are for another Python, or no Python at all.
        with contextlib.suppress(py_compile.PyCompileError, OSError, ValueError, RecursionError):
            # Unchecked (PEP 552): it is found by the content of its source.
            mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
            # Python replaces the name of the source by that of the file beside which it found it.
            name = Path(source).name
            py_compile.compile(source, result, name, doraise=True, invalidation_mode=mode)


if __name__ == "__main__":
    main()
