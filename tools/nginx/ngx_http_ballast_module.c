
/*
 * upstream checkout { ballast checkout key=$arg_user; keepalive 32; }
 *
 * The load balancing method "ballast" of http upstreams: instances come from
 * the table that ballastd writes, never from the configuration, and how each
 * request ended is reported there.  A worker that dies loses its row of
 * counters and nothing else; without ballastd picks go on from what it
 * published last.
 */


#include <ngx_http_ballast.h>


typedef struct {
    ngx_array_t                 spaces;     /* ngx_ballast_space_t * */
} ngx_http_ballast_main_conf_t;


static char *ngx_http_ballast(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static ngx_int_t ngx_http_ballast_init(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us);
static ngx_int_t ngx_http_ballast_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
static ngx_int_t ngx_http_ballast_get_peer(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_ballast_free_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state);
#if (NGX_HTTP_SSL)
static ngx_int_t ngx_http_ballast_set_session(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_ballast_save_session(ngx_peer_connection_t *pc,
    void *data);
#endif
static ngx_int_t ngx_http_ballast_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_http_ballast_peer_t *ngx_http_ballast_peer(ngx_http_request_t *r);
static ngx_int_t ngx_http_ballast_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_ballast_postconfiguration(ngx_conf_t *cf);
static void *ngx_http_ballast_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_ballast_create_srv_conf(ngx_conf_t *cf);
static ngx_int_t ngx_http_ballast_init_process(ngx_cycle_t *cycle);


static ngx_command_t  ngx_http_ballast_commands[] = {

    { ngx_string("ballast"),
      NGX_HTTP_UPS_CONF|NGX_CONF_1MORE,
      ngx_http_ballast,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_ballast_module_ctx = {
    ngx_http_ballast_preconfiguration,     /* preconfiguration */
    ngx_http_ballast_postconfiguration,    /* postconfiguration */

    ngx_http_ballast_create_main_conf,     /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_http_ballast_create_srv_conf,      /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_ballast_module = {
    NGX_MODULE_V1,
    &ngx_http_ballast_module_ctx,          /* module context */
    ngx_http_ballast_commands,             /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_ballast_init_process,         /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


#define NGX_HTTP_BALLAST_INSTANCE  0
#define NGX_HTTP_BALLAST_REASON    1
#define NGX_HTTP_BALLAST_EPOCH     2
#define NGX_HTTP_BALLAST_STATUS    3


static ngx_http_variable_t  ngx_http_ballast_variables[] = {

    { ngx_string("ballast_instance"), NULL, ngx_http_ballast_variable,
      NGX_HTTP_BALLAST_INSTANCE, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("ballast_reason"), NULL, ngx_http_ballast_variable,
      NGX_HTTP_BALLAST_REASON, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("ballast_epoch"), NULL, ngx_http_ballast_variable,
      NGX_HTTP_BALLAST_EPOCH, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("ballast_status"), NULL, ngx_http_ballast_variable,
      NGX_HTTP_BALLAST_STATUS, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


static ngx_int_t
ngx_http_ballast_init(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_ballast_srv_conf_t  *hcf;

    if (us->servers->nelts != 1) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"server\" is not allowed beside \"ballast\" in "
                      "upstream \"%V\" in %s:%ui",
                      &us->host, us->file_name, us->line);
        return NGX_ERROR;
    }

    /* "zone" and others expect that peer.data is a round robin's */

    if (ngx_http_upstream_init_round_robin(cf, us) != NGX_OK) {
        return NGX_ERROR;
    }

    hcf = ngx_http_conf_upstream_srv_conf(us, ngx_http_ballast_module);
    hcf->ballast.used = 1;

    us->peer.init = ngx_http_ballast_init_peer;

    return NGX_OK;
}


static ngx_int_t
ngx_http_ballast_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_pool_cleanup_t           *cln;
    ngx_http_upstream_t          *u;
    ngx_http_ballast_peer_t      *hp;
    ngx_http_ballast_srv_conf_t  *hcf;

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "init ballast peer");

    hcf = ngx_http_conf_upstream_srv_conf(us, ngx_http_ballast_module);

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_ballast_peer_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    hp = cln->data;
    ngx_memzero(hp, sizeof(ngx_http_ballast_peer_t));

    hp->conf = hcf;
    hp->request = r;
    hp->peer.conf = &hcf->ballast;
    hp->peer.pool = r->pool;

    cln->handler = ngx_ballast_cleanup;

    if (hcf->key
        && ngx_http_complex_value(r, hcf->key, &hp->peer.key) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (hp->peer.key.len == 0) {
        ngx_ballast_spread(&hp->peer.key, hp->spread);
    }

    if (hcf->cookie.len) {
#if (nginx_version >= 1023000)
        (void) ngx_http_parse_multi_header_lines(r, r->headers_in.cookie,
                                                 &hcf->cookie,
                                                 &hp->peer.sticky);
#else
        (void) ngx_http_parse_multi_header_lines(&r->headers_in.cookies,
                                                 &hcf->cookie,
                                                 &hp->peer.sticky);
#endif
    }

    ngx_http_set_ctx(r, hp, ngx_http_ballast_module);

    u = r->upstream;

    u->peer.data = hp;
    u->peer.get = ngx_http_ballast_get_peer;
    u->peer.free = ngx_http_ballast_free_peer;
    u->peer.tries = hcf->ballast.tries;
#if (NGX_HTTP_SSL)
    u->peer.set_session = ngx_http_ballast_set_session;
    u->peer.save_session = ngx_http_ballast_save_session;
#endif

    return NGX_OK;
}


static ngx_int_t
ngx_http_ballast_get_peer(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_ballast_peer_t  *hp = data;

    ngx_int_t  rc;

    rc = ngx_ballast_pick(pc, &hp->peer);

    if (rc != NGX_OK || hp->conf->cookie.len == 0) {
        return rc;
    }

    return ngx_http_ballast_set_cookie(hp);
}


static void
ngx_http_ballast_free_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_http_ballast_peer_t  *hp = data;

    uint64_t              header;
    ngx_table_elt_t      *h;
    ballast_result_t      result = BALLAST_RESULT_INIT;
    ngx_http_upstream_t  *u;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, pc->log, 0,
                   "free ballast peer: %ui, try: %ui", state, pc->tries);

    if (!hp->peer.picked) {
        return;
    }

    if (pc->tries) {
        pc->tries--;
    }

    u = hp->request->upstream;

    result.outcome = ngx_http_ballast_outcome(hp->request, pc, state);

    /* how long a client takes to read a body is not the instance's doing */

    result.latency_us = ngx_ballast_elapsed(&hp->peer);

    if (u->state && u->state->header_time != (ngx_msec_t) -1) {
        header = ((uint64_t) u->state->header_time + 1) * 1000;
        result.latency_us = ngx_min(result.latency_us, header);
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
            result.load = (char *) h->value.data;
            result.load_length = h->value.len;
        }
    }

    if (result.outcome == BALLAST_OVERLOAD && !ngx_http_ballast_cached(u)) {
        result.retry_after_ms = ngx_http_ballast_retry_after(u);
    }

    if (state & NGX_PEER_FAILED) {

        /* as nginx does, which then counts no try: see ngx_ballast_pick() */

        if (result.outcome == BALLAST_RESET
            && pc->cached && u->state && u->state->bytes_received == 0)
        {
            hp->peer.last->stale = 1;
            result.outcome = BALLAST_ABANDONED;
        }

        if (hp->set_cookie) {
            hp->set_cookie->hash = 0;
        }
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, pc->log, 0,
                   "ballast report: %s, %uLus",
                   ballast_outcome_text(result.outcome), result.latency_us);

    ngx_ballast_report(&hp->peer, &result);
}


#if (NGX_HTTP_SSL)

static ngx_int_t
ngx_http_ballast_set_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_ballast_peer_t  *hp = data;

    return ngx_ballast_set_session(pc, &hp->peer);
}


static void
ngx_http_ballast_save_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_ballast_peer_t  *hp = data;

    ngx_ballast_save_session(pc, &hp->peer);
}

