
/*
 * Signs clients in with the library negotiate_auth: this file turns nginx's
 * configuration, connections and requests into the library's calls, and its
 * verdicts into nginx's return codes.  What a credential means, who may sign
 * in and what is answered is decided in the library.
 */


#include "ngx_http_auth_negotiate.h"


#define NGX_HTTP_AUTH_NEGOTIATE_MAX_TEXT  1024
#define NGX_HTTP_AUTH_NEGOTIATE_VARS      7


typedef struct {
    /* indexes of variables */
    ngx_int_t                  remote_user;
    ngx_http_get_variable_pt   get_remote_user; /* nginx's own */
    ngx_int_t                  vars[NGX_HTTP_AUTH_NEGOTIATE_VARS];
} ngx_http_auth_negotiate_main_conf_t;


typedef struct {
    ngx_flag_t                 enable;
    char                      *place;           /* of "enable" */
    char                      *rules;           /* of a location's own */
    auth_config               *config;
    ngx_thread_pool_t         *thread_pool;
} ngx_http_auth_negotiate_loc_conf_t;


typedef auth_str (*ngx_http_auth_negotiate_get_pt)(const auth_session *session);


static ngx_int_t ngx_http_auth_negotiate_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_auth_negotiate_step(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx,
    ngx_http_auth_negotiate_loc_conf_t *anlcf);
static ngx_int_t ngx_http_auth_negotiate_go_on(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx,
    ngx_http_auth_negotiate_loc_conf_t *anlcf);
static ngx_int_t ngx_http_auth_negotiate_finish(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx);
static void ngx_http_auth_negotiate_log(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx);

static ngx_http_auth_negotiate_ctx_t *ngx_http_auth_negotiate_create_ctx(
    ngx_http_request_t *r);
static ngx_pool_t *ngx_http_auth_negotiate_pool(ngx_http_request_t *r);
static ngx_http_auth_negotiate_ctx_t *ngx_http_auth_negotiate_find_ctx(
    ngx_pool_t *pool);
static void ngx_http_auth_negotiate_cleanup(void *data);

