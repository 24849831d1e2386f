#!/usr/bin/env python3
"""Installs into a prefix of its own, and builds the examples against it as a stranger would: with
pkg-config, and with CMake's find_package, also in a project all in C; shared, static, and optimised
together with the program where that was built. Then once more where the installed tree has been moved to.
Nothing of this repository is on any path.
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
CMAKE_ALL_C = """cmake_minimum_required(VERSION 3.18)
project(stranger C)
find_package(Ballast 0.1 REQUIRED)
foreach(kind shared static)
  add_executable(${kind}_all_c @EXAMPLES@/pick.c)
endforeach()
target_link_libraries(shared_all_c PRIVATE Ballast::ballast)
target_link_libraries(static_all_c PRIVATE Ballast::static)
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


def check_paths(prefix, library_folder, configured):
    """No file that builds read has a path that moving the tree would make wrong, but for `prefix` of
    pkg-config's, which can be given."""
    for pattern in ("pkgconfig/*.pc", "cmake/Ballast/*"):
        for path in glob.glob(os.path.join(library_folder, pattern)):
            with open(path, encoding="utf-8") as file:
                for line in file:
                    if line.strip() != "prefix=" + configured and (configured in line or prefix in line
                                                                   or re.search(r"[=\s\"]/\w", line)):
                        fail(f"{path} has a path of its own: {line}")


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


class CMake:
    """Projects that find the package below a prefix, each in a folder of its own."""

    def __init__(self, compilers, scratch, prefix):
        # Of what may stand before a compiler, such as ccache, CMake wants to know apart.
        self.environment = dict(os.environ, CC=compilers[0][0][-2], CXX=compilers[1][0][-2])
        self.scratch, self.prefix = scratch, prefix

    def configure(self, name, text):
        """What CMake says to it, and the build folder."""
        project, build = os.path.join(self.scratch, name), os.path.join(self.scratch, name + "-build")
        os.mkdir(project)
        with open(os.path.join(project, "CMakeLists.txt"), "w", encoding="utf-8") as file:
            file.write(text)
        return build, subprocess.run(
            ["cmake", "-S", project, "-B", build, "-DCMAKE_PREFIX_PATH=" + self.prefix, "-G", "Ninja"],
            env=self.environment, capture_output=True, text=True, check=False)

    def build(self, name, text, library_folder, expected):
        """Its programs link what they say, and start."""
        build, configured = self.configure(name, text)
        if configured.returncode != 0:
            fail(f"CMake refuses {name}:\n{configured.stdout}{configured.stderr}")
        run(["cmake", "--build", build])
        programs = [program for program in os.listdir(build)
                    if re.fullmatch(r"(shared|static|lto)_\w+", program)]
        if not expected <= set(programs):
            fail(f"CMake has built {programs}")
        for program in programs:
            check_answer(os.path.join(build, program), self.scratch, library_folder,
                         program.startswith("shared"))


def with_cmake(compilers, examples, scratch, prefix, library_folder):
    cmake = CMake(compilers, scratch, prefix)
    refused = cmake.configure("too-new", CMAKE_TOO_NEW)[1]
    if refused.returncode == 0 or "0.1.0" not in refused.stderr:
        fail(f"find_package(Ballast 99) is not refused:\n{refused.stdout}{refused.stderr}")
    cmake.build("project", CMAKE_PROJECT.replace("@EXAMPLES@", examples), library_folder,
                {"shared_c", "static_c", "static_cpp"})
    cmake.build("all-c", CMAKE_ALL_C.replace("@EXAMPLES@", examples), library_folder,
                {"shared_all_c", "static_all_c"})


def when_moved(compilers, examples, scratch, prefix, library_folder, with_cmake_too):
    """The same tree elsewhere, as an archive that is unpacked where its reader likes."""
    moved = os.path.join(scratch, "moved", "here")
    os.mkdir(os.path.dirname(moved))
    os.rename(prefix, moved)
    folder = os.path.join(moved, os.path.relpath(library_folder, prefix))
    environment = dict(os.environ, PKG_CONFIG_LIBDIR=os.path.join(folder, "pkgconfig"))
    for package, shared in (("ballast", True), ("ballast-static", False)):
        flags = run(["pkg-config", "--define-variable=prefix=" + moved, "--cflags", "--libs", package],
                    env=environment).split()
        program = os.path.join(scratch, package + ".moved")
        compiler, source = compilers[0]
        run(compiler + [os.path.join(examples, source), "-o", program] + flags, cwd=scratch)
        check_answer(program, scratch, folder, shared)
    if with_cmake_too:
        CMake(compilers, scratch, moved).build("moved-c", CMAKE_ALL_C.replace("@EXAMPLES@", examples), folder,
                                               {"shared_all_c", "static_all_c"})


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
        configured = prefix.removeprefix(scratch)
        prefix = scratch + configured
        check_installed(prefix)
        check_pages(prefix)
        check_paths(prefix, library_folder, configured)
        kinds = with_pkg_config(compilers, examples, scratch, library_folder, own)
        has_cmake = shutil.which("cmake") is not None
        if has_cmake:
            with_cmake(compilers, examples, scratch, prefix, library_folder)
        when_moved(compilers, examples, scratch, prefix, library_folder, has_cmake)
        print(f"{kinds} kinds of library, by pkg-config and by CMake")
        if not has_cmake:
            print("cmake is not installed: find_package(Ballast) was not tried")
    return 0 if has_cmake else 77


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
