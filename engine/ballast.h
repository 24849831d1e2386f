/* ballast.h: pick an instance of a service, for servers made of many processes.
 *
 * The narrow waist of Ballast: everybody who embeds it goes through here. A checker (`ballastd`)
 * writes the health of every instance into shared memory; a worker attaches, and each pick is then
 * a few atomic loads: no lock, no system call, no allocation, no message, and no clock but on rare
 * paths (see ballast_pick()). If the checker dies, picks go on from what it published last.
 *
 *     ballast_t *b;
 *     ballast_service_t web;
 *     ballast_pick_t pick = BALLAST_PICK_INIT;
 *     if (ballast_attach(NULL, &b) == BALLAST_OK &&
 *         ballast_find_service(b, "web", &web) == BALLAST_OK &&
 *         ballast_pick(b, web, key, key_length, NULL, &pick) == BALLAST_OK) {
 *       ... connect to pick.address, pick.port, do the request ...
 *       ballast_report(b, &pick, BALLAST_SUCCESS, latency_us);
 *     }
 *
 * Threads: a handle is used by one thread at a time. Make one per thread (a mapping and one row of
 * counters each); functions that take no handle may be called from anywhere. Two threads in one
 * handle at the same time are a mistake that is not looked for: its counts are wrong then, and when
 * the table moves to new files, or the other thread finds services or detaches, the process may
 * crash. The table and other workers' counts are out of reach.
 *
 * Fork: attach before or after fork(), as you like. In the child a handle made before fork() is
 * good for the one thread that fork() leaves: its first pick takes a row of counters of the child's
 * own. Picks made before fork() stay the parent's: reporting one in the child is
 * BALLAST_WRONG_HANDLE and counts nowhere.
 *
 * Structs: each begins with `size`, which you set to sizeof(the struct) (the *_INIT macros do), so
 * that programs and library may be of different releases. Fields that the library does not know
 * must be zero.
 */
#ifndef BALLAST_H
#define BALLAST_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Changes only when a program must be compiled again. ballast_abi() says what the library has. */
#define BALLAST_ABI 1

#if defined(__GNUC__)
#define BALLAST_API __attribute__((visibility("default")))
#else
#define BALLAST_API
#endif

/* What a call returns. */
typedef enum ballast_status_t {
  BALLAST_OK = 0,
  /* Every instance of the service is down, kept away by its circuit breaker, or excluded by
   * `tried`; or the service's policy is to fail now (panic, a silent checker). Answer 502/503, or
   * wait. */
  BALLAST_NO_INSTANCE = 1,
  /* No service of that name now; found again by itself when the checker publishes it. */
  BALLAST_SERVICE_UNKNOWN = 2,
  /* The table was replaced faster than it could be read, 64 times in a row. Pick again. */
  BALLAST_STALE = 3,
  /* The handle is NULL: ballast_attach() has not succeeded. */
  BALLAST_NOT_ATTACHED = 4,
  /* A NULL or a number that cannot be, a struct size that cannot be, an option not known. */
  BALLAST_INVALID_ARGUMENT = 5,
  /* The pick was made by another handle, or before fork() by the parent. Nothing was counted. */
  BALLAST_WRONG_HANDLE = 6,
  /* The pick has been reported, or never succeeded. Nothing was counted. */
  BALLAST_ALREADY_REPORTED = 7,
  /* The system refused something: see ballast_last_error(). */
  BALLAST_SYSTEM_ERROR = 8,
  /* No such directory or file: usually no checker has run yet. Start ballastd, attach again. */
  BALLAST_NOT_FOUND = 9,
  /* The shared files hold what no Ballast could have written. */
  BALLAST_CORRUPT = 10,
  /* The shared files are of another version, byte order or boot. */
  BALLAST_INCOMPATIBLE = 11,
  /* A retry, and as many retries as the service allows are in flight already. Give up, and answer
   * with what the last try gave. */
  BALLAST_RETRY_BUDGET = 12,
  /* The service, or every instance of it that could be used, has as many requests in flight as it
   * may. Answer 503, or wait. */
  BALLAST_LIMITED = 13,
  /* The service has no sticky key: set sticky_key_file in the checker's configuration. */
  BALLAST_NO_STICKY_KEY = 14
} ballast_status_t;

