"""Environments built, shared and removed: a program without rights, and what starts it."""
