#!/bin/sh
set -eu

# -O2 decompresses in a fifth less time than -Os; without what only debuggers read it is no larger.
make -C programs zstd-decompress DEBUGFLAGS= \
    CFLAGS="-O2 -ffunction-sections -fdata-sections -Wl,--gc-sections -fno-unwind-tables -fno-asynchronous-unwind-tables" \
    HAVE_THREAD=0 HAVE_ZLIB=0 HAVE_LZMA=0 HAVE_LZ4=0
mkdir -p "$DESTDIR$PREFIX/bin"
cp programs/zstd-decompress "$DESTDIR$PREFIX/bin"
