"""Littlest Hub: a minimal, unopinionated JupyterHub distribution."""

__version__ = "2026.11.0"
