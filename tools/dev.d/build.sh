# shellcheck shell=bash
# Configuring and compiling the build directories. Sourced by tools/dev. There are four: build/ (gcc,
# release: what people run and what is measured), build-asan/ and build-tsan/ (clang-19 with
# sanitizers) and build-clang/ (never compiled: it only tells clang-tidy the compile commands).

root=${root:?is set by tools/dev}
jobs=$(nproc)
export CCACHE_BASEDIR=${CCACHE_BASEDIR:-$root} CCACHE_NOHASHDIR=${CCACHE_NOHASHDIR:-1}

with_ccache() {
  if command -v ccache >/dev/null; then echo "ccache $1"; else echo "$1"; fi
}

# configure DIR COMPILER [OPTION...]: sets DIR up, or brings its options up to date when they are
# not those of the last time. Warnings are errors in every directory.
configure() {
  local dir=$1 compiler=$2
  shift 2
  local -a options=(-Dwerror=true "$@")
  local stamp=$dir/.dev-options wish="$compiler ${options[*]}"
  if [ -f "$dir/build.ninja" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wish" ]; then
    # meson.build files may have changed; what is asked of the directory next must know.
    local output
    output=$(ninja -C "$dir" build.ninja 2>&1) || {
      echo "$output"
      return 1
    }
    return 0
  fi
  local cc cxx
  case $compiler in
    gcc) cc=$(with_ccache gcc) cxx=$(with_ccache g++) ;;
    clang) cc=$(with_ccache clang-19) cxx=$(with_ccache clang++-19) ;;
  esac
  local -a how=()
  if [ -f "$dir/build.ninja" ]; then
    how=(--reconfigure)
  elif [ -d "$dir/meson-private" ]; then
    how=(--wipe)  # an earlier setup failed half way
  fi
  say "configure: $dir ($compiler) ${options[*]}"
  CC=$cc CXX=$cxx meson setup "${how[@]}" "$dir" "${options[@]}" || return
  echo "$wish" >"$stamp"
}

# What is installed decides whether the tests and benchmarks are compiled, so that the demo runs on a
# machine that has neither, and what is installed later is noticed.
configure_gcc() {
  local tests=disabled bench=disabled python=disabled nginx=disabled
  [ ! -e /usr/include/doctest/doctest.h ] || tests=enabled
  [ ! -e /usr/include/benchmark/benchmark.h ] || bench=enabled
  if [ -e /usr/include/python3.11/Python.h ] && /usr/bin/python3 -c 'import cffi' 2>/dev/null; then
    python=enabled
  fi
  [ ! -e /usr/share/nginx/src/configure ] || nginx=enabled
  configure build gcc -Dchecker=enabled -Dcli=enabled -Ddns=enabled -Dtls=enabled -Dgrpc=enabled -Dlto=enabled -Dman=enabled "-Dpython=$python" "-Dnginx=$nginx" "-Dtests=$tests" "-Dbench=$bench"
}

# Little optimisation: the sanitizers' cost is in what they check, and compiling is half of CI's time.
# jemalloc would hide allocations from AddressSanitizer.
sanitizer_options=(-Doptimization=1 -Ddebug=false -Dbench=disabled -Djemalloc=disabled
  -Dtests=enabled -Dchecker=enabled -Dcli=enabled -Ddns=enabled -Dtls=enabled -Dgrpc=enabled
  -Dpython=disabled -Dnginx=disabled)

configure_asan() {
  configure build-asan clang "${sanitizer_options[@]}" -Db_sanitize=address,undefined \
    '-Dcpp_args=-g1 -D_GLIBCXX_ASSERTIONS -fno-sanitize-recover=all' -Dfuzz=enabled
}

configure_tsan() {
  configure build-tsan clang "${sanitizer_options[@]}" -Db_sanitize=thread \
    '-Dcpp_args=-g1 -D_GLIBCXX_ASSERTIONS'
}

configure_tidy() {
  configure build-clang clang -Dtests=enabled -Dbench=auto -Dchecker=enabled -Dcli=enabled -Ddns=enabled -Dtls=enabled -Dgrpc=enabled -Dnginx=disabled
}

# compile DIR [TARGET...]
compile() {
  local dir=$1
  shift
  say "compile: $dir ${*:+($# targets)}"
  ninja -C "$dir" -j "$jobs" "$@"
}

# The programs of tools/ alone, which is what the demo runs: on a new machine that saves compiling
# the tests.
tool_targets() {
  ninja -C build -t targets all | sed -n 's/^\(tools\/[^:]*\): .*_LINKER.*/\1/p'
}
