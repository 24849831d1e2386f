
/*
 * What the http and the stream module share; ngx_ballast.h says who uses it.
 */


#include <ngx_ballast.h>


#define NGX_BALLAST_ATTACH_INTERVAL  1000


static ngx_int_t ngx_ballast_attach_space(ngx_ballast_space_t *space,
    ngx_log_t *log);
static ngx_ballast_space_t *ngx_ballast_space(ngx_conf_t *cf,
    ngx_array_t *spaces, ngx_ballast_space_t *wanted);
static void ngx_ballast_detach(void *data);
static void ngx_ballast_free_sessions(void *data);
static ballast_status_t ngx_ballast_find(ngx_ballast_conf_t *bcf,
    ngx_log_t *log);
static ballast_status_t ngx_ballast_pick_try(ngx_ballast_peer_t *bp,
    ballast_pick_t *pick, ngx_uint_t stale);
static ngx_int_t ngx_ballast_address(ngx_ballast_try_t *t, ngx_pool_t *pool);
static u_char *ngx_ballast_decimal(u_char *p, ngx_uint_t n);
static void ngx_ballast_limit_tries(ngx_peer_connection_t *pc,
    ngx_ballast_peer_t *bp);
static ngx_uint_t ngx_ballast_tried(ngx_ballast_peer_t *bp,
    const ballast_pick_t **tried, ngx_uint_t stale);
static uint64_t ngx_ballast_now(void);


/*
 * The service, and the arguments that both modules know: NGX_DECLINED if
 * the argument is none of them, NGX_ERROR if it is wrong, which is logged.
 * "space" holds the names only, until ngx_ballast_use().
 */

ngx_int_t
ngx_ballast_argument(ngx_conf_t *cf, ngx_ballast_conf_t *bcf, ngx_str_t *value)
{
    ngx_int_t   n;
    ngx_str_t  *dst, s;

    if (ngx_strncmp(value->data, "namespace=", 10) == 0) {
        dst = &bcf->space->name;
        s.len = value->len - 10;
        s.data = value->data + 10;

    } else if (ngx_strncmp(value->data, "directory=", 10) == 0) {
        dst = &bcf->space->directory;
        s.len = value->len - 10;
        s.data = value->data + 10;

        if (s.len && s.data[0] != '/') {
            goto invalid;
        }

    } else if (ngx_strncmp(value->data, "tries=", 6) == 0) {
        n = ngx_atoi(value->data + 6, value->len - 6);

        if (n < 1 || n > NGX_BALLAST_MAX_TRIES) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": the number of tries is 1..%d",
                               value, NGX_BALLAST_MAX_TRIES);
            return NGX_ERROR;
        }

        bcf->tries = n;
        return NGX_OK;

    } else if (ngx_strcmp(value->data, "missing=fail") == 0) {
        bcf->wait = 0;
        return NGX_OK;

    } else if (ngx_strcmp(value->data, "missing=wait") == 0) {
        bcf->wait = 1;
        return NGX_OK;

    } else {
        return NGX_DECLINED;
    }

    if (s.len == 0) {
        goto invalid;
    }

    /* configuration strings are null-terminated */

    *dst = s;

    return NGX_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\"", value);

    return NGX_ERROR;
}


/*
 * Looks whether the namespace and the service are there, and gives the
 * upstream its own namespace out of "spaces".
 */

char *
ngx_ballast_use(ngx_conf_t *cf, ngx_ballast_conf_t *bcf, ngx_array_t *spaces)
{
    ngx_uint_t            level;
    ballast_status_t      status;
    ngx_pool_cleanup_t   *cln;
    ngx_ballast_space_t  *space;

    if (bcf->space->name.len && bcf->space->directory.len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"namespace=\" and \"directory=\" exclude "
                           "each other");
        return NGX_CONF_ERROR;
    }

    space = ngx_ballast_space(cf, spaces, bcf->space);
    if (space == NULL) {
        return NGX_CONF_ERROR;
    }

    bcf->space = space;

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    cln->handler = ngx_ballast_free_sessions;
    cln->data = bcf;

    level = bcf->wait ? NGX_LOG_WARN : NGX_LOG_EMERG;

    if (space->handle == NULL
        && ngx_ballast_attach_space(space, NULL) != NGX_OK)
    {
        ngx_conf_log_error(level, cf, 0, "ballast cannot attach (%s)",
                           ballast_last_error());
        goto missing;
    }

    status = ballast_find_service(space->handle, (char *) bcf->service.data,
                                  &bcf->number);

    if (status == BALLAST_OK) {
        return NGX_CONF_OK;
    }

    if (status == BALLAST_SERVICE_UNKNOWN) {
        ngx_conf_log_error(level, cf, 0,
                           "ballast service \"%V\" is not published",
                           &bcf->service);
        goto missing;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "ballast service \"%V\": %s",
                       &bcf->service, ballast_last_error());

    return NGX_CONF_ERROR;