#endif


/*
 * The variables tell of the last pick.  The context is lost in an internal
 * redirect, to an error page say; the pool's cleanup is not.
 */

static ngx_http_ballast_peer_t *
ngx_http_ballast_peer(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t       *cln;
    ngx_http_ballast_peer_t  *hp;

    hp = ngx_http_get_module_ctx(r, ngx_http_ballast_module);

    if (hp || (!r->internal && !r->filter_finalize)) {
        return hp;
    }

    for (cln = r->pool->cleanup; cln; cln = cln->next) {

        if (cln->handler == ngx_ballast_cleanup) {
            hp = cln->data;

            if (hp->request == r) {
                return hp;
            }
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_ballast_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                   *p;
    const char               *text;
    ngx_ballast_try_t        *last;
    ngx_http_ballast_peer_t  *hp;

    hp = ngx_http_ballast_peer(r);
    last = hp ? hp->peer.last : NULL;

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    if (hp && data == NGX_HTTP_BALLAST_STATUS) {
        text = ngx_ballast_status(&hp->peer);

    } else if (last == NULL) {
        v->not_found = 1;
        return NGX_OK;

    } else if (data == NGX_HTTP_BALLAST_INSTANCE) {
        v->len = last->name.len;
        v->data = last->name.data;
        return NGX_OK;

    } else if (data == NGX_HTTP_BALLAST_REASON) {
        text = ballast_reason_text((ballast_reason_t) last->pick.reason);

    } else {
        p = ngx_pnalloc(r->pool, NGX_INT64_LEN);
        if (p == NULL) {
            return NGX_ERROR;
        }

        v->data = p;
        v->len = ngx_sprintf(p, "%uL", last->pick.epoch) - p;
        return NGX_OK;
    }

    v->data = (u_char *) text;
    v->len = ngx_strlen(text);

    return NGX_OK;
}


static ngx_int_t
ngx_http_ballast_preconfiguration(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_ballast_variables; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_ballast_postconfiguration(ngx_conf_t *cf)
{
    ngx_uint_t                      i;
    ngx_http_ballast_srv_conf_t    *hcf;
    ngx_http_ballast_main_conf_t   *hmcf;
    ngx_http_upstream_srv_conf_t  **uscfp;
    ngx_http_upstream_main_conf_t  *umcf;

    hmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_ballast_module);
    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);

    ngx_ballast_release(&hmcf->spaces);

    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (uscfp[i]->srv_conf == NULL) {
            continue;
        }

        hcf = ngx_http_conf_upstream_srv_conf(uscfp[i],
                                               ngx_http_ballast_module);

        if (hcf->ballast.service.len && !hcf->ballast.used) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "another load balancing method replaces "
                          "\"ballast\" in upstream \"%V\" in %s:%ui",
                          &uscfp[i]->host, uscfp[i]->file_name,
                          uscfp[i]->line);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void *
ngx_http_ballast_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_ballast_main_conf_t  *hmcf;

    hmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_ballast_main_conf_t));
    if (hmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&hmcf->spaces, cf->pool, 1,
                       sizeof(ngx_ballast_space_t *))
        != NGX_OK)
    {
        return NULL;
    }

    return hmcf;
}


