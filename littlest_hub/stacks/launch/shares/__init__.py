"""Servers that others may use: JupyterHub's shares, as the owner's configuration says.

| module | answers |
|---|---|
| `people` | whom does a configuration name? |
| `grants` | who has access, in the hub's database? |
| `pages` | the hub's pages for those who have it, and what the service tells the hub |
"""