missing:

    return bcf->wait ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static ngx_ballast_space_t *
ngx_ballast_space(ngx_conf_t *cf, ngx_array_t *spaces,
    ngx_ballast_space_t *wanted)
{
    ngx_uint_t             i;
    ngx_pool_cleanup_t    *cln;
    ngx_ballast_space_t   *space, **spacep;

    if (wanted->name.len == 0 && wanted->directory.len == 0) {
        ngx_str_set(&wanted->name, "default");
    }

    spacep = spaces->elts;

    for (i = 0; i < spaces->nelts; i++) {
        space = spacep[i];

        if (space->name.len == wanted->name.len
            && space->directory.len == wanted->directory.len
            && ngx_strncmp(space->name.data, wanted->name.data,
                           wanted->name.len) == 0
            && ngx_strncmp(space->directory.data, wanted->directory.data,
                           wanted->directory.len) == 0)
        {
            return space;
        }
    }

    cln = ngx_pool_cleanup_add(cf->pool, sizeof(ngx_ballast_space_t));
    if (cln == NULL) {
        return NULL;
    }

    space = cln->data;
    *space = *wanted;

    cln->handler = ngx_ballast_detach;

    spacep = ngx_array_push(spaces);
    if (spacep == NULL) {
        return NULL;
    }

    *spacep = space;

    return space;
}


/* the configuration is read: a row is for those who serve */

void
ngx_ballast_release(ngx_array_t *spaces)
{
    ngx_uint_t             i;
    ngx_ballast_space_t  **spacep;

    spacep = spaces->elts;

    for (i = 0; i < spaces->nelts; i++) {
        ngx_ballast_detach(spacep[i]);
    }
}


static void
ngx_ballast_detach(void *data)
{
    ngx_ballast_space_t  *space = data;

    ballast_detach(space->handle);

    space->handle = NULL;
}


/* when a worker starts; those who look after caches pick nothing */

void
ngx_ballast_attach(ngx_array_t *spaces, ngx_log_t *log)
{
    ngx_uint_t             i;
    ngx_ballast_space_t  **spacep;

    if (ngx_process == NGX_PROCESS_HELPER) {
        return;
    }

    spacep = spaces->elts;

    for (i = 0; i < spaces->nelts; i++) {
        (void) ngx_ballast_attach_space(spacep[i], log);
    }
}


static ngx_int_t
ngx_ballast_attach_space(ngx_ballast_space_t *space, ngx_log_t *log)
{
    const char         *warning;
    ballast_options_t   options = BALLAST_OPTIONS_INIT;

    if (space->directory.len) {
        options.directory = (char *) space->directory.data;

    } else {
        options.name_space = (char *) space->name.data;
    }

    if (ballast_attach(&options, &space->handle) != BALLAST_OK) {

        space->attach_again = ngx_current_msec + NGX_BALLAST_ATTACH_INTERVAL;

        if (log && !space->failed) {
            space->failed = 1;

            ngx_log_error(NGX_LOG_ERR, log, 0,
                          "ballast cannot attach, and will try again: %s",
                          ballast_last_error());
        }

        return NGX_ERROR;
    }

    if (log) {
        warning = ballast_warning(space->handle);

        if (warning) {
            ngx_log_error(NGX_LOG_WARN, log, 0, "ballast: %s", warning);
        }

        if (space->failed) {
            space->failed = 0;
            ngx_log_error(NGX_LOG_NOTICE, log, 0, "ballast attached");
        }
    }

    return NGX_OK;
}


/*
 * After this the upstream's handle and number can be used.  A process that
 * could not attach tries again now and then, never for each request.
 */

