
/*
 * The arguments of the directive "ballast" that the http and the stream module
 * share, and the namespaces that they name: attached while the master reads a
 * configuration, and in each worker.
 */


#include <ngx_ballast.h>


#define NGX_BALLAST_ATTACH_INTERVAL  1000


static ngx_int_t ngx_ballast_argument(ngx_conf_t *cf, ngx_ballast_conf_t *bcf,
    ngx_str_t *value);
static char *ngx_ballast_use(ngx_conf_t *cf, ngx_ballast_conf_t *bcf,
    ngx_array_t *spaces);
static ngx_ballast_space_t *ngx_ballast_space(ngx_conf_t *cf,
    ngx_array_t *spaces, ngx_ballast_space_t *wanted);
static void ngx_ballast_detach(void *data);


void *
ngx_ballast_create_main_conf(ngx_conf_t *cf)
{
    ngx_ballast_main_conf_t  *bmcf;

    bmcf = ngx_pcalloc(cf->pool, sizeof(ngx_ballast_main_conf_t));
    if (bmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&bmcf->spaces, cf->pool, 1,
                       sizeof(ngx_ballast_space_t *))
        != NGX_OK)
    {
        return NULL;
    }

    return bmcf;
}


void *
ngx_ballast_create_conf(ngx_conf_t *cf, size_t size)
{
    ngx_ballast_conf_t  *bcf;

    bcf = ngx_pcalloc(cf->pool, size);
    if (bcf == NULL) {
        return NULL;
    }

    bcf->tries = NGX_BALLAST_TRIES;

    return bcf;
}


/*
 * The whole directive: the service, then arguments in any order, of which
 * "handler" is asked first, since one may belong to the one before it.
 */

char *
ngx_ballast_arguments(ngx_conf_t *cf, ngx_ballast_conf_t *bcf,
    ngx_array_t *spaces, ngx_ballast_argument_pt handler, void *conf)
{
    ngx_int_t             rc;
    ngx_str_t            *value;
    ngx_uint_t            i;
    ngx_ballast_space_t   space;

    value = cf->args->elts;

    ngx_memzero(&space, sizeof(ngx_ballast_space_t));
    ngx_str_set(&space.name, "");
    ngx_str_set(&space.directory, "");

    bcf->space = &space;
    bcf->service = value[1];

    for (i = 2; i < cf->args->nelts; i++) {

        rc = handler(cf, conf, &value[i]);

        if (rc == NGX_DECLINED) {
            rc = ngx_ballast_argument(cf, bcf, &value[i]);
        }

        if (rc == NGX_DECLINED) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\"", &value[i]);
        }

        if (rc != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (handler(cf, conf, NULL) == NGX_ERROR) {
        return NGX_CONF_ERROR;
    }

    return ngx_ballast_use(cf, bcf, spaces);
}


/*
 * The arguments that both modules know; NGX_DECLINED if this is none of them.
 * "space" holds the names only, until ngx_ballast_use().
 */

static ngx_int_t
ngx_ballast_argument(ngx_conf_t *cf, ngx_ballast_conf_t *bcf, ngx_str_t *value)
{
    ngx_int_t   n;
    ngx_str_t  *dst, s;

    if (ngx_strncmp(value->data, "namespace=", 10) == 0) {
        dst = &bcf->space->name;
        s.len = value->len - 10;
        s.data = value->data + 10;

    } else if (ngx_strncmp(value->data, "directory=", 10) == 0) {
        dst = &bcf->space->directory;
        s.len = value->len - 10;
        s.data = value->data + 10;

        if (s.len && s.data[0] != '/') {
            goto invalid;
        }

    } else if (ngx_strncmp(value->data, "tries=", 6) == 0) {
        n = ngx_atoi(value->data + 6, value->len - 6);

        if (n < 1 || n > NGX_BALLAST_MAX_TRIES) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": the number of tries is 1..%d",
                               value, NGX_BALLAST_MAX_TRIES);
            return NGX_ERROR;
        }

        bcf->tries = n;
        return NGX_OK;

    } else if (ngx_strcmp(value->data, "missing=fail") == 0) {
        bcf->wait = 0;
        return NGX_OK;

    } else if (ngx_strcmp(value->data, "missing=wait") == 0) {
        bcf->wait = 1;
        return NGX_OK;

    } else {
        return NGX_DECLINED;
    }

    if (s.len == 0) {
        goto invalid;
    }

    /* configuration strings are null-terminated */

    *dst = s;

    return NGX_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\"", value);

    return NGX_ERROR;
}


/*
 * Looks whether the namespace and the service are there, and gives the
 * upstream its own namespace out of "spaces".
 */

static char *
ngx_ballast_use(ngx_conf_t *cf, ngx_ballast_conf_t *bcf, ngx_array_t *spaces)
{
    ngx_uint_t            level;
    ballast_status_t      status;
    ngx_pool_cleanup_t   *cln;
    ngx_ballast_space_t  *space;

    if (bcf->space->name.len && bcf->space->directory.len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"namespace=\" and \"directory=\" exclude "
                           "each other");
        return NGX_CONF_ERROR;
    }

    space = ngx_ballast_space(cf, spaces, bcf->space);
    if (space == NULL) {
        return NGX_CONF_ERROR;
    }

    bcf->space = space;

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    cln->handler = ngx_ballast_free_sessions;
    cln->data = bcf;

    level = bcf->wait ? NGX_LOG_WARN : NGX_LOG_EMERG;

    if (space->handle == NULL
        && ngx_ballast_attach_space(space, NULL) != NGX_OK)
    {
        ngx_conf_log_error(level, cf, 0, "ballast cannot attach (%s)",
                           ballast_last_error());
        goto missing;
    }

    status = ballast_find_service(space->handle, (char *) bcf->service.data,
                                  &bcf->number);

    if (status == BALLAST_OK) {
        return NGX_CONF_OK;
    }

    if (status == BALLAST_SERVICE_UNKNOWN) {
        ngx_conf_log_error(level, cf, 0,
                           "ballast service \"%V\" is not published",
                           &bcf->service);
        goto missing;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "ballast service \"%V\": %s",
                       &bcf->service, ballast_last_error());

    return NGX_CONF_ERROR;