/* How a request ended. */
typedef enum ballast_outcome_t {
  BALLAST_SUCCESS = 1,
  BALLAST_CONNECT_FAILURE = 2, /* refused, unreachable, no route */
  BALLAST_TIMEOUT = 3,         /* to connect or to answer */
  BALLAST_RESET = 4,           /* the connection broke */
  BALLAST_SERVER_ERROR = 5,    /* an answer that means failure, such as HTTP 500 */
  BALLAST_OVERLOAD = 6,        /* an answer that means "not now", such as HTTP 429 or 503 */
  BALLAST_CANCELLED = 7,       /* by the client, before it was known how it would end */
  BALLAST_ABANDONED = 8        /* nobody knows */
} ballast_outcome_t;

/* Why a pick fell on its instance. */
typedef enum ballast_reason_t {
  BALLAST_FIRST_CHOICE = 0,
  BALLAST_MOVED_UNUSABLE = 1, /* the first choice is down or not to be used */
  BALLAST_MOVED_EXCLUDED = 2, /* the first choice is in `tried` */
  BALLAST_MOVED_BREAKER = 3,  /* the first choice's circuit breaker is open */
  BALLAST_MOVED_LOAD = 4,  /* the first choice has as much in flight as it may, or is to have a part
                              of its weight only (slow start, the controller of weights) */
  BALLAST_STICKY = 5,      /* the sticky token named this instance */
  BALLAST_STICKY_LOST = 6, /* the sticky token could not be honoured; picked by the key */
  BALLAST_PANIC = 7,       /* too few instances are healthy: picked whatever its health */
  BALLAST_TRIAL = 8 /* the one request that tries an instance whose breaker was open, whatever else
                       holds of it: also where a sticky token named it, or could not be honoured */
} ballast_reason_t;

/* An attached worker. */
typedef struct ballast_handle ballast_t;

/* A service as one handle knows it: good for that handle, for as long as it lives, also while the
 * service is removed and added again. */
typedef uint32_t ballast_service_t;

/* How to attach. */
typedef struct ballast_options_t {
  size_t size;
  const char* name_space; /* NULL: "default"; a name as ballastd takes it, never a path */
  const char* directory;  /* NULL: /dev/shm/ballast/<name_space> */
} ballast_options_t;
#define BALLAST_OPTIONS_INIT {sizeof(ballast_options_t), NULL, NULL}

/* One picked instance. Plain data in your memory: copy it, keep it as long as the request lasts,
 * and report one copy, once. */
typedef struct ballast_pick_t {
  uint32_t size;
  uint32_t slot;            /* the instance's index, for its life */
  uint32_t incarnation;     /* which tenant of the slot */
  uint32_t row;             /* whose counters hold the pick; BALLAST_NO_ROW: nobody's */
  uint32_t row_incarnation; /* which owner of the row */
  uint16_t port;            /* host byte order */
  uint8_t family;           /* 4 or 6; 0: the instance has no address */
  uint8_t reason;           /* a ballast_reason_t */
  uint64_t segment;         /* which of the mapped tables it came from */
  uint64_t epoch;           /* which generation of the service */
  uint8_t address[16];      /* network byte order; IPv4 uses the first four bytes */
  uint16_t attempts;        /* how many candidates were looked at; 1 is the first choice */
  uint8_t reported;         /* 0: in flight */
  uint8_t flags;            /* the library's own, for the report */
  uint32_t permit;          /* likewise */
} ballast_pick_t;
#define BALLAST_PICK_INIT {sizeof(ballast_pick_t), 0, 0, 0, 0, 0, 0, 0, 0, 0, {0}, 0, 1, 0, 0}
#define BALLAST_NO_ROW UINT32_MAX

