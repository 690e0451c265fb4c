"""Checks of the fragments. They do not touch a running hub.

`checker` gathers `facts` about the machine, runs `evaluator` in a `sandbox`, and returns a
`report`. The evaluator executes the fragments; `origins` records which line sets each value. Then
`validation` checks each value alone, and `rules` check them together. JupyterHub is imported only
in the sandbox.
"""

from littlest_hub.check.checker import check_fragments, effective_configuration
from littlest_hub.check.configuration import Configuration
from littlest_hub.check.facts import is_service
from littlest_hub.check.report import Problem, Report

__all__ = [
    "Configuration",
    "Problem",
    "Report",
    "check_fragments",
    "effective_configuration",
    "is_service",
]
