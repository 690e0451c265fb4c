"""A backup, as the nightly unit makes it.

| module | answers |
|---|---|
| `hub_copy` | what of the hub is backed up? Runs first, with root's rights |
| `databases` | which databases are in use, and need a consistent copy? |
| `run` | what goes into the repository, and which old backups go? |
"""
