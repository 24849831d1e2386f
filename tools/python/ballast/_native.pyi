"""What cffi generates: the functions and constants of ballast.h, checked by the C compiler."""
from typing import Any

ffi: Any
lib: Any
