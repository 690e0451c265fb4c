"""Manifests of stacks: what each stack consists of, as data, and which stacks are enabled.

The core reads manifests and knows no stack by name.
"""
