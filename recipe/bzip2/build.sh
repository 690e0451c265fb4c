#!/bin/sh
set -eu

# Upstream has no install target for the shared library.
objects="blocksort.o huffman.o crctable.o randtable.o compress.o decompress.o bzlib.o"
# shellcheck disable=SC2086  # a list of file names
make CC="$CC" CFLAGS="-O2 -fPIC -D_FILE_OFFSET_BITS=64" $objects
# shellcheck disable=SC2086
$CC -shared -Wl,-soname,libbz2.so.1.0 -o libbz2.so.1.0.8 $objects

lib=$DESTDIR$PREFIX/lib include=$DESTDIR$PREFIX/include
mkdir -p "$lib" "$include"
cp libbz2.so.1.0.8 "$lib"
ln -s libbz2.so.1.0.8 "$lib/libbz2.so.1.0"
ln -s libbz2.so.1.0.8 "$lib/libbz2.so"
cp bzlib.h "$include"
