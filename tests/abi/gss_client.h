/*
 * The client's side of Kerberos over HTTP, by libgssapi: the ticket is in the
 * cache that the variable KRB5CCNAME names.
 */

#ifndef GSS_CLIENT_H
#define GSS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include <gssapi/gssapi.h>

#include "ntlm_client.h"

/* One handshake, in which the server proves itself, too. */
typedef struct gss_client {
    gss_ctx_id_t context;
} gss_client;

/* Begins one with a service, such as "HTTP/www.demo.test@DEMO.TEST". False without a ticket. */
bool gss_client_begin(gss_client *client, const char *service, ntlm_field *field);

/* Whether the len bytes of a value, such as "Negotiate YIGZ...", end the handshake. */
bool gss_client_end(gss_client *client, const char *value, size_t len);

/* Whether they tell why it failed, in words that the library knows. */
bool gss_client_fail(gss_client *client, const char *value, size_t len);

void gss_client_free(gss_client *client);

#endif
