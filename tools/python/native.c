/* The fast part of the Python package: the types Handle, Service and Pick, over ballast.h. Used by
 * ballast/_core.py; cffi, which compiles this into its module, does what need not be fast. If the
 * process dies, its row is reaped like any worker's.
 *
 * Why types and not only functions: a pick then lives inside its Python object, so making one is
 * one small allocation, the block's end is one call, and one that is collected unreported is
 * abandoned by its own deallocator, without a finalizer or a weak reference on the path.
 *
 * Why one handle serves all threads: everything here that touches a handle keeps the interpreter's
 * lock, so that at any time one thread uses it, as ballast.h asks; a pick may be reported, or
 * collected, by another thread than the one that made it. The lock is what a Python thread holds
 * anyway, for longer than a pick takes. For the same reason fork() from Python never finds a handle
 * in the middle of a call. Rules that keep it so: never let the lock go between reading
 * `handle->handle` and the end of the call, and never run Python code there. */
#include "tools/python/native.h"

#include "tools/python/native_types.h"

Shared shared;

PyObject* raise_status(ballast_status_t status, PyObject* service) {
  PyObject* class = PyExc_RuntimeError;
  if ((size_t)status < (size_t)PyTuple_GET_SIZE(shared.error_classes))
    class = PyTuple_GET_ITEM(shared.error_classes, (Py_ssize_t)status);
  if (class == Py_None) class = PyExc_RuntimeError;
  if (service != NULL) {
    PyErr_Format(class, "service '%U': %s", service, ballast_status_text(status));
  } else {
    PyErr_SetString(class, ballast_status_text(status));
  }
  return NULL;
}

bool read_bytes(PyObject* value, Bytes* out, const char* what) {
  out->buffer.obj = NULL;
  if (PyUnicode_Check(value)) {
    out->data = PyUnicode_AsUTF8AndSize(value, &out->length);
    return out->data != NULL;
  }
  if (PyBytes_Check(value)) {
    out->data = PyBytes_AS_STRING(value);
    out->length = PyBytes_GET_SIZE(value);
    return true;
  }
  if (value == Py_None) {
    out->data = NULL;
    out->length = 0;
    return true;
  }
  if (!PyObject_CheckBuffer(value)) {
    PyErr_Format(PyExc_TypeError, "%s must be str, bytes or None, not %.100s", what,
                 Py_TYPE(value)->tp_name);
    return false;
  }
  if (PyObject_GetBuffer(value, &out->buffer, PyBUF_SIMPLE) != 0) return false;
  out->data = out->buffer.buf;
  out->length = out->buffer.len;
  return true;
}

void release_bytes(Bytes* bytes) {
  if (bytes->buffer.obj != NULL) PyBuffer_Release(&bytes->buffer);
}

/* In a forked child this gives back only what is the child's: ballast_detach() knows. */
static PyObject* handle_detach(PyObject* object, PyObject* unused) {
  (void)unused;
  Handle* self = (Handle*)object;
  ballast_t* handle = self->handle;
  self->handle = NULL;
  ballast_detach(handle);
  Py_RETURN_NONE;
}

static void handle_dealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  ballast_detach(((Handle*)object)->handle);
  PyObject_Free(object);
  Py_DECREF(type);
}

static PyObject* handle_service(PyObject* object, PyObject* name) {
  Handle* self = (Handle*)object;
  Py_ssize_t length = 0;
  const char* text = PyUnicode_AsUTF8AndSize(name, &length);
  if (text == NULL) return NULL;
  if ((size_t)length != strlen(text)) {
    PyErr_SetString(PyExc_ValueError, "a service's name has no NUL in it");
    return NULL;
  }
  ballast_service_t number = 0;
  const ballast_status_t status = ballast_find_service(self->handle, text, &number);
  if (status == BALLAST_INVALID_ARGUMENT) {
    PyErr_SetString(PyTuple_GET_ITEM(shared.error_classes, BALLAST_INVALID_ARGUMENT),
                    ballast_last_error());
    return NULL;
  }
  if (status != BALLAST_OK && status != BALLAST_SERVICE_UNKNOWN) return raise_status(status, name);
  Service* service = PyObject_New(Service, shared.service);
  if (service == NULL) return NULL;
  service->handle = self;
  service->number = number;
  service->name = name;
  Py_INCREF(self);
  Py_INCREF(name);
  return (PyObject*)service;
}

