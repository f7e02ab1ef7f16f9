
/*
 * The library's header lines in answers: a module of its own, because it has
 * to stand among the filters.
 */


#include "ngx_http_auth_negotiate.h"


typedef struct {
    ngx_table_elt_t           *elt;
    u_char                    *value;
    ngx_uint_t                 kind;
} ngx_http_auth_negotiate_header_t;


static ngx_int_t ngx_http_auth_negotiate_add_header(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx, ngx_uint_t kind, auth_str *name,
    auth_str *value);
static ngx_int_t ngx_http_auth_negotiate_header_filter(ngx_http_request_t *r);
static ngx_uint_t ngx_http_auth_negotiate_cleared(
    ngx_http_auth_negotiate_ctx_t *ctx);
static ngx_int_t ngx_http_auth_negotiate_filter_init(ngx_conf_t *cf);


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


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


ngx_int_t
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


void
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

    if (ctx == NULL) {
        return ngx_http_next_header_filter(r);
    }

    if (r->headers_out.status != NGX_HTTP_UNAUTHORIZED
        || ngx_http_auth_negotiate_cleared(ctx))
    {
        ngx_http_auth_negotiate_drop_headers(ctx, AUTH_HEADER_CHALLENGE);

    } else if (ctx->verdict == AUTH_ACCEPTED) {

        /*
         * another asks who the client is: the token that ends our handshake
         * would read as one that goes on with it
         */

        ngx_http_auth_negotiate_drop_headers(ctx, AUTH_HEADER_ALWAYS);
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


static ngx_int_t
ngx_http_auth_negotiate_filter_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_auth_negotiate_header_filter;

    return NGX_OK;
}
