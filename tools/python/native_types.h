/* What the hand-written files of the extension module share: its types, and the errors and bytes
 * they have in common. Written and read by whoever holds the interpreter's lock; native.c says why
 * that is enough. */
#ifndef BALLAST_PYTHON_NATIVE_TYPES_H
#define BALLAST_PYTHON_NATIVE_TYPES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <ballast.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
  PyObject_HEAD ballast_t* handle; /* NULL: closed */
} Handle;

typedef struct {
  PyObject_HEAD Handle* handle;
  ballast_service_t number;
  PyObject* name;
} Service;

typedef struct {
  PyObject_HEAD Service* service;
  int64_t begun_ns;
  ballast_pick_t pick;
} Pick;

/* Made once at import and never freed. */
typedef struct {
  PyTypeObject* handle;
  PyTypeObject* service;
  PyTypeObject* pick;
  PyObject* error_classes; /* by status; None where there is none */
  PyObject* outcome_of;    /* what an exception stands for */
  PyObject* sticky_word;   /* interned names of keyword arguments */
  PyObject* tried_word;
} Shared;
extern Shared shared;

extern PyType_Spec handle_spec;
extern PyType_Spec service_spec;
extern PyType_Spec pick_spec;

/* Python keeps functions of several shapes as one. */
#define FAST(function) ((PyCFunction)(void (*)(void))(function))

/* Raises the exception of a status, which names the service if one is given; NULL always. */
PyObject* raise_status(ballast_status_t status, PyObject* service);

typedef struct {
  const char* data;
  Py_ssize_t length;
  Py_buffer buffer; /* held if obj is not NULL */
} Bytes;

/* Text as UTF-8, bytes as they are, None as nothing. What it says is good until release_bytes(). */
bool read_bytes(PyObject* value, Bytes* out, const char* what);
void release_bytes(Bytes* bytes);

/* Picks, or raises. `options` may be NULL; what it points to must stay as it is. */
PyObject* new_pick(Service* service, const Bytes* key, const ballast_pick_options_t* options);

#endif
