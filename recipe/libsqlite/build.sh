#!/bin/sh
set -eu

# Security fixes and upstream bug fixes; what comes before them concerns Debian's own build.
sed -n '/^41-/,$p' debian/patches/series | while read -r patch; do
    patch -p1 -s <"debian/patches/$patch"
done

# The one-file library, made by upstream's scripts, then compiled without its libtool.
./configure --prefix="$PREFIX" --disable-tcl --disable-readline >/dev/null
make sqlite3.c sqlite3.h
$CC -O2 -fPIC -shared -Wl,-soname,libsqlite3.so.0 -o libsqlite3.so.0.8.6 \
    -DSQLITE_THREADSAFE=1 -DSQLITE_ENABLE_COLUMN_METADATA -DSQLITE_ENABLE_DBSTAT_VTAB \
    -DSQLITE_ENABLE_FTS3 -DSQLITE_ENABLE_FTS3_PARENTHESIS -DSQLITE_ENABLE_FTS4 \
    -DSQLITE_ENABLE_FTS5 -DSQLITE_ENABLE_GEOPOLY -DSQLITE_ENABLE_MATH_FUNCTIONS \
    -DSQLITE_ENABLE_RTREE -DSQLITE_ENABLE_UNLOCK_NOTIFY -DSQLITE_MAX_VARIABLE_NUMBER=250000 \
    -DSQLITE_SECURE_DELETE -DHAVE_ISNAN -DHAVE_USLEEP -DHAVE_LOCALTIME_R \
    sqlite3.c -lm

lib=$DESTDIR$PREFIX/lib include=$DESTDIR$PREFIX/include
mkdir -p "$lib" "$include"
cp libsqlite3.so.0.8.6 "$lib"
ln -s libsqlite3.so.0.8.6 "$lib/libsqlite3.so.0"
ln -s libsqlite3.so.0.8.6 "$lib/libsqlite3.so"
cp sqlite3.h src/sqlite3ext.h "$include"
