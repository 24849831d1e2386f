# shellcheck shell=bash
# The checks that `tools/dev test`, `lint`, `sanitize` and `fuzz` are made of. Sourced by tools/dev.
# A check that fails is written down and the next one runs; `finish_results` tells the sum.

start_results() {
  results=$(mktemp)
  # Whatever ends the script early (a signal, a fault of its own), no half result is left behind.
  trap 'rm -f "$results"' EXIT
}

finish_results() {
  python3 tools/dev.d/results.py summary "$results"
}

# check NAME COMMAND...: runs it, shows it, and counts it as one passed or failed.
check() {
  local name=$1 begin=$SECONDS status=0
  shift
  say "$name"
  # A function called as a condition loses `set -e`; every function used here returns its status.
  "$@" </dev/null || status=$?
  local outcome=passed
  [ "$status" -eq 0 ] || outcome=failed
  echo "    $name: $outcome, $((SECONDS - begin)) s"
  python3 tools/dev.d/results.py add "$results" "$name" "$outcome" "exit status $status"
  return "$status"
}

# run_suites LABEL DIR SUITE...: runs compiled tests (all when no suite is given) and counts them.
run_suites() {
  local label=$1 dir=$2 suite begin=$SECONDS
  shift 2
  local -a options=(--no-rebuild --num-processes "$jobs" --print-errorlogs --logbase "$label")
  for suite in "$@"; do
    options+=(--suite "$suite")
  done
  # Nobody measures with a sanitizer; a time limit is only for what hangs.
  [ "$label" = gcc ] || options+=(--timeout-multiplier 4)
  say "$label: tests"
  rm -f "$dir/meson-logs/$label.json"
  meson test -C "$dir" "${options[@]}" </dev/null || true  # the log says which failed
  python3 tools/dev.d/results.py add-meson "$results" "$label" "$dir/meson-logs/$label.json"
  echo "    $label: tests took $((SECONDS - begin)) s"
}

build_gcc() {
  configure_gcc && compile build
}

check_gcc() {
  if check "gcc: build" build_gcc; then
    run_suites gcc build
  fi
}

# Compiles what the named suites need, and no more.
compile_suites() {
  local dir=$1 list
  shift
  list=$(python3 tools/dev.d/meson_info.py targets "$dir" "$@") || return
  local -a targets
  mapfile -t targets <<<"$list"
  compile "$dir" "${targets[@]}"
}

build_asan() {
  configure_asan && compile_suites build-asan unit stress
}

build_tsan() {
  configure_tsan && compile_suites build-tsan unit stress
}

check_asan() {
  export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:abort_on_error=1
  export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
  if check "asan: build" build_asan; then
    run_suites asan build-asan unit stress
  fi
}

check_tsan() {
  export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
  if check "tsan: build" build_tsan; then
    run_suites tsan build-tsan unit stress
  fi
}

build_fuzz() {
  configure_asan && compile_suites build-asan fuzz
}

# check_fuzz: the targets of tests/fuzz, with AddressSanitizer and UBSan. What reads mapped files gets
# the most time.
check_fuzz() {
  if [ ! -f tests/fuzz/meson.build ]; then
    say "fuzz: there are no fuzz targets in this tree"
    return
  fi
  check "fuzz: build" build_fuzz || return 0
  run_fuzz 30 attach dump
  run_fuzz 5 --but attach dump
}

# run_fuzz SECONDS [NAME... | --but NAME...]: those targets, or all (but those).
run_fuzz() {
  local seconds=$1
  shift
  [[ $seconds =~ ^[0-9]+$ ]] || die "fuzz: '$seconds' is not a number of seconds"
  say "fuzz: $seconds s a target"
  python3 tools/dev.d/fuzz.py "$results" build-asan "$seconds" "$@" </dev/null || [ $? -eq 1 ] || exit 2
}

check_format() {
  python3 tools/lint/sources.py cpp | xargs -d '\n' clang-format-19 --dry-run --Werror ||
    {
      echo "run 'tools/dev format'"
      return 1
    }
}

check_scripts() {
  python3 tools/lint/sources.py shell | xargs -d '\n' shellcheck -x &&
    python3 tools/lint/sources.py python | xargs -d '\n' python3 tools/lint/python_syntax.py
}

# Everything in lint that needs no compiler.
lint_quick() {
  check "lint: formatting" check_format || true
  check "lint: file openings" python3 tools/lint/openings.py || true
  check "lint: arrows between folders" python3 tools/lint/arrows.py || true
  check "lint: atomics name their order" python3 tools/lint/atomic_orders.py || true
  check "lint: the memory model names its tests" python3 tools/lint/memory_model.py || true
  check "lint: scripts" check_scripts || true
}

run_tidy() {
  configure_tidy && python3 tools/lint/tidy.py build-clang "$@"
}

lint_tidy() {
  check "lint: clang-tidy" run_tidy "$@" || true
}
