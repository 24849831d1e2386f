
/*
 * How a request ended, out of what nginx has seen of it, for the report of
 * ngx_http_ballast_module.c.
 */


#include <ngx_http_ballast.h>


static ballast_outcome_t ngx_http_ballast_outcome(ngx_http_request_t *r,
    ngx_peer_connection_t *pc, ngx_uint_t state);
static ngx_uint_t ngx_http_ballast_cached(ngx_http_upstream_t *u);
static uint32_t ngx_http_ballast_retry_after(ngx_http_upstream_t *u);
static ngx_table_elt_t *ngx_http_ballast_header(ngx_list_t *headers,
    const char *name, size_t len);
static ngx_uint_t ngx_http_ballast_is_module(ngx_http_upstream_t *u,
    const char *name, size_t len);
static ballast_outcome_t ngx_http_ballast_grpc_outcome(ngx_http_upstream_t *u);


/* what is reported of the try that nginx is done with */

void
ngx_http_ballast_result(ngx_http_ballast_peer_t *hp, ngx_peer_connection_t *pc,
    ngx_uint_t state, ballast_result_t *result)
{
    uint64_t              header;
    ngx_table_elt_t      *h;
    ngx_http_upstream_t  *u;

    u = hp->request->upstream;

    result->outcome = ngx_http_ballast_outcome(hp->request, pc, state);

    /* how long a client takes to read a body is not the instance's doing */

    result->latency_us = ngx_ballast_elapsed(&hp->peer);

    if (u->state && u->state->header_time != (ngx_msec_t) -1) {
        header = ((uint64_t) u->state->header_time + 1) * 1000;
        result->latency_us = ngx_min(result->latency_us, header);
    }

    if (u->state && u->state->header_time != (ngx_msec_t) -1
        && !ngx_http_ballast_cached(u))
    {
        h = ngx_http_ballast_header(&u->headers_in.headers,
                                    "endpoint-load-metrics", 21);
        if (h == NULL) {
            h = ngx_http_ballast_header(&u->headers_in.trailers,
                                        "endpoint-load-metrics", 21);
        }

        if (h) {
            result->load = (char *) h->value.data;
            result->load_length = h->value.len;
        }
    }

    if (result->outcome == BALLAST_OVERLOAD && !ngx_http_ballast_cached(u)) {
        result->retry_after_ms = ngx_http_ballast_retry_after(u);
    }

    if (state & NGX_PEER_FAILED) {

        /*
         * A kept connection that the instance had closed when the request
         * came: nginx counts no try, see ngx_ballast_pick().  If the instance
         * had got the request, it has failed.
         */

        if (result->outcome == BALLAST_RESET
            && pc->cached && u->state && u->state->bytes_received == 0
            && (pc->connection->sent == 0
                || ngx_http_ballast_is_stale(pc->connection->fd,
                                             pc->connection->sent)))
        {
            hp->peer.last->stale = 1;
            result->outcome = BALLAST_ABANDONED;
        }

        if (hp->set_cookie) {
            hp->set_cookie->hash = 0;
        }
    }
}


/*
 * nginx frees a peer as failed when it goes on to the next or gives up, and
 * with a state of 0 when it is done with the request for whatever reason.
 * keepalive has taken the connection away if the answer was complete.
 */

