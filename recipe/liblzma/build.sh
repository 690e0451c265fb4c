#!/bin/sh
set -eu

while read -r patch; do
    patch -p1 -s <"debian/patches/$patch"
done <debian/patches/series

CFLAGS=-O2 ./configure --prefix="$PREFIX" --disable-static --disable-xz --disable-xzdec \
    --disable-lzmadec --disable-lzmainfo --disable-scripts --disable-doc --disable-nls \
    --disable-dependency-tracking
make
make install DESTDIR="$DESTDIR"
rm -rf "$DESTDIR$PREFIX/lib/liblzma.la" "$DESTDIR$PREFIX/share"
