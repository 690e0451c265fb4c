"""Packages that a release does not bring: for the hub, user servers, and stacks.

An *overlay* is a read-only directory of packages for one release, named after its lock. It comes
last on the import path, so it replaces nothing of the release. A change builds the next overlay
beside the present one, checks the fragments with it, and switches a link.
"""
