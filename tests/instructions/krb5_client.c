#include "krb5_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <krb5.h>

/* Asked for by curl. */
#define FLAGS (GSS_C_MUTUAL_FLAG | GSS_C_REPLAY_FLAG)

#define SCHEME "Negotiate "
#define SCHEME_LEN (sizeof SCHEME - 1)

struct krb5_client {
    gss_name_t service;
    gss_cred_id_t credential;
};

/* 1.2.840.113554.1.2.2 */
static gss_OID_desc krb5 = {9, "\x2a\x86\x48\x86\xf7\x12\x01\x02\x02"};

static void
check(const char *call, OM_uint32 major, OM_uint32 minor, OM_uint32 expected)
{
    OM_uint32 ignored, more = 0;
    gss_buffer_desc text = GSS_C_EMPTY_BUFFER;

    if (major != expected) {
        gss_display_status(&ignored, minor, GSS_C_MECH_CODE, &krb5, &more,
                           &text);
        fprintf(stderr, "%s: %.*s\n", call, (int) text.length,
                (char *) text.value);
        exit(1);
    }
}

/* In memory a ticket is found sooner. It stays there without a context. */
static const char *
copy_in_memory(const char *cache)
{
    static unsigned copies;
    static char name[32];
    krb5_context context = NULL;
    krb5_ccache file, memory;
    krb5_principal owner;
    krb5_error_code code;

    snprintf(name, sizeof name, "MEMORY:%u", copies++);
    if ((code = krb5_init_context(&context)) != 0
        || (code = cache == NULL ? krb5_cc_default(context, &file)
                                 : krb5_cc_resolve(context, cache, &file)) != 0
        || (code = krb5_cc_get_principal(context, file, &owner)) != 0
        || (code = krb5_cc_resolve(context, name, &memory)) != 0
        || (code = krb5_cc_initialize(context, memory, owner)) != 0
        || (code = krb5_cc_copy_creds(context, file, memory)) != 0)
    {
        fprintf(stderr, "tickets: %s\n",
                krb5_get_error_message(context, code));
        exit(1);
    }
    krb5_free_principal(context, owner);
    krb5_cc_close(context, file);
    krb5_cc_close(context, memory);
    krb5_free_context(context);
    return name;
}

krb5_client *
krb5_client_new(const char *service, const char *cache)
{
    krb5_client *client = calloc(1, sizeof *client);
    gss_buffer_desc text = {strlen(service), (void *) service};
    gss_key_value_element_desc ccache = {"ccache", copy_in_memory(cache)};
    gss_key_value_set_desc store = {1, &ccache};
    gss_OID_set_desc mechs = {1, &krb5};
    gss_name_t name;
    OM_uint32 major, minor;

    major = gss_import_name(&minor, &text, GSS_KRB5_NT_PRINCIPAL_NAME, &name);
    check("gss_import_name", major, minor, GSS_S_COMPLETE);
    major = gss_canonicalize_name(&minor, name, &krb5, &client->service);
    check("gss_canonicalize_name", major, minor, GSS_S_COMPLETE);
    gss_release_name(&minor, &name);
    major = gss_acquire_cred_from(&minor, GSS_C_NO_NAME, GSS_C_INDEFINITE,
                                  &mechs, GSS_C_INITIATE, &store,
                                  &client->credential, NULL, NULL);
    check("gss_acquire_cred_from", major, minor, GSS_S_COMPLETE);
    return client;
}

/* ---- Tokens -------------------------------------------------------------- */

static unsigned char *
write_head(unsigned char *out, unsigned char tag, size_t len)
{
    *out++ = tag;
    *out++ = 0x82;
    *out++ = (unsigned char) (len >> 8);
    *out++ = (unsigned char) len;
    return out;
}

/*
 * NegTokenInit (RFC 4178 4.2.1) with Kerberos alone: SPNEGO of the library's
 * own takes three times as long.
 */
static size_t
write_spnego(const gss_buffer_desc *token, unsigned char *out, size_t size)
{
    static const unsigned char spnego[] = {
        0x06, 0x06, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x02,
    };
    static const unsigned char mech_types[] = {
        0xa0, 0x0d, 0x30, 0x0b, 0x06, 0x09, 0x2a, 0x86,
        0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02,
    };
    const unsigned char *begin = out;
    size_t len = token->length;

    if (len < 0x100 || len > 0xff00 || len + 64 > size) {
        fprintf(stderr, "a token of %zu bytes\n", len);
        exit(1);
    }
    out = write_head(out, 0x60, sizeof spnego + sizeof mech_types + 16 + len);
    memcpy(out, spnego, sizeof spnego);
    out += sizeof spnego;
    out = write_head(out, 0xa0, sizeof mech_types + 12 + len);
    out = write_head(out, 0x30, sizeof mech_types + 8 + len);
    memcpy(out, mech_types, sizeof mech_types);
    out += sizeof mech_types;
    out = write_head(out, 0xa2, 4 + len);
    out = write_head(out, 0x04, len);
    memcpy(out, token->value, len);
    return (size_t) (out + len - begin);
}

static size_t
write_base64(const unsigned char *data, size_t len, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *begin = out;
    size_t i;

    for (i = 0; i < len; i += 3) {
        unsigned group = (unsigned) data[i] << 16
                         | (i + 1 < len ? (unsigned) data[i + 1] << 8 : 0)
                         | (i + 2 < len ? data[i + 2] : 0);

        *out++ = digits[group >> 18];
        *out++ = digits[group >> 12 & 63];
        *out++ = (char) (i + 1 < len ? digits[group >> 6 & 63] : '=');
        *out++ = (char) (i + 2 < len ? digits[group & 63] : '=');
    }
    *out = '\0';
    return (size_t) (out - begin);
}

size_t
krb5_client_write(krb5_client *client, char *value, size_t size)
{
    unsigned char spnego[12288];
    gss_ctx_id_t context = GSS_C_NO_CONTEXT;
    gss_buffer_desc token = GSS_C_EMPTY_BUFFER;
    OM_uint32 major, minor;
    size_t len;

    major = gss_init_sec_context(&minor, client->credential, &context,
                                 client->service, &krb5, FLAGS,
                                 GSS_C_INDEFINITE, GSS_C_NO_CHANNEL_BINDINGS,
                                 NULL, NULL, &token, NULL, NULL);
    check("gss_init_sec_context", major, minor, GSS_S_CONTINUE_NEEDED);
    len = write_spnego(&token, spnego, sizeof spnego);
    gss_release_buffer(&minor, &token);
    gss_delete_sec_context(&minor, &context, GSS_C_NO_BUFFER);

    if (SCHEME_LEN + (len + 2) / 3 * 4 >= size) {
        fprintf(stderr, "no room for a token of %zu bytes\n", len);
        exit(1);
    }
    memcpy(value, SCHEME, SCHEME_LEN);
    return SCHEME_LEN + write_base64(spnego, len, value + SCHEME_LEN);
}
