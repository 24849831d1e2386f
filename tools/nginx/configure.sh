#!/bin/bash
# Runs the configure script of nginx's headers (package nginx-dev) with the flags that Debian's nginx was
# built with, and copies what compiling a module needs of its answers: two headers, and each module's
# list of modules. Used by meson.build; leaves nothing behind but the folder of the build.
#
#     configure.sh NGINX_SOURCE MODULE_FOLDER OBJECTS OUTPUT...
set -euo pipefail

source_dir=$1 module_dir=$(realpath "$2") objects=$3
shift 3
mkdir -p "$objects"
objects=$(realpath "$objects")
outputs=()
for output in "$@"; do outputs+=("$(realpath -m "$output")"); done

cd "$source_dir"
NGX_CONF_FLAGS=()
# shellcheck source=/dev/null
. ./conf_flags
# Debian's conf_flags leave out stream, which is a dynamic module there.
if ! ./configure --with-cc=cc --with-cc-opt='-g -O2 -fPIC' "${NGX_CONF_FLAGS[@]}" \
  --with-stream=dynamic --with-stream_ssl_module "--add-dynamic-module=$module_dir" \
  "--builddir=$objects" >"$objects.log" 2>&1; then
  tail -n 20 "$objects.log" >&2
  echo "$0: nginx's configure failed; its whole output is in $objects.log" >&2
  exit 1
fi
for output in "${outputs[@]}"; do cp "$objects/$(basename "$output")" "$output"; done