static void *
ngx_http_ballast_create_srv_conf(ngx_conf_t *cf)
{
    ngx_http_ballast_srv_conf_t  *hcf;

    hcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_ballast_srv_conf_t));
    if (hcf == NULL) {
        return NULL;
    }

    ngx_str_set(&hcf->attributes, "");

    hcf->ballast.tries = NGX_BALLAST_TRIES;

    return hcf;
}


static char *
ngx_http_ballast(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_ballast_srv_conf_t *hcf = conf;

    ngx_int_t                          rc;
    ngx_str_t                         *value, s;
    ngx_uint_t                         i;
    ngx_ballast_space_t                space;
    ngx_http_upstream_server_t        *us;
    ngx_http_upstream_srv_conf_t      *uscf;
    ngx_http_ballast_main_conf_t      *hmcf;
    ngx_http_compile_complex_value_t   ccv;

    if (hcf->ballast.service.len) {
        return "is duplicate";
    }

    uscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_upstream_module);
    hmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_ballast_module);

    if (uscf->peer.init_upstream) {
        return "must come before \"keepalive\", and is the only load "
               "balancing method of its upstream";
    }

    value = cf->args->elts;

    ngx_memzero(&space, sizeof(ngx_ballast_space_t));
    ngx_str_set(&space.name, "");
    ngx_str_set(&space.directory, "");

    hcf->ballast.space = &space;
    hcf->ballast.service = value[1];

    for (i = 2; i < cf->args->nelts; i++) {

        rc = ngx_ballast_argument(cf, &hcf->ballast, &value[i]);

        if (rc == NGX_OK) {
            continue;
        }

        if (rc == NGX_ERROR) {
            return NGX_CONF_ERROR;
        }

        if (ngx_strncmp(value[i].data, "key=", 4) == 0) {

            s.len = value[i].len - 4;
            s.data = value[i].data + 4;

            if (s.len == 0) {
                goto invalid;
            }

            ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

            hcf->key = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
            if (hcf->key == NULL) {
                return NGX_CONF_ERROR;
            }

            ccv.cf = cf;
            ccv.value = &s;
            ccv.complex_value = hcf->key;

            if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        if (ngx_strcmp(value[i].data, "sticky=cookie") == 0) {

            if (hcf->cookie.len || ++i == cf->args->nelts
                || value[i].len == 0
                || ngx_http_ballast_cookie_name(&value[i]) != NGX_OK)
            {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "\"sticky=cookie\" needs the cookie's name "
                                   "as its next parameter, once");
                return NGX_CONF_ERROR;
            }

            hcf->cookie = value[i];
            continue;
        }

        if (hcf->cookie.len) {

            rc = ngx_http_ballast_cookie_attribute(cf, hcf, &value[i]);

            if (rc == NGX_OK) {
                continue;
            }

            if (rc == NGX_ERROR) {
                return NGX_CONF_ERROR;
            }
        }

        goto invalid;
    }

    if (hcf->cookie.len
        && ngx_http_ballast_cookie_complete(cf, hcf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (ngx_ballast_use(cf, &hcf->ballast, &hmcf->spaces) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    /* nginx refuses an upstream without servers; nobody gets this one */

    us = ngx_array_push(uscf->servers);
    if (us == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(us, sizeof(ngx_http_upstream_server_t));

    us->addrs = ngx_pcalloc(cf->pool, sizeof(ngx_addr_t));
    if (us->addrs == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_parse_addr(cf->pool, us->addrs, (u_char *) "127.0.0.1", 9)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    us->name = value[1];
    us->addrs->name = value[1];
    us->naddrs = 1;
    us->weight = 1;
    us->down = 1;

    uscf->peer.init_upstream = ngx_http_ballast_init;
    uscf->flags = NGX_HTTP_UPSTREAM_CREATE;

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"",
                       &value[i]);

    return NGX_CONF_ERROR;
}


static ngx_int_t
ngx_http_ballast_init_process(ngx_cycle_t *cycle)
{
    ngx_http_ballast_main_conf_t  *hmcf;

    hmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_ballast_module);

    if (hmcf) {
        ngx_ballast_attach(&hmcf->spaces, cycle->log);
    }

    return NGX_OK;
}
