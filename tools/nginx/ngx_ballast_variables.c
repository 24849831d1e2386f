
/*
 * The variables of both modules, for logs and maps: what a request or session
 * knows of its last pick.
 */


#include <ngx_ballast.h>


static const char *ngx_ballast_status(ngx_ballast_peer_t *bp);


ngx_str_t  ngx_ballast_variables[NGX_BALLAST_VARIABLES] = {
    ngx_string("ballast_instance"),
    ngx_string("ballast_reason"),
    ngx_string("ballast_epoch"),
    ngx_string("ballast_status")
};


/* they tell of the last pick; "bp" is NULL where there was none */

ngx_int_t
ngx_ballast_variable(ngx_ballast_peer_t *bp, ngx_pool_t *pool,
    ngx_variable_value_t *v, ngx_uint_t which)
{
    u_char             *p;
    const char         *text;
    ngx_ballast_try_t  *last;

    last = bp ? bp->last : NULL;

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    if (bp && (which == NGX_BALLAST_STATUS
               || (which == NGX_BALLAST_REASON && last == NULL)))
    {
        text = ngx_ballast_status(bp);

    } else if (last == NULL) {
        v->not_found = 1;
        return NGX_OK;

    } else if (which == NGX_BALLAST_INSTANCE) {
        v->len = last->name.len;
        v->data = last->name.data;
        return NGX_OK;

    } else if (which == NGX_BALLAST_REASON) {
        text = ballast_reason_text((ballast_reason_t) last->pick.reason);

    } else {
        p = ngx_pnalloc(pool, NGX_INT64_LEN);
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


/* one word, for logs and maps; ballast_status_text() is for people */

static const char *
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
