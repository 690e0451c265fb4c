#!/bin/sh
# Runs on the target machine once the hub environment is in place: makes it the release that serves.
# A failure here makes the installer remove the release again; what this made is gone by then.
set -eu
# If it is killed, the installer asks this to undo what it did, and keeps the release if that fails.
cat >"$PREFIX/.undo" <<END
#!/bin/sh
exec "$PREFIX/bin/python3" -I -m littlest_hub install --undo --prefix "$PREFIX"
END
chmod 0755 "$PREFIX/.undo"
# What is printed is shown when the installer ends. -I: nothing of the caller's Python.
"$PREFIX/bin/python3" -I -m littlest_hub install --prefix "$PREFIX" >>"$PREFIX/.messages.txt"
rm -f "$PREFIX/.undo"
