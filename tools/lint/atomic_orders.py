#!/usr/bin/env python3
"""Checks that every atomic access in shm/, engine/ and tools/ names its memory order, and that each
order that is not relaxed points to the section of docs/memory-model.md that argues for it.

It reads text, not a syntax tree, so it is strict where that is sure and silent where it is not:
- `.load(`, `.store(`, `.exchange(`, `.fetch_*(`, `.test_and_set(` and `.compare_exchange_*(` must
  name their orders; a failed compare-exchange is a load of its own, so it must name both.
- An object declared as an atomic, in the file or in a header of ours that it includes, may not be
  read or written with an operator (++, +=, =, ==, ...), which would mean seq_cst unsaid.
- Free functions (`std::atomic_load`), `__atomic_*`, `__sync_*` and standalone fences are refused.
- In shm/ and engine/, an acquire, release, acq_rel or seq_cst needs `[mm:SECTION]` in a comment on
  its own lines or at most 8 lines above, where SECTION is the anchor of a heading.
A call that is no atomic's but is called load or store takes the comment `not atomic: WHY` on its line.

usage: atomic_orders.py [ROOT]
"""
import functools
import os
import re
import sys

import memory_model
import sources

NEAR = 8  # lines
FOLDERS = ("shm/", "engine/", "tools/")
ARGUED_FOLDERS = ("shm/", "engine/")

CALL = re.compile(r"(?:\.|->)\s*(load|store|exchange|fetch_(?:add|sub|and|or|xor)|test_and_set|"
                  r"compare_exchange_(?:weak|strong))\s*\(")
# Spelt out (std::memory_order_acquire, std::memory_order::acquire), or as a name that ends in the
# order (kAcquire, mo_acquire, acquire), or forwarded by a wrapper whose parameter is called order.
ORDER = re.compile(r"\b(?:\w*_|k)?(relaxed|consume|acquire|release|acq_rel|seq_cst|order)\b(?!::)"
                   r"|\bk(Relaxed|Acquire|Release|AcqRel|SeqCst)\b", re.IGNORECASE)
FREE = re.compile(r"\batomic_(?!flag\b|ref\b|\w*_t\b)(?:\w+_)?(?:load|store|exchange|fetch_\w+|"
                  r"compare_exchange_\w+|thread_fence)\w*\s*\(|\b__(?:atomic|sync)_\w+\s*\(")
TAG = re.compile(r"\[mm:([^\]\s]+)\]")
WAIVER = re.compile(r"not atomic: \S+")

CONSTANT = re.compile(r"\b(\w+)\s*=\s*(?:std::)?memory_order(?:_|::)(\w+)\s*;")
ALIAS = re.compile(r"\busing\s+(\w+)\s*=\s*(?:std::)?atomic(?:_\w+)?\b")
DECLARED = r"(?:\b(?:std::)?atomic(?:_ref)?\s*<[^;{}()]*?>|\b(?:std::)?atomic_\w+{aliases})" \
           r"\s*[&*]?\s+(\w+)\s*(?=[;{{=\[,)])"
ARRAY = r"\barray\s*<\s*(?:(?:std::)?atomic\s*<[^;{}()]*?>|(?:std::)?atomic_\w+{aliases})" \
        r"\s*,[^;{{}}]*?>\s+(\w+)\s*(?=[;{{=])"
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)"', re.MULTILINE)


def arguments_of(code, opening):
    """The text between the parenthesis at `opening` and the one that closes it, and its end."""
    depth = 0
    for position in range(opening, len(code)):
        if code[position] == "(":
            depth += 1
        elif code[position] == ")":
            depth -= 1
            if depth == 0:
                return code[opening + 1:position], position
    return code[opening + 1:], len(code)


def top_level(arguments):
    """Splits at the commas that stand in no bracket of their own."""
    parts, depth, begin = [], 0, 0
    for position, character in enumerate(arguments):
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(arguments[begin:position])
            begin = position + 1
    parts.append(arguments[begin:])
    return parts if arguments.strip() else []


def order_in(argument, constants):
    match = ORDER.search(argument)
    if match is None:
        return constants.get(argument.strip())
    return (match[1] or match[2]).lower().replace("acqrel", "acq_rel").replace("seqcst", "seq_cst")


def orders_of(function, arguments, constants):
    """The orders that a call names, or None if it leaves one unsaid."""
    values = {"load": 0, "test_and_set": 0, "store": 1, "exchange": 1}.get(function, 1)
    wanted = 1
    if function.startswith("compare_exchange"):
        values, wanted = 2, 2
    parts = top_level(arguments)
    orders = [order_in(part, constants) for part in parts[values:]]
    return orders if len(orders) == wanted and None not in orders else None


@functools.cache
def order_constants(code):
    """Constants of the file that stand for an order: constexpr auto kOwn = memory_order_relaxed."""
    return {name: order for name, order in CONSTANT.findall(code)}


@functools.cache
def alias_names(code):
    return set(ALIAS.findall(code))


def declared_names(code, aliases):
    """Names declared as atomics in `code`; `aliases` are type names that stand for one."""
    also = "".join(rf"|\b{name}\b" for name in sorted(aliases))
    names = set()
    for pattern in (DECLARED, ARRAY):
        names.update(re.findall(pattern.replace("{aliases}", also).replace("{{", "{")
                                .replace("}}", "}"), code))
    return names