static ballast_status_t
ngx_ballast_find(ngx_ballast_conf_t *bcf, ngx_log_t *log)
{
    ballast_status_t      status;
    ngx_ballast_space_t  *space;

    space = bcf->space;

    if (space->handle == NULL) {

        if (space->attach_again
            && (ngx_msec_int_t) (space->attach_again - ngx_current_msec) > 0)
        {
            return BALLAST_NOT_ATTACHED;
        }

        if (ngx_ballast_attach_space(space, log) != NGX_OK) {
            return BALLAST_NOT_ATTACHED;
        }
    }

    if (bcf->found) {
        return BALLAST_OK;
    }

    /* an unknown one has a number, too, and picks find it when it is there */

    status = ballast_find_service(space->handle, (char *) bcf->service.data,
                                  &bcf->number);

    if (status != BALLAST_OK && status != BALLAST_SERVICE_UNKNOWN) {
        return status;
    }

    bcf->found = 1;

    return BALLAST_OK;
}


/*
 * For a request without a key: one of its own, or a service with consistent
 * hashing would send all of them to one instance.
 */

void
ngx_ballast_spread(ngx_str_t *key, u_char *buf)
{
    uint64_t  pid;

    static uint64_t  number;

    pid = ngx_pid;
    number++;

    ngx_memcpy(buf, &pid, 8);
    ngx_memcpy(buf + 8, &number, 8);

    key->len = NGX_BALLAST_SPREAD_LEN;
    key->data = buf;
}


/* one word, for logs and maps; ballast_status_text() is for people */

const char *
ngx_ballast_status(ngx_ballast_peer_t *bp)
{
    switch (bp->status) {

    case BALLAST_OK:
        return "ok";

    case BALLAST_NO_INSTANCE:
        return "no_instance";

    case BALLAST_LIMITED:
        return "limited";

    case BALLAST_RETRY_BUDGET:
        return "retry_budget";

    case BALLAST_SERVICE_UNKNOWN:
        return "service_unknown";

    case BALLAST_NOT_ATTACHED:
        return "not_attached";

    default:
        return "error";
    }
}


/* peer.get: NGX_OK, NGX_BUSY if there is nothing to pick, or NGX_ERROR */

ngx_int_t
ngx_ballast_pick(ngx_peer_connection_t *pc, ngx_ballast_peer_t *bp)
{
    ngx_uint_t          stale;
    ngx_ballast_try_t  *t, *p;

    pc->cached = 0;
    pc->connection = NULL;

    if (bp->picked) {
        /* not seen: nginx frees a peer before it gets the next */
        ngx_ballast_report(bp, NULL);
    }

    t = ngx_palloc(bp->pool, sizeof(ngx_ballast_try_t));
    if (t == NULL) {
        return NGX_ERROR;
    }

    bp->status = ngx_ballast_find(bp->conf, pc->log);

    if (bp->status != BALLAST_OK) {
        goto busy;
    }

    bp->handle = bp->conf->space->handle;

    bp->status = ngx_ballast_pick_try(bp, &t->pick, 1);

    if (bp->status != BALLAST_OK && bp->last) {

        /*
         * A kept connection that was gone says little of its instance: it
         * is the last to be tried again, and that is no retry of the
         * service's budget.
         */

        stale = 0;

        for (p = bp->last; p; p = p->next) {
            stale |= p->stale;
        }

        if (stale) {
            bp->status = ngx_ballast_pick_try(bp, &t->pick, 0);
        }
    }

    if (bp->status != BALLAST_OK) {
        goto busy;
    }

    if (ngx_ballast_address(t, bp->pool) != NGX_OK) {
        (void) ballast_abandon(bp->handle, &t->pick);
        bp->status = BALLAST_NO_INSTANCE;
        goto busy;
    }

    t->stale = 0;
    t->next = bp->last;
    bp->last = t;

    bp->picked = 1;
    bp->started = ngx_ballast_now();

    pc->sockaddr = &t->sockaddr.sockaddr;
    pc->socklen = t->socklen;
    pc->name = &t->name;

    ngx_ballast_limit_tries(pc, bp);

    ngx_log_debug3(NGX_LOG_DEBUG_EVENT, pc->log, 0,
                   "ballast pick: %V, %s, try: %ui", &t->name,
                   ballast_reason_text((ballast_reason_t) t->pick.reason),
                   pc->tries);

    return NGX_OK;

busy:

    ngx_log_error(NGX_LOG_INFO, pc->log, 0, "ballast service \"%V\": %s",
                  &bp->conf->service, ballast_status_text(bp->status));

    pc->name = &bp->conf->service;

    return NGX_BUSY;
}


