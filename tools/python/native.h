/* What the hand-written part of the extension module offers to the part that cffi generates: its
 * types, put into a dictionary. Used by tools/python/ballast/_core.py alone, at import. */
#ifndef BALLAST_PYTHON_NATIVE_H
#define BALLAST_PYTHON_NATIVE_H

#define BALLAST_PYTHON_FAILED (-1)            /* an exception was printed to standard error */
#define BALLAST_PYTHON_OTHER_INTERPRETER (-2) /* the types are another interpreter's */

/* `dict` is the address of a dict that has `errors` (exception classes, by status) and `outcome_of`
 * (the outcome that an exception stands for); `Handle`, `Service`, `Pick` and `adopt` are put into
 * it. `interpreter` tells interpreters of one process apart. Called again by the same one, it gives
 * the same types. Takes the interpreter's lock. 0, or one of the above. */
int ballast_python_setup(void* dict, void* interpreter);

#endif
