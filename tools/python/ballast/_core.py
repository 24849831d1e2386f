"""Loads the extension module and gives the types of native.c their names. Imported by the package
alone; _core.pyi tells type checkers what they are."""
import sys

from ballast import errors, outcomes
from ballast._native import ffi, lib

_namespace = {"errors": errors.BY_STATUS, "outcome_of": outcomes.outcome_of}
if lib.ballast_abi() != lib.BALLAST_ABI:
    raise ImportError(f"libballast has ABI {lib.ballast_abi()}, and this package was compiled for "
                      f"{lib.BALLAST_ABI}: install it again")
_failed = lib.ballast_python_setup(ffi.cast("void *", id(_namespace)),
                                   ffi.cast("void *", id(sys.modules)))
if _failed == lib.BALLAST_PYTHON_OTHER_INTERPRETER:
    raise ImportError("ballast: another interpreter of this process uses it already; use one "
                      "interpreter a process (mod_wsgi: WSGIApplicationGroup %{GLOBAL})")
if _failed:
    raise ImportError("ballast: the extension module could not be set up")

Handle = _namespace["Handle"]
Service = _namespace["Service"]
Pick = _namespace["Pick"]


def _text(data):
    return ffi.string(data).decode(errors="replace")


def attach(name_space, directory):
    """A handle; the interpreter's lock is let go meanwhile, since it waits for the file system."""
    options = ffi.new("ballast_options_t *")
    options.size = ffi.sizeof("ballast_options_t")
    kept = []  # what the struct points to
    for field, value in (("name_space", name_space), ("directory", directory)):
        if value is not None:
            if b"\0" in value:
                raise errors.InvalidArgument(f"{field} has a NUL in it: {value!r}")
            kept.append(ffi.new("char[]", value))
            setattr(options, field, kept[-1])
    out = ffi.new("ballast_t **")
    status = lib.ballast_attach(options, out)
    if status != lib.BALLAST_OK:
        text = _text(lib.ballast_last_error())
        kind = errors.BY_STATUS[status] if status < len(errors.BY_STATUS) else None
        raise (kind or errors.Error)(text)
    return _namespace["adopt"](int(ffi.cast("uintptr_t", out[0])))


def key_hash(key):
    """See ballast.key_hash."""
    data = key.encode() if isinstance(key, str) else key
    return int(lib.ballast_key_hash(ffi.from_buffer(data), len(data)))


def _reason(pick):
    return _reasons[pick.reason_number]


def _make_async(kind):
    """A pick never waits, so its async form is the other one, wrapped."""
    async def aenter(self):
        """The pick itself."""
        return self

    async def aexit(self, *exception):
        """As __exit__."""
        return self.__exit__(*exception)

    kind.__aenter__ = aenter
    kind.__aexit__ = aexit


def finish(reasons):
    """Called once by the package, with its Reason."""
    _reasons.update({int(reason): reason for reason in reasons})
    Pick.reason = property(_reason, doc="Why it fell on this instance: see Reason.")
    _make_async(Pick)


_reasons = {}
