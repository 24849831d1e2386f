# shellcheck shell=bash
# Installing what tools/packages.txt lists. Sourced by tools/dev. Asks dpkg first and calls apt-get
# only when something is missing, so that a machine that has everything needs neither root nor network.
root=${root:?is set by tools/dev}

# A group and the groups that it stands on.
groups_of() {
  case $1 in
    build) echo build ;;
    demo) echo build demo ;;
    test) echo build demo test lint bench ;;
    lint) echo build test lint ;;
    bench) echo build bench ;;
    all) echo build demo test lint bench ;;
    *) die "setup: there is no group '$1'; the groups are build, demo, test, lint, bench and all" ;;
  esac
}

# Prints those of the given packages that are not installed. A package that another one provides
# (libboost-dev by a newer libboost1.x-dev, say) still has to be there under its own name.
missing_packages() {
  local installed
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null |
    awk '$1 == "installed" { print $2 }' || true)
  local package
  for package in "$@"; do
    grep -qx -- "$package" <<<"$installed" || echo "$package"
  done
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "setup: installing packages needs root, and sudo is not there; run '$*' as root"
  fi
}

# Debian starts a service as soon as its package is installed. The demo wants the nginx program, not
# a server on port 80, so this answers "do not start" for the length of the installation.
apt_without_services() {
  local policy=/usr/sbin/policy-rc.d ours=no status=0
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    ours=yes
  fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get "$@" </dev/null || status=$?
  [ "$ours" = no ] || as_root rm -f "$policy"
  return "$status"
}

install_groups() {
  local list=$root/tools/packages.txt group groups=""
  [ $# -gt 0 ] || set -- all
  # An assignment of its own: `for g in $(groups_of ...)` would lose a wrong group's exit status.
  for group in "$@"; do
    group=$(groups_of "$group")
    groups="$groups $group"
  done
  local -a wanted missing
  mapfile -t wanted < <(awk -v groups="$groups " \
    '!/^#/ && NF == 2 && index(groups, " " $1 " ") { print $2 }' "$list" | sort -u)
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    die "setup: no dpkg and apt-get here. Ballast is built on Debian 12; elsewhere, install the" \
      "counterparts of tools/packages.txt by hand and run with BALLAST_NO_SETUP=1"
  fi
  mapfile -t missing < <(missing_packages "${wanted[@]}")
  if [ ${#missing[@]} -eq 0 ]; then
    say "setup: all ${#wanted[@]} packages for '$*' are installed"
    return
  fi
  say "setup: installing ${missing[*]}"
  # apt-get update exits 0 when it could reach no mirror, so its failure shows in the next command.
  apt_without_services update -q ||
    die "setup: 'apt-get update' failed (no network, or a wrong entry under /etc/apt?)"
  apt_without_services install -q -y --no-install-recommends "${missing[@]}" ||
    die "setup: apt-get could not install: ${missing[*]}. Read its message above: with 'Unable to" \
      "locate' or 'Failed to fetch' there is no network, or this is not Debian 12"
  mapfile -t missing < <(missing_packages "${wanted[@]}")
  [ ${#missing[@]} -eq 0 ] || die "setup: still not installed: ${missing[*]}"
}
