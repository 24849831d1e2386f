"""The hand-written C of the package under AddressSanitizer and UBSan: compiled for that into a
folder of its own, then package_test.py with it, each object allocated by malloc so that none is used
after its end. usage: sanitized_test.py, with BALLAST_SOURCE, BALLAST_BUILD and what package_test.py
needs. Skipped (77) without gcc.
"""
import glob
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile

SOURCE = os.environ["BALLAST_SOURCE"]
BUILD = os.environ["BALLAST_BUILD"]


def runtime(name):
    """Where gcc has a sanitizer's library."""
    run = subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True,
                         check=True)
    return run.stdout.strip()


def compile_into(folder):
    """The package, with a sanitized module."""
    package = os.path.join(folder, "ballast")
    built = os.path.join(BUILD, "tools/python/ballast")
    os.mkdir(package)
    for path in glob.glob(os.path.join(built, "*.py")):
        shutil.copy(path, package)
    library = os.path.join(BUILD, "engine")
    subprocess.run(
        ["gcc", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined",
         "-fno-omit-frame-pointer", "-fPIC", "-shared", "-D_GNU_SOURCE", "-I", SOURCE, "-I",
         os.path.join(SOURCE, "engine"), "-I", sysconfig.get_path("include"),
         *glob.glob(os.path.join(SOURCE, "tools/python/native*.c")),
         os.path.join(built, "_native.c"), "-L", library, "-lballast", f"-Wl,-rpath,{library}",
         "-o", os.path.join(package, "_native" + sysconfig.get_config_var("EXT_SUFFIX"))],
        check=True)


def main():
    """0 if all went well."""
    if shutil.which("gcc") is None:
        print("skipped: there is no gcc")
        return 77
    with tempfile.TemporaryDirectory(prefix="ballast-sanitized.") as folder:
        compile_into(folder)
        environment = dict(
            os.environ, PYTHONPATH=folder, PYTHONMALLOC="malloc",
            LD_PRELOAD=f"{runtime('libasan.so')}:{runtime('libubsan.so')}",
            # The interpreter gives much back only by ending.
            ASAN_OPTIONS="detect_leaks=0:abort_on_error=1", UBSAN_OPTIONS="print_stacktrace=1")
        test = os.path.join(os.path.dirname(os.path.abspath(__file__)), "package_test.py")
        return subprocess.run([sys.executable, "-W", "error", test], env=environment,
                              check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
