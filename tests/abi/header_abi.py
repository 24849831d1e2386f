#!/usr/bin/env python3
"""Guards the ABI of ballast.h: lists it as plain lines (functions with their types and the version of
their symbol, structs with sizes and offsets, values of enums and macros, what structs begin with, the soname),
and compares that with ballast_h.golden. What compiled programs hold of the first release must still be there.
usage: header_abi.py LIBRARY HEADER FIRST_HEADER GOLDEN NM READELF [--update] -- CC... -- CXX...

Everything is read from the header itself and measured by the compilers, in C and in C++, so nothing can
be added to the header without showing here. After an intended addition run it with --update; lines may
be added, but none may change or go while BALLAST_ABI stays 1.
"""
import os
import re
import subprocess
import sys
import tempfile

# A field: its type, its name, and an array's length.
FIELD = re.compile(r"^.*?[\s*](\w+)(?:\[\w+\])?$", re.DOTALL)


def plain(header):
    """The header without comments and continued lines."""
    with open(header, encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", " ", file.read(), flags=re.DOTALL)
    return text.replace("\\\n", " ")


def squeeze(text):
    """One spelling for what differs in blanks alone."""
    return re.sub(r"\s*(\*+(?: \*+)*)\s*", lambda stars: stars[1].replace(" ", "") + " ",
                  re.sub(r"\s+", " ", text)).strip()


def functions(text):
    found = {}
    for declared in re.findall(r"^BALLAST_API ([^;]*);", text, re.MULTILINE):
        declared = squeeze(declared)
        found[re.search(r"(\w+)\(", declared).group(1)] = declared
    return found


def structs(text):
    found = {}
    for name, body in re.findall(r"typedef struct (\w+) \{(.*?)\}", text, re.DOTALL):
        found[name] = [FIELD.match(squeeze(field)).group(1)
                       for field in body.split(";") if field.strip()]
    return found


def enums(text):
    return {name: re.findall(r"\b(BALLAST_\w+)", body)
            for name, body in re.findall(r"typedef enum (\w+) \{(.*?)\}", text, re.DOTALL)}


def numbers(text):
    """Macros that are numbers, or a calculation."""
    return [name for name, value in macros(text) if not value.startswith("{")]


def beginnings(text):
    """Macros that a struct begins with, and of which struct each is."""
    return {name: re.match(r"\{ *sizeof\((\w+)\)", value).group(1)
            for name, value in macros(text) if value.startswith("{")}


def macros(text):
    """All but the attribute and the guard, which have no value of their own. One with arguments would be
    none of these, and does not compile below."""
    found = re.findall(r"^#define (BALLAST_\w+)(.*)$", text, re.MULTILINE)
    return [(name, value.strip()) for name, value in found if name not in ("BALLAST_H", "BALLAST_API")]


def program(text):
    """A C program that prints what only a compiler knows, in lines of this list."""
    out = ["#include <ballast.h>", "#include <stddef.h>", "#include <stdio.h>", "int main(void) {"]

    def line(words, value):
        out.append(f'  printf("{words} %llu\\n", (unsigned long long)({value}));')

    for name, fields in structs(text).items():
        line(f"struct {name} size", f"sizeof({name})")
        for field in fields:
            line(f"struct {name} {field} at", f"offsetof({name}, {field})")
            line(f"struct {name} {field} bytes", f"sizeof((({name} *)0)->{field})")
    for name, values in enums(text).items():
        line(f"enum {name} size", f"sizeof({name})")
        for value in values:
            line(f"enum {name} {value}", value)
    for name in numbers(text):
        line(f"number {name}", name)
    for name, of in beginnings(text).items():
        out.append(f"  {{ {of} begins = {name};")
        for field in structs(text)[of]:
            out.append(f'  printf("begin {name} {field} ");')
            out.append(f"  for (size_t i = 0; i < sizeof begins.{field}; ++i)")
            out.append(f'    printf("%02x", ((const unsigned char *)&begins.{field})[i]);')
            out.append('  puts("");')
        out.append("  }")
    line("type ballast_service_t size", "sizeof(ballast_service_t)")
    return "\n".join(out + ["  return 0;", "}", ""])


def measured(header, compiler, suffix):
    with tempfile.TemporaryDirectory() as scratch:
        source, binary = os.path.join(scratch, "abi" + suffix), os.path.join(scratch, "abi")
        with open(source, "w", encoding="utf-8") as file:
            file.write(program(plain(header)))
        subprocess.run(compiler + ["-I", os.path.dirname(header), "-o", binary, source], check=True)
        return subprocess.run([binary], check=True, capture_output=True, text=True).stdout.split("\n")[:-1]


def of_library(library, nm, readelf):
    """The soname, and the names that it exports with their versions."""
    dynamic = subprocess.run([readelf, "-d", "-W", library], check=True, capture_output=True,
                             text=True).stdout
    lines = ["soname " + re.search(r"SONAME.*\[(.*)\]", dynamic).group(1)]
    table = subprocess.run([nm, "-D", "--defined-only", library], check=True, capture_output=True,
                           text=True).stdout
    for line in table.splitlines():
        kind, name = line.split()[-2:]
        if kind != "A":  # "A" is the version itself
            lines.append("symbol " + name)
    return lines


def first_lines(text):
    return [f"function {declared}" for declared in functions(text).values()]


def compare(what, expected, found):
    """Lines of `expected` that are not found."""
    missing = [line for line in expected if line not in set(found)]
    for line in missing:
        print(f"{what}: {line}")
    return bool(missing)


def main(arguments):
    between = arguments.index("--")
    and_then = arguments.index("--", between + 1)
    cc, cxx = arguments[between + 1:and_then], arguments[and_then + 1:]
    library, header, first, golden, nm, readelf = arguments[:6]
    in_c = measured(header, cc + ["-std=c11"], ".c")
    found = of_library(library, nm, readelf) + first_lines(plain(header)) + in_c
    if "--update" in arguments[:between]:
        with open(golden, "w", encoding="utf-8") as file:
            file.write("\n".join(found) + "\n")
    bad = compare("other in C++ than in C", in_c, measured(header, cxx + ["-std=c++20"], ".cpp"))
    with open(golden, encoding="utf-8") as file:
        listed = file.read().split("\n")[:-1]
    bad |= compare("lost or changed, which breaks compiled programs", listed, found)
    bad |= compare("not in the golden list (see --update)", found, listed)
    # Structs may have grown since, and bytes that were reserved may have got a name.
    old = first_lines(plain(first)) + measured(first, cc + ["-std=c11"], ".c")
    grown = re.compile(r"(struct (\w+ size|ballast_pick_t reserved \w+)|begin \w+ (size|reserved)) ")
    bad |= compare("the first release had", [line for line in old if not grown.match(line)], found)
    sizes = dict(line.rsplit(" ", 1) for line in found if line.startswith("struct"))
    for line in old:
        words, value = line.rsplit(" ", 1)
        if words.startswith("struct") and words.endswith(" size") and words in sizes and int(value) > int(sizes[words]):
            print(f"shrunk since the first release: {line}")
            bad = True
    print(f"{len(found)} lines, {len(old)} of the first release")
    return 1 if bad or not old else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
