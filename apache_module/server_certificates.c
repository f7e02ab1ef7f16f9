/*
 * SSL_SERVER_CERT is the certificate of the connection, except on a resumed
 * one: there OpenSSL does not know any more which of several certificates
 * (RSA and ECDSA, say) the first handshake showed, and names the last loaded.
 * So all certificates of a server are read once, at start, and the library
 * accepts a binding to any of them: their keys are all this server's.
 */

#include "apr_base64.h"
#include "apr_dso.h"
#include "apr_lib.h"
#include "apr_optional_hooks.h"
#include "apr_strings.h"

#include "httpd.h"
#include "http_config.h"
#include "http_core.h"
#include "http_ssl.h"

#include "negotiate_auth.h"
#include "server_certificates.h"

/* mod_ssl_openssl.h, which not every distribution installs. */
typedef struct ssl_ctx_st SSL_CTX;
typedef int ssl_HOOK_init_server_t(server_rec *s, apr_pool_t *p, int is_proxy,
                                   SSL_CTX *ctx);

/* What is needed of the OpenSSL that mod_ssl was linked with. */
#define SSL_CTRL_SET_CURRENT_CERT 117
#define SSL_CERT_SET_FIRST 1
#define SSL_CERT_SET_NEXT 2

typedef struct x509_st X509;

typedef struct {
    long (*ctx_ctrl)(SSL_CTX *ctx, int cmd, long op, void *arg);
    X509 *(*ctx_get0_certificate)(const SSL_CTX *ctx);
    int (*i2d_x509)(const X509 *certificate, unsigned char **out);
} openssl_fns;

extern module AP_MODULE_DECLARE_DATA auth_negotiate_module;

static int find_openssl(openssl_fns *openssl)
{
    module *ssl = ap_find_linked_module("mod_ssl.c");
    apr_dso_handle_t *dso = ssl ? ssl->dynamic_load_handle : NULL;

    return dso != NULL
        && !apr_dso_sym((apr_dso_handle_sym_t *)&openssl->ctx_ctrl,
                        dso, "SSL_CTX_ctrl")
        && !apr_dso_sym((apr_dso_handle_sym_t *)&openssl->ctx_get0_certificate,
                        dso, "SSL_CTX_get0_certificate")
        && !apr_dso_sym((apr_dso_handle_sym_t *)&openssl->i2d_x509,
                        dso, "i2d_X509");
}

static void push(apr_array_header_t *list, const char *der, apr_size_t len)
{
    auth_str *certificate = apr_array_push(list);

    certificate->data = der;
    certificate->len = len;
}

static void push_x509(apr_array_header_t *list, const openssl_fns *openssl,
                      const X509 *certificate)
{
    int len = openssl->i2d_x509(certificate, NULL);
    unsigned char *der, *end;

    if (len > 0) {
        der = end = apr_palloc(list->pool, len);
        openssl->i2d_x509(certificate, &end);
        push(list, (char *)der, len);
    }
}

/* Reads the certificates of s, while mod_ssl initializes and no other thread
 * uses ctx: the only way through them moves its current certificate.
 */
static int read_certificates(server_rec *s, apr_pool_t *p, int is_proxy,
                             SSL_CTX *ctx)
{
    apr_array_header_t *list = apr_array_make(p, 2, sizeof(auth_str));
    const X509 *current;
    openssl_fns openssl;
    long more;

    if (is_proxy || !find_openssl(&openssl)) {
        return OK;
    }

    current = openssl.ctx_get0_certificate(ctx);

    for (more = openssl.ctx_ctrl(ctx, SSL_CTRL_SET_CURRENT_CERT,
                                 SSL_CERT_SET_FIRST, NULL);
         more;
         more = openssl.ctx_ctrl(ctx, SSL_CTRL_SET_CURRENT_CERT,
                                 SSL_CERT_SET_NEXT, NULL)) {
        push_x509(list, &openssl, openssl.ctx_get0_certificate(ctx));
    }

    /* Back to where it stood. */
    more = openssl.ctx_ctrl(ctx, SSL_CTRL_SET_CURRENT_CERT,
                            SSL_CERT_SET_FIRST, NULL);
    while (more && openssl.ctx_get0_certificate(ctx) != current) {
        more = openssl.ctx_ctrl(ctx, SSL_CTRL_SET_CURRENT_CERT,
                                SSL_CERT_SET_NEXT, NULL);
    }

    /* This slot has no directives, hence no other use. */
    ap_set_module_config(s->module_config, &auth_negotiate_module, list);
    return OK;
}

void server_certificates_register_hooks(void)
{
    APR_OPTIONAL_HOOK(ssl, init_server, read_certificates, NULL, NULL,
                      APR_HOOK_MIDDLE);
}

/* The certificate in a PEM block, without its lines. */
static int pem_to_der(apr_pool_t *p, const char *pem, auth_str *der)
{
    const char *body = pem ? strchr(pem, '\n') : NULL;
    const char *end = body ? strstr(body, "-----END") : NULL;
    char *base64, *to;
    unsigned char *bytes;

    if (end == NULL) {
        return 0;
    }

    base64 = to = apr_palloc(p, end - body + 1);
    for (; body < end; body++) {
        if (!apr_isspace(*body)) {
            *to++ = *body;
        }
    }
    *to = '\0';

    bytes = apr_palloc(p, apr_base64_decode_len(base64));
    der->len = apr_base64_decode_binary(bytes, base64);
    der->data = (char *)bytes;
    return der->len > 0;
}

apr_array_header_t *server_certificates(request_rec *r, apr_pool_t *p)
{
    const apr_array_header_t *known =
        ap_get_module_config(r->server->module_config, &auth_negotiate_module);
    apr_array_header_t *list = apr_array_make(p, 3, sizeof(auth_str));
    const auth_str *certificate;
    auth_str shown;
    int i;

    if (known != NULL) {
        apr_array_cat(list, known);
    }

    /* A client that named another server in its TLS handshake, or none, has
     * seen a certificate that is not r->server's.
     */
    if (!pem_to_der(p, ap_ssl_var_lookup(r->pool, r->server, r->connection, r,
                                         "SSL_SERVER_CERT"), &shown)) {
        return list;
    }
    for (i = 0; i < list->nelts; i++) {
        certificate = &APR_ARRAY_IDX(list, i, auth_str);
        if (certificate->len == shown.len
            && !memcmp(certificate->data, shown.data, shown.len)) {
            return list;
        }
    }
    push(list, shown.data, shown.len);
    return list;
}
