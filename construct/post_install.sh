#!/bin/sh
# Runs on the target machine once the release is in its final place, and makes it the one that serves.
# If `install` fails, it has undone its changes, and the installer removes the release.
set -eu
# If this script is killed, .undo is still there. The installer then runs it before it removes the
# release; if the installer was killed too, its next run does so. If .undo fails, the release is kept,
# because services may run from it.
cat >"$PREFIX/.undo" <<END
#!/bin/sh
exec "$PREFIX/bin/python3" -I -m littlest_hub install --undo --prefix "$PREFIX"
END
chmod 0755 "$PREFIX/.undo"
# The installer shows these messages at its end. -I: ignore PYTHON* variables and users' packages.
"$PREFIX/bin/python3" -I -m littlest_hub install --prefix "$PREFIX" >>"$PREFIX/.messages.txt"
rm -f "$PREFIX/.undo"
