
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
    ngx_array_t                   spaces;   /* ngx_ballast_space_t * */
} ngx_stream_ballast_main_conf_t;


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
static void *ngx_stream_ballast_create_main_conf(ngx_conf_t *cf);
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

    ngx_stream_ballast_create_main_conf,   /* create main configuration */
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


#define NGX_STREAM_BALLAST_INSTANCE  0
#define NGX_STREAM_BALLAST_REASON    1
#define NGX_STREAM_BALLAST_EPOCH     2
#define NGX_STREAM_BALLAST_STATUS    3


static ngx_stream_variable_t  ngx_stream_ballast_variables[] = {

    { ngx_string("ballast_instance"), NULL, ngx_stream_ballast_variable,
      NGX_STREAM_BALLAST_INSTANCE, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("ballast_reason"), NULL, ngx_stream_ballast_variable,
      NGX_STREAM_BALLAST_REASON, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("ballast_epoch"), NULL, ngx_stream_ballast_variable,
      NGX_STREAM_BALLAST_EPOCH, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("ballast_status"), NULL, ngx_stream_ballast_variable,
      NGX_STREAM_BALLAST_STATUS, NGX_STREAM_VAR_NOCACHEABLE, 0 },

      ngx_stream_null_variable
};


static ngx_int_t
ngx_stream_ballast_init(ngx_conf_t *cf, ngx_stream_upstream_srv_conf_t *us)
{
    ngx_stream_ballast_srv_conf_t  *scf;

    if (us->servers->nelts != 1) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"server\" is not allowed beside \"ballast\" in "
                      "upstream \"%V\" in %s:%ui",
                      &us->host, us->file_name, us->line);
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
    ngx_pool_cleanup_t             *cln;
    ngx_stream_upstream_t          *u;
    ngx_stream_ballast_peer_t      *sp;
    ngx_stream_ballast_srv_conf_t  *scf;

    ngx_log_debug0(NGX_LOG_DEBUG_STREAM, s->connection->log, 0,
                   "init ballast peer");

    scf = ngx_stream_conf_upstream_srv_conf(us, ngx_stream_ballast_module);

    cln = ngx_pool_cleanup_add(s->connection->pool,
                               sizeof(ngx_stream_ballast_peer_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    sp = cln->data;
    ngx_memzero(sp, sizeof(ngx_stream_ballast_peer_t));

    sp->session = s;
    sp->peer.conf = &scf->ballast;
    sp->peer.pool = s->connection->pool;

    cln->handler = ngx_ballast_cleanup;

    if (scf->key
        && ngx_stream_complex_value(s, scf->key, &sp->peer.key) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (sp->peer.key.len == 0) {
        ngx_ballast_spread(&sp->peer.key, sp->spread);
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


/* the variables tell of the last pick */

static ngx_int_t
ngx_stream_ballast_variable(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    u_char                   *p;
    const char               *text;
    ngx_ballast_try_t        *last;
    ngx_stream_ballast_peer_t  *sp;

    sp = ngx_stream_get_module_ctx(s, ngx_stream_ballast_module);
    last = sp ? sp->peer.last : NULL;

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    if (sp && data == NGX_STREAM_BALLAST_STATUS) {
        text = ngx_ballast_status(&sp->peer);

    } else if (last == NULL) {
        v->not_found = 1;
        return NGX_OK;

    } else if (data == NGX_STREAM_BALLAST_INSTANCE) {
        v->len = last->name.len;
        v->data = last->name.data;
        return NGX_OK;

    } else if (data == NGX_STREAM_BALLAST_REASON) {
        text = ballast_reason_text((ballast_reason_t) last->pick.reason);

    } else {
        p = ngx_pnalloc(s->connection->pool, NGX_INT64_LEN);
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
ngx_stream_ballast_preconfiguration(ngx_conf_t *cf)
{
    ngx_stream_variable_t  *var, *v;

    for (v = ngx_stream_ballast_variables; v->name.len; v++) {
        var = ngx_stream_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_stream_ballast_postconfiguration(ngx_conf_t *cf)
{
    ngx_uint_t                        i;
    ngx_stream_ballast_srv_conf_t    *scf;
    ngx_stream_ballast_main_conf_t   *smcf;
    ngx_stream_upstream_srv_conf_t  **uscfp;
    ngx_stream_upstream_main_conf_t  *umcf;

    smcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_ballast_module);
    umcf = ngx_stream_conf_get_module_main_conf(cf,
                                                ngx_stream_upstream_module);

    ngx_ballast_release(&smcf->spaces);

    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (uscfp[i]->srv_conf == NULL) {
            continue;
        }

        scf = ngx_stream_conf_upstream_srv_conf(uscfp[i],
                                                ngx_stream_ballast_module);

        if (scf->ballast.service.len && !scf->ballast.used) {
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
ngx_stream_ballast_create_main_conf(ngx_conf_t *cf)
{
    ngx_stream_ballast_main_conf_t  *smcf;

    smcf = ngx_pcalloc(cf->pool, sizeof(ngx_stream_ballast_main_conf_t));
    if (smcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&smcf->spaces, cf->pool, 1,
                       sizeof(ngx_ballast_space_t *))
        != NGX_OK)
    {
        return NULL;
    }

    return smcf;
}


static void *
ngx_stream_ballast_create_srv_conf(ngx_conf_t *cf)
{
    ngx_stream_ballast_srv_conf_t  *scf;

    scf = ngx_pcalloc(cf->pool, sizeof(ngx_stream_ballast_srv_conf_t));
    if (scf == NULL) {
        return NULL;
    }

    scf->ballast.tries = NGX_BALLAST_TRIES;

    return scf;
}


static char *
ngx_stream_ballast(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_stream_ballast_srv_conf_t *scf = conf;

    ngx_int_t                          rc;
    ngx_str_t                         *value, s;
    ngx_uint_t                         i;
    ngx_ballast_space_t                space;
    ngx_stream_upstream_server_t        *us;
    ngx_stream_upstream_srv_conf_t      *uscf;
    ngx_stream_ballast_main_conf_t      *smcf;
    ngx_stream_compile_complex_value_t   ccv;

    if (scf->ballast.service.len) {
        return "is duplicate";
    }

    uscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_upstream_module);
    smcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_ballast_module);

    if (uscf->peer.init_upstream) {
        return "is the only load balancing method of its upstream";
    }

    value = cf->args->elts;

    ngx_memzero(&space, sizeof(ngx_ballast_space_t));
    ngx_str_set(&space.name, "");
    ngx_str_set(&space.directory, "");

    scf->ballast.space = &space;
    scf->ballast.service = value[1];

    for (i = 2; i < cf->args->nelts; i++) {

        rc = ngx_ballast_argument(cf, &scf->ballast, &value[i]);

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

            ngx_memzero(&ccv, sizeof(ngx_stream_compile_complex_value_t));

            scf->key = ngx_palloc(cf->pool,
                                  sizeof(ngx_stream_complex_value_t));
            if (scf->key == NULL) {
                return NGX_CONF_ERROR;
            }

            ccv.cf = cf;
            ccv.value = &s;
            ccv.complex_value = scf->key;

            if (ngx_stream_compile_complex_value(&ccv) != NGX_OK) {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        goto invalid;
    }

    if (ngx_ballast_use(cf, &scf->ballast, &smcf->spaces) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    /* nginx refuses an upstream without servers; nobody gets this one */

    us = ngx_array_push(uscf->servers);
    if (us == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(us, sizeof(ngx_stream_upstream_server_t));

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

    uscf->peer.init_upstream = ngx_stream_ballast_init;
    uscf->flags = NGX_STREAM_UPSTREAM_CREATE;

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"",
                       &value[i]);

    return NGX_CONF_ERROR;
}


static ngx_int_t
ngx_stream_ballast_init_process(ngx_cycle_t *cycle)
{
    ngx_stream_ballast_main_conf_t  *smcf;

    smcf = ngx_stream_cycle_get_module_main_conf(cycle,
                                                 ngx_stream_ballast_module);

    if (smcf) {
        ngx_ballast_attach(&smcf->spaces, cycle->log);
    }

    return NGX_OK;
}
