"""The hub's unit: the supervisor, JupyterHub, and our classes for it."""

TESTED_JUPYTERHUB = "6.1.1"
"""The version that imports and patches were tested with; another one is left unchanged."""
