
/*
 * Signs clients in with the library negotiate_auth: this file turns nginx's
 * configuration, connections and requests into the library's calls, and its
 * verdicts into nginx's return codes.  What a credential means, who may sign
 * in and what is answered is decided in the library.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <negotiate_auth.h>


#define NGX_HTTP_AUTH_NEGOTIATE_MAX_TEXT  1024
#define NGX_HTTP_AUTH_NEGOTIATE_VARS      4


#if (NGX_HTTP_SSL)

/* an nginx that has OpenSSL linked in, or has none, does not export these */

#pragma weak SSL_get_certificate
#pragma weak SSL_ctrl
#pragma weak i2d_X509

#endif


typedef struct {
    /* indexes of variables */
    ngx_int_t                  remote_user;
    ngx_http_get_variable_pt   get_remote_user; /* nginx's own */
    ngx_int_t                  vars[NGX_HTTP_AUTH_NEGOTIATE_VARS];
} ngx_http_auth_negotiate_main_conf_t;


typedef struct {
    ngx_flag_t                 enable;
    char                      *place;           /* of "enable" */
    auth_config               *config;
} ngx_http_auth_negotiate_loc_conf_t;


typedef struct {
    ngx_table_elt_t           *elt;
    u_char                    *value;
    ngx_uint_t                 kind;
} ngx_http_auth_negotiate_header_t;


/*
 * A client connection, or one request where requests share the connection.
 * It is found by its cleanup handler in the pool of whichever it is, because
 * an internal redirect clears the contexts of a request, but not its pool.
 */

typedef struct {
    auth_session              *session;

    /* a request that "keepalive_requests" did not apply to */
    ngx_uint_t                 kept;

    /* the current request, by its number on the connection */
    ngx_uint_t                 request;
    ngx_array_t               *headers;
                                  /* of ngx_http_auth_negotiate_header_t */
    auth_reason                reason;
    ngx_uint_t                 refused;         /* the status, or 0 */
    unsigned                   stepped:1;
} ngx_http_auth_negotiate_ctx_t;


typedef auth_str (*ngx_http_auth_negotiate_get_pt)(const auth_session *session);


static ngx_int_t ngx_http_auth_negotiate_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_auth_negotiate_finish(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx, auth_request *request,
    auth_verdict verdict);
static auth_verdict ngx_http_auth_negotiate_wait(auth_session *session);
static void ngx_http_auth_negotiate_log(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx, auth_request *request,
    auth_verdict verdict);

static ngx_int_t ngx_http_auth_negotiate_add_headers(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx);
static ngx_int_t ngx_http_auth_negotiate_add_header(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx, ngx_uint_t kind, auth_str *name,
    auth_str *value);
static void ngx_http_auth_negotiate_drop_headers(
    ngx_http_auth_negotiate_ctx_t *ctx, ngx_uint_t kinds);
static ngx_int_t ngx_http_auth_negotiate_header_filter(ngx_http_request_t *r);
static ngx_uint_t ngx_http_auth_negotiate_cleared(
    ngx_http_auth_negotiate_ctx_t *ctx);

static ngx_http_auth_negotiate_ctx_t *ngx_http_auth_negotiate_create_ctx(
    ngx_http_request_t *r);
static ngx_http_auth_negotiate_ctx_t *ngx_http_auth_negotiate_get_ctx(
    ngx_http_request_t *r);
static ngx_pool_t *ngx_http_auth_negotiate_pool(ngx_http_request_t *r);
static ngx_http_auth_negotiate_ctx_t *ngx_http_auth_negotiate_find_ctx(
    ngx_pool_t *pool);
static void ngx_http_auth_negotiate_cleanup(void *data);

static void ngx_http_auth_negotiate_read_headers(ngx_http_request_t *r,
    auth_request *request, auth_str *authorization);
static ngx_uint_t ngx_http_auth_negotiate_forwarded(ngx_table_elt_t *h);
static ngx_uint_t ngx_http_auth_negotiate_persistent(ngx_http_request_t *r);
static void ngx_http_auth_negotiate_read_peer(ngx_http_request_t *r,
    auth_request *request);
static ngx_int_t ngx_http_auth_negotiate_read_tls(ngx_http_request_t *r,
    auth_request *request);
#if (NGX_HTTP_SSL)
static ngx_int_t ngx_http_auth_negotiate_certificate(ngx_http_request_t *r,
    ngx_array_t *certificates, X509 *x509);
