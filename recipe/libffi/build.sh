#!/bin/sh
set -eu

autoreconf -fi
CFLAGS=-O2 CXX=false ./configure --prefix="$PREFIX" --disable-static --disable-docs \
    --disable-multi-os-directory --disable-exec-static-tramp --disable-dependency-tracking
make
make install DESTDIR="$DESTDIR"
rm -rf "$DESTDIR$PREFIX/lib/libffi.la" "$DESTDIR$PREFIX/share"
