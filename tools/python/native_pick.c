/* The type Pick: one picked instance, inside its Python object. Made by native_service.c; ends with
 * its block, with report(), or when it is collected. native.c says what holds for all of these
 * files. */
#include <arpa/inet.h>
#include <math.h>
#include <time.h>

#include "tools/python/native_types.h"

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static bool in_flight(const Pick* self) {
  return self->pick.reported == 0;
}

/* Collected without a report: nobody knows how it ended. A pick from before fork() is its parent's
 * and a closed balancer's has been counted, so those are passed over in silence. */
static void pick_dealloc(PyObject* object) {
  Pick* self = (Pick*)object;
  PyTypeObject* type = Py_TYPE(object);
  if (in_flight(self) && self->service != NULL &&
      ballast_abandon(self->service->handle->handle, &self->pick) == BALLAST_OK) {
    PyObject* error_type = NULL;
    PyObject* error = NULL;
    PyObject* traceback = NULL;
    PyErr_Fetch(&error_type, &error, &traceback);
    if (PyErr_WarnFormat(
            PyExc_ResourceWarning, 1,
            "a pick of service '%U' was collected without a report; it counts as abandoned",
            self->service->name) != 0)
      PyErr_WriteUnraisable((PyObject*)type);
    PyErr_Restore(error_type, error, traceback);
  }
  Py_XDECREF(self->service);
  PyObject_Free(self);
  Py_DECREF(type);
}

/* The service's fields are good as long as the caller holds it. `options` may be NULL. */
PyObject* new_pick(Service* service, const Bytes* key, const ballast_pick_options_t* options) {
  Pick* self = PyObject_New(Pick, shared.pick);
  if (self == NULL) return NULL;
  self->pick = (ballast_pick_t)BALLAST_PICK_INIT;
  self->service = service;
  Py_INCREF(service);
  const ballast_status_t status = ballast_pick(service->handle->handle, service->number, key->data,
                                               (size_t)key->length, options, &self->pick);
  if (status != BALLAST_OK) {
    self->pick.reported = 1;
    Py_DECREF(self);
    return raise_status(status, service->name);
  }
  self->begun_ns = now_ns();
  return (PyObject*)self;
}

static uint64_t elapsed_us(const Pick* self) {
  const int64_t elapsed = now_ns() - self->begun_ns;
  return elapsed < 0 ? 0 : (uint64_t)elapsed / 1000;
}

static PyObject* pick_enter(PyObject* object, PyObject* unused) {
  (void)unused;
  Py_INCREF(object);
  return object;
}

/* The outcome that an exception stands for, by outcomes.py. If that fails: abandoned, and the fault
 * is told on standard error, for the block's own exception matters more. But what is no Exception
 * stays raised: it is a signal handler's, which may run in there (Ctrl-C, a server's time limit).
 */
static ballast_outcome_t classify(PyObject* exception) {
  PyObject* answer = PyObject_CallOneArg(shared.outcome_of, exception);
  const long outcome = answer == NULL ? -1 : PyLong_AsLong(answer);
  Py_XDECREF(answer);
  if (outcome == -1 && PyErr_Occurred() != NULL) {
    if (PyErr_ExceptionMatches(PyExc_Exception)) PyErr_WriteUnraisable(shared.outcome_of);
    return BALLAST_ABANDONED;
  }
  return outcome < BALLAST_SUCCESS || outcome > BALLAST_ABANDONED ? BALLAST_ABANDONED
                                                                  : (ballast_outcome_t)outcome;
}

/* What a report answers is of no use here: after fork() the pick is the parent's, and after close()
 * it has been counted. */
static PyObject* pick_exit(PyObject* object, PyObject* const* args, Py_ssize_t count) {
  Pick* self = (Pick*)object;
  if (count != 3) {
    PyErr_SetString(PyExc_TypeError, "__exit__ takes a type, an exception and a traceback");
    return NULL;
  }
  if (in_flight(self)) {
    if (args[0] == Py_None) {
      ballast_report(self->service->handle->handle, &self->pick, BALLAST_SUCCESS, elapsed_us(self));
    } else {
      const uint64_t latency = elapsed_us(self);
      const ballast_outcome_t outcome = classify(args[1] != Py_None ? args[1] : args[0]);
      ballast_report(self->service->handle->handle, &self->pick, outcome, latency);
      if (PyErr_Occurred() != NULL) return NULL;
    }
  }
  Py_RETURN_FALSE;
}

