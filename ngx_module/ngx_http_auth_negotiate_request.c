
/*
 * Tells the library of a request: its credentials, and what decides about
 * them.  Strings are borrowed, the library copies what it keeps.
 */


#include "ngx_http_auth_negotiate.h"


#if (NGX_HTTP_SSL)

/* an nginx that has OpenSSL linked in, or has none, does not export these */

#pragma weak SSL_get_certificate
#pragma weak SSL_ctrl
#pragma weak i2d_X509

#endif


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


/* "authorization" has room for two */

ngx_int_t
ngx_http_auth_negotiate_read_request(ngx_http_request_t *r,
    auth_request *request, auth_str *authorization)
{
    ngx_memzero(request, sizeof(auth_request));

    request->size = sizeof(auth_request);
    request->method.data = (char *) r->method_name.data;
    request->method.len = r->method_name.len;
    request->http_version = r->http_version;

    ngx_http_auth_negotiate_read_headers(r, request, authorization);

    if (ngx_http_auth_negotiate_persistent(r)) {
        request->flags |= AUTH_REQUEST_PERSISTENT;
    }

    if (request->flags & AUTH_REQUEST_FORWARDED) {
        ngx_http_auth_negotiate_read_peer(r, request);
    }

    return ngx_http_auth_negotiate_read_tls(r, request);
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