static ngx_int_t ngx_http_auth_negotiate_set_variables(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx);
static ngx_int_t ngx_http_auth_negotiate_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_auth_negotiate_remote_user(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_auth_negotiate_value(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, auth_str value);
static auth_str ngx_http_auth_negotiate_channel_bound(
    const auth_session *session);
static ngx_int_t ngx_http_auth_negotiate_reason(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static auth_reason ngx_http_auth_negotiate_why(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx);

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
static void ngx_http_auth_negotiate_warn(ngx_conf_t *cf, auth_config *config);
static char *ngx_http_auth_negotiate_place(ngx_conf_t *cf);

static void *ngx_http_auth_negotiate_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_auth_negotiate_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_auth_negotiate_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static ngx_int_t ngx_http_auth_negotiate_add_variables(ngx_conf_t *cf);
static ngx_int_t ngx_http_auth_negotiate_init(ngx_conf_t *cf);
static void ngx_http_auth_negotiate_init_remote_user(ngx_conf_t *cf,
    ngx_str_t *name);


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
      ngx_http_auth_negotiate_key("auth_negotiate_keytab"),
      ngx_http_auth_negotiate_key("auth_negotiate_accounts"),
      ngx_http_auth_negotiate_key("auth_negotiate_group_names"),
      ngx_http_auth_negotiate_key("auth_negotiate_realms_without_pac"),
      ngx_http_auth_negotiate_key("auth_negotiate_domain"),
      ngx_http_auth_negotiate_key("auth_negotiate_channel_binding"),
      ngx_http_auth_negotiate_key("auth_negotiate_service_name"),
      ngx_http_auth_negotiate_key("auth_negotiate_realm_map"),
      ngx_http_auth_negotiate_key("auth_negotiate_replay_cache"),
      ngx_http_auth_negotiate_key("auth_negotiate_allow_rc4"),
      ngx_http_auth_negotiate_key("auth_negotiate_certificates"),
      ngx_http_auth_negotiate_key("auth_negotiate_proxies"),
      ngx_http_auth_negotiate_key("auth_negotiate_handshake_lifetime"),
      ngx_http_auth_negotiate_key("auth_negotiate_timeout"),
      ngx_http_auth_negotiate_key("auth_negotiate_max_jobs"),
      ngx_http_auth_negotiate_key("auth_negotiate_persist"),
      ngx_http_auth_negotiate_key("auth_negotiate_persist_kerberos"),
      ngx_http_auth_negotiate_key("auth_negotiate_name_format"),
      ngx_http_auth_negotiate_key("auth_negotiate_name_case"),
      ngx_http_auth_negotiate_key("auth_negotiate_require"),
      ngx_http_auth_negotiate_key("auth_negotiate_groups"),
      ngx_http_auth_negotiate_key("auth_negotiate_groups_form"),
      ngx_http_auth_negotiate_key("auth_negotiate_groups_limit"),

    { ngx_string("auth_negotiate_thread_pool"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_HTTP_LMT_CONF
                        |NGX_CONF_TAKE1,
      ngx_http_auth_negotiate_thread_pool,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_auth_negotiate_loc_conf_t, thread_pool),
      NULL },

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


static ngx_http_variable_t  ngx_http_auth_negotiate_vars[] = {

    { ngx_string("auth_negotiate_user"), NULL,
      ngx_http_auth_negotiate_variable, (uintptr_t) auth_user, 0, 0 },

    { ngx_string("auth_negotiate_domain"), NULL,
      ngx_http_auth_negotiate_variable, (uintptr_t) auth_domain, 0, 0 },

    { ngx_string("auth_negotiate_mechanism"), NULL,
      ngx_http_auth_negotiate_variable, (uintptr_t) auth_mechanism, 0, 0 },

    { ngx_string("auth_negotiate_sid"), NULL,
      ngx_http_auth_negotiate_variable, (uintptr_t) auth_sid, 0, 0 },

    { ngx_string("auth_negotiate_groups"), NULL,
      ngx_http_auth_negotiate_variable, (uintptr_t) auth_groups, 0, 0 },

    { ngx_string("auth_negotiate_channel_bound"), NULL,
      ngx_http_auth_negotiate_variable,
      (uintptr_t) ngx_http_auth_negotiate_channel_bound, 0, 0 },

    { ngx_string("auth_negotiate_reason"), NULL,
      ngx_http_auth_negotiate_reason, 0, 0, 0 }
};


/* nginx skips the access phase in subrequests: they share the identity */

static ngx_int_t
ngx_http_auth_negotiate_handler(ngx_http_request_t *r)
{
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

    if (ctx->wait) {
        /* any event of the connection leads here */
        return NGX_AGAIN;
    }

    if (ctx->resumed) {
        ctx->resumed = 0;
        return ngx_http_auth_negotiate_go_on(r, ctx, anlcf);
    }

    if (ctx->refused && ctx->refused != NGX_HTTP_FORBIDDEN && r->error_page) {
        /*
         * the error page of a refusal is refused alike, whoever may see it;
         * who is known and not allowed is looked at anew, by its own rules
         */
        return ctx->refused;
    }

    return ngx_http_auth_negotiate_step(r, ctx, anlcf);
}


static ngx_int_t
ngx_http_auth_negotiate_step(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx,
    ngx_http_auth_negotiate_loc_conf_t *anlcf)
{
    auth_str      authorization[2];
    auth_request  request;

    if (ngx_http_auth_negotiate_read_request(r, &request, authorization)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->credentials = (request.authorization_count != 0);
    ctx->persistent = ((request.flags & AUTH_REQUEST_PERSISTENT) != 0);

    if (ctx->stepped) {
        /* after an internal redirect the new answer replaces the old one */
        request.flags |= AUTH_REQUEST_AGAIN;
        ngx_http_auth_negotiate_drop_headers(ctx,
                                   AUTH_HEADER_CHALLENGE|AUTH_HEADER_ALWAYS);
        ctx->headers = NULL;
    }

    ctx->verdict = auth_step(ctx->session, anlcf->config, &request);

    return ngx_http_auth_negotiate_go_on(r, ctx, anlcf);
}


/* a step may have to wait for one thing after the other */

static ngx_int_t
ngx_http_auth_negotiate_go_on(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx,
    ngx_http_auth_negotiate_loc_conf_t *anlcf)
{
    while (ctx->verdict == AUTH_WAIT) {

        if (ngx_http_auth_negotiate_wait(r, ctx, anlcf->thread_pool)
            == NGX_AGAIN)
        {
            return NGX_AGAIN;
        }
    }

    return ngx_http_auth_negotiate_finish(r, ctx);
}


static ngx_int_t
ngx_http_auth_negotiate_finish(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx)
{
    ngx_uint_t  status;

    ngx_http_auth_negotiate_log(r, ctx);

    ctx->stepped = 1;

    ctx->reason = ngx_http_auth_negotiate_why(r, ctx);

    if (ngx_http_auth_negotiate_set_variables(r, ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->refused && r->error_page && ctx->verdict != AUTH_ACCEPTED
        && auth_status(ctx->session) != ctx->refused)
    {
        /* nobody is asked to sign in for the page of a refusal */
        return ctx->refused;
    }

    if (ngx_http_auth_negotiate_add_headers(r, ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->verdict == AUTH_ACCEPTED) {
        ctx->refused = r->error_page ? ctx->refused : 0;
        return NGX_OK;
    }

    status = auth_status(ctx->session);

    if (ctx->verdict == AUTH_CHALLENGE
        && status == NGX_HTTP_UNAUTHORIZED
        && ctx->credentials
        && ctx->persistent
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


void
ngx_http_auth_negotiate_log_notice(const auth_session *session, ngx_log_t *log)
{
    auth_str    text;
    ngx_uint_t  level;

    text = auth_notice(session);

    if (text.len) {

        /* "error" is what an error_log without a level shows */

        level = auth_notice_warns(session) ? NGX_LOG_ERR : NGX_LOG_NOTICE;

        ngx_log_error(level, log, 0, "auth_negotiate: %*s",
                      ngx_min(text.len, NGX_HTTP_AUTH_NEGOTIATE_MAX_TEXT),
                      text.data);
    }
}


static void
ngx_http_auth_negotiate_log(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx)
{
    auth_str     text;
    ngx_uint_t   level;
    auth_reason  reason;

    reason = auth_why(ctx->session);

    /* told before an internal redirect */

    if (ctx->stepped && ctx->reason == reason) {
        return;
    }

    ngx_http_auth_negotiate_log_notice(ctx->session, r->connection->log);

    switch (ctx->verdict) {

    case AUTH_ACCEPTED:
        if (!ctx->credentials || ctx->refused) {
            /* the connection had signed in before, or it is told already */
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

    text = auth_more(ctx->session);

    if (text.len) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "auth_negotiate: %*s",
                      ngx_min(text.len, NGX_HTTP_AUTH_NEGOTIATE_MAX_TEXT),
                      text.data);
    }
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
        ctx->resumed = 0;
    }

    return ctx;
}


/* returns what is known of this request, if it was stepped */

ngx_http_auth_negotiate_ctx_t *
ngx_http_auth_negotiate_get_ctx(ngx_http_request_t *r)
{
    ngx_http_auth_negotiate_ctx_t  *ctx;

    ctx = ngx_http_auth_negotiate_find_ctx(ngx_http_auth_negotiate_pool(r));

    if (ctx && ctx->stepped && ctx->request == r->connection->requests) {
        return ctx;
    }

    return NULL;
}


/*
 * Requests share an HTTP/2 connection, and so its pool.  r->http_version does
 * not tell them: "post_action" sets it to HTTP/0.9.
 */

static ngx_pool_t *
ngx_http_auth_negotiate_pool(ngx_http_request_t *r)
{
    if (r->stream) {
        return r->pool;
    }

#if (nginx_version >= 1025000)
    if (r->v3_parse) {
        return r->pool;
    }
#endif

    return r->connection->pool;
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


static ngx_int_t
ngx_http_auth_negotiate_set_variables(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx)
{
    auth_str                              name;
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

    name = auth_name(ctx->session);

    if (name.len) {
        return ngx_http_auth_negotiate_value(r, v, name);
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
ngx_http_auth_negotiate_channel_bound(const auth_session *session)
{
    auth_str  value;

    value.data = "1";
    value.len = auth_channel_bound(session) ? 1 : 0;

    return value;
}


static ngx_int_t
ngx_http_auth_negotiate_reason(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    auth_str                        name;
    ngx_http_auth_negotiate_ctx_t  *ctx;

    ctx = ngx_http_auth_negotiate_get_ctx(r);

    if (ctx == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    name.data = auth_reason_name(ngx_http_auth_negotiate_why(r, ctx));
    name.len = ngx_strlen(name.data);

    return ngx_http_auth_negotiate_value(r, v, name);
}


/* the page of a refusal does not take its reason away */

static auth_reason
ngx_http_auth_negotiate_why(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx)
{
    if (ctx->refused && ctx->stepped && r->error_page) {
        return ctx->reason;
    }

    return auth_why(ctx->session);
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

    if (cmd->name.len == sizeof("auth_negotiate_require") - 1
        && ngx_strcmp(cmd->name.data, "auth_negotiate_require") == 0
        && (cf->cmd_type & (NGX_HTTP_LOC_CONF|NGX_HTTP_LMT_CONF)))
    {
        anlcf->rules = place;
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


/* one to a line, each with its place */

static void
ngx_http_auth_negotiate_warn(ngx_conf_t *cf, auth_config *config)
{
    const char  *p, *end, *line;
    auth_str     warnings;

    warnings = auth_config_warning(config);
    end = warnings.data + warnings.len;

    for (p = warnings.data; p < end; p = line + 1) {

        line = memchr(p, '\n', end - p);
        if (line == NULL) {
            line = end;
        }

        ngx_log_error(NGX_LOG_WARN, cf->log, 0, "%*s", line - p, p);
    }
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
     *     conf->rules = NULL;
     */

    conf->enable = NGX_CONF_UNSET;
    conf->place = NGX_CONF_UNSET_PTR;
    conf->thread_pool = NGX_CONF_UNSET_PTR;

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
    ngx_conf_merge_ptr_value(conf->thread_pool, prev->thread_pool, NULL);

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

        if (conf->rules) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "%s: \"auth_negotiate_require\" protects nothing "
                          "without \"auth_negotiate on\"", conf->rules);
            return NGX_CONF_ERROR;
        }

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

    ngx_http_auth_negotiate_warn(cf, conf->config);

    if (conf->thread_pool == NULL) {
        return ngx_http_auth_negotiate_default_pool(cf, &conf->thread_pool);
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
