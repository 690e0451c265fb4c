"""Volumes that people make for a group of the hub, from the page.

Root's helper makes and deletes them (`helper`); the hub says who may (`api`); each is a directory
with a record beside its files (`store`). Servers see them as they see the administrator's volumes.
"""
