
/*
 * TLS sessions with instances, kept by an upstream in each worker, for both
 * modules; a worker that dies loses them, and handshakes are whole again.
 */


#include <ngx_ballast.h>


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


void
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