static PyObject* handle_info(PyObject* object, PyObject* unused) {
  (void)unused;
  ballast_info_t info = BALLAST_INFO_INIT;
  const ballast_status_t status = ballast_info(((Handle*)object)->handle, &info);
  if (status != BALLAST_OK) return raise_status(status, NULL);
  return Py_BuildValue("KIOKKKK", (unsigned long long)info.segment, (unsigned)info.row,
                       info.superseded != 0 ? Py_True : Py_False,
                       (unsigned long long)info.heartbeat, (unsigned long long)info.heartbeat_ns,
                       (unsigned long long)info.checker_pid, (unsigned long long)info.checker_term);
}

static PyObject* handle_warning(PyObject* object, PyObject* unused) {
  (void)unused;
  const char* text = ballast_warning(((Handle*)object)->handle);
  if (text == NULL) Py_RETURN_NONE;
  return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
}

static PyMethodDef handle_methods[] = {
    {"detach", handle_detach, METH_NOARGS, "Gives the handle back; later calls raise NotAttached."},
    {"service", handle_service, METH_O, "The Service of a name."},
    {"info", handle_info, METH_NOARGS, "The fields of ballast_info_t, as a tuple."},
    {"warning", handle_warning, METH_NOARGS, "See ballast_warning()."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot handle_slots[] = {
    {Py_tp_doc, "A handle of libballast's, used by whoever holds the interpreter's lock."},
    {Py_tp_dealloc, handle_dealloc},
    {Py_tp_methods, handle_methods},
    {0, NULL},
};
PyType_Spec handle_spec = {"ballast._core.Handle", sizeof(Handle), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, handle_slots};

/* Makes a Handle of what ballast_attach() gave, named by its address. */
static PyObject* adopt(PyObject* unused, PyObject* address) {
  (void)unused;
  void* handle = PyLong_AsVoidPtr(address);
  if (handle == NULL && PyErr_Occurred() != NULL) return NULL;
  Handle* self = PyObject_New(Handle, shared.handle);
  if (self == NULL) return NULL;
  self->handle = handle;
  return (PyObject*)self;
}

/* ---- setting up ---- */

static PyMethodDef adopt_method = {"adopt", adopt, METH_O, "A Handle of what was attached."};

/* Types are made once: those that exist have objects. */
static bool offer_type(PyObject* dict, const char* name, PyType_Spec* spec, PyTypeObject** type) {
  if (*type == NULL) *type = (PyTypeObject*)PyType_FromSpec(spec);
  return *type != NULL && PyDict_SetItemString(dict, name, (PyObject*)*type) == 0;
}

static void replace(PyObject** place, PyObject* value) {
  PyObject* before = *place;
  Py_INCREF(value);
  *place = value;
  Py_XDECREF(before);
}

static bool set_up(PyObject* dict) {
  PyObject* errors = PyDict_GetItemString(dict, "errors");
  PyObject* outcome_of = PyDict_GetItemString(dict, "outcome_of");
  if (errors == NULL || !PyTuple_Check(errors) || outcome_of == NULL) {
    PyErr_SetString(PyExc_TypeError, "ballast_python_setup: `errors` or `outcome_of` is missing");
    return false;
  }
  replace(&shared.error_classes, errors);
  replace(&shared.outcome_of, outcome_of);
  if (shared.sticky_word == NULL) shared.sticky_word = PyUnicode_InternFromString("sticky");
  if (shared.tried_word == NULL) shared.tried_word = PyUnicode_InternFromString("tried");
  PyObject* function = PyCFunction_New(&adopt_method, NULL);
  const bool offered = function != NULL && PyDict_SetItemString(dict, "adopt", function) == 0;
  Py_XDECREF(function);
  return offered && shared.sticky_word != NULL && shared.tried_word != NULL &&
         offer_type(dict, "Handle", &handle_spec, &shared.handle) &&
         offer_type(dict, "Service", &service_spec, &shared.service) &&
         offer_type(dict, "Pick", &pick_spec, &shared.pick);
}

int ballast_python_setup(void* dict, void* interpreter) {
  static void* owner;
  if (owner != NULL && owner != interpreter) return BALLAST_PYTHON_OTHER_INTERPRETER;
  owner = interpreter;
  const PyGILState_STATE state = PyGILState_Ensure();
  const bool good = set_up(dict);
  if (!good) PyErr_Print();
  PyGILState_Release(state);
  return good ? 0 : BALLAST_PYTHON_FAILED;
}