static ballast_status_t
ngx_ballast_pick_try(ngx_ballast_peer_t *bp, ballast_pick_t *pick,
    ngx_uint_t stale)
{
    const ballast_pick_t          *tried[BALLAST_MAX_TRIED];
    ballast_pick_options_t         options = BALLAST_PICK_OPTIONS_INIT;
    const ballast_pick_options_t  *wishes;

    static const ballast_pick_t  empty = BALLAST_PICK_INIT;

    options.tried = tried;
    options.tried_count = ngx_ballast_tried(bp, tried, stale);

    options.sticky = (char *) bp->sticky.data;
    options.sticky_length = bp->sticky.len;

    /* without wishes the way is shorter */

    wishes = (options.tried_count || options.sticky_length) ? &options : NULL;

    *pick = empty;

    return ballast_pick(bp->handle, bp->conf->number, bp->key.data,
                        bp->key.len, wishes, pick);
}


/*
 * Where to connect, and the same as text, which nginx wants at once, for its
 * logs; its own way to write an IPv4 address costs more than the pick.
 */

static ngx_int_t
ngx_ballast_address(ngx_ballast_try_t *t, ngx_pool_t *pool)
{
    u_char               *p, *a;
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    if (t->pick.family == 4) {
        a = t->pick.address;
        sin = &t->sockaddr.sockaddr_in;

        ngx_memzero(sin, sizeof(struct sockaddr_in));

        sin->sin_family = AF_INET;
        sin->sin_port = htons(t->pick.port);
        ngx_memcpy(&sin->sin_addr, a, 4);

        t->socklen = sizeof(struct sockaddr_in);

        p = ngx_ballast_decimal(t->text, a[0]);
        *p++ = '.';
        p = ngx_ballast_decimal(p, a[1]);
        *p++ = '.';
        p = ngx_ballast_decimal(p, a[2]);
        *p++ = '.';
        p = ngx_ballast_decimal(p, a[3]);
        *p++ = ':';
        p = ngx_ballast_decimal(p, t->pick.port);

        t->name.len = p - t->text;
        t->name.data = t->text;

        return NGX_OK;
    }

#if (NGX_HAVE_INET6)

    if (t->pick.family == 6) {
        sin6 = &t->sockaddr.sockaddr_in6;

        ngx_memzero(sin6, sizeof(struct sockaddr_in6));

        sin6->sin6_family = AF_INET6;
        sin6->sin6_port = htons(t->pick.port);
        ngx_memcpy(&sin6->sin6_addr, t->pick.address, 16);

        t->socklen = sizeof(struct sockaddr_in6);

        p = ngx_pnalloc(pool, NGX_BALLAST_INET6_LEN);
        if (p == NULL) {
            return NGX_ERROR;
        }

        t->name.len = ngx_sock_ntop(&t->sockaddr.sockaddr, t->socklen, p,
                                    NGX_BALLAST_INET6_LEN, 1);
        t->name.data = p;

        return NGX_OK;
    }

#endif

    return NGX_ERROR;
}


static u_char *
ngx_ballast_decimal(u_char *p, ngx_uint_t n)
{
    if (n >= 10) {
        p = ngx_ballast_decimal(p, n / 10);
    }

    *p++ = (u_char) ('0' + n % 10);

    return p;
}


/*
 * No more tries than there are instances for them: nginx passes an answer
 * on that it cannot replace, and else has thrown it away.  What holds of one
 * request's first try holds of all in the same millisecond.
 */

static void
ngx_ballast_limit_tries(ngx_peer_connection_t *pc, ngx_ballast_peer_t *bp)
{
    const ballast_pick_t    *tried[BALLAST_MAX_TRIED];
    ngx_ballast_conf_t      *bcf;
    ballast_pick_options_t   options = BALLAST_PICK_OPTIONS_INIT;

    if (pc->tries <= 1) {
        return;
    }

    bcf = bp->conf;
    options.tried = tried;

    if (bp->last->next) {
        options.tried_count = ngx_ballast_tried(bp, tried, 1);

        pc->tries = 1 + ballast_usable(bp->handle, bcf->number, &options,
                                       pc->tries - 1);
        return;
    }

    if (bcf->others_at != ngx_current_msec) {
        options.tried_count = 1;
        tried[0] = &bp->last->pick;

        bcf->others = ballast_usable(bp->handle, bcf->number, &options,
                                     bcf->tries - 1);
        bcf->others_at = ngx_current_msec;
    }

    pc->tries = ngx_min(pc->tries, 1 + bcf->others);
}


