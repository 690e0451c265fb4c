"""The repository of the backups, for whatever reads or writes it.

| module | answers |
|---|---|
| `place` | where are the password, the copies and the record, and who may write now? |
| `password` | which password opens the repository? |
| `creation` | is there a repository, or can one be made, and may the units write to it? |
| `record` | what was done last, and how did it end? |
| `choice` | which backup is meant? |
| `integrity` | is the repository as it was written? |
"""
