"""Installing the package from a source tree with pip, without a network, into a virtual
environment, against a libballast that lies where the dynamic linker does not look; then a pick by what was
installed, and its types. usage: install_test.py, with BALLASTD, BALLAST, BALLAST_SOURCE and
BALLAST_BUILD set."""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from support import Checker, unchecked

SOURCE = os.environ["BALLAST_SOURCE"]
BUILD = os.environ["BALLAST_BUILD"]
PICKS = """
import sys
import ballast
assert ballast.__file__.startswith(sys.prefix), ballast.__file__
with ballast.Balancer(directory=sys.argv[1]) as balancer:
    with balancer.service("web").pick("k") as pick:
        print(pick.address)
    assert not any("ballast/requests" in str(m) for m in sys.modules.values())
"""
USES = """
from typing import Optional
import ballast

def ask(web: ballast.Service, user: str) -> Optional[str]:
    try:
        with web.pick(user) as pick:
            reveal_type(pick.reason)
            return pick.address
    except ballast.Unavailable:
        return None

async def ask_again(web: ballast.Service, first: ballast.Pick) -> int:
    async with web.retry(b"k", first, sticky=None) as pick:
        pick.report(ballast.Outcome.OVERLOAD, retry_after=2.5)
        return pick.port
"""
WRONG = """
import ballast
ballast.Balancer().service("web").pick(42).report("success")
"""


def run(*command, **options):
    """Its output; what it said if it failed."""
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command}:\n{done.stdout}")
    return done.stdout


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cache = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="ballast-mypy."))

    def lay_out(self):
        """What `meson install` would, of the library, in a prefix of its own."""
        prefix = os.path.join(self.folder, "prefix")
        for part in ("include", "lib/pkgconfig"):
            os.makedirs(os.path.join(prefix, part))
        shutil.copy(os.path.join(SOURCE, "engine/ballast.h"), os.path.join(prefix, "include"))
        library = glob.glob(os.path.join(BUILD, "engine/libballast.so.1.*[0-9]"))[0]
        shutil.copy(library, os.path.join(prefix, "lib"))
        for name in ("libballast.so.1", "libballast.so"):
            os.symlink(os.path.basename(library), os.path.join(prefix, "lib", name))
        with open(os.path.join(BUILD, "meson-private/ballast.pc"), encoding="utf-8") as file:
            text = re.sub("^prefix=.*$", f"prefix={prefix}", file.read(), flags=re.MULTILINE)
        text = re.sub("^libdir=.*$", "libdir=${prefix}/lib", text, flags=re.MULTILINE)
        with open(os.path.join(prefix, "lib/pkgconfig/ballast.pc"), "w", encoding="utf-8") as file:
            file.write(text)
        return prefix

    def test_pip(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory(prefix="ballast-pip."))
        prefix = self.lay_out()
        # A copy: building writes beside the sources.
        package = os.path.join(self.folder, "source/tools/python")
        shutil.copytree(os.path.join(SOURCE, "tools/python"), package)
        environment = {"PATH": "/usr/bin:/bin", "HOME": self.folder,
                       "PKG_CONFIG_PATH": os.path.join(prefix, "lib/pkgconfig")}
        venv = os.path.join(self.folder, "venv")
        run(sys.executable, "-m", "venv", "--system-site-packages", "--without-pip", venv,
            env=environment)
        python = os.path.join(venv, "bin/python")
        said = run(sys.executable, "-m", "pip", "--python", python, "install",
                   "--no-build-isolation", "--no-index", "--disable-pip-version-check", package,
                   env=environment, cwd=self.folder)
        self.assertRegex(said, r"Successfully installed ballast-\d")
        with Checker(unchecked([21001])) as checker:
            address = run(python, "-I", "-c", PICKS, checker.directory, env=environment,
                          cwd=self.folder)
        self.assertEqual(address, "127.0.0.1:21001\n")
        self.check_types(python, environment)

    def check_types(self, python, environment):
        """What a user's own type checker sees of the installed package."""
        for text, good in ((USES, True), (WRONG, False)):
            path = os.path.join(self.folder, "user.py")
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            done = subprocess.run(
                ["/usr/bin/mypy", "--strict", "--python-executable", python, "--cache-dir",
                 self.cache, path], text=True, capture_output=True,
                env=environment, cwd=self.folder, check=False)
            self.assertEqual(done.returncode == 0, good, done.stdout + done.stderr)
            if good:
                self.assertIn("ballast.Reason", done.stdout)
            else:
                self.assertEqual(done.stdout.count("[arg-type]"), 2, done.stdout)

    def test_without_the_library_it_says_what_to_do(self):
        done = subprocess.run([sys.executable, os.path.join(SOURCE, "tools/python/setup.py"),
                               "--version"], text=True, capture_output=True, check=False,
                              env={"PATH": "/usr/bin:/bin", "PKG_CONFIG_LIBDIR": "/nonexistent",
                                   "PYTHONDONTWRITEBYTECODE": "1"})
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("meson install", done.stderr)

    def test_our_own_types(self):
        run("/usr/bin/mypy", "--strict", "--cache-dir", self.cache, "ballast",
            cwd=os.path.join(SOURCE, "tools/python"))


if __name__ == "__main__":
    if not os.path.exists("/usr/bin/mypy"):
        print("skipped: mypy is not installed (tools/dev setup test)")
        sys.exit(77)
    unittest.main()
