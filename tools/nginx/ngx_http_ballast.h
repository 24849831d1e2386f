
/*
 * What the files of the http module share: an upstream's configuration, and
 * what a request knows of its picks.  ngx_http_ballast_module.c says what the
 * module is and what becomes of it when something dies.
 */


#ifndef _NGX_HTTP_BALLAST_H_INCLUDED_
#define _NGX_HTTP_BALLAST_H_INCLUDED_


#include <ngx_http.h>
#include <ngx_ballast.h>


typedef struct {
    ngx_ballast_conf_t          ballast;
    ngx_http_complex_value_t   *key;
    ngx_str_t                   cookie;
    ngx_str_t                   attributes;
    ngx_str_t                   path;
    ngx_str_t                   domain;

    unsigned                    no_token:1;     /* and that has been logged */
    unsigned                    cookie_next:1;  /* its name is next */
    unsigned                    secure:1;
    unsigned                    httponly:1;
    unsigned                    samesite:1;
    unsigned                    samesite_none:1;
    unsigned                    max_age:1;
} ngx_http_ballast_srv_conf_t;


typedef struct {
    ngx_ballast_peer_t          peer;
    ngx_http_ballast_srv_conf_t
                               *conf;
    ngx_http_request_t         *request;
    ngx_table_elt_t            *set_cookie;
} ngx_http_ballast_peer_t;


extern ngx_module_t  ngx_http_ballast_module;

/* ngx_http_ballast_module.c */

ngx_http_ballast_peer_t *ngx_http_ballast_peer(ngx_http_request_t *r);

/* ngx_http_ballast_cookie.c */

ngx_int_t ngx_http_ballast_cookie_argument(ngx_conf_t *cf,
    ngx_http_ballast_srv_conf_t *hcf, ngx_str_t *value);
ngx_int_t ngx_http_ballast_cookie_alone(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us, ngx_http_upstream_srv_conf_t *other);
ngx_int_t ngx_http_ballast_set_cookie(ngx_http_ballast_peer_t *hp);

/* ngx_http_ballast_outcome.c */

void ngx_http_ballast_result(ngx_http_ballast_peer_t *hp,
    ngx_peer_connection_t *pc, ngx_uint_t state, ballast_result_t *result);


/* ngx_http_ballast_unavailable.c */

void ngx_http_ballast_filter(void);

/* ngx_http_ballast_stale.c */

int ngx_http_ballast_is_stale(int fd, off_t sent);


#endif /* _NGX_HTTP_BALLAST_H_INCLUDED_ */