/* A number of seconds as an integer of `per_second`-ths, rounded down, between 0 and `most`. */
static bool read_seconds(PyObject* value, double per_second, double most, double* out) {
  const double seconds = PyFloat_AsDouble(value);
  if (seconds == -1.0 && PyErr_Occurred() != NULL) return false;
  const double scaled = seconds * per_second;
  *out = isnan(scaled) || scaled < 0 ? -1 : scaled > most ? most : scaled;
  return true;
}

static PyObject* report_in_full(Pick* self, ballast_outcome_t outcome, PyObject* latency,
                                PyObject* retry_after, PyObject* load) {
  ballast_result_t result = BALLAST_RESULT_INIT;
  result.outcome = outcome;
  double number = 0;
  if (latency == NULL || latency == Py_None) {
    result.latency_us = elapsed_us(self);
  } else if (!read_seconds(latency, 1e6, 1e15, &number)) {
    return NULL;
  } else if (number >= 0) {
    result.latency_us = (uint64_t)number;
  }
  if (retry_after != NULL && retry_after != Py_None) {
    if (!read_seconds(retry_after, 1e3, (double)UINT32_MAX, &number)) return NULL;
    if (number > 0) result.retry_after_ms = (uint32_t)ceil(number);
  }
  Bytes text = {NULL, 0, {.obj = NULL}};
  if (load != NULL && !read_bytes(load, &text, "load")) return NULL;
  result.load = text.data;
  result.load_length = (size_t)text.length;
  const ballast_status_t status =
      ballast_report_full(self->service->handle->handle, &self->pick, &result);
  release_bytes(&text);
  if (status != BALLAST_OK) return raise_status(status, self->service->name);
  Py_RETURN_NONE;
}

/* report(outcome=SUCCESS, latency=None, retry_after=None, load=None) */
static PyObject* pick_report(PyObject* object, PyObject* const* args, Py_ssize_t count,
                             PyObject* names) {
  static const char* const words[] = {"outcome", "latency", "retry_after", "load"};
  Pick* self = (Pick*)object;
  PyObject* given[4] = {NULL, NULL, NULL, NULL};
  if (count > 4) {
    PyErr_SetString(PyExc_TypeError, "report() takes at most 4 arguments");
    return NULL;
  }
  for (Py_ssize_t i = 0; i < count; ++i)
    given[i] = args[i];
  const Py_ssize_t named = names == NULL ? 0 : PyTuple_GET_SIZE(names);
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject* name = PyTuple_GET_ITEM(names, i);
    size_t at = 0;
    while (at < 4 && PyUnicode_CompareWithASCIIString(name, words[at]) != 0)
      ++at;
    if (at == 4 || given[at] != NULL) {
      PyErr_Format(PyExc_TypeError, "report() got '%U' %s", name,
                   at == 4 ? "as a keyword, which it does not know" : "twice");
      return NULL;
    }
    given[at] = args[count + i];
  }
  ballast_outcome_t outcome = BALLAST_SUCCESS;
  if (given[0] != NULL) {
    const long number = PyLong_AsLong(given[0]);
    if (number == -1 && PyErr_Occurred() != NULL) return NULL;
    if (number < BALLAST_SUCCESS || number > BALLAST_ABANDONED)
      return PyErr_Format(PyExc_ValueError, "%R is not an Outcome", given[0]);
    outcome = (ballast_outcome_t)number;
  }
  if (given[1] != NULL || given[2] != NULL || given[3] != NULL)
    return report_in_full(self, outcome, given[1], given[2], given[3]);
  const ballast_status_t status =
      ballast_report(self->service->handle->handle, &self->pick, outcome, elapsed_us(self));
  if (status != BALLAST_OK) return raise_status(status, self->service->name);
  Py_RETURN_NONE;
}

static PyObject* pick_address(PyObject* object, void* unused) {
  (void)unused;
  char text[BALLAST_ADDRESS_TEXT];
  ballast_format_address(&((Pick*)object)->pick, text, sizeof text);
  return PyUnicode_FromString(text);
}

