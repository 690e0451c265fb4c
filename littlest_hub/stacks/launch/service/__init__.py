"""The service's way to the resolver, the builder and JupyterHub; its pages are in `pages`."""
