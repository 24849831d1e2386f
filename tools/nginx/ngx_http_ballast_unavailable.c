
/*
 * 503 for a request for which there was no instance, where nginx's core has
 * no other answer than 502: that an instance was asked and failed.  A header
 * filter of ngx_http_ballast_module.c, which it costs a comparison where the
 * answer is another.
 */


#include <ngx_http_ballast.h>


static ngx_int_t ngx_http_ballast_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_ballast_is_unavailable(ngx_http_request_t *r,
    ngx_http_ballast_peer_t *hp);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


void
ngx_http_ballast_filter(void)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_ballast_header_filter;
}


static ngx_int_t
ngx_http_ballast_header_filter(ngx_http_request_t *r)
{
    ngx_int_t                 rc;
    ngx_http_ballast_peer_t  *hp;

    if (r->err_status != NGX_HTTP_BAD_GATEWAY || r != r->main) {
        return ngx_http_next_header_filter(r);
    }

    hp = ngx_http_ballast_peer(r);

    if (hp == NULL || !ngx_http_ballast_is_unavailable(r, hp)) {
        return ngx_http_next_header_filter(r);
    }

    if (ngx_http_get_module_ctx(r, ngx_http_ballast_module) == NULL) {

        /* a page of "error_page" */

        r->err_status = NGX_HTTP_SERVICE_UNAVAILABLE;
        r->headers_out.status = NGX_HTTP_SERVICE_UNAVAILABLE;

        return ngx_http_next_header_filter(r);
    }

    /* nginx's own page: that of 503 is sent whole, and this one no further */

    r->error_page = 1;

    rc = ngx_http_special_response_handler(r, NGX_HTTP_SERVICE_UNAVAILABLE);

    r->header_only = 1;

    return rc;
}


/*
 * Nothing was picked, and nothing tried before that, but kept connections
 * that were gone.  "error_page 502 = @name" has no status any more; if that
 * location says "return 502" it shall be so, which is before the content.
 */

static ngx_int_t
ngx_http_ballast_is_unavailable(ngx_http_request_t *r,
    ngx_http_ballast_peer_t *hp)
{
    ngx_ballast_try_t          *t;
    ngx_http_core_main_conf_t  *cmcf;

    if (hp->peer.status == BALLAST_OK) {
        return 0;
    }

    for (t = hp->peer.last; t; t = t->next) {
        if (!t->stale) {
            return 0;
        }
    }

    if (ngx_http_get_module_ctx(r, ngx_http_ballast_module)) {
        return 1;
    }

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);

    return cmcf->phase_engine.handlers[r->phase_handler].checker
           == ngx_http_core_content_phase;
}