def plain_names(code, names, aliases):
    """Those of `names` that `code` also declares as something else."""
    any_name = "|".join(map(re.escape, names))
    found = set()
    for match in re.finditer(rf"([\w>*&\]])\s+(?:[*&]\s*)?({any_name})\s*[;={{,)]", code):
        # A type is not longer; searching from the file's beginning would be half of CI's lint.
        type_name = code[max(0, match.start() - 300):match.start() + 1]
        head = re.search(r"(\w+)(?:\s*<[^;{}]*>)?\W*$", type_name)
        word = head[1] if head else ""
        if not word.startswith("atomic") and word not in aliases | {"return", "else", "co_return"} \
                and "atomic" not in code[code.rfind("\n", 0, match.start()) + 1:match.start() + 1]:
            found.add(match[2])
    return found


class Headers:
    """Which atomics a file knows of: its own and those of the headers of ours that it includes.

    A name that is also a plain member somewhere in them is left out: text cannot tell which of the
    two is meant. atomics.query, which reads the syntax tree, can.
    """

    def __init__(self, root):
        self.root = root
        self.read = {}  # by name: the code, and what it includes; None where there is no such file

    def of(self, name):
        if name not in self.read:
            self.read[name] = None
            if os.path.isfile(os.path.join(self.root, name)):
                source = sources.read(self.root, name)
                self.read[name] = sources.split(source).code, INCLUDE.findall(source)
        return self.read[name]

    def closure(self, name, seen):
        if name not in seen and self.of(name) is not None:
            code, included = self.of(name)
            seen[name] = code
            for header in included:
                self.closure(header, seen)
        return seen

    def names(self, name):
        return unambiguous(list(self.closure(name, {}).values()))

    def constants(self, name):
        found = {}
        for code in self.closure(name, {}).values():
            found.update(order_constants(code))
        return found


def unambiguous(codes):
    aliases = set().union(*map(alias_names, codes))
    names = set().union(*(declared_names(code, aliases) for code in codes))
    return names - set().union(*(plain_names(code, names, aliases) for code in codes)) \
        if names else names


def operator_uses(code, names):
    """(position, what) of the operators on the named atomics."""
    if not names:
        return
    any_name = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    place = rf"(?:\[[^\]\n]*\]\s*)?"
    # A member of some object, or a member of our own by its spelling; a plain word may well be a
    # local that happens to share the name.
    member = rf"(?:(?<=\.)|(?<=->)|\b(?=\w+_\b))(?:{any_name})\b(?!\s*\()\s*{place}"
    for match in re.finditer(rf"{member}(\+\+|--|[-+|&^]=|=(?!=)|==|!=)", code):
        before = code[:match.start()].rstrip(".").rstrip()
        if match[1] == "=" and before.endswith(("{", ",")):
            continue  # a designated initialiser
        line = code[code.rfind("\n", 0, match.start()) + 1:match.start()]
        if match[1] == "=" and re.search(r"(atomic\w*|>|\w)\s+$", line) and "." not in line[-2:]:
            continue  # a declaration with its initial value
        yield match.start(), match[1]
    for match in re.finditer(rf"(\+\+|--)\s*[\w.\[\]]*?(?:->[\w.\[\]]*?)*\b(?:{any_name})\b\s*{place}"
                             rf"(?=[;),])", code):
        yield match.start(), match[1]


def check_file(name, source, names, anchors, constants=None):
    """`anchors` are the headings of the memory model, or None while it is not written."""
    text = sources.split(source)
    constants = dict(order_constants(text.code), **(constants or {}))
    comment_lines = text.comments.split("\n")
    problems = []

    def waived(line):
        return WAIVER.search(comment_lines[line - 1])

    for match in FREE.finditer(text.code):
        line = text.line_of(match.start())
        if not waived(line):
            what = match[0].rstrip("( ")
            why = ("ThreadSanitizer cannot see standalone fences; order the accesses themselves"
                   if "fence" in what else "use the member functions of std::atomic")
            problems.append(f"{name}:{line}: {what}: {why}")

    for position, operator in operator_uses(text.code, names):
        line = text.line_of(position)
        if not waived(line):
            problems.append(f"{name}:{line}: operator {operator} on an atomic is seq_cst unsaid; "
                            f"call the member function and name the order")

    for match in CALL.finditer(text.code):
        arguments, end = arguments_of(text.code, match.end() - 1)
        first, last = text.line_of(match.start()), text.line_of(end)
        if waived(first):
            continue
        orders = orders_of(match[1], arguments, constants)
        if orders is None:
            both = "both its memory orders" if match[1].startswith("compare") else "its memory order"
            problems.append(f"{name}:{first}: .{match[1]}() does not name {both} (not an atomic? "
                            f"say `// not atomic: WHY` on the line)")
            continue
        if not name.startswith(ARGUED_FOLDERS) or not set(orders) - {"relaxed", "order"}:
            continue
        near = "\n".join(comment_lines[max(0, first - 1 - NEAR):last])
        tags = TAG.findall(near)
        strong = next(order for order in orders if order not in ("relaxed", "order"))
        if not tags:
            problems.append(f"{name}:{first}: {strong} without its argument: say which access it "
                            f"pairs with and add [mm:SECTION] (a heading of docs/memory-model.md) "
                            f"at most {NEAR} lines above")
        elif anchors is not None:
            problems += [f"{name}:{first}: docs/memory-model.md has no section '{tag}'"
                         for tag in tags if tag not in anchors]
    return problems


def main(root):
    anchors = memory_model.anchors(root)
    if anchors is None:
        print("note: docs/memory-model.md is not there yet: [mm:...] is asked for, not looked up")
    headers = Headers(root)
    problems, count = [], 0
    for name in sources.files_of(root, "cpp"):
        if name.startswith(FOLDERS):
            source = sources.read(root, name)
            problems += check_file(name, source, headers.names(name), anchors,
                                   headers.constants(name))
            count += 1
    return sources.report(sorted(set(problems)), f"atomics, {count} files")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else sources.repository_root()))
