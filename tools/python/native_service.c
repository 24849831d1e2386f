/* The type Service: picks, retries and sticky tokens of one service. Made by native.c, which says
 * what holds for all of these files. */
#include "tools/python/native_types.h"

static void service_dealloc(PyObject* object) {
  Service* self = (Service*)object;
  PyTypeObject* type = Py_TYPE(object);
  Py_XDECREF(self->handle);
  Py_XDECREF(self->name);
  PyObject_Free(self);
  Py_DECREF(type);
}

/* Picks that are not wanted again. They must be held by the caller. */
static bool read_tried(const Service* self, PyObject* const* items, Py_ssize_t count,
                       const ballast_pick_t** out) {
  if (count > BALLAST_MAX_TRIED) {
    PyErr_Format(PyExc_ValueError, "at most %d picks may be tried before, not %zd",
                 BALLAST_MAX_TRIED, count);
    return false;
  }
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (!Py_IS_TYPE(items[i], shared.pick)) {
      PyErr_Format(PyExc_TypeError, "what was tried must be a Pick, not %.100s",
                   Py_TYPE(items[i])->tp_name);
      return false;
    }
    const Pick* pick = (const Pick*)items[i];
    if (pick->service->handle != self->handle) {
      PyErr_SetString(PyExc_ValueError, "what was tried must be a pick of the same balancer");
      return false;
    }
    out[i] = &pick->pick;
  }
  return true;
}

static PyObject* pick_wishing(Service* self, PyObject* key_object, PyObject* sticky_object,
                              PyObject* const* items, Py_ssize_t item_count) {
  const ballast_pick_t* tried[BALLAST_MAX_TRIED];
  Bytes key = {NULL, 0, {.obj = NULL}};
  Bytes sticky = {NULL, 0, {.obj = NULL}};
  if (!read_tried(self, items, item_count, tried)) return NULL;
  if (key_object != NULL && !read_bytes(key_object, &key, "key")) return NULL;
  if (sticky_object != NULL && !read_bytes(sticky_object, &sticky, "sticky")) {
    release_bytes(&key);
    return NULL;
  }
  ballast_pick_options_t options = BALLAST_PICK_OPTIONS_INIT;
  options.tried_count = (size_t)item_count;
  options.tried = tried;
  options.sticky = sticky.data;
  options.sticky_length = (size_t)sticky.length;
  PyObject* pick = new_pick(self, &key, &options);
  release_bytes(&sticky);
  release_bytes(&key);
  return pick;
}

/* pick(key=None, *, sticky=None, tried=()) */
static PyObject* service_pick(PyObject* object, PyObject* const* args, Py_ssize_t count,
                              PyObject* names) {
  Service* self = (Service*)object;
  const Py_ssize_t named = names == NULL ? 0 : PyTuple_GET_SIZE(names);
  if (count > 1) {
    PyErr_SetString(PyExc_TypeError, "pick() takes one positional argument, the key");
    return NULL;
  }
  PyObject* key_object = count == 1 ? args[0] : Py_None;
  if (named == 0) {
    Bytes key;
    if (!read_bytes(key_object, &key, "key")) return NULL;
    PyObject* pick = new_pick(self, &key, NULL);
    release_bytes(&key);
    return pick;
  }
  PyObject* sticky = Py_None;
  PyObject* tried = NULL;
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject* name = PyTuple_GET_ITEM(names, i);
    if (PyUnicode_Compare(name, shared.sticky_word) == 0) {
      sticky = args[count + i];
    } else if (PyUnicode_Compare(name, shared.tried_word) == 0) {
      tried = args[count + i];
    } else if (count == 0 && PyUnicode_CompareWithASCIIString(name, "key") == 0) {
      key_object = args[count + i];
    } else {
      return PyErr_Format(PyExc_TypeError, "pick() does not know the keyword '%U'", name);
    }
  }
  if (tried == NULL) return pick_wishing(self, key_object, sticky, NULL, 0);
  /* A tuple of our own: nobody else can change it meanwhile. */
  PyObject* items = PySequence_Tuple(tried);
  if (items == NULL) return NULL;
  PyObject* pick = pick_wishing(self, key_object, sticky, ((PyTupleObject*)items)->ob_item,
                                PyTuple_GET_SIZE(items));
  Py_DECREF(items);
  return pick;
}