/* What more a pick may be asked for. What it points to is read during the call only. Fields behind
 * `tried` may be missing in an older program's struct, whose `size` says so; they then count as
 * zero. */
#define BALLAST_MAX_TRIED 16
typedef struct ballast_pick_options_t {
  size_t size;
  /* For a retry: instances not to pick again. Excluded only in this pick; a tenant that took the
   * slot since is not meant. A pick with any counts as a retry, for the service's retry budget. */
  size_t tried_count;                 /* 0..BALLAST_MAX_TRIED */
  const ballast_pick_t* const* tried; /* earlier picks of this handle, reported or not */
  /* What the client gave back of ballast_sticky_token(): any bytes, it is read as hostile input. If
   * it names an instance that may be picked, that is the pick, with the reason BALLAST_STICKY; else
   * the service's strategy picks, with BALLAST_STICKY_LOST: also where the instance is in `tried`,
   * or the service has no sticky key. Either may be a breaker's trial, and says BALLAST_TRIAL then:
   * the pick's own token, compared with this one, tells which. */
  const char* sticky;   /* NULL: none */
  size_t sticky_length; /* 0: none */
} ballast_pick_options_t;
#define BALLAST_PICK_OPTIONS_INIT {sizeof(ballast_pick_options_t), 0, NULL, NULL, 0}

/* What a handle is attached to, for logs and tests. */
typedef struct ballast_info_t {
  size_t size;
  uint64_t segment;      /* id of the mapped table */
  uint32_t row;          /* BALLAST_NO_ROW while picks are not counted */
  uint32_t superseded;   /* 1: the table has been replaced and the new one cannot be opened yet */
  uint64_t heartbeat;    /* grows while the checker lives: compare two looks */
  uint64_t heartbeat_ns; /* CLOCK_REALTIME at the last beat, in nanoseconds, for people */
  uint64_t checker_pid;
  uint64_t checker_term; /* how many checkers there have been */
} ballast_info_t;
#define BALLAST_INFO_INIT {sizeof(ballast_info_t), 0, 0, 0, 0, 0, 0, 0}

/* Latency not measured. */
#define BALLAST_NO_LATENCY UINT64_MAX

/* All that can be said of how a request ended, for ballast_report_full(). */
typedef struct ballast_result_t {
  size_t size;
  ballast_outcome_t outcome;
  /* With BALLAST_OVERLOAD: in how many milliseconds to try again, as the answer said; the
   * instance's breaker opens for so long, at most the service's breaker.open_max. 0: it did not
   * say. */
  uint32_t retry_after_ms;
  uint64_t latency_us; /* BALLAST_NO_LATENCY if not known */
  const char* load;    /* value of the answer's header `endpoint-load-metrics`; NULL: none */
  size_t load_length;  /* in bytes; above 4096 it is ignored */
} ballast_result_t;
#define BALLAST_RESULT_INIT \
  {sizeof(ballast_result_t), BALLAST_ABANDONED, 0, BALLAST_NO_LATENCY, NULL, 0}

/* The ABI of the library in use: compare with BALLAST_ABI. */
BALLAST_API unsigned ballast_abi(void);

/* Attaches the calling thread to a namespace. `options` may be NULL. On success `*out` is a handle
 * for ballast_detach(); otherwise NULL, and ballast_last_error() says what failed and what to do.
 * All functions accept a NULL handle and answer BALLAST_NOT_ATTACHED. When all rows are taken it
 * attaches all the same; picks are then not counted, ballast_warning() says so, and a row is taken
 * as soon as there is one. Blocks only for the file system; allocates. */
BALLAST_API ballast_status_t ballast_attach(const ballast_options_t* options, ballast_t** out);

/* Gives everything back. Picks not reported count as abandoned; reporting them later to another
 * handle is BALLAST_WRONG_HANDLE. NULL is allowed. */
