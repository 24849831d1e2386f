
/*
 * "sticky=cookie" of the http module: what is written about the cookie in the
 * configuration, and the cookie that a client is given.
 */


#include <ngx_http_ballast.h>


static ngx_int_t ngx_http_ballast_cookie_name(ngx_str_t *name);
static ngx_int_t ngx_http_ballast_cookie_attribute(ngx_conf_t *cf,
    ngx_http_ballast_srv_conf_t *hcf, ngx_str_t *value);
static ngx_int_t ngx_http_ballast_cookie_complete(ngx_conf_t *cf,
    ngx_http_ballast_srv_conf_t *hcf);
static ngx_int_t ngx_http_ballast_same(ngx_str_t *one, ngx_str_t *other);


/* a ngx_ballast_argument_pt */

ngx_int_t
ngx_http_ballast_cookie_argument(ngx_conf_t *cf,
    ngx_http_ballast_srv_conf_t *hcf, ngx_str_t *value)
{
    if (hcf->cookie_next) {

        if (value == NULL || value->len == 0
            || ngx_http_ballast_cookie_name(value) != NGX_OK)
        {
            goto invalid;
        }

        hcf->cookie_next = 0;
        hcf->cookie = *value;

        return NGX_OK;
    }

    if (value == NULL) {
        return hcf->cookie.len ? ngx_http_ballast_cookie_complete(cf, hcf)
                               : NGX_DECLINED;
    }

    if (ngx_strcmp(value->data, "sticky=cookie") == 0) {

        if (hcf->cookie.len) {
            goto invalid;
        }

        hcf->cookie_next = 1;

        return NGX_OK;
    }

    return hcf->cookie.len ? ngx_http_ballast_cookie_attribute(cf, hcf, value)
                           : NGX_DECLINED;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"sticky=cookie\" needs the cookie's name as its "
                       "next parameter, once");

    return NGX_ERROR;
}


/* RFC 6265: a name is a token */