static ballast_outcome_t
ngx_http_ballast_outcome(ngx_http_request_t *r, ngx_peer_connection_t *pc,
    ngx_uint_t state)
{
    ngx_uint_t            status, timedout, broken;
    ngx_connection_t     *c;
    ngx_event_pipe_t     *p;
    ngx_http_upstream_t  *u;

    u = r->upstream;
    c = pc->connection;
    status = u->headers_in.status_n;

    if (ngx_http_ballast_cached(u) && u->state) {
        status = u->state->status;
    }

    timedout = c && (c->read->timedout || c->write->timedout);
    broken = c && (c->read->eof || c->read->error || c->write->error);

    if (state & NGX_PEER_FAILED) {

        if (timedout) {
            return BALLAST_TIMEOUT;
        }

        if (c == NULL || (!u->request_sent && !pc->cached)) {
            /* refused, unreachable, or no TLS handshake */
            return BALLAST_CONNECT_FAILURE;
        }

    } else if (u->state == NULL || u->state->header_time == (ngx_msec_t) -1) {

        return r->connection->error ? BALLAST_CANCELLED : BALLAST_ABANDONED;
    }

    if (status == NGX_HTTP_SERVICE_UNAVAILABLE
        || status == NGX_HTTP_TOO_MANY_REQUESTS)
    {
        return BALLAST_OVERLOAD;
    }

    if (status >= NGX_HTTP_INTERNAL_SERVER_ERROR) {
        return BALLAST_SERVER_ERROR;
    }

    if (state & NGX_PEER_FAILED) {
        /* no answer, or not one of HTTP */
        return (broken || !u->request_sent) ? BALLAST_RESET
                                            : BALLAST_SERVER_ERROR;
    }

    if (u->upgrade) {
        return BALLAST_SUCCESS;
    }

    if (timedout) {
        return BALLAST_TIMEOUT;
    }

    p = u->pipe;

    if (u->buffering && p) {

        if (p->upstream_error
            || (p->upstream_eof && !p->upstream_done && p->length > 0))
        {
            return BALLAST_RESET;
        }

    } else if (broken && u->length > 0) {
        return BALLAST_RESET;
    }

    if (ngx_http_ballast_is_module(u, "grpc", 4)) {
        return ngx_http_ballast_grpc_outcome(u);
    }

    if (u->headers_in.status_line.len == 0
        && ngx_http_ballast_is_module(u, "proxy", 5))
    {
        /* not HTTP at all, which nginx passes on as an answer of HTTP/0.9 */
        return BALLAST_SERVER_ERROR;
    }

    return BALLAST_SUCCESS;
}


/*
 * The client gets an old answer out of the cache instead of the instance's,
 * and u->headers_in holds the former.
 */

static ngx_uint_t
ngx_http_ballast_cached(ngx_http_upstream_t *u)
{
#if (NGX_HTTP_CACHE)
    return u->cache_status == NGX_HTTP_CACHE_STALE
           || u->cache_status == NGX_HTTP_CACHE_REVALIDATED;
#else
    return 0;
#endif
}


static ngx_uint_t
ngx_http_ballast_is_module(ngx_http_upstream_t *u, const char *name,
    size_t len)
{
    return u->conf->module.len == len
           && ngx_strncmp(u->conf->module.data, name, len) == 0;
}


/* those codes that blame the server, not the request */

static ballast_outcome_t
ngx_http_ballast_grpc_outcome(ngx_http_upstream_t *u)
{
    ngx_table_elt_t  *h;

    h = ngx_http_ballast_header(&u->headers_in.trailers, "grpc-status", 11);

    if (h == NULL) {
        h = ngx_http_ballast_header(&u->headers_in.headers, "grpc-status", 11);
    }

    if (h == NULL) {
        return BALLAST_SUCCESS;
    }

    switch (ngx_atoi(h->value.data, h->value.len)) {

    case 4:   /* deadline exceeded */
        return BALLAST_TIMEOUT;

    case 8:   /* resource exhausted */
        return BALLAST_OVERLOAD;

    case 2:   /* unknown */
    case 13:  /* internal */
    case 14:  /* unavailable */
    case 15:  /* data loss */
        return BALLAST_SERVER_ERROR;

    default:
        return BALLAST_SUCCESS;
    }
}


static uint32_t
ngx_http_ballast_retry_after(ngx_http_upstream_t *u)
{
    time_t            sec;
    ngx_table_elt_t  *h;

    h = ngx_http_ballast_header(&u->headers_in.headers, "retry-after", 11);

    if (h == NULL) {
        return 0;
    }

    sec = ngx_atotm(h->value.data, h->value.len);

    if (sec == (time_t) NGX_ERROR) {
        sec = ngx_parse_http_time(h->value.data, h->value.len);

        if (sec == (time_t) NGX_ERROR) {
            return 0;
        }

        sec -= ngx_time();
    }

    if (sec <= 0) {
        return 0;
    }

    return (sec > 86400) ? 86400 * 1000 : (uint32_t) sec * 1000;
}


static ngx_table_elt_t *
ngx_http_ballast_header(ngx_list_t *headers, const char *name, size_t len)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &headers->part;
    h = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == len
            && h[i].hash != 0
            && ngx_strncasecmp(h[i].key.data, (u_char *) name, len) == 0)
        {
            return &h[i];
        }
    }

    return NULL;
}
