
/*
 * What the http and the stream module share: namespaces as a worker is
 * attached to them, the arguments of the directive "ballast", and picks.
 * Each module compiles it into itself, so a worker that has both has two
 * handles.  The master attaches only while it reads a configuration;
 * workers attach when they start.  When a worker dies, the kernel frees its
 * row of counters, and the checker reaps what it had in flight.
 */


#ifndef _NGX_BALLAST_H_INCLUDED_
#define _NGX_BALLAST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>
#include <ballast.h>


#define NGX_BALLAST_TRIES      3
#define NGX_BALLAST_MAX_TRIES  (BALLAST_MAX_TRIED + 1)
#define NGX_BALLAST_SESSIONS   1024

/* of the key that ngx_ballast_spread() makes */
#define NGX_BALLAST_SPREAD_LEN  16


/* a namespace; its handle is this process's */

typedef struct {
    ngx_str_t                 name;         /* null-terminated */
    ngx_str_t                 directory;    /* null-terminated or empty */
    ballast_t                *handle;
    ngx_msec_t                attach_again;

    unsigned                  failed:1;     /* and that has been logged */
} ngx_ballast_space_t;


/* the TLS session of the instance that was in a slot last */

typedef struct {
    uint32_t                  slot;
    uint32_t                  incarnation;
    uint64_t                  segment;
    void                     *session;      /* ngx_ssl_session_t */
} ngx_ballast_session_t;


typedef struct {
    ngx_array_t               spaces;       /* ngx_ballast_space_t * */
} ngx_ballast_main_conf_t;


/* of an upstream; what the modules' own structures begin with */

typedef struct {
    ngx_ballast_space_t      *space;
    ngx_str_t                 service;      /* null-terminated */
    ballast_service_t         number;
    ngx_uint_t                tries;
    ngx_uint_t                others;       /* usable besides the one picked */
    ngx_msec_t                others_at;
    ngx_ballast_session_t    *sessions;

    unsigned                  found:1;      /* "number" is the handle's */
    unsigned                  wait:1;       /* missing=wait */
    unsigned                  used:1;       /* it is its upstream's method */
} ngx_ballast_conf_t;


/* ngx_sockaddr_t has room for the path of a unix socket, which no instance is */

typedef union {
    struct sockaddr           sockaddr;
    struct sockaddr_in        sockaddr_in;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6       sockaddr_in6;
#endif
} ngx_ballast_sockaddr_t;


#define NGX_BALLAST_INET_LEN   (sizeof("255.255.255.255:65535") - 1)
#define NGX_BALLAST_INET6_LEN  (NGX_INET6_ADDRSTRLEN + sizeof("[]:65535") - 1)


typedef struct ngx_ballast_try_s  ngx_ballast_try_t;

/* small, since it is in the request's pool, of 4096 bytes mostly */

struct ngx_ballast_try_s {
    ballast_pick_t            pick;
    ngx_ballast_try_t        *next;         /* the try before */
    ngx_str_t                 name;
    socklen_t                 socklen;
    ngx_ballast_sockaddr_t    sockaddr;
    u_char                    text[NGX_BALLAST_INET_LEN];

    unsigned                  stale:1;      /* a kept connection was gone */
};


/*
 * What a request or session knows of its picks; it is what the modules' own
 * structures begin with, in a cleanup of the pool, zeroed.
 */

typedef struct {
    ngx_ballast_conf_t       *conf;
    ballast_t                *handle;
    ngx_pool_t               *pool;
    ngx_str_t                 key;
    ngx_str_t                 sticky;
    ngx_ballast_try_t        *last;
    uint64_t                  started;      /* usec, of the last try */
    ballast_status_t          status;       /* of the last pick */
    u_char                    spread[NGX_BALLAST_SPREAD_LEN];

    unsigned                  picked:1;     /* in flight */
} ngx_ballast_peer_t;


/*
 * An argument that only one of the modules knows, or NULL behind the last:
 * NGX_DECLINED if it does not, NGX_ERROR if it is wrong, which is logged.
 */

typedef ngx_int_t (*ngx_ballast_argument_pt)(ngx_conf_t *cf, void *conf,
    ngx_str_t *value);


/* the variables, in http and in stream; "which" of ngx_ballast_variable() */

#define NGX_BALLAST_INSTANCE   0
#define NGX_BALLAST_REASON     1
#define NGX_BALLAST_EPOCH      2
#define NGX_BALLAST_STATUS     3
#define NGX_BALLAST_VARIABLES  4


/* ngx_ballast_conf.c */

void *ngx_ballast_create_main_conf(ngx_conf_t *cf);
void *ngx_ballast_create_conf(ngx_conf_t *cf, size_t size);
char *ngx_ballast_arguments(ngx_conf_t *cf, ngx_ballast_conf_t *bcf,
    ngx_array_t *spaces, ngx_ballast_argument_pt handler, void *conf);
ngx_addr_t *ngx_ballast_nobody(ngx_conf_t *cf, ngx_ballast_conf_t *bcf);
ngx_int_t ngx_ballast_alone(ngx_conf_t *cf, ngx_uint_t servers,
    ngx_str_t *host, u_char *file, ngx_uint_t line);
ngx_int_t ngx_ballast_used(ngx_conf_t *cf, ngx_ballast_conf_t *bcf,
    ngx_str_t *host, u_char *file, ngx_uint_t line);
void ngx_ballast_release(ngx_array_t *spaces);
void ngx_ballast_attach(ngx_array_t *spaces, ngx_log_t *log);
ngx_int_t ngx_ballast_attach_space(ngx_ballast_space_t *space, ngx_log_t *log);

/* ngx_ballast_variables.c */

extern ngx_str_t  ngx_ballast_variables[NGX_BALLAST_VARIABLES];

ngx_int_t ngx_ballast_variable(ngx_ballast_peer_t *bp, ngx_pool_t *pool,
    ngx_variable_value_t *v, ngx_uint_t which);

/* ngx_ballast.c */


void *ngx_ballast_create_peer(ngx_ballast_conf_t *bcf, ngx_pool_t *pool,
    size_t size);
void ngx_ballast_spread(ngx_ballast_peer_t *bp);
ngx_int_t ngx_ballast_pick(ngx_peer_connection_t *pc, ngx_ballast_peer_t *bp);
void ngx_ballast_report(ngx_ballast_peer_t *bp, ballast_result_t *result);
uint64_t ngx_ballast_elapsed(ngx_ballast_peer_t *bp);
void ngx_ballast_cleanup(void *data);

/* ngx_ballast_session.c */

#if (NGX_SSL)
ngx_int_t ngx_ballast_set_session(ngx_peer_connection_t *pc,
    ngx_ballast_peer_t *bp);
void ngx_ballast_save_session(ngx_peer_connection_t *pc,
    ngx_ballast_peer_t *bp);
#endif
void ngx_ballast_free_sessions(void *data);


#endif /* _NGX_BALLAST_H_INCLUDED_ */
