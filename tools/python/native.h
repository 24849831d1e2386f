/* What the hand-written part of the extension module offers to the part that cffi generates: its
 * types, put into a dictionary. Used by tools/python/ballast/_core.py alone, once, at import. */
#ifndef BALLAST_PYTHON_NATIVE_H
#define BALLAST_PYTHON_NATIVE_H

/* `dict` is the address of a dict that has `errors` (exception classes, by status), and
 * `outcome_of` (the outcome that an exception stands for); `Handle`, `Service`, `Pick` and `adopt`
 * are put into it. Takes the interpreter's lock. 0, or -1 with an exception printed to standard
 * error. */
int ballast_python_setup(void* dict);

#endif
