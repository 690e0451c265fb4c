"""Stacks: ready-made setups on top of the core, each a package here with its `MANIFEST`."""