static ngx_int_t
ngx_http_ballast_cookie_name(ngx_str_t *name)
{
    u_char  *p;

    for (p = name->data; p < name->data + name->len; p++) {
        if (*p <= ' ' || *p >= 0x7f
            || ngx_strchr("()<>@,;:\\\"/[]?={}$", *p) != NULL)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* appends an attribute as it stands in Set-Cookie; NGX_DECLINED: it is none */

static ngx_int_t
ngx_http_ballast_cookie_attribute(ngx_conf_t *cf,
    ngx_http_ballast_srv_conf_t *hcf, ngx_str_t *value)
{
    u_char     *p, *last;
    time_t      sec;
    ngx_str_t   s, *a;

    for (p = value->data; p < value->data + value->len; p++) {
        /* and no variables, which would be sent as they are written */

        if (*p == ';' || *p == '$' || *p < ' ' || *p >= 0x7f) {
            return NGX_DECLINED;
        }
    }

    a = &hcf->attributes;

    p = ngx_pnalloc(cf->pool, a->len + value->len + NGX_TIME_T_LEN
                              + sizeof("; HttpOnly; Max-Age=") - 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    last = ngx_cpymem(p, a->data, a->len);

    if (ngx_strcmp(value->data, "secure") == 0 && !hcf->secure) {
        hcf->secure = 1;
        last = ngx_cpymem(last, "; Secure", 8);

    } else if (ngx_strcmp(value->data, "httponly") == 0 && !hcf->httponly) {
        hcf->httponly = 1;
        last = ngx_cpymem(last, "; HttpOnly", 10);

    } else if (ngx_strncmp(value->data, "samesite=", 9) == 0
               && hcf->samesite)
    {
        return NGX_DECLINED;

    } else if (ngx_strcmp(value->data, "samesite=strict") == 0) {
        hcf->samesite = 1;
        last = ngx_cpymem(last, "; SameSite=Strict", 17);

    } else if (ngx_strcmp(value->data, "samesite=lax") == 0) {
        hcf->samesite = 1;
        last = ngx_cpymem(last, "; SameSite=Lax", 14);

    } else if (ngx_strcmp(value->data, "samesite=none") == 0) {
        hcf->samesite = 1;
        hcf->samesite_none = 1;
        last = ngx_cpymem(last, "; SameSite=None", 15);

    } else if (ngx_strncmp(value->data, "path=", 5) == 0
               && value->data[5] == '/' && hcf->path.len == 0)
    {
        hcf->path.len = value->len - 5;
        hcf->path.data = value->data + 5;
        last = ngx_sprintf(last, "; Path=%s", value->data + 5);

    } else if (ngx_strncmp(value->data, "domain=", 7) == 0 && value->len > 7
               && hcf->domain.len == 0)
    {
        hcf->domain.len = value->len - 7;
        hcf->domain.data = value->data + 7;
        last = ngx_sprintf(last, "; Domain=%s", value->data + 7);

    } else if (ngx_strncmp(value->data, "max-age=", 8) == 0 && !hcf->max_age) {
        hcf->max_age = 1;
        s.len = value->len - 8;
        s.data = value->data + 8;

        sec = ngx_parse_time(&s, 1);
        if (s.len == 0 || sec == (time_t) NGX_ERROR || sec == 0) {
            return NGX_DECLINED;
        }

        last = ngx_sprintf(last, "; Max-Age=%T", sec);

    } else {
        return NGX_DECLINED;
    }

    a->len = last - p;
    a->data = p;

    return NGX_OK;
}


/*
 * Without a path a browser takes the folder of the request's URI, and one
 * client would have a cookie for each.
 */

static ngx_int_t
ngx_http_ballast_cookie_complete(ngx_conf_t *cf,
    ngx_http_ballast_srv_conf_t *hcf)
{
    ngx_str_t  path = ngx_string("path=/");

    if (hcf->samesite_none && !hcf->secure) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"samesite=none\" needs \"secure\": browsers "
                           "refuse the cookie without");
        return NGX_ERROR;
    }

    if (hcf->path.len) {
        return NGX_OK;
    }

    return ngx_http_ballast_cookie_attribute(cf, hcf, &path);
}


/*
 * A client has one cookie of a name, path and domain: of two services it
 * would have that of the one it asked last, and be sticky to neither.
 */

ngx_int_t
ngx_http_ballast_cookie_alone(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us,
    ngx_http_upstream_srv_conf_t *other)
{
    ngx_http_ballast_srv_conf_t  *hcf, *ocf;

    hcf = ngx_http_conf_upstream_srv_conf(us, ngx_http_ballast_module);
    ocf = ngx_http_conf_upstream_srv_conf(other, ngx_http_ballast_module);

    if (hcf->cookie.len == 0
        || !ngx_http_ballast_same(&hcf->cookie, &ocf->cookie)
        || !ngx_http_ballast_same(&hcf->path, &ocf->path)
        || !ngx_http_ballast_same(&hcf->domain, &ocf->domain))
    {
        return NGX_OK;
    }

    if (hcf->ballast.space == ocf->ballast.space
        && ngx_http_ballast_same(&hcf->ballast.service, &ocf->ballast.service))
    {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "upstream \"%V\" in %s:%ui and upstream \"%V\" in %s:%ui "
                  "are of two services and give clients the same cookie "
                  "\"%V\": another name, \"path=\" or \"domain=\" tells them "
                  "apart",
                  &us->host, us->file_name, us->line, &other->host,
                  other->file_name, other->line, &hcf->cookie);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_ballast_same(ngx_str_t *one, ngx_str_t *other)
{
    return one->len == other->len
           && ngx_strncmp(one->data, other->data, one->len) == 0;
}


/*
 * Issues a cookie unless the client has this very token; a retry that went
 * elsewhere changes the one of the try before.
 */

ngx_int_t
ngx_http_ballast_set_cookie(ngx_http_ballast_peer_t *hp)
{
    u_char                       *p;
    ngx_table_elt_t              *h;
    ballast_pick_t               *pick;
    ballast_status_t              status;
    ngx_http_request_t           *r;
    ngx_http_ballast_srv_conf_t  *hcf;
    u_char                        token[BALLAST_STICKY_TEXT];

    r = hp->request;
    hcf = hp->conf;
    pick = &hp->peer.last->pick;

    if (hp->set_cookie) {
        hp->set_cookie->hash = 0;
    }

    if (r != r->main) {
        return NGX_OK;
    }

    status = ballast_sticky_token(hp->peer.handle, hcf->ballast.number, pick,
                                  (char *) token, BALLAST_STICKY_TEXT);

    if (status != BALLAST_OK) {

        if (!hcf->no_token) {
            hcf->no_token = 1;
            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                          "ballast service \"%V\": %s",
                          &hcf->ballast.service, ballast_status_text(status));
        }

        return NGX_OK;
    }

    hcf->no_token = 0;

    if (hp->peer.sticky.len == BALLAST_STICKY_TEXT - 1
        && ngx_memcmp(hp->peer.sticky.data, token, BALLAST_STICKY_TEXT - 1)
           == 0)
    {
        return NGX_OK;
    }

    h = hp->set_cookie;

    if (h == NULL) {
        h = ngx_list_push(&r->headers_out.headers);
        if (h == NULL) {
            ngx_ballast_report(&hp->peer, NULL);
            return NGX_ERROR;
        }

        hp->set_cookie = h;

        h->hash = 0;
#if (nginx_version >= 1023000)
        h->next = NULL;
#endif
        ngx_str_set(&h->key, "Set-Cookie");
        ngx_str_null(&h->value);
    }

    p = ngx_pnalloc(r->pool, hcf->cookie.len + 1 + BALLAST_STICKY_TEXT - 1
                             + hcf->attributes.len);
    if (p == NULL) {
        ngx_ballast_report(&hp->peer, NULL);
        return NGX_ERROR;
    }

    h->value.data = p;

    p = ngx_cpymem(p, hcf->cookie.data, hcf->cookie.len);
    *p++ = '=';
    p = ngx_cpymem(p, token, BALLAST_STICKY_TEXT - 1);
    p = ngx_cpymem(p, hcf->attributes.data, hcf->attributes.len);

    h->value.len = p - h->value.data;
    h->hash = 1;

    return NGX_OK;
}