BALLAST_API void ballast_detach(ballast_t* handle);

/* Finds a service by its name (1..63 bytes). The same name gives the same number. A name that is
 * not published yet gives a number too, with BALLAST_SERVICE_UNKNOWN: picks will find it when it
 * is. At most 4096 names a handle. Allocates. */
BALLAST_API ballast_status_t ballast_find_service(ballast_t* handle, const char* name,
                                                  ballast_service_t* out);

/* Picks an instance for a key of `length` bytes (any bytes; may be 0, `key` then NULL). Services
 * with consistent hashing send a key to the same instance from every process and host; other
 * strategies ignore it. `options` may be NULL. On BALLAST_OK `*out` is filled and counts as one
 * request in flight until it is reported; on anything else it holds nothing to report. Never
 * blocks, allocates, locks, calls the system or reads a clock, except in the first pick after the
 * table moved to new files, after fork(), or while a row or the new files cannot be had (then every
 * 1024th pick tries again, or the first after two seconds). A clock that needs no system call
 * (CLOCK_MONOTONIC_COARSE) is read besides: by picks that come to an instance whose circuit breaker
 * is open; and by picks of services that compare load, have a hash bound or a policy for a silent
 * checker, to see whether the checker still moves: by the second that finds it where it was, the
 * fourth, the eighth and so on, then by each 256th. While it does not move, picks by load add up
 * what all workers have in flight: slower, the more workers there are. BALLAST_OK, _NO_INSTANCE,
 * _LIMITED, _RETRY_BUDGET (only with `tried`), _SERVICE_UNKNOWN, _STALE, _NOT_ATTACHED,
 * _INVALID_ARGUMENT, _CORRUPT or _SYSTEM_ERROR. */
BALLAST_API ballast_status_t ballast_pick(ballast_t* handle, ballast_service_t service,
                                          const void* key, size_t length,
                                          const ballast_pick_options_t* options,
                                          ballast_pick_t* out);

/* Reports how the request ended, once for each pick, on the handle that made it. `latency_us` is
 * how long it took, in microseconds; BALLAST_NO_LATENCY if that is not known; what is above 2^32 -
 * 1 counts as that. It counts with a success, a timeout and an overload: how soon an instance
 * refused says nothing about how long its work takes. A failure reads a clock that needs no system
 * call. Never blocks, allocates or calls the system, except when it is the last pick in flight of a
 * table that has been replaced. A copy of a pick that was reported before cannot be told from the
 * original: report one of them. BALLAST_OK, _ALREADY_REPORTED, _WRONG_HANDLE, _INVALID_ARGUMENT
 * (an outcome not known, too) or _NOT_ATTACHED; on anything but BALLAST_OK nothing was counted. */
BALLAST_API ballast_status_t ballast_report(ballast_t* handle, ballast_pick_t* pick,
                                            ballast_outcome_t outcome, uint64_t latency_us);

/* As ballast_report(), and keeps what else the answer said. `load` is ORCA's text form, "TEXT
 * cpu_utilization=0.3, rps_fractional=120": what the backend says of its own load, for the weights
 * that the checker steers by; it is read as hostile input, and one that cannot be used is ignored.
 * docs/reported-load.md has its format and limits. `result` is read only, and during the call only.
 * Statuses and promises are those of ballast_report(); BALLAST_INVALID_ARGUMENT also for a `result`
 * that is NULL, or whose `load` is NULL with a length. */
BALLAST_API ballast_status_t ballast_report_full(ballast_t* handle, ballast_pick_t* pick,
                                                 const ballast_result_t* result);

/* The same as reporting BALLAST_ABANDONED without a latency. */
BALLAST_API ballast_status_t ballast_abandon(ballast_t* handle, ballast_pick_t* pick);

/* Fills `out` for connect(2) and sets `*length`; BALLAST_INVALID_ARGUMENT if the pick has no
 * address. */
