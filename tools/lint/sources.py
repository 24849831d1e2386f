#!/usr/bin/env python3
"""Which files the lint reads, and C++ text with its comments told apart from its code.

As a program: `sources.py KIND...` prints the files of a kind (cpp, python, shell, meson), one a line.
Tracked and new files count, ignored ones and third_party/ do not; without git, the folders are walked.
"""
import dataclasses
import os
import re
import subprocess
import sys

CPP = (".cpp", ".hpp", ".c", ".h")
SKIPPED_FOLDERS = {"third_party", ".git", ".cache", "__pycache__"}


def repository_root():
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def all_files(root):
    # A clone that belongs to another user is still ours to read.
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "-C", root, "ls-files", "-z", "--cached", "--others",
         "--exclude-standard"], capture_output=True, check=False) if have_git(root) else None
    if listing and listing.returncode == 0:
        names = listing.stdout.decode().split("\0")
    else:
        names = []
        for folder, folders, files in os.walk(root):
            folders[:] = [f for f in folders
                          if f not in SKIPPED_FOLDERS and not f.startswith("build")]
            names += [os.path.relpath(os.path.join(folder, f), root) for f in files]
    return sorted({n for n in names if n and os.path.isfile(os.path.join(root, n))
                   and not SKIPPED_FOLDERS.intersection(n.split("/"))})


def have_git(root):
    if not os.path.exists(os.path.join(root, ".git")):
        return False
    return any(os.access(os.path.join(folder, "git"), os.X_OK)
               for folder in os.environ.get("PATH", "").split(os.pathsep))


def kind_of(root, name):
    base = os.path.basename(name)
    if base.endswith(CPP):
        return "cpp"
    if base in ("meson.build", "meson_options.txt", "meson.options"):
        return "meson"
    if base.endswith(".py"):
        return "python"
    if base.endswith(".sh"):
        return "shell"
    if "." not in base or name == ".ci/run":
        try:
            with open(os.path.join(root, name), encoding="utf-8") as file:
                first = file.readline()
        except UnicodeDecodeError:
            return "other"
        if first.startswith("#!"):
            return "python" if "python" in first else "shell" if "sh" in first else "other"
    return "other"


def files_of(root, *kinds):
    return [name for name in all_files(root) if kind_of(root, name) in kinds]


def read(root, name):
    with open(os.path.join(root, name), encoding="utf-8") as file:
        return file.read()


@dataclasses.dataclass
class Text:
    """`code` is the source with comments and the insides of literals blanked out, every other
    character where it was; `comments` is the opposite."""
    code: str
    comments: str

    def line_of(self, position):
        return self.code.count("\n", 0, position) + 1


TOKEN = re.compile(
    r"(?P<comment>//(?:\\\n|[^\n])*|/\*.*?\*/)"
    r"|(?P<raw>R\"(?P<mark>[^()\\ \n]*)\(.*?\)(?P=mark)\")"
    r"|(?P<string>\"(?:\\.|[^\"\\\n])*\")"
    r"|(?P<character>(?<![0-9A-Fa-f])'(?:\\.|[^'\\\n])+')",
    re.DOTALL)


def blank(text):
    return re.sub(r"[^\n]", " ", text)


def split(source):
    code, comments, end = [], [], 0
    for match in TOKEN.finditer(source):
        code.append(source[end:match.start()])
        comments.append(blank(source[end:match.start()]))
        text = match[0]
        if match["comment"]:
            code.append(blank(text))
            comments.append(text)
        else:
            code.append(text[0] + blank(text[1:-1]) + text[-1])
            comments.append(blank(text))
        end = match.end()
    code.append(source[end:])
    comments.append(blank(source[end:]))
    return Text("".join(code), "".join(comments))


def report(problems, checked):
    """Prints the problems and turns them into an exit status."""
    for problem in problems:
        print(problem)
    print(f"{checked}: {len(problems)} problem{'' if len(problems) == 1 else 's'}")
    return 1 if problems else 0


if __name__ == "__main__":
    print("\n".join(files_of(repository_root(), *sys.argv[1:])))
