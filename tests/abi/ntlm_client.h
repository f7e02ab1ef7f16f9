/*
 * The client's side of NTLM over HTTP, as much of MS-NLMP as it takes to sign
 * in the way Windows does: ASCII names, NTLMv2, KEY_EXCH and a MIC.
 */

#ifndef NTLM_CLIENT_H
#define NTLM_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

/* What the client knows, and says. */
typedef struct ntlm_account {
    const char *domain;
    const char *user;
    /* MD4 of the password. */
    unsigned char nt_hash[16];
    /* MsvAvChannelBindings. */
    unsigned char channel_binding[16];
} ntlm_account;

/* A value of Authorization, ended by NUL. */
typedef struct ntlm_field {
    char value[16384];
    size_t len;
} ntlm_field;

/* The bytes of the NEGOTIATE. */
#define NTLM_NEGOTIATE_LEN 40

/* Writes scheme and NEGOTIATE. */
void ntlm_negotiate(const char *scheme, ntlm_field *field);

/*
 * Writes scheme and AUTHENTICATE in answer to the len bytes of a challenge's
 * value, such as "NTLM TlRMTVNTUAAC...". False if that holds no CHALLENGE.
 */
bool ntlm_authenticate(const ntlm_account *account, const char *challenge, size_t len,
                       ntlm_field *field);

/* Writes scheme and the len bytes of another mechanism's token. */
void field_write(const char *scheme, const unsigned char *data, size_t len, ntlm_field *field);

/*
 * Reads the token of the len bytes of a value, such as "Negotiate oYG3...": at
 * most most bytes. Returns how many, 0 if there are none or too many.
 */
size_t field_read(const char *value, size_t len, unsigned char *out, size_t most);

#endif
