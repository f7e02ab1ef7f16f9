
/*
 * What the files of the module share.
 */


#ifndef _NGX_HTTP_AUTH_NEGOTIATE_H_INCLUDED_
#define _NGX_HTTP_AUTH_NEGOTIATE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_thread_pool.h>

#include <negotiate_auth.h>


typedef struct ngx_http_auth_negotiate_wait_s  ngx_http_auth_negotiate_wait_t;


/*
 * A client connection, or one request where requests share the connection.
 * It is found by its cleanup handler in the pool of whichever it is, because
 * an internal redirect clears the contexts of a request, but not its pool.
 */

typedef struct {
    auth_session                    *session;

    /* a request that "keepalive_requests" did not apply to */
    ngx_uint_t                       kept;

    /* the current request, by its number on the connection */
    ngx_uint_t                       request;
    ngx_array_t                     *headers;
                                  /* of ngx_http_auth_negotiate_header_t */
    ngx_uint_t                       refused;   /* the status, or 0 */
    auth_reason                      reason;

    /* its last step, which may have to wait for a job */
    auth_verdict                     verdict;
    ngx_http_auth_negotiate_wait_t  *wait;      /* NULL: it does not */

    unsigned                         credentials:1;
    unsigned                         persistent:1;
    unsigned                         resumed:1;
    unsigned                         stepped:1;
} ngx_http_auth_negotiate_ctx_t;


/* for these files only: nginx loads all modules into one name space */

#pragma GCC visibility push(hidden)

ngx_http_auth_negotiate_ctx_t *ngx_http_auth_negotiate_get_ctx(
    ngx_http_request_t *r);

ngx_int_t ngx_http_auth_negotiate_read_request(ngx_http_request_t *r,
    auth_request *request, auth_str *authorization);

ngx_int_t ngx_http_auth_negotiate_add_headers(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx);
void ngx_http_auth_negotiate_drop_headers(ngx_http_auth_negotiate_ctx_t *ctx,
    ngx_uint_t kinds);

void ngx_http_auth_negotiate_log_notice(const auth_session *session,
    ngx_log_t *log);

ngx_int_t ngx_http_auth_negotiate_wait(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx, ngx_thread_pool_t *tp);
char *ngx_http_auth_negotiate_thread_pool(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_auth_negotiate_default_pool(ngx_conf_t *cf,
    ngx_thread_pool_t **tp);


extern ngx_module_t  ngx_http_auth_negotiate_filter_module;

#pragma GCC visibility pop


extern ngx_module_t  ngx_http_auth_negotiate_module;


#endif /* _NGX_HTTP_AUTH_NEGOTIATE_H_INCLUDED_ */
