"""Releases: installed, upgraded, rolled back, run in the foreground, removed."""
