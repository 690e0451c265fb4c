"""A repository as a server of one's own: the launch stack.

It is being written (docs/explanation/launch.md): without a manifest, `enable` does not offer it.
"""
