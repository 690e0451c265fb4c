"""The page on which people restore their own files.

| module | runs as | answers |
|---|---|---|
| `handlers` | the page's service | what does the page show? |
| `jobs` | the page's service | what is being restored for whom? |
| `client` | the page's service | what does root's helper say? |
| `helper` | root | what is in a visitor's backups, and may they have it? |
"""