/* retry(key, *tried, sticky=None) */
static PyObject* service_retry(PyObject* object, PyObject* const* args, Py_ssize_t count,
                               PyObject* names) {
  const Py_ssize_t named = names == NULL ? 0 : PyTuple_GET_SIZE(names);
  if (count < 2) {
    PyErr_SetString(PyExc_TypeError, "retry() takes the key and at least one pick tried before");
    return NULL;
  }
  if (named > 1 ||
      (named == 1 && PyUnicode_Compare(PyTuple_GET_ITEM(names, 0), shared.sticky_word) != 0)) {
    PyErr_SetString(PyExc_TypeError, "retry() knows one keyword: sticky");
    return NULL;
  }
  return pick_wishing((Service*)object, args[0], named == 1 ? args[count] : NULL, args + 1,
                      count - 1);
}

static PyObject* service_sticky_token(PyObject* object, PyObject* pick_object) {
  Service* self = (Service*)object;
  if (!Py_IS_TYPE(pick_object, shared.pick)) {
    PyErr_SetString(PyExc_TypeError, "sticky_token() takes a Pick");
    return NULL;
  }
  char text[BALLAST_STICKY_TEXT];
  const ballast_status_t status = ballast_sticky_token(
      self->handle->handle, self->number, &((Pick*)pick_object)->pick, text, sizeof text);
  if (status != BALLAST_OK) return raise_status(status, self->name);
  return PyUnicode_FromString(text);
}

static PyObject* service_name(PyObject* object, void* unused) {
  (void)unused;
  PyObject* name = ((Service*)object)->name;
  Py_INCREF(name);
  return name;
}

static PyObject* service_epoch(PyObject* object, void* unused) {
  (void)unused;
  const Service* self = (Service*)object;
  return PyLong_FromUnsignedLongLong(ballast_epoch(self->handle->handle, self->number));
}

static PyObject* service_repr(PyObject* object) {
  return PyUnicode_FromFormat("<ballast.Service '%U'>", ((Service*)object)->name);
}

static PyMethodDef service_methods[] = {
    {"pick", FAST(service_pick), METH_FASTCALL | METH_KEYWORDS,
     "pick(key=None, *, sticky=None, tried=())\n--\n\n"
     "Picks an instance for a key: str (as UTF-8), any bytes, or None. Services with consistent\n"
     "hashing send a key to the same instance from every process; others ignore it.\n\n"
     "sticky: what a client gave back of sticky_token(); hostile input is borne. tried: earlier\n"
     "picks of this balancer, at most 16, whose instances are not wanted again; the pick then "
     "counts\n"
     "as a retry. Raises NoInstance, Limited, RetryBudget (only with tried), ServiceUnknown, "
     "Stale\n"
     "(all of them Unavailable), or NotAttached after close(). Never blocks, but for the first "
     "pick\n"
     "after fork() or after the table moved. Good for any thread, and in a child after fork()."},
    {"retry", FAST(service_retry), METH_FASTCALL | METH_KEYWORDS,
     "retry(key, *tried, sticky=None)\n--\n\n"
     "pick(key, tried=tried, sticky=sticky): another instance than those tried."},
    {"sticky_token", service_sticky_token, METH_O,
     "sticky_token(pick)\n--\n\n"
     "A token that leads back to the pick's instance, 32 letters, digits, '-' and '_': for a "
     "cookie\n"
     "or a URL, given back as pick(sticky=...) in any process of any host with the same key. "
     "Raises\n"
     "NoStickyKey if the service has none. The pick may have been reported."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef service_properties[] = {
    {"name", service_name, NULL, "The service's name.", NULL},
    {"epoch", service_epoch, NULL,
     "The number of the generation published now; 0 while there is no such service.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot service_slots[] = {
    {Py_tp_doc,
     "A service of one balancer: a named set of instances. Good for as long as the balancer is "
     "open,\n"
     "also while the service is removed and added again; for any thread and after fork()."},
    {Py_tp_dealloc, service_dealloc},
    {Py_tp_repr, service_repr},
    {Py_tp_methods, service_methods},
    {Py_tp_getset, service_properties},
    {0, NULL},
};
PyType_Spec service_spec = {"ballast.Service", sizeof(Service), 0,
                            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, service_slots};
