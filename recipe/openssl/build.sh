#!/bin/sh
# shellcheck disable=SC2016  # $ORIGIN is for the dynamic linker
set -eu

# Upstream's fixes since the release; what comes before them concerns Debian's own build.
sed -n '/^conf-Serialize/,$p' debian/patches/series | while read -r patch; do
    patch -p1 -s <"debian/patches/$patch"
done

./Configure linux-x86_64 --prefix="$PREFIX" --openssldir="$PREFIX/ssl" --libdir=lib \
    shared no-docs no-tests no-legacy no-module no-engine no-static-engine no-afalgeng

# A program and its libraries find each other wherever the prefix is.
export RPATH_LIBRARIES='$ORIGIN' RPATH_PROGRAMS='$ORIGIN/../lib'
# Only the shared libraries and the program: the static ones would compile everything twice.
make build_generated
# See ./cc in the recipe. The libraries have the same bytes without this.
COMPILER=$(command -v "$CC") HEADERS=$SRC_DIR/headers.pch
export COMPILER HEADERS
"$COMPILER" -c -Iinclude -pthread -DOPENSSL_USE_NODELETE -DL_ENDIAN -DOPENSSL_PIC \
    -DOPENSSL_BUILDING_OPENSSL -DNDEBUG -O3 -x c-header "$RECIPE_DIR/headers.h" -o "$HEADERS"
mkdir bin
cp "$RECIPE_DIR/cc" bin
PATH=$PWD/bin:$PATH
make libcrypto.so libssl.so apps/openssl

root=$DESTDIR$PREFIX
mkdir -p "$root/bin" "$root/lib" "$root/include/openssl" "$root/ssl"
cp apps/openssl "$root/bin"
cp libcrypto.so.3 libssl.so.3 "$root/lib"
ln -s libcrypto.so.3 "$root/lib/libcrypto.so"
ln -s libssl.so.3 "$root/lib/libssl.so"
cp include/openssl/*.h "$root/include/openssl"
cp apps/openssl.cnf "$root/ssl"
