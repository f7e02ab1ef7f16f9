/*
 * The client's side of Kerberos over HTTP: what `curl --negotiate` sends. The
 * ticket is in a cache that is there already.
 */

#ifndef KRB5_CLIENT_H
#define KRB5_CLIENT_H

#include <stddef.h>

/* A client of one service. */
typedef struct krb5_client krb5_client;

/*
 * For a service such as "HTTP/www.demo.test@DEMO.TEST", with the ticket of a
 * cache, by default of the one that the variable KRB5CCNAME names. Ends the
 * program with what the library says if that fails.
 */
krb5_client *krb5_client_new(const char *service, const char *cache);

/*
 * Writes a value of Authorization, ended by NUL: an AP-REQ in SPNEGO, with the
 * wish that the server proves itself, too. None is like another. Returns its
 * length. Ends the program if size is too small or the library has no token.
 */
size_t krb5_client_write(krb5_client *client, char *value, size_t size);

#endif
