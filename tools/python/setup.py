"""Builds the Python package against an installed libballast; run by pip, see pyproject.toml.

It links the shared library that pkg-config finds, and takes that one's version: library and checker
must agree on what stands in shared memory, so both are to come from one installation, and a new one
is to reach Python, too. Where the dynamic linker does not look by itself, the library's folder is
remembered in the module. The meson build does not use this file.
"""
import os
import shlex
import subprocess
import sys

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import native_build  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(HERE))
HAND_WRITTEN = ["native.c", "native_pick.c", "native_service.c"]


def pkg_config(*what):
    """What pkg-config says of libballast."""
    program = os.environ.get("PKG_CONFIG", "pkg-config")
    try:
        run = subprocess.run([program, *what, "ballast"], capture_output=True, text=True,
                             check=False)
    except OSError as error:
        sys.exit(f"ballast: cannot run {program}: {error.strerror}; install pkg-config")
    if run.returncode != 0:
        sys.exit("ballast: pkg-config does not find libballast. Install it first (meson setup "
                 "build && meson install -C build), or name the folder of ballast.pc in "
                 f"PKG_CONFIG_PATH.\n{run.stderr.strip()}")
    return run.stdout.strip()


def searched_anyway(folder):
    """Whether the dynamic linker looks there, as far as its cache tells."""
    run = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False)
    return f"=> {os.path.join(folder, 'libballast.so.1')}\n" in run.stdout


class Build(build_ext):
    """Writes the source that cffi makes of the installed header, then compiles as usual."""

    def build_extension(self, ext):
        os.makedirs(self.build_temp, exist_ok=True)
        source = os.path.join(self.build_temp, "_native.c")
        header = os.path.join(pkg_config("--variable=includedir"), "ballast.h")
        native_build.main(header, source)
        ext.sources.append(source)
        folder = pkg_config("--variable=libdir")
        ext.extra_compile_args += shlex.split(pkg_config("--cflags"))
        ext.extra_link_args += shlex.split(pkg_config("--libs"))
        if not searched_anyway(folder):
            ext.extra_link_args.append(f"-Wl,-rpath,{folder}")
        super().build_extension(ext)


if __name__ == "__main__":
    setup(version=pkg_config("--modversion"),
          cmdclass={"build_ext": Build},
          ext_modules=[Extension("ballast._native", list(HAND_WRITTEN), include_dirs=[ROOT])])
