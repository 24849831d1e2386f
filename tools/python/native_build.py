"""Writes the C source of the extension module `ballast._native`, by cffi in API mode.

The declarations are those of ballast.h, read from the header itself, so there is one definition;
the C compiler then checks each of them against the header again. Used by tools/python/meson.build
and tools/python/setup.py. usage: native_build.py BALLAST_H OUT
"""
import re
import sys

import cffi

# What the header includes and cffi does not know by itself.
FOREIGN = """
struct sockaddr_storage;
typedef int... socklen_t;
"""
# The hand-written part: tools/python/native.h.
OURS = """
int ballast_python_setup(void *dict, void *interpreter);
#define BALLAST_PYTHON_OTHER_INTERPRETER ...
"""
SOURCE = """
#include <ballast.h>
#include "tools/python/native.h"
"""
NUMBER = re.compile(r"#define (BALLAST_\w+) (?:\d+|UINT\d+_MAX)$", re.MULTILINE)


def declarations(header):
    """What of ballast.h a parser of plain C understands: no comments, no preprocessor. Macros that
    are a number become constants, whose value the C compiler fills in."""
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    text = text.replace("\\\n", " ")
    numbers = NUMBER.findall(re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE))
    text = re.sub(r"^#ifdef __cplusplus\n.*?^#endif\n", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    text = text.replace("BALLAST_API ", "")
    return text + "".join(f"#define {name} ...\n" for name in numbers)


def builder(header_path):
    """The cffi builder for a header."""
    with open(header_path, encoding="utf-8") as file:
        header = file.read()
    ffi = cffi.FFI()
    ffi.cdef(FOREIGN + declarations(header) + OURS)
    ffi.set_source("ballast._native", SOURCE)
    return ffi


def main(header_path, out):
    """Writes the module's C source to `out`."""
    builder(header_path).emit_c_code(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