static PyObject* pick_host(PyObject* object, void* unused) {
  (void)unused;
  const ballast_pick_t* pick = &((Pick*)object)->pick;
  char text[INET6_ADDRSTRLEN] = "";
  if (pick->family == 4) {
    inet_ntop(AF_INET, pick->address, text, sizeof text);
  } else if (pick->family == 6) {
    inet_ntop(AF_INET6, pick->address, text, sizeof text);
  }
  return PyUnicode_FromString(text);
}

static PyObject* pick_port(PyObject* object, void* unused) {
  (void)unused;
  return PyLong_FromLong(((Pick*)object)->pick.port);
}
static PyObject* pick_reason(PyObject* object, void* unused) {
  (void)unused;
  return PyLong_FromLong(((Pick*)object)->pick.reason);
}
static PyObject* pick_epoch(PyObject* object, void* unused) {
  (void)unused;
  return PyLong_FromUnsignedLongLong(((Pick*)object)->pick.epoch);
}
static PyObject* pick_slot(PyObject* object, void* unused) {
  (void)unused;
  return PyLong_FromUnsignedLong(((Pick*)object)->pick.slot);
}
static PyObject* pick_attempts(PyObject* object, void* unused) {
  (void)unused;
  return PyLong_FromLong(((Pick*)object)->pick.attempts);
}
static PyObject* pick_reported(PyObject* object, void* unused) {
  (void)unused;
  return PyBool_FromLong(!in_flight((Pick*)object));
}

static PyObject* pick_repr(PyObject* object) {
  const Pick* self = (Pick*)object;
  char text[BALLAST_ADDRESS_TEXT];
  ballast_format_address(&self->pick, text, sizeof text);
  return PyUnicode_FromFormat("<ballast.Pick %s of '%U', %s, %s>", text, self->service->name,
                              ballast_reason_text((ballast_reason_t)self->pick.reason),
                              in_flight(self) ? "in flight" : "reported");
}

static PyMethodDef pick_methods[] = {
    {"__enter__", pick_enter, METH_NOARGS, "The pick itself."},
    {"__exit__", FAST(pick_exit), METH_FASTCALL,
     "Reports how the block ended and how long it took, unless report() has been called."},
    {"report", FAST(pick_report), METH_FASTCALL | METH_KEYWORDS,
     "report(outcome=Outcome.SUCCESS, latency=None, retry_after=None, load=None)\n--\n\n"
     "Reports how the request ended, once; the pick is then no longer in flight.\n\n"
     "outcome: see Outcome. latency: in seconds; None is the time since the pick, below 0 is not\n"
     "known. It counts with a success, a timeout and an overload. retry_after: with an overload, "
     "in\n"
     "how many seconds to try again, as the answer said; the instance's breaker opens for so "
     "long.\n"
     "load: the answer's header endpoint-load-metrics; above 4096 bytes it is ignored.\n\n"
     "Raises AlreadyReported, WrongHandle (a pick from before fork()) or NotAttached (the "
     "balancer\n"
     "is closed): nothing was counted then. May be called by another thread than picked."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef pick_properties[] = {
    {"address", pick_address, NULL, "'10.0.0.1:8080' or '[::1]:8080'; '-' without an address.",
     NULL},
    {"host", pick_host, NULL, "'10.0.0.1' or '::1'; '' without an address.", NULL},
    {"port", pick_port, NULL, "0..65535.", NULL},
    {"reason_number", pick_reason, NULL, "See reason.", NULL},
    {"epoch", pick_epoch, NULL, "Which generation of the service's table it came from.", NULL},
    {"slot", pick_slot, NULL, "The index that the instance keeps for life.", NULL},
    {"attempts", pick_attempts, NULL, "How many candidates were looked at; 1: the first choice.",
     NULL},
    {"reported", pick_reported, NULL, "False while the pick is in flight.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot pick_slots[] = {
    {Py_tp_doc,
     "One picked instance. Report it once: as a context manager, which reports how the block "
     "ended,\n"
     "or with report(). One that is collected unreported counts as abandoned. What it says stays\n"
     "right for the request, also if the instance leaves meanwhile."},
    {Py_tp_dealloc, pick_dealloc},
    {Py_tp_repr, pick_repr},
    {Py_tp_methods, pick_methods},
    {Py_tp_getset, pick_properties},
    {0, NULL},
};
PyType_Spec pick_spec = {"ballast.Pick", sizeof(Pick), 0,
                         Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, pick_slots};
