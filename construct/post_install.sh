#!/bin/sh
# Runs on the target machine once the hub environment is in place: makes it the release that serves.
# A failure here makes the installer remove the release again; what this made is gone by then.
set -eu
# What is printed is shown when the installer ends. -I: nothing of the caller's Python.
"$PREFIX/bin/python3" -I -m littlest_hub install --prefix "$PREFIX" >>"$PREFIX/.messages.txt"
