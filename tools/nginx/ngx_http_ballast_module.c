
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


static char *ngx_http_ballast(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static ngx_int_t ngx_http_ballast_argument(ngx_conf_t *cf, void *conf,
    ngx_str_t *value);
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
static ngx_int_t ngx_http_ballast_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_ballast_postconfiguration(ngx_conf_t *cf);
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

    ngx_ballast_create_main_conf,          /* create main configuration */
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


static ngx_int_t
ngx_http_ballast_init(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_ballast_srv_conf_t  *hcf;

    if (ngx_ballast_alone(cf, us->servers->nelts, &us->host, us->file_name,
                          us->line)
        != NGX_OK)
    {
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
    ngx_http_upstream_t          *u;
    ngx_http_ballast_peer_t      *hp;
    ngx_http_ballast_srv_conf_t  *hcf;

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "init ballast peer");

    hcf = ngx_http_conf_upstream_srv_conf(us, ngx_http_ballast_module);

    hp = ngx_ballast_create_peer(&hcf->ballast, r->pool,
                                 sizeof(ngx_http_ballast_peer_t));
    if (hp == NULL) {
        return NGX_ERROR;
    }

    hp->conf = hcf;
    hp->request = r;

    if (hcf->key
        && ngx_http_complex_value(r, hcf->key, &hp->peer.key) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (hp->peer.key.len == 0) {
        ngx_ballast_spread(&hp->peer);
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

    ballast_result_t  result = BALLAST_RESULT_INIT;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, pc->log, 0,
                   "free ballast peer: %ui, try: %ui", state, pc->tries);

    if (!hp->peer.picked) {
        return;
    }

    if (pc->tries) {
        pc->tries--;
    }

    ngx_http_ballast_result(hp, pc, state, &result);

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

ngx_http_ballast_peer_t *
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
    ngx_http_ballast_peer_t  *hp;

    hp = ngx_http_ballast_peer(r);

    return ngx_ballast_variable(hp ? &hp->peer : NULL, r->pool, v, data);
}


static ngx_int_t
ngx_http_ballast_preconfiguration(ngx_conf_t *cf)
{
    ngx_uint_t            i;
    ngx_http_variable_t  *var;

    for (i = 0; i < NGX_BALLAST_VARIABLES; i++) {
        var = ngx_http_add_variable(cf, &ngx_ballast_variables[i],
                                    NGX_HTTP_VAR_NOCACHEABLE);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = ngx_http_ballast_variable;
        var->data = i;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_ballast_postconfiguration(ngx_conf_t *cf)
{
    ngx_uint_t                      i, j;
    ngx_http_ballast_srv_conf_t    *hcf;
    ngx_ballast_main_conf_t   *bmcf;
    ngx_http_upstream_srv_conf_t  **uscfp;
    ngx_http_upstream_main_conf_t  *umcf;

    bmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_ballast_module);
    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);

    ngx_ballast_release(&bmcf->spaces);

    ngx_http_ballast_filter();

    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (uscfp[i]->srv_conf == NULL) {
            continue;
        }

        hcf = ngx_http_conf_upstream_srv_conf(uscfp[i],
                                               ngx_http_ballast_module);

        if (ngx_ballast_used(cf, &hcf->ballast, &uscfp[i]->host,
                             uscfp[i]->file_name, uscfp[i]->line)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        for (j = 0; j < i && hcf->cookie.len; j++) {

            if (uscfp[j]->srv_conf
                && ngx_http_ballast_cookie_alone(cf, uscfp[i], uscfp[j])
                   != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static void *
ngx_http_ballast_create_srv_conf(ngx_conf_t *cf)
{
    ngx_http_ballast_srv_conf_t  *hcf;

    hcf = ngx_ballast_create_conf(cf, sizeof(ngx_http_ballast_srv_conf_t));
    if (hcf) {
        ngx_str_set(&hcf->attributes, "");
    }

    return hcf;
}


static char *
ngx_http_ballast(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_ballast_srv_conf_t *hcf = conf;

    ngx_ballast_main_conf_t       *bmcf;
    ngx_http_upstream_server_t    *us;
    ngx_http_upstream_srv_conf_t  *uscf;

    if (hcf->ballast.service.len) {
        return "is duplicate";
    }

    uscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_upstream_module);
    bmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_ballast_module);

    if (uscf->peer.init_upstream) {
        return "must come before \"keepalive\", and is the only load "
               "balancing method of its upstream";
    }

    if (ngx_ballast_arguments(cf, &hcf->ballast, &bmcf->spaces,
                              ngx_http_ballast_argument, hcf)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    us = ngx_array_push(uscf->servers);
    if (us == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(us, sizeof(ngx_http_upstream_server_t));

    us->addrs = ngx_ballast_nobody(cf, &hcf->ballast);
    if (us->addrs == NULL) {
        return NGX_CONF_ERROR;
    }

    us->name = us->addrs->name;
    us->naddrs = 1;
    us->weight = 1;
    us->down = 1;

    uscf->peer.init_upstream = ngx_http_ballast_init;
    uscf->flags = NGX_HTTP_UPSTREAM_CREATE;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_ballast_argument(ngx_conf_t *cf, void *conf, ngx_str_t *value)
{
    ngx_http_ballast_srv_conf_t *hcf = conf;

    ngx_int_t                          rc;
    ngx_str_t                          s;
    ngx_http_compile_complex_value_t   ccv;

    rc = ngx_http_ballast_cookie_argument(cf, hcf, value);

    if (rc != NGX_DECLINED || value == NULL) {
        return rc;
    }

    if (ngx_strncmp(value->data, "key=", 4) != 0 || value->len == 4) {
        return NGX_DECLINED;
    }

    s.len = value->len - 4;
    s.data = value->data + 4;

    hcf->key = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (hcf->key == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &s;
    ccv.complex_value = hcf->key;

    return ngx_http_compile_complex_value(&ccv);
}


static ngx_int_t
ngx_http_ballast_init_process(ngx_cycle_t *cycle)
{
    ngx_ballast_main_conf_t  *bmcf;

    bmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_ballast_module);

    if (bmcf) {
        ngx_ballast_attach(&bmcf->spaces, cycle->log);
    }

    return NGX_OK;
}
