"""Littlest Hub: a minimal, unopinionated JupyterHub distribution."""

import sys

__version__ = "2026.11.0"

# jsonschema tries to import it, and it builds a grammar each time: a second of CPU, half of what
# importing JupyterHub takes. Without it JSON schemas do not check the format "iri"; none has it.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