/* the picks of the last tries, with or without the stale ones */

static ngx_uint_t
ngx_ballast_tried(ngx_ballast_peer_t *bp, const ballast_pick_t **tried,
    ngx_uint_t stale)
{
    ngx_uint_t          n;
    ngx_ballast_try_t  *t;

    n = 0;

    for (t = bp->last; t && n < BALLAST_MAX_TRIED; t = t->next) {

        if (t->stale && !stale) {
            continue;
        }

        tried[n++] = &t->pick;
    }

    return n;
}


/* peer.free, once for each pick; a result of NULL says that nobody knows */

void
ngx_ballast_report(ngx_ballast_peer_t *bp, ballast_result_t *result)
{
    bp->picked = 0;

    if (result && result->load == NULL && result->retry_after_ms == 0) {
        (void) ballast_report(bp->handle, &bp->last->pick, result->outcome,
                              result->latency_us);

    } else if (result) {
        (void) ballast_report_full(bp->handle, &bp->last->pick, result);

    } else {
        (void) ballast_abandon(bp->handle, &bp->last->pick);
    }
}


/* a request's or session's pool is destroyed: what it had is given back */

void
ngx_ballast_cleanup(void *data)
{
    ngx_ballast_peer_t  *bp = data;

    if (bp->picked) {
        ngx_ballast_report(bp, NULL);
    }
}


/* ngx_current_msec is too coarse, and as old as the event loop's round */

static uint64_t
ngx_ballast_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


uint64_t
ngx_ballast_elapsed(ngx_ballast_peer_t *bp)
{
    return ngx_ballast_now() - bp->started;
}


#if (NGX_SSL)

ngx_int_t
ngx_ballast_set_session(ngx_peer_connection_t *pc, ngx_ballast_peer_t *bp)
{
    ballast_pick_t         *pick;
    ngx_ballast_session_t  *bs;

    if (bp->conf->sessions == NULL || !bp->picked) {
        return NGX_OK;
    }

    pick = &bp->last->pick;
    bs = &bp->conf->sessions[pick->slot % NGX_BALLAST_SESSIONS];

    if (bs->session == NULL
        || bs->slot != pick->slot
        || bs->incarnation != pick->incarnation
        || bs->segment != pick->segment)
    {
        return NGX_OK;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, pc->log, 0,
                   "ballast set session: %p", bs->session);

    return ngx_ssl_set_session(pc->connection, bs->session);
}


void
ngx_ballast_save_session(ngx_peer_connection_t *pc, ngx_ballast_peer_t *bp)
{
    ballast_pick_t         *pick;
    ngx_ssl_session_t      *session;
    ngx_ballast_session_t  *bs;

    if (!bp->picked) {
        return;
    }

    if (bp->conf->sessions == NULL) {
        bp->conf->sessions = ngx_calloc(NGX_BALLAST_SESSIONS
                                        * sizeof(ngx_ballast_session_t),
                                        pc->log);
        if (bp->conf->sessions == NULL) {
            return;
        }
    }

    session = ngx_ssl_get_session(pc->connection);
    if (session == NULL) {
        return;
    }

    pick = &bp->last->pick;
    bs = &bp->conf->sessions[pick->slot % NGX_BALLAST_SESSIONS];

    if (bs->session) {
        ngx_ssl_free_session(bs->session);
    }

    bs->slot = pick->slot;
    bs->incarnation = pick->incarnation;
    bs->segment = pick->segment;
    bs->session = session;

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, pc->log, 0,
                   "ballast save session: %p", session);
}

#endif


static void
ngx_ballast_free_sessions(void *data)
{
    ngx_ballast_conf_t  *bcf = data;

    if (bcf->sessions == NULL) {
        return;
    }

#if (NGX_SSL)
    {
    ngx_uint_t  i;

    for (i = 0; i < NGX_BALLAST_SESSIONS; i++) {
        if (bcf->sessions[i].session) {
            ngx_ssl_free_session(bcf->sessions[i].session);
        }
    }
    }
#endif

    ngx_free(bcf->sessions);
    bcf->sessions = NULL;
}
