#!/usr/bin/env python3
"""What systemd thinks of ballastd's unit: that it has no right too many, by its own measure.

usage: unit_test.py UNIT. Needs no running systemd: systemd-analyze looks at the file alone.
"""
import re
import shutil
import subprocess
import sys

MOST = 2.0  # of 10, the less the better

# Beside what every program does: what ballastd cannot do without (io_uring has a substitute, but
# losing it to a filter would only be noticed by who measures), and what it does in passing.
CALLS = """
    io_uring_setup io_uring_enter io_uring_register
    epoll_create1 epoll_ctl epoll_wait eventfd2 signalfd4 timerfd_create inotify_init1
    inotify_add_watch inotify_rm_watch
    socket socketpair bind listen accept4 connect sendto recvfrom sendmsg recvmsg setsockopt
    getsockopt getsockname shutdown
    mmap munmap mremap mprotect madvise fallocate ftruncate fcntl flock fsync rename unlink mkdir
    chown fchown fchmod chmod statfs fstatfs getdents64 readlink pread64 pwrite64
    clone clone3 vfork execve wait4 waitid kill pidfd_open pidfd_send_signal setsid setpgid prctl
    prlimit64 setpriority sched_getaffinity getrandom clock_gettime getrusage futex
""".split()


def expand(name, sets):
    """The calls of a set of systemd's, which may hold others; a call stands for itself."""
    if not name.startswith("@"):
        return {name}
    return set().union(*(expand(part, sets) for part in sets[name]))


def allowed(text):
    """What the unit's filters let through: the first that allows starts with nothing."""
    listed = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager"],
                            capture_output=True, text=True, check=False).stdout
    sets, name = {}, None
    for line in listed.splitlines():
        if line.startswith("@"):
            name = line.strip()
            sets[name] = []
        elif line.startswith("    ") and name and not line.strip().startswith("#"):
            sets[name].append(line.strip())
    calls = set()
    for value in re.findall(r"^SystemCallFilter=(.*)$", text, re.MULTILINE):
        names = set().union(*(expand(part, sets) for part in value.lstrip("~").split()))
        calls = calls - names if value.startswith("~") else calls | names
    return calls


def main():
    unit = sys.argv[1]
    with open(unit, encoding="utf-8") as file:
        text = file.read()
    if "@bindir@" in text or "@docdir@" in text:
        sys.exit(f"{unit}: has places that nobody filled in")
    # Files of another boot are refused, and where /proc shows nothing but processes it has no boot.
    for forbidden in ("ProcSubset=pid", "RemoveIPC=yes", "PrivateNetwork=yes", "DynamicUser=yes"):
        if re.search(rf"^{forbidden}$", text, re.MULTILINE):
            sys.exit(f"{unit}: {forbidden} breaks what ballastd is for")
    for needed in ("StartLimitIntervalSec=0", "StateDirectory=ballast", "Restart=on-failure"):
        if not re.search(rf"^{needed}$", text, re.MULTILINE):
            sys.exit(f"{unit}: {needed} is missing")
    if shutil.which("systemd-analyze") is None:
        print("skipped: no systemd-analyze (apt-get install systemd)")
        sys.exit(77)
    missing = [call for call in CALLS if call not in allowed(text)]
    if missing:
        sys.exit(f"{unit}: its filter of system calls forbids what ballastd uses: {missing}")
    ran = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", unit],
                         capture_output=True, text=True, check=False)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", ran.stdout)
    if found is None:
        sys.exit(f"systemd-analyze says no level:\n{ran.stdout}{ran.stderr}")
    print(f"exposure level {found[1]}, at most {MOST}")
    if float(found[1]) > MOST:
        sys.exit(ran.stdout)


main()
