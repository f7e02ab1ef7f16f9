/*
 * The certificates that a client may have been shown, for channel bindings.
 */

#ifndef SERVER_CERTIFICATES_H
#define SERVER_CERTIFICATES_H

#include "apr_tables.h"
#include "httpd.h"

#pragma GCC visibility push(hidden)

/* Asks mod_ssl, if it is there, for the certificates of each server. */
void server_certificates_register_hooks(void);

/*
 * Returns the certificates of r's TLS connection as auth_str in DER: allocated
 * in p, or as old as the configuration. Empty if mod_ssl tells none.
 */
apr_array_header_t *server_certificates(request_rec *r, apr_pool_t *p);

#pragma GCC visibility pop

#endif /* SERVER_CERTIFICATES_H */
