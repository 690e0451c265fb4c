"""What The Littlest JupyterHub has on this machine, as fragments, accounts and packages here."""
