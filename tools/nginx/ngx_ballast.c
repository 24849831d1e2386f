
/*
 * Picks and reports, which the http and the stream module share; ngx_ballast.h
 * says who uses it.
 */


#include <ngx_ballast.h>


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


/* "size" bytes that begin with a ngx_ballast_peer_t; NULL: no memory */

void *
ngx_ballast_create_peer(ngx_ballast_conf_t *bcf, ngx_pool_t *pool, size_t size)
{
    ngx_ballast_peer_t  *bp;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(pool, size);
    if (cln == NULL) {
        return NULL;
    }

    bp = cln->data;
    ngx_memzero(bp, size);

    bp->conf = bcf;
    bp->pool = pool;

    cln->handler = ngx_ballast_cleanup;

    return bp;
}


/*
 * For a request without a key: one of its own, or a service with consistent
 * hashing would send all of them to one instance.
 */

void
ngx_ballast_spread(ngx_ballast_peer_t *bp)
{
    uint64_t  pid;

    static uint64_t  number;

    pid = ngx_pid;
    number++;

    ngx_memcpy(bp->spread, &pid, 8);
    ngx_memcpy(bp->spread + 8, &number, 8);

    bp->key.len = NGX_BALLAST_SPREAD_LEN;
    bp->key.data = bp->spread;
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

    ngx_log_error(NGX_LOG_ERR, pc->log, 0, "ballast service \"%V\": %s",
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
