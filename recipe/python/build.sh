#!/bin/sh
# shellcheck disable=SC2016  # $ORIGIN is for the dynamic linker
set -eu

# Debian's security and crash fixes; what comes before them is integration with Debian.
sed -n '/^CVE-2025-11468/,$p' debian/patches/series | while read -r patch; do
    patch -p1 -s <"debian/patches/$patch"
done

# lib/python3.13/lib-dynload/*.so find the libraries in lib/; bin/python3.13 needs only glibc's.
export RPATH_LIBRARIES='$ORIGIN/../..'
export CFLAGS=-g0 CPPFLAGS="-I$DEPS/include" LDFLAGS="-L$DEPS/lib"
./configure --prefix="$PREFIX" --with-openssl="$DEPS" --with-openssl-rpath=no \
    --with-system-libmpdec=no --without-ensurepip --without-readline \
    --without-static-libpython --disable-test-modules

# Compiled for what it does here, as `make python-profile` has recorded it: 7 % less processor time
# to start a hub or a server. Not in CFLAGS, which are for modules that `pip install` compiles too.
if [ -e "$RECIPE_DIR/profile-runtime.a" ]; then
    make CFLAGS_NODIST=-fprofile-generate \
        LDFLAGS_NODIST="-Wl,-u,__llvm_profile_runtime $RECIPE_DIR/profile-runtime.a"
else
    xz -dc "$RECIPE_DIR/profile.xz" >profile
    make CFLAGS_NODIST="-fprofile-use=$SRC_DIR/profile"
fi
# -h: leave compiling the library to the packager, which knows how to do it the same way twice.
make install DESTDIR="$DESTDIR" COMPILEALL_OPTS=-h

root=$DESTDIR$PREFIX
lib=$root/lib/python3.13
ln -s python3.13 "$root/bin/python"
rm -rf "$root"/bin/idle3* "$root/share" \
    "$lib"/idlelib "$lib"/tkinter "$lib"/turtledemo "$lib"/turtle.py "$lib"/ensurepip \
    "$lib"/config-3.13-*/*.a "$lib"/config-3.13-*/*.o
find "$lib" -name __pycache__ -prune -exec rm -r {} +

# What extension modules are built with is read from here: name the prefix, not this build.
grep -rlIF -e "$DEPS" -e "$SRC_DIR" -e "$DESTDIR" "$root" | while read -r file; do
    sed -i -e "s| *-fprofile-use=$SRC_DIR/profile||g" -e "s|$DEPS|$PREFIX|g" -e "s|$SRC_DIR|.|g" -e "s|$DESTDIR||g" "$file"
done

for module in _bz2 _ctypes _decimal _hashlib _lzma _sqlite3 _ssl zlib; do
    ls "$lib/lib-dynload/$module".*.so >/dev/null
done
