
/*
 * upstream queue { ballast queue key=$remote_addr; }
 *
 * The load balancing method "ballast" of stream upstreams, TCP and UDP: the
 * instances of the table that ballastd writes, and a report for each session.
 * A worker that dies loses its row of counters and nothing else; without
 * ballastd picks go on from what it published last.
 */


#include <ngx_stream.h>
#include <ngx_ballast.h>


typedef struct {
    ngx_ballast_conf_t            ballast;
    ngx_stream_complex_value_t   *key;
} ngx_stream_ballast_srv_conf_t;


typedef struct {
    ngx_ballast_peer_t            peer;
    ngx_stream_session_t         *session;
    uint64_t                      connect_us;
    u_char                        spread[NGX_BALLAST_SPREAD_LEN];

    unsigned                      connected:1;
} ngx_stream_ballast_peer_t;


static char *ngx_stream_ballast(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_stream_ballast_argument(ngx_conf_t *cf, void *conf,
    ngx_str_t *value);
static ngx_int_t ngx_stream_ballast_init(ngx_conf_t *cf,
    ngx_stream_upstream_srv_conf_t *us);
static ngx_int_t ngx_stream_ballast_init_peer(ngx_stream_session_t *s,
    ngx_stream_upstream_srv_conf_t *us);
static ngx_int_t ngx_stream_ballast_get_peer(ngx_peer_connection_t *pc,
    void *data);
static void ngx_stream_ballast_free_peer(ngx_peer_connection_t *pc,
    void *data, ngx_uint_t state);
static void ngx_stream_ballast_notify_peer(ngx_peer_connection_t *pc,
    void *data, ngx_uint_t type);
#if (NGX_STREAM_SSL)
static ngx_int_t ngx_stream_ballast_set_session(ngx_peer_connection_t *pc,
    void *data);
static void ngx_stream_ballast_save_session(ngx_peer_connection_t *pc,
    void *data);
#endif
static ballast_outcome_t ngx_stream_ballast_outcome(
    ngx_stream_ballast_peer_t *sp, ngx_peer_connection_t *pc,
    ngx_uint_t state);
static ngx_int_t ngx_stream_ballast_variable(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_stream_ballast_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_stream_ballast_postconfiguration(ngx_conf_t *cf);
static void *ngx_stream_ballast_create_srv_conf(ngx_conf_t *cf);
static ngx_int_t ngx_stream_ballast_init_process(ngx_cycle_t *cycle);


static ngx_command_t  ngx_stream_ballast_commands[] = {

    { ngx_string("ballast"),
      NGX_STREAM_UPS_CONF|NGX_CONF_1MORE,
      ngx_stream_ballast,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_stream_ballast_module_ctx = {
    ngx_stream_ballast_preconfiguration,   /* preconfiguration */
    ngx_stream_ballast_postconfiguration,  /* postconfiguration */

    ngx_ballast_create_main_conf,          /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_stream_ballast_create_srv_conf,    /* create server configuration */
    NULL                                   /* merge server configuration */
};


ngx_module_t  ngx_stream_ballast_module = {
    NGX_MODULE_V1,
    &ngx_stream_ballast_module_ctx,        /* module context */
    ngx_stream_ballast_commands,           /* module directives */
    NGX_STREAM_MODULE,                     /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_stream_ballast_init_process,       /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_stream_ballast_init(ngx_conf_t *cf, ngx_stream_upstream_srv_conf_t *us)
{
    ngx_stream_ballast_srv_conf_t  *scf;

    if (ngx_ballast_alone(cf, us->servers->nelts, &us->host, us->file_name,
                          us->line)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* "zone" and others expect that peer.data is a round robin's */

    if (ngx_stream_upstream_init_round_robin(cf, us) != NGX_OK) {
        return NGX_ERROR;
    }

    scf = ngx_stream_conf_upstream_srv_conf(us, ngx_stream_ballast_module);
    scf->ballast.used = 1;

    us->peer.init = ngx_stream_ballast_init_peer;

    return NGX_OK;
}


static ngx_int_t
ngx_stream_ballast_init_peer(ngx_stream_session_t *s,
    ngx_stream_upstream_srv_conf_t *us)
{
    ngx_stream_upstream_t          *u;
    ngx_stream_ballast_peer_t      *sp;
    ngx_stream_ballast_srv_conf_t  *scf;

    ngx_log_debug0(NGX_LOG_DEBUG_STREAM, s->connection->log, 0,
                   "init ballast peer");

    scf = ngx_stream_conf_upstream_srv_conf(us, ngx_stream_ballast_module);

    sp = ngx_ballast_create_peer(&scf->ballast, s->connection->pool,
                                 sizeof(ngx_stream_ballast_peer_t));
    if (sp == NULL) {
        return NGX_ERROR;
    }

    sp->session = s;

    if (scf->key
        && ngx_stream_complex_value(s, scf->key, &sp->peer.key) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (sp->peer.key.len == 0) {
        ngx_ballast_spread(&sp->peer);
    }

    ngx_stream_set_ctx(s, sp, ngx_stream_ballast_module);

    u = s->upstream;

    u->peer.data = sp;
    u->peer.get = ngx_stream_ballast_get_peer;
    u->peer.free = ngx_stream_ballast_free_peer;
    u->peer.notify = ngx_stream_ballast_notify_peer;
    u->peer.tries = scf->ballast.tries;
#if (NGX_STREAM_SSL)
    u->peer.set_session = ngx_stream_ballast_set_session;
    u->peer.save_session = ngx_stream_ballast_save_session;
#endif

    return NGX_OK;
}


static ngx_int_t
ngx_stream_ballast_get_peer(ngx_peer_connection_t *pc, void *data)
{
    ngx_stream_ballast_peer_t  *sp = data;

    sp->connected = 0;

    return ngx_ballast_pick(pc, &sp->peer);
}


static void
ngx_stream_ballast_notify_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t type)
{
    ngx_stream_ballast_peer_t  *sp = data;

    if (type == NGX_STREAM_UPSTREAM_NOTIFY_CONNECT && !sp->connected) {
        sp->connected = 1;
        sp->connect_us = ngx_ballast_elapsed(&sp->peer);
    }
}


static void
ngx_stream_ballast_free_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_stream_ballast_peer_t  *sp = data;

    uint64_t                first;
    ballast_result_t        result = BALLAST_RESULT_INIT;
    ngx_stream_upstream_t  *u;

    ngx_log_debug2(NGX_LOG_DEBUG_STREAM, pc->log, 0,
                   "free ballast peer: %ui, try: %ui", state, pc->tries);

    if (!sp->peer.picked) {
        return;
    }

    if (pc->tries) {
        pc->tries--;
    }

    u = sp->session->upstream;

    result.outcome = ngx_stream_ballast_outcome(sp, pc, state);
    result.latency_us = ngx_ballast_elapsed(&sp->peer);

    /*
     * A session is as long as its client likes: what tells of the instance
     * is the time to connect, and with UDP that to the first datagram.
     */

    if (sp->connected && sp->session->connection->type == SOCK_STREAM) {
        result.latency_us = sp->connect_us;

    } else if (u->state && u->state->first_byte_time != (ngx_msec_t) -1) {
        first = ((uint64_t) u->state->first_byte_time + 1) * 1000;
        result.latency_us = ngx_min(result.latency_us, first);
    }

    ngx_log_debug2(NGX_LOG_DEBUG_STREAM, pc->log, 0,
                   "ballast report: %s, %uLus",
                   ballast_outcome_text(result.outcome), result.latency_us);

    ngx_ballast_report(&sp->peer, &result);
}


/*
 * nginx frees a peer as failed when it could not connect, and of UDP also
 * when no answer came.  The former leaves the session's timer running; but a
 * refusal of the first datagram comes before there is one, and at once.
 */

static ballast_outcome_t
ngx_stream_ballast_outcome(ngx_stream_ballast_peer_t *sp,
    ngx_peer_connection_t *pc, ngx_uint_t state)
{
    ngx_connection_t  *c;

    c = pc->connection;

    if (state & NGX_PEER_FAILED) {

        if (c && (c->read->timedout || c->write->timedout)) {
            return BALLAST_TIMEOUT;
        }

        if (sp->connected && !sp->session->connection->write->timer_set
            && ngx_ballast_elapsed(&sp->peer) >= 1000)
        {
            return BALLAST_TIMEOUT;
        }

        return BALLAST_CONNECT_FAILURE;
    }

    if (c == NULL) {
        return BALLAST_ABANDONED;
    }

    if (!sp->connected) {
        return BALLAST_CANCELLED;
    }

    return (c->read->error || c->write->error) ? BALLAST_RESET
                                               : BALLAST_SUCCESS;
}


#if (NGX_STREAM_SSL)

static ngx_int_t
ngx_stream_ballast_set_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_stream_ballast_peer_t  *sp = data;

    return ngx_ballast_set_session(pc, &sp->peer);
}


static void
ngx_stream_ballast_save_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_stream_ballast_peer_t  *sp = data;

    ngx_ballast_save_session(pc, &sp->peer);
}

#endif


static ngx_int_t
ngx_stream_ballast_variable(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    ngx_stream_ballast_peer_t  *sp;

    sp = ngx_stream_get_module_ctx(s, ngx_stream_ballast_module);

    return ngx_ballast_variable(sp ? &sp->peer : NULL, s->connection->pool, v,
                                data);
}


static ngx_int_t
ngx_stream_ballast_preconfiguration(ngx_conf_t *cf)
{
    ngx_uint_t              i;
    ngx_stream_variable_t  *var;

    for (i = 0; i < NGX_BALLAST_VARIABLES; i++) {
        var = ngx_stream_add_variable(cf, &ngx_ballast_variables[i],
                                      NGX_STREAM_VAR_NOCACHEABLE);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = ngx_stream_ballast_variable;
        var->data = i;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_stream_ballast_postconfiguration(ngx_conf_t *cf)
{
    ngx_uint_t                        i;
    ngx_stream_ballast_srv_conf_t    *scf;
    ngx_ballast_main_conf_t   *bmcf;
    ngx_stream_upstream_srv_conf_t  **uscfp;
    ngx_stream_upstream_main_conf_t  *umcf;

    bmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_ballast_module);
    umcf = ngx_stream_conf_get_module_main_conf(cf,
                                                ngx_stream_upstream_module);

    ngx_ballast_release(&bmcf->spaces);

    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (uscfp[i]->srv_conf == NULL) {
            continue;
        }

        scf = ngx_stream_conf_upstream_srv_conf(uscfp[i],
                                                ngx_stream_ballast_module);

        if (ngx_ballast_used(cf, &scf->ballast, &uscfp[i]->host,
                             uscfp[i]->file_name, uscfp[i]->line)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void *
ngx_stream_ballast_create_srv_conf(ngx_conf_t *cf)
{
    return ngx_ballast_create_conf(cf, sizeof(ngx_stream_ballast_srv_conf_t));
}


static char *
ngx_stream_ballast(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_stream_ballast_srv_conf_t *scf = conf;

    ngx_ballast_main_conf_t         *bmcf;
    ngx_stream_upstream_server_t    *us;
    ngx_stream_upstream_srv_conf_t  *uscf;

    if (scf->ballast.service.len) {
        return "is duplicate";
    }

    uscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_upstream_module);
    bmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_ballast_module);

    if (uscf->peer.init_upstream) {
        return "is the only load balancing method of its upstream";
    }

    if (ngx_ballast_arguments(cf, &scf->ballast, &bmcf->spaces,
                              ngx_stream_ballast_argument, scf)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    us = ngx_array_push(uscf->servers);
    if (us == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(us, sizeof(ngx_stream_upstream_server_t));

    us->addrs = ngx_ballast_nobody(cf, &scf->ballast);
    if (us->addrs == NULL) {
        return NGX_CONF_ERROR;
    }

    us->name = us->addrs->name;
    us->naddrs = 1;
    us->weight = 1;
    us->down = 1;

    uscf->peer.init_upstream = ngx_stream_ballast_init;
    uscf->flags = NGX_STREAM_UPSTREAM_CREATE;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_stream_ballast_argument(ngx_conf_t *cf, void *conf, ngx_str_t *value)
{
    ngx_stream_ballast_srv_conf_t *scf = conf;

    ngx_str_t                            s;
    ngx_stream_compile_complex_value_t   ccv;

    if (value == NULL || ngx_strncmp(value->data, "key=", 4) != 0
        || value->len == 4)
    {
        return NGX_DECLINED;
    }

    s.len = value->len - 4;
    s.data = value->data + 4;

    scf->key = ngx_palloc(cf->pool, sizeof(ngx_stream_complex_value_t));
    if (scf->key == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_stream_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &s;
    ccv.complex_value = scf->key;

    return ngx_stream_compile_complex_value(&ccv);
}


static ngx_int_t
ngx_stream_ballast_init_process(ngx_cycle_t *cycle)
{
    ngx_ballast_main_conf_t  *bmcf;

    bmcf = ngx_stream_cycle_get_module_main_conf(cycle,
                                                 ngx_stream_ballast_module);

    if (bmcf) {
        ngx_ballast_attach(&bmcf->spaces, cycle->log);
    }

    return NGX_OK;
}
