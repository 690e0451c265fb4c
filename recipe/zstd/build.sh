#!/bin/sh
set -eu

# musl, static: runs on any Linux of this architecture, before anything is installed.
ZIG_TARGET=x86_64-linux-musl
export ZIG_TARGET
make -C programs zstd-decompress CFLAGS="-Os -static" DEBUGFLAGS= HAVE_THREAD=0 HAVE_ZLIB=0 HAVE_LZMA=0 HAVE_LZ4=0
mkdir -p "$DESTDIR$PREFIX/bin"
cp programs/zstd-decompress "$DESTDIR$PREFIX/bin"