#endif

static ngx_int_t ngx_http_auth_negotiate_set_variables(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx, auth_verdict verdict);
static ngx_int_t ngx_http_auth_negotiate_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_auth_negotiate_remote_user(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_auth_negotiate_value(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, auth_str value);
static auth_str ngx_http_auth_negotiate_reason(const auth_session *session);

static char *ngx_http_auth_negotiate(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_auth_negotiate_option(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static auth_config *ngx_http_auth_negotiate_create_config(ngx_conf_t *cf);
static auth_config *ngx_http_auth_negotiate_keep_config(ngx_conf_t *cf,
    auth_config *config);
static void ngx_http_auth_negotiate_free_config(void *data);
static char *ngx_http_auth_negotiate_error(ngx_conf_t *cf,
    auth_config *config);
static char *ngx_http_auth_negotiate_place(ngx_conf_t *cf);

static void *ngx_http_auth_negotiate_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_auth_negotiate_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_auth_negotiate_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static ngx_int_t ngx_http_auth_negotiate_add_variables(ngx_conf_t *cf);
static ngx_int_t ngx_http_auth_negotiate_init(ngx_conf_t *cf);
static void ngx_http_auth_negotiate_init_remote_user(ngx_conf_t *cf,
    ngx_str_t *name);
static ngx_int_t ngx_http_auth_negotiate_filter_init(ngx_conf_t *cf);


#define ngx_http_auth_negotiate_key(name)                                     \
                                                                              \
    { ngx_string(name),                                                       \
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF                  \
                        |NGX_HTTP_LMT_CONF|NGX_CONF_1MORE,                    \
      ngx_http_auth_negotiate_option,                                         \
      NGX_HTTP_LOC_CONF_OFFSET,                                               \
      0,                                                                      \
      NULL }


static ngx_command_t  ngx_http_auth_negotiate_commands[] = {

    { ngx_string("auth_negotiate"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_HTTP_LMT_CONF
                        |NGX_CONF_FLAG,
      ngx_http_auth_negotiate,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_auth_negotiate_loc_conf_t, enable),
      NULL },

      ngx_http_auth_negotiate_key("auth_negotiate_mechanisms"),
      ngx_http_auth_negotiate_key("auth_negotiate_schemes"),
      ngx_http_auth_negotiate_key("auth_negotiate_accounts"),
      ngx_http_auth_negotiate_key("auth_negotiate_domain"),
      ngx_http_auth_negotiate_key("auth_negotiate_channel_binding"),
      ngx_http_auth_negotiate_key("auth_negotiate_service_name"),
      ngx_http_auth_negotiate_key("auth_negotiate_proxies"),
      ngx_http_auth_negotiate_key("auth_negotiate_handshake_lifetime"),
      ngx_http_auth_negotiate_key("auth_negotiate_persist"),

      ngx_null_command
};


static ngx_http_module_t  ngx_http_auth_negotiate_module_ctx = {
    ngx_http_auth_negotiate_add_variables, /* preconfiguration */
    ngx_http_auth_negotiate_init,          /* postconfiguration */

    ngx_http_auth_negotiate_create_main_conf,
                                           /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_auth_negotiate_create_loc_conf,
                                           /* create location configuration */
    ngx_http_auth_negotiate_merge_loc_conf /* merge location configuration */
};


ngx_module_t  ngx_http_auth_negotiate_module = {
    NGX_MODULE_V1,
    &ngx_http_auth_negotiate_module_ctx,   /* module context */
    ngx_http_auth_negotiate_commands,      /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_module_t  ngx_http_auth_negotiate_filter_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_auth_negotiate_filter_init,   /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


/* for this file and the list of modules linked with it only */

__attribute__ ((visibility ("hidden")))
ngx_module_t  ngx_http_auth_negotiate_filter_module = {
    NGX_MODULE_V1,
    &ngx_http_auth_negotiate_filter_module_ctx,
                                           /* module context */
    NULL,                                  /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_variable_t  ngx_http_auth_negotiate_vars[] = {

    { ngx_string("auth_negotiate_user"), NULL,
      ngx_http_auth_negotiate_variable, (uintptr_t) auth_user, 0, 0 },

    { ngx_string("auth_negotiate_domain"), NULL,
      ngx_http_auth_negotiate_variable, (uintptr_t) auth_domain, 0, 0 },

    { ngx_string("auth_negotiate_mechanism"), NULL,
      ngx_http_auth_negotiate_variable, (uintptr_t) auth_mechanism, 0, 0 },

    { ngx_string("auth_negotiate_reason"), NULL,
      ngx_http_auth_negotiate_variable,
      (uintptr_t) ngx_http_auth_negotiate_reason, 0, 0 }
};


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


/* nginx skips the access phase in subrequests: they share the identity */

static ngx_int_t
ngx_http_auth_negotiate_handler(ngx_http_request_t *r)
{
    auth_str                             authorization[2];
    auth_request                         request;
    auth_verdict                         verdict;
    ngx_http_auth_negotiate_ctx_t       *ctx;
    ngx_http_auth_negotiate_loc_conf_t  *anlcf;

    anlcf = ngx_http_get_module_loc_conf(r, ngx_http_auth_negotiate_module);

    if (!anlcf->enable) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_auth_negotiate_create_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->refused && r->error_page) {
        /* the error page of a refusal is refused alike, whoever may see it */
        return ctx->refused;
    }

    ngx_memzero(&request, sizeof(auth_request));

    request.size = sizeof(auth_request);
    request.method.data = (char *) r->method_name.data;
    request.method.len = r->method_name.len;
    request.http_version = r->http_version;

    ngx_http_auth_negotiate_read_headers(r, &request, authorization);

    if (ngx_http_auth_negotiate_persistent(r)) {
        request.flags |= AUTH_REQUEST_PERSISTENT;
    }

    if (request.flags & AUTH_REQUEST_FORWARDED) {
        ngx_http_auth_negotiate_read_peer(r, &request);
    }

    if (ngx_http_auth_negotiate_read_tls(r, &request) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->stepped) {
        /* after an internal redirect the new answer replaces the old one */
        request.flags |= AUTH_REQUEST_AGAIN;
        ngx_http_auth_negotiate_drop_headers(ctx,
                                   AUTH_HEADER_CHALLENGE|AUTH_HEADER_ALWAYS);
        ctx->headers = NULL;
    }

    verdict = auth_step(ctx->session, anlcf->config, &request);

    if (verdict == AUTH_WAIT) {
        verdict = ngx_http_auth_negotiate_wait(ctx->session);
    }

    return ngx_http_auth_negotiate_finish(r, ctx, &request, verdict);
}


static ngx_int_t
ngx_http_auth_negotiate_finish(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx, auth_request *request,
    auth_verdict verdict)
{
    ngx_uint_t  status;

    ngx_http_auth_negotiate_log(r, ctx, request, verdict);

    ctx->stepped = 1;
    ctx->reason = auth_why(ctx->session);

    if (ngx_http_auth_negotiate_set_variables(r, ctx, verdict) != NGX_OK
        || ngx_http_auth_negotiate_add_headers(r, ctx) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (verdict == AUTH_ACCEPTED) {
        ctx->refused = 0;
        return NGX_OK;
    }

    status = auth_status(ctx->session);

    if (verdict == AUTH_CHALLENGE
        && status == NGX_HTTP_UNAUTHORIZED
        && request->authorization_count
        && (request->flags & AUTH_REQUEST_PERSISTENT)
        && (ctx->kept == 0 || ctx->kept == ctx->request))
    {
        /*
         * the client has to answer this challenge on this connection:
         * "keepalive_requests" and "keepalive_time" wait for it, once
         */

        r->keepalive = 1;
        ctx->kept = ctx->request;
    }

    /* NGX_OK is zero: whatever the library says, this is a refusal */

    if (status < NGX_HTTP_BAD_REQUEST) {
        status = NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->refused = status;

    return status;
}


static auth_verdict
ngx_http_auth_negotiate_wait(auth_session *session)
{
    auth_verdict     verdict;
    const auth_job  *job;

    job = auth_detach(session);

    auth_job_run(job);

    verdict = auth_resume(session, job);

    auth_job_free(job);

    return verdict;
}


static void
ngx_http_auth_negotiate_log(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx, auth_request *request,
    auth_verdict verdict)
{
    auth_str     text;
    ngx_uint_t   level;
    auth_reason  reason;

    reason = auth_why(ctx->session);

    /* told before an internal redirect */

    if (ctx->stepped && ctx->reason == reason) {
        return;
    }

    text = auth_notice(ctx->session);

    if (text.len) {

        /* "error" is what an error_log without a level shows */

        level = auth_notice_warns(ctx->session) ? NGX_LOG_ERR : NGX_LOG_NOTICE;

        ngx_log_error(level, r->connection->log, 0, "auth_negotiate: %*s",
                      ngx_min(text.len, NGX_HTTP_AUTH_NEGOTIATE_MAX_TEXT),
                      text.data);
    }

    switch (verdict) {

    case AUTH_ACCEPTED:
        if (request->authorization_count == 0) {
            /* the connection had signed in before */
            return;
        }

        level = NGX_LOG_INFO;
        break;

    case AUTH_CHALLENGE:
        level = NGX_LOG_INFO;
        break;

    case AUTH_REJECTED:
        level = NGX_LOG_ERR;
        break;

    default: /* AUTH_ERROR */
        level = NGX_LOG_CRIT;
    }

    text = auth_detail(ctx->session);

    ngx_log_error(level, r->connection->log, 0, "auth_negotiate: %uD %s: %*s",
                  reason, auth_reason_name(reason),
                  ngx_min(text.len, NGX_HTTP_AUTH_NEGOTIATE_MAX_TEXT),
                  text.data);
}


static ngx_int_t
ngx_http_auth_negotiate_add_headers(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx)
{
    auth_str    name, value;
    uint32_t    kind;
    ngx_uint_t  i;

    for (i = 0; /* void */ ; i++) {

        kind = auth_header(ctx->session, i, &name, &value);

        if (kind == 0) {
            return NGX_OK;
        }

        if (ngx_http_auth_negotiate_add_header(r, ctx, kind, &name, &value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }
}


static ngx_int_t
ngx_http_auth_negotiate_add_header(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx, ngx_uint_t kind, auth_str *name,
    auth_str *value)
{
    u_char                            *p;
    ngx_table_elt_t                   *h;
    ngx_http_auth_negotiate_header_t  *header;
#if (nginx_version >= 1023000)
    ngx_table_elt_t                  **ph;
#endif

    if (ctx->headers == NULL) {
        ctx->headers = ngx_array_create(r->pool, 4,
                                    sizeof(ngx_http_auth_negotiate_header_t));
        if (ctx->headers == NULL) {
            return NGX_ERROR;
        }
    }

    p = ngx_pnalloc(r->pool, name->len + value->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    header = ngx_array_push(ctx->headers);
    if (header == NULL) {
        return NGX_ERROR;
    }

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        ctx->headers->nelts--;
        return NGX_ERROR;
    }

    h->hash = 1;
    h->key.len = name->len;
    h->key.data = p;
    h->value.len = value->len;
    h->value.data = ngx_cpymem(p, name->data, name->len);
    h->lowcase_key = NULL;

    ngx_memcpy(h->value.data, value->data, value->len);

    header->elt = h;
    header->value = h->value.data;
    header->kind = kind;

#if (nginx_version >= 1023000)
    h->next = NULL;
#endif

    if (kind == AUTH_HEADER_CHALLENGE) {

        /* "satisfy any" clears these when another module lets pass */

#if (nginx_version >= 1023000)
        for (ph = &r->headers_out.www_authenticate; *ph; ph = &(*ph)->next) {
            /* void */
        }

        *ph = h;
#else
        if (r->headers_out.www_authenticate == NULL) {
            r->headers_out.www_authenticate = h;
        }
#endif
    }

    return NGX_OK;
}


static void
ngx_http_auth_negotiate_drop_headers(ngx_http_auth_negotiate_ctx_t *ctx,
    ngx_uint_t kinds)
{
    ngx_uint_t                         i;
    ngx_http_auth_negotiate_header_t  *header;

    if (ctx->headers == NULL) {
        return;
    }

    header = ctx->headers->elts;

    for (i = 0; i < ctx->headers->nelts; i++) {

        /* ngx_http_clean_header() may have given the place to another */

        if ((header[i].kind & kinds)
            && header[i].elt->value.data == header[i].value)
        {
            header[i].elt->hash = 0;
        }
    }
}


static ngx_int_t
ngx_http_auth_negotiate_header_filter(ngx_http_request_t *r)
{
    ngx_http_auth_negotiate_ctx_t  *ctx;

    if (r != r->main) {
        return ngx_http_next_header_filter(r);
    }

    ctx = ngx_http_auth_negotiate_get_ctx(r);

    if (ctx
        && (r->headers_out.status != NGX_HTTP_UNAUTHORIZED
            || ngx_http_auth_negotiate_cleared(ctx)))
    {
        ngx_http_auth_negotiate_drop_headers(ctx, AUTH_HEADER_CHALLENGE);
    }

    return ngx_http_next_header_filter(r);
}


/* before 1.23.0 "satisfy any" cleared one challenge only */

static ngx_uint_t
ngx_http_auth_negotiate_cleared(ngx_http_auth_negotiate_ctx_t *ctx)
{
    ngx_uint_t                         i;
    ngx_http_auth_negotiate_header_t  *header;

    if (ctx->headers == NULL) {
        return 0;
    }

    header = ctx->headers->elts;

    for (i = 0; i < ctx->headers->nelts; i++) {
        if (header[i].kind == AUTH_HEADER_CHALLENGE
            && header[i].elt->hash == 0)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_http_auth_negotiate_ctx_t *
ngx_http_auth_negotiate_create_ctx(ngx_http_request_t *r)
{
    ngx_pool_t                     *pool;
    ngx_pool_cleanup_t             *cln;
    ngx_http_auth_negotiate_ctx_t  *ctx;

    pool = ngx_http_auth_negotiate_pool(r);
    ctx = ngx_http_auth_negotiate_find_ctx(pool);

    if (ctx == NULL) {
        cln = ngx_pool_cleanup_add(pool, sizeof(ngx_http_auth_negotiate_ctx_t));
        if (cln == NULL) {
            return NULL;
        }

        ctx = cln->data;
        ngx_memzero(ctx, sizeof(ngx_http_auth_negotiate_ctx_t));

        ctx->session = auth_begin(pool == r->pool ? AUTH_MULTIPLEXED : 0);
        if (ctx->session == NULL) {
            return NULL;
        }

        cln->handler = ngx_http_auth_negotiate_cleanup;
    }

    if (ctx->request != r->connection->requests) {
        ctx->request = r->connection->requests;
        ctx->headers = NULL;
        ctx->refused = 0;
        ctx->stepped = 0;
    }

    return ctx;
}


/* returns what is known of this request, if it was stepped */

static ngx_http_auth_negotiate_ctx_t *
ngx_http_auth_negotiate_get_ctx(ngx_http_request_t *r)
{
    ngx_http_auth_negotiate_ctx_t  *ctx;

    ctx = ngx_http_auth_negotiate_find_ctx(ngx_http_auth_negotiate_pool(r));

    if (ctx && ctx->stepped && ctx->request == r->connection->requests) {
        return ctx;
    }

    return NULL;
}


/* requests share an HTTP/2 connection, and so its pool */

static ngx_pool_t *
ngx_http_auth_negotiate_pool(ngx_http_request_t *r)
{
    if (r->http_version < NGX_HTTP_VERSION_20) {
        return r->connection->pool;
    }

    return r->pool;
}


static ngx_http_auth_negotiate_ctx_t *
ngx_http_auth_negotiate_find_ctx(ngx_pool_t *pool)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_auth_negotiate_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


static void
ngx_http_auth_negotiate_cleanup(void *data)
{
    ngx_http_auth_negotiate_ctx_t  *ctx = data;

    auth_finish(ctx->session);
}


static void
ngx_http_auth_negotiate_read_headers(ngx_http_request_t *r,
    auth_request *request, auth_str *authorization)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    static ngx_str_t  name = ngx_string("Authorization");

    /* the name that chose the server, which a Host field may not be */

    request->host.data = (char *) r->headers_in.server.data;
    request->host.len = r->headers_in.server.len;

    request->authorization = authorization;

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (ngx_http_auth_negotiate_forwarded(&h[i])) {
            request->flags |= AUTH_REQUEST_FORWARDED;
            continue;
        }

        /* two are refused already, more make no difference */

        if (h[i].key.len == name.len
            && ngx_strncasecmp(h[i].key.data, name.data, name.len) == 0
            && request->authorization_count < 2)
        {
            authorization->data = (char *) h[i].value.data;
            authorization->len = h[i].value.len;

            authorization++;
            request->authorization_count++;
        }
    }
}


static ngx_uint_t
ngx_http_auth_negotiate_forwarded(ngx_table_elt_t *h)
{
    ngx_str_t  *name;

    static ngx_str_t  names[] = {
        ngx_string("Via"),
        ngx_string("Forwarded"),
        ngx_string("X-Forwarded-For"),
        ngx_null_string
    };

    for (name = names; name->len; name++) {
        if (h->key.len == name->len
            && ngx_strncasecmp(h->key.data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/*
 * r->keepalive is not asked: "keepalive_requests" may have ended it, and then
 * the client comes again on another connection.
 */

static ngx_uint_t
ngx_http_auth_negotiate_persistent(ngx_http_request_t *r)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (clcf->keepalive_timeout == 0) {
        return 0;
    }

    if (r->headers_in.connection_type == 0) {
        return r->http_version > NGX_HTTP_VERSION_10;
    }

    return r->headers_in.connection_type == NGX_HTTP_CONNECTION_KEEP_ALIVE;
}


/* the address that realip may have replaced is what "proxies" is about */

static void
ngx_http_auth_negotiate_read_peer(ngx_http_request_t *r, auth_request *request)
{
    ngx_uint_t                  key;
    ngx_http_variable_value_t  *v;

    static ngx_str_t  name = ngx_string("realip_remote_addr");

    key = ngx_hash_key(name.data, name.len);

    v = ngx_http_get_variable(r, &name, key);

    if (v && !v->not_found) {
        request->peer.data = (char *) v->data;
        request->peer.len = v->len;
        return;
    }

    request->peer.data = (char *) r->connection->addr_text.data;
    request->peer.len = r->connection->addr_text.len;
}


static ngx_int_t
ngx_http_auth_negotiate_read_tls(ngx_http_request_t *r, auth_request *request)
{
#if (NGX_HTTP_SSL)

    X509         *shown;
    ngx_array_t  *certificates;
    SSL          *ssl;

    if (r->connection->ssl == NULL) {
        return NGX_OK;
    }

    request->flags |= AUTH_REQUEST_TLS;

    if (request->authorization_count == 0
        || SSL_get_certificate == NULL
        || SSL_ctrl == NULL
        || i2d_X509 == NULL)
    {
        return NGX_OK;
    }

    certificates = ngx_array_create(r->pool, 2, sizeof(auth_str));
    if (certificates == NULL) {
        return NGX_ERROR;
    }

    /*
     * OpenSSL does not know which certificate a resumed session was
     * made with: any of the server's may be the one
     */

    ssl = r->connection->ssl->connection;
    shown = SSL_get_certificate(ssl);

    if (SSL_set_current_cert(ssl, SSL_CERT_SET_FIRST)) {

        do {
            if (ngx_http_auth_negotiate_certificate(r, certificates,
                                                    SSL_get_certificate(ssl))
                != NGX_OK)
            {
                return NGX_ERROR;
            }

        } while (SSL_set_current_cert(ssl, SSL_CERT_SET_NEXT));

        SSL_select_current_cert(ssl, shown);
    }

    request->certificates = certificates->elts;
    request->certificate_count = certificates->nelts;

#elif (NGX_COMPAT)

    if (r->connection->ssl) {
        request->flags |= AUTH_REQUEST_TLS;
    }

#endif

    return NGX_OK;
}


#if (NGX_HTTP_SSL)

static ngx_int_t
ngx_http_auth_negotiate_certificate(ngx_http_request_t *r,
    ngx_array_t *certificates, X509 *x509)
{
    int        len;
    u_char    *p;
    auth_str  *der;

    len = i2d_X509(x509, NULL);
    if (len <= 0) {
        return NGX_ERROR;
    }

    der = ngx_array_push(certificates);
    if (der == NULL) {
        return NGX_ERROR;
    }

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    der->data = (char *) p;
    der->len = i2d_X509(x509, &p);

    return NGX_OK;
}

#endif


static ngx_int_t
ngx_http_auth_negotiate_set_variables(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx, auth_verdict verdict)
{
    ngx_uint_t                            i;
    ngx_http_variable_value_t            *v;
    ngx_http_auth_negotiate_main_conf_t  *anmcf;

    anmcf = ngx_http_get_module_main_conf(r, ngx_http_auth_negotiate_module);

    /* what was read before this step is not so any more */

    for (i = 0; i < NGX_HTTP_AUTH_NEGOTIATE_VARS; i++) {
        v = &r->variables[anmcf->vars[i]];
        v->valid = 0;
        v->not_found = 0;
    }

    v = &r->variables[anmcf->remote_user];

    if (verdict == AUTH_ACCEPTED) {
        return ngx_http_auth_negotiate_value(r, v, auth_name(ctx->session));
    }

    v->valid = 0;
    v->no_cacheable = 0;
    v->not_found = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_auth_negotiate_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_auth_negotiate_get_pt  get = (ngx_http_auth_negotiate_get_pt) data;

    auth_str                        value;
    ngx_http_auth_negotiate_ctx_t  *ctx;

    ctx = ngx_http_auth_negotiate_get_ctx(r);

    if (ctx) {
        value = get(ctx->session);

        if (value.len) {
            return ngx_http_auth_negotiate_value(r, v, value);
        }
    }

    v->not_found = 1;

    return NGX_OK;
}


/*
 * Where this module signs in, $remote_user is the name that was proved, or
 * nothing: also before the access phase, and when "satisfy any" lets pass
 * without asking us.  nginx would believe what a Basic header claims.
 */

static ngx_int_t
ngx_http_auth_negotiate_remote_user(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_auth_negotiate_loc_conf_t   *anlcf;
    ngx_http_auth_negotiate_main_conf_t  *anmcf;

    anlcf = ngx_http_get_module_loc_conf(r, ngx_http_auth_negotiate_module);

    if (anlcf->enable) {
        return ngx_http_auth_negotiate_variable(r, v, (uintptr_t) auth_name);
    }

    anmcf = ngx_http_get_module_main_conf(r, ngx_http_auth_negotiate_module);

    /* a redirect may lead to where we sign in */

    v->no_cacheable = 1;

    return anmcf->get_remote_user(r, v, data);
}


/* a copy: the session may change while the request goes on */

static ngx_int_t
ngx_http_auth_negotiate_value(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, auth_str value)
{
    u_char  *p;

    p = ngx_pnalloc(r->pool, value.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(p, value.data, value.len);

    v->len = value.len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->data = p;

    return NGX_OK;
}


static auth_str
ngx_http_auth_negotiate_reason(const auth_session *session)
{
    auth_str  name;

    name.data = auth_reason_name(auth_why(session));
    name.len = ngx_strlen(name.data);

    return name;
}


static char *
ngx_http_auth_negotiate(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_auth_negotiate_loc_conf_t  *anlcf = conf;

    char  *rv;

    rv = ngx_conf_set_flag_slot(cf, cmd, conf);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    anlcf->place = ngx_http_auth_negotiate_place(cf);
    if (anlcf->place == NULL) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_auth_negotiate_option(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_auth_negotiate_loc_conf_t  *anlcf = conf;

    char        *key, *place;
    auth_str    *args;
    ngx_str_t   *value;
    ngx_uint_t   i, n;

    if (anlcf->config == NULL) {
        anlcf->config = ngx_http_auth_negotiate_create_config(cf);
        if (anlcf->config == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;
    n = cf->args->nelts - 1;

    args = ngx_palloc(cf->temp_pool, n * sizeof(auth_str));
    if (args == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < n; i++) {
        args[i].data = (char *) value[i + 1].data;
        args[i].len = value[i + 1].len;
    }

    place = ngx_http_auth_negotiate_place(cf);
    if (place == NULL) {
        return NGX_CONF_ERROR;
    }

    key = (char *) cmd->name.data + sizeof("auth_negotiate_") - 1;

    if (!auth_config_set(anlcf->config, key, args, n, place)) {
        return ngx_http_auth_negotiate_error(cf, anlcf->config);
    }

    return NGX_CONF_OK;
}


static auth_config *
ngx_http_auth_negotiate_create_config(ngx_conf_t *cf)
{
    char         *base;
    ngx_str_t    *prefix;
    auth_config  *config;

    config = ngx_http_auth_negotiate_keep_config(cf, auth_config_new());
    if (config == NULL) {
        return NULL;
    }

    prefix = &cf->cycle->conf_prefix;

    base = ngx_pnalloc(cf->temp_pool, prefix->len + 1);
    if (base == NULL) {
        return NULL;
    }

    (void) ngx_cpystrn((u_char *) base, prefix->data, prefix->len + 1);

    if (!auth_config_base(config, base)) {
        return NULL;
    }

    return config;
}


static auth_config *
ngx_http_auth_negotiate_keep_config(ngx_conf_t *cf, auth_config *config)
{
    ngx_pool_cleanup_t  *cln;

    if (config == NULL) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        auth_config_free(config);
        return NULL;
    }

    cln->handler = ngx_http_auth_negotiate_free_config;
    cln->data = config;

    return config;
}


static void
ngx_http_auth_negotiate_free_config(void *data)
{
    auth_config  *config = data;

    auth_config_free(config);
}


/* an error starts with the place of what is wrong, "file:line: " */

static char *
ngx_http_auth_negotiate_error(ngx_conf_t *cf, auth_config *config)
{
    auth_str  error;

    error = auth_config_error(config);

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "%*s", error.len, error.data);

    return NGX_CONF_ERROR;
}


static char *
ngx_http_auth_negotiate_place(ngx_conf_t *cf)
{
    size_t   len;
    u_char  *p;

    len = cf->conf_file->file.name.len + sizeof(":") + NGX_INT_T_LEN;

    p = ngx_pnalloc(cf->pool, len);
    if (p == NULL) {
        return NULL;
    }

    ngx_sprintf(p, "%V:%ui%Z", &cf->conf_file->file.name, cf->conf_file->line);

    return (char *) p;
}


static void *
ngx_http_auth_negotiate_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_auth_negotiate_main_conf_t));
}


static void *
ngx_http_auth_negotiate_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_auth_negotiate_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_auth_negotiate_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->config = NULL;
     */

    conf->enable = NGX_CONF_UNSET;
    conf->place = NGX_CONF_UNSET_PTR;

    return conf;
}


static char *
ngx_http_auth_negotiate_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_http_auth_negotiate_loc_conf_t  *prev = parent;
    ngx_http_auth_negotiate_loc_conf_t  *conf = child;

    ngx_conf_merge_value(conf->enable, prev->enable, 0);
    ngx_conf_merge_ptr_value(conf->place, prev->place, NULL);

    if (conf->config == NULL) {
        conf->config = prev->config;

    } else if (prev->config) {
        conf->config = ngx_http_auth_negotiate_keep_config(cf,
                              auth_config_inherit(conf->config, prev->config));
        if (conf->config == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (!conf->enable) {
        return NGX_CONF_OK;
    }

    if (conf->config == NULL) {
        conf->config = ngx_http_auth_negotiate_create_config(cf);
        if (conf->config == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (!auth_config_check(conf->config, conf->place)) {
        return ngx_http_auth_negotiate_error(cf, conf->config);
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_auth_negotiate_add_variables(ngx_conf_t *cf)
{
    ngx_uint_t            i;
    ngx_http_variable_t  *var, *v;

    v = ngx_http_auth_negotiate_vars;

    for (i = 0; i < NGX_HTTP_AUTH_NEGOTIATE_VARS; i++, v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_auth_negotiate_init(ngx_conf_t *cf)
{
    ngx_uint_t                            i;
    ngx_http_handler_pt                  *h;
    ngx_http_core_main_conf_t            *cmcf;
    ngx_http_auth_negotiate_main_conf_t  *anmcf;

    static ngx_str_t  name = ngx_string("remote_user");

    anmcf = ngx_http_conf_get_module_main_conf(cf,
                                               ngx_http_auth_negotiate_module);

    anmcf->remote_user = ngx_http_get_variable_index(cf, &name);
    if (anmcf->remote_user == NGX_ERROR) {
        return NGX_ERROR;
    }

    ngx_http_auth_negotiate_init_remote_user(cf, &name);

    for (i = 0; i < NGX_HTTP_AUTH_NEGOTIATE_VARS; i++) {
        anmcf->vars[i] = ngx_http_get_variable_index(cf,
                                        &ngx_http_auth_negotiate_vars[i].name);
        if (anmcf->vars[i] == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_ACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_auth_negotiate_handler;

    return NGX_OK;
}


static void
ngx_http_auth_negotiate_init_remote_user(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_uint_t                            i;
    ngx_hash_key_t                       *key;
    ngx_http_variable_t                  *var;
    ngx_http_core_main_conf_t            *cmcf;
    ngx_http_auth_negotiate_main_conf_t  *anmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    anmcf = ngx_http_conf_get_module_main_conf(cf,
                                               ngx_http_auth_negotiate_module);

    key = cmcf->variables_keys->keys.elts;

    for (i = 0; i < cmcf->variables_keys->keys.nelts; i++) {

        if (key[i].key.len != name->len
            || ngx_strncmp(key[i].key.data, name->data, name->len) != 0)
        {
            continue;
        }

        var = key[i].value;

        anmcf->get_remote_user = var->get_handler;
        var->get_handler = ngx_http_auth_negotiate_remote_user;

        return;
    }
}


static ngx_int_t
ngx_http_auth_negotiate_filter_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_auth_negotiate_header_filter;

    return NGX_OK;
}