missing:

    return bcf->wait ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static ngx_ballast_space_t *
ngx_ballast_space(ngx_conf_t *cf, ngx_array_t *spaces,
    ngx_ballast_space_t *wanted)
{
    ngx_uint_t             i;
    ngx_pool_cleanup_t    *cln;
    ngx_ballast_space_t   *space, **spacep;

    if (wanted->name.len == 0 && wanted->directory.len == 0) {
        ngx_str_set(&wanted->name, "default");
    }

    spacep = spaces->elts;

    for (i = 0; i < spaces->nelts; i++) {
        space = spacep[i];

        if (space->name.len == wanted->name.len
            && space->directory.len == wanted->directory.len
            && ngx_strncmp(space->name.data, wanted->name.data,
                           wanted->name.len) == 0
            && ngx_strncmp(space->directory.data, wanted->directory.data,
                           wanted->directory.len) == 0)
        {
            return space;
        }
    }

    cln = ngx_pool_cleanup_add(cf->pool, sizeof(ngx_ballast_space_t));
    if (cln == NULL) {
        return NULL;
    }

    space = cln->data;
    *space = *wanted;

    cln->handler = ngx_ballast_detach;

    spacep = ngx_array_push(spaces);
    if (spacep == NULL) {
        return NULL;
    }

    *spacep = space;

    return space;
}


/* nginx refuses an upstream without servers; nobody gets this one */

ngx_addr_t *
ngx_ballast_nobody(ngx_conf_t *cf, ngx_ballast_conf_t *bcf)
{
    ngx_addr_t  *addr;

    addr = ngx_pcalloc(cf->pool, sizeof(ngx_addr_t));
    if (addr == NULL) {
        return NULL;
    }

    if (ngx_parse_addr(cf->pool, addr, (u_char *) "127.0.0.1", 9) != NGX_OK) {
        return NULL;
    }

    addr->name = bcf->service;

    return addr;
}


/* there is that one server and no other */

ngx_int_t
ngx_ballast_alone(ngx_conf_t *cf, ngx_uint_t servers, ngx_str_t *host,
    u_char *file, ngx_uint_t line)
{
    if (servers == 1) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "\"server\" is not allowed beside \"ballast\" in "
                  "upstream \"%V\" in %s:%ui", host, file, line);

    return NGX_ERROR;
}


/* all is read: an upstream that has the directive has its method, too */

ngx_int_t
ngx_ballast_used(ngx_conf_t *cf, ngx_ballast_conf_t *bcf, ngx_str_t *host,
    u_char *file, ngx_uint_t line)
{
    if (bcf->service.len == 0 || bcf->used) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "another load balancing method replaces \"ballast\" in "
                  "upstream \"%V\" in %s:%ui", host, file, line);

    return NGX_ERROR;
}


/* the configuration is read: a row is for those who serve */

void
ngx_ballast_release(ngx_array_t *spaces)
{
    ngx_uint_t             i;
    ngx_ballast_space_t  **spacep;

    spacep = spaces->elts;

    for (i = 0; i < spaces->nelts; i++) {
        ngx_ballast_detach(spacep[i]);
    }
}


static void
ngx_ballast_detach(void *data)
{
    ngx_ballast_space_t  *space = data;

    ballast_detach(space->handle);

    space->handle = NULL;
}


/* when a worker starts; those who look after caches pick nothing */

void
ngx_ballast_attach(ngx_array_t *spaces, ngx_log_t *log)
{
    ngx_uint_t             i;
    ngx_ballast_space_t  **spacep;

    if (ngx_process == NGX_PROCESS_HELPER) {
        return;
    }

    spacep = spaces->elts;

    for (i = 0; i < spaces->nelts; i++) {
        (void) ngx_ballast_attach_space(spacep[i], log);
    }
}


ngx_int_t
ngx_ballast_attach_space(ngx_ballast_space_t *space, ngx_log_t *log)
{
    const char         *warning;
    ballast_options_t   options = BALLAST_OPTIONS_INIT;

    if (space->directory.len) {
        options.directory = (char *) space->directory.data;

    } else {
        options.name_space = (char *) space->name.data;
    }

    if (ballast_attach(&options, &space->handle) != BALLAST_OK) {

        space->attach_again = ngx_current_msec + NGX_BALLAST_ATTACH_INTERVAL;

        if (log && !space->failed) {
            space->failed = 1;

            ngx_log_error(NGX_LOG_ERR, log, 0,
                          "ballast cannot attach, and will try again: %s",
                          ballast_last_error());
        }

        return NGX_ERROR;
    }

    if (log) {
        warning = ballast_warning(space->handle);

        if (warning) {
            ngx_log_error(NGX_LOG_WARN, log, 0, "ballast: %s", warning);
        }

        if (space->failed) {
            space->failed = 0;
            ngx_log_error(NGX_LOG_NOTICE, log, 0, "ballast attached");
        }
    }

    return NGX_OK;
}