BALLAST_API ballast_status_t ballast_pick_sockaddr(const ballast_pick_t* pick,
                                                   struct sockaddr_storage* out, socklen_t* length);

/* Writes "10.0.0.1:80" or "[::1]:80" and a NUL, cut to `size` bytes; returns the length of the
 * whole text. BALLAST_ADDRESS_TEXT bytes always suffice. */
#define BALLAST_ADDRESS_TEXT 64
BALLAST_API size_t ballast_format_address(const ballast_pick_t* pick, char* buffer, size_t size);

/* Writes a sticky token for the instance of `pick` and a NUL: 32 letters, digits, '-' and '_', for
 * a cookie, a header or a URL. Given back as `sticky` in the options of a later pick, in any
 * process of any host with the same key file, it leads to the same instance while that may be used.
 * Nobody without the key can make one or read it; docs/sticky.md says what it protects and what
 * not. The same pick gives the same token, so give the client a new one when it differs from its
 * old one. The pick may have been reported, and may be one from before fork(). BALLAST_OK, or
 * `buffer` holds an empty text: BALLAST_NO_STICKY_KEY, _SERVICE_UNKNOWN, _INVALID_ARGUMENT (`size`
 * is below BALLAST_STICKY_TEXT, the pick has no address, `service` is no service's number),
 * _CORRUPT or _NOT_ATTACHED. Never blocks, allocates or calls the system. */
#define BALLAST_STICKY_TEXT 33
BALLAST_API ballast_status_t ballast_sticky_token(ballast_t* handle, ballast_service_t service,
                                                  const ballast_pick_t* pick, char* buffer,
                                                  size_t size);

/* How many instances a pick with these options could fall on at this moment, counted up to `limit`:
 * with `tried`, how many more a retry could go to, and 0 where the service's limit or its retry
 * budget would refuse one. For servers that have to know before they give an answer up whether
 * there is somebody else to ask. Nothing is held, so the next pick may find it otherwise. `options`
 * may be NULL; its `sticky` is not looked at. 0 also where a pick would fail for another reason, a
 * wrong argument say. Looks at one instance after the other until it has counted enough; promises
 * are those of ballast_pick(). */
BALLAST_API size_t ballast_usable(ballast_t* handle, ballast_service_t service,
                                  const ballast_pick_options_t* options, size_t limit);

/* The hash of a key that consistent hashing starts from: XXH3_64bits, seed 0; fixed for ever. Test
 * vectors: docs/hash-vectors.md. Services placed as nginx does use crc32 instead. */
BALLAST_API uint64_t ballast_key_hash(const void* key, size_t length);

/* The number of the generation that the checker has published for the service; 0 if there is none.
 */
BALLAST_API uint64_t ballast_epoch(ballast_t* handle, ballast_service_t service);

/* What the handle is attached to. BALLAST_OK, _INVALID_ARGUMENT or _NOT_ATTACHED. */
BALLAST_API ballast_status_t ballast_info(ballast_t* handle, ballast_info_t* out);

/* What is not as it should be, although picks work, in one line; NULL if nothing. Valid until the
 * next call with this handle. */
BALLAST_API const char* ballast_warning(ballast_t* handle);

/* The last error of the calling thread, in one line that says where and what to do; never NULL.
 * Valid until the thread's next failing call. Only set-up errors have a text of their own;
 * outcomes of picks have ballast_status_text(). */
BALLAST_API const char* ballast_last_error(void);

/* A status in words; the name of an outcome or a reason, for logs ("timeout", "moved_load"). Never
 * NULL; a number not known gives "unknown". */
BALLAST_API const char* ballast_status_text(ballast_status_t status);
BALLAST_API const char* ballast_outcome_text(ballast_outcome_t outcome);
BALLAST_API const char* ballast_reason_text(ballast_reason_t reason);

#ifdef __cplusplus
}
#endif
#endif /* BALLAST_H */
