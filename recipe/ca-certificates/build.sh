#!/bin/sh
set -eu

mkdir -p "$DESTDIR$PREFIX/ssl"
"$PYTHON" "$RECIPE_DIR/certdata.py" mozilla/certdata.txt >"$DESTDIR$PREFIX/ssl/cert.pem"
ln -s cert.pem "$DESTDIR$PREFIX/ssl/cacert.pem"
