#!/usr/bin/env python3
"""Installs into a prefix of its own, and builds the examples against it as a stranger would: with
pkg-config, and with CMake's find_package; shared, static, and optimised together with the program where
that was built. Nothing of this repository is on any path.
usage: install_test.py MESON BUILD EXAMPLES CC... -- CXX...
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

INSTALLED = ("bin/ballast", "bin/ballastd", "include/ballast.h", "include/ballast.hpp",
             "lib*/**/libballast.so", "lib*/**/libballast.so.1", "lib*/**/libballast.so.1.*",
             "lib*/**/libballast.a", "lib*/**/pkgconfig/ballast.pc",
             "lib*/**/pkgconfig/ballast-static.pc", "lib*/**/cmake/Ballast/BallastConfig.cmake",
             "lib*/**/cmake/Ballast/BallastConfigVersion.cmake")

CMAKE_PROJECT = """cmake_minimum_required(VERSION 3.18)
project(stranger C CXX)
find_package(Ballast 0.1 REQUIRED)
find_package(Ballast 0.1 REQUIRED)  # twice, as in two folders of a project
add_executable(shared_c @EXAMPLES@/pick.c)
target_link_libraries(shared_c PRIVATE Ballast::ballast)
add_executable(static_cpp @EXAMPLES@/pick.cpp)
target_compile_features(static_cpp PRIVATE cxx_std_20)
target_link_libraries(static_cpp PRIVATE Ballast::static)
foreach(kind static lto)
  if(TARGET Ballast::${kind})
    add_executable(${kind}_c @EXAMPLES@/pick.c)
    target_link_libraries(${kind}_c PRIVATE Ballast::${kind})
  endif()
endforeach()
"""
CMAKE_TOO_NEW = """cmake_minimum_required(VERSION 3.18)
project(stranger C)
find_package(Ballast 99 REQUIRED)
"""


def fail(text):
    sys.exit("install_test: " + text)


def run(command, **more):
    ran = subprocess.run(command, capture_output=True, text=True, check=False, **more)
    if ran.returncode != 0:
        fail(f"{' '.join(command)} exits {ran.returncode}:\n{ran.stdout}{ran.stderr}")
    return ran.stdout


def check_installed(prefix):
    for pattern in INSTALLED:
        if not glob.glob(os.path.join(prefix, pattern), recursive=True):
            fail(f"{pattern} is not installed")
    headers = os.listdir(os.path.join(prefix, "include"))
    if sorted(headers) != ["ballast.h", "ballast.hpp"]:
        fail(f"installed headers: {headers}")


def check_pages(prefix):
    """All of the manual pages, or none: scdoc is optional."""
    found = sorted(os.path.relpath(path, prefix)
                   for path in glob.glob(os.path.join(prefix, "share/man/*/*")))
    if found not in ([], ["share/man/man1/ballast.1", "share/man/man3/ballast.3",
                          "share/man/man8/ballastd.8"]):
        fail(f"installed manual pages: {found}")


def check_answer(program, scratch, library_folder, shared):
    """Runs an example where no checker has run. A program that links the archive needs no library."""
    environment = dict(os.environ)
    environment.pop("LD_LIBRARY_PATH", None)
    if shared:
        environment["LD_LIBRARY_PATH"] = library_folder
    needed = re.findall(r"NEEDED.*\[(libballast.*)\]", run(["readelf", "-d", "-W", program]))
    if needed != (["libballast.so.1"] if shared else []):
        fail(f"{program} needs {needed}")
    answer = subprocess.run([program, os.path.join(scratch, "nobody"), "web", "key"], env=environment,
                            capture_output=True, text=True, check=False)
    if answer.returncode != 1 or "start ballastd" not in answer.stdout:
        fail(f"{program} exits {answer.returncode} and says:\n{answer.stdout}{answer.stderr}")


def with_pkg_config(compilers, examples, scratch, library_folder, environment):
    kinds = [("ballast", True), ("ballast-static", False)]
    if os.path.exists(os.path.join(library_folder, "pkgconfig", "ballast-lto.pc")):
        kinds.append(("ballast-lto", False))
    for package, shared in kinds:
        flags = run(["pkg-config", "--cflags", "--libs", package], env=environment).split()
        # Optimising as a whole takes seconds: once will do, here and with CMake.
        for compiler, source in compilers[:1] if package == "ballast-lto" else compilers:
            program = os.path.join(scratch, source + "." + package)
            run(compiler + [os.path.join(examples, source), "-O1", "-Wall", "-Wextra", "-Wpedantic",
                            "-Werror", "-o", program] + flags, cwd=scratch)
            check_answer(program, scratch, library_folder, shared)
    return len(kinds)


def with_cmake(compilers, examples, scratch, prefix, library_folder):
    if shutil.which("cmake") is None:
        print("cmake is not installed: find_package(Ballast) was not tried")
        sys.exit(77)
    project = os.path.join(scratch, "project")
    os.mkdir(project)
    lists = os.path.join(project, "CMakeLists.txt")
    # Of what may stand before a compiler, such as ccache, CMake wants to know apart.
    environment = dict(os.environ, CC=compilers[0][0][-2], CXX=compilers[1][0][-2])
    configure = ["cmake", "-S", project, "-DCMAKE_PREFIX_PATH=" + prefix, "-G", "Ninja"]
    with open(lists, "w", encoding="utf-8") as file:
        file.write(CMAKE_TOO_NEW)
    refused = subprocess.run(configure + ["-B", os.path.join(scratch, "refused")], env=environment,
                             capture_output=True, text=True, check=False)
    if refused.returncode == 0 or "0.1.0" not in refused.stderr:
        fail(f"find_package(Ballast 99) is not refused:\n{refused.stdout}{refused.stderr}")
    with open(lists, "w", encoding="utf-8") as file:
        file.write(CMAKE_PROJECT.replace("@EXAMPLES@", examples))
    build = os.path.join(scratch, "cmake")
    run(configure + ["-B", build], env=environment)
    run(["cmake", "--build", build])
    programs = [name for name in os.listdir(build) if re.fullmatch(r"(shared|static|lto)_\w+", name)]
    if not {"shared_c", "static_c", "static_cpp"} <= set(programs):
        fail(f"CMake has built {programs}")
    for name in programs:
        check_answer(os.path.join(build, name), scratch, library_folder, name.startswith("shared"))


def main(arguments):
    meson, build, examples = arguments[:3]
    between = arguments.index("--")
    compilers = ((arguments[3:between] + ["-std=c11"], "pick.c"),
                 (arguments[between + 1:] + ["-std=c++20"], "pick.cpp"))
    with tempfile.TemporaryDirectory() as scratch:
        run([meson, "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", scratch])
        pc = glob.glob(os.path.join(scratch, "**", "ballast.pc"), recursive=True)
        if len(pc) != 1:
            fail(f"ballast.pc is at {pc}")
        library_folder = os.path.dirname(os.path.dirname(pc[0]))
        own = dict(os.environ, PKG_CONFIG_LIBDIR=os.path.dirname(pc[0]), PKG_CONFIG_SYSROOT_DIR=scratch)
        prefix = run(["pkg-config", "--variable=prefix", "ballast"], env=own).strip()
        # Whether variables carry the sysroot differs between the two kinds of pkg-config.
        prefix = prefix if prefix.startswith(scratch) else scratch + prefix
        check_installed(prefix)
        check_pages(prefix)
        kinds = with_pkg_config(compilers, examples, scratch, library_folder, own)
        with_cmake(compilers, examples, scratch, prefix, library_folder)
        print(f"{kinds} kinds of library, by pkg-config and by CMake")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
