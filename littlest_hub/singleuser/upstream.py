"""`python -m littlest_hub.singleuser.upstream`: JupyterHub's program, with the hub's packages."""

import runpy

from littlest_hub.singleuser import packages

if __name__ == "__main__":
    packages.use()
    runpy.run_module("jupyterhub.singleuser", run_name="__main__", alter_sys=True)
