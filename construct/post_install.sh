#!/bin/sh
# Runs on the target machine after the hub environment is unpacked: makes it the release that serves.
# If this fails, it undoes its changes, and the installer removes the release.
set -eu
# If this is killed, the installer runs .undo, and keeps the release if that fails.
cat >"$PREFIX/.undo" <<END
#!/bin/sh
exec "$PREFIX/bin/python3" -I -m littlest_hub install --undo --prefix "$PREFIX"
END
chmod 0755 "$PREFIX/.undo"
# The installer shows the output at its end. -I: ignore PYTHON* variables and user packages.
"$PREFIX/bin/python3" -I -m littlest_hub install --prefix "$PREFIX" >>"$PREFIX/.messages.txt"
rm -f "$PREFIX/.undo"
