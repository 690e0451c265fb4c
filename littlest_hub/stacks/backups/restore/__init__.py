"""Files of a backup: whose they are, and how they come back.

| module | answers |
|---|---|
| `people` | who is a person, and what in a backup may they read? |
| `source` | what is chosen in a backup, and how does it reach its owner? |
| `extraction` | how does the owner write it to their home directory? |
| `hub_archive` | how does the hub's own backup come back, as a file? |
| `trial` | can the last backup be restored? The monthly restore test |
"""
