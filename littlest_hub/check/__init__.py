"""Checks of the fragments that do not touch a running hub.

`checker` gathers `facts` about the machine, has `evaluator` run the fragments in a `sandbox` and
returns a `report`. In the sandbox, `origins` records which line set each value, `validation` judges
each value alone, and `rules` judge them together. Nothing here imports JupyterHub outside of the
sandbox.
"""

from littlest_hub.check.checker import check_fragments
from littlest_hub.check.facts import is_service
from littlest_hub.check.report import Problem, Report

__all__ = ["Problem", "Report", "check_fragments", "is_service"]
