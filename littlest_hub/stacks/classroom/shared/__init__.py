"""Folders that people of a class share: data to read, folders of groups, and drop boxes.

Root's helper makes them (`folders`), permissions decide who may do what, and each server sees those
that it may use (`view`), by a link in the home directory.
"""
