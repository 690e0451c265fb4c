"""An import from The Littlest JupyterHub: its fragments, accounts and packages."""
