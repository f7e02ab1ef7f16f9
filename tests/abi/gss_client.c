/* See gss_client.h. */

#include "gss_client.h"

#include <string.h>

#include <gssapi/gssapi_krb5.h>

/* 1.2.840.113554.1.2.2 */
static unsigned char krb5_elements[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02};
static gss_OID_desc krb5 = {sizeof krb5_elements, krb5_elements};

static OM_uint32
step(gss_client *client, const char *service, gss_buffer_t input, gss_buffer_t output)
{
    gss_buffer_desc text;
    gss_name_t name = GSS_C_NO_NAME;
    OM_uint32 major, minor;

    text.length = strlen(service);
    text.value = (void *) service;
    major = gss_import_name(&minor, &text, GSS_KRB5_NT_PRINCIPAL_NAME, &name);
    if (!GSS_ERROR(major)) {
        major = gss_init_sec_context(&minor, GSS_C_NO_CREDENTIAL, &client->context, name, &krb5,
                                     GSS_C_MUTUAL_FLAG, GSS_C_INDEFINITE,
                                     GSS_C_NO_CHANNEL_BINDINGS, input, NULL, output, NULL, NULL);
    }
    gss_release_name(&minor, &name);
    return major;
}

bool
gss_client_begin(gss_client *client, const char *service, ntlm_field *field)
{
    gss_buffer_desc token = GSS_C_EMPTY_BUFFER;
    OM_uint32 major, minor;

    client->context = GSS_C_NO_CONTEXT;
    major = step(client, service, GSS_C_NO_BUFFER, &token);
    field_write("Negotiate", (const unsigned char *) token.value, token.length, field);
    gss_release_buffer(&minor, &token);
    return major == GSS_S_CONTINUE_NEEDED && field->len > 0;
}

/* The service counts when a handshake begins. */
static OM_uint32
take(gss_client *client, const char *value, size_t len)
{
    unsigned char data[4096];
    gss_buffer_desc input, output = GSS_C_EMPTY_BUFFER;
    OM_uint32 major, minor;

    input.length = field_read(value, len, data, sizeof data);
    input.value = data;
    major = step(client, "HTTP/www.demo.test@DEMO.TEST", &input, &output);
    gss_release_buffer(&minor, &output);
    return input.length > 0 ? major : GSS_S_FAILURE;
}

bool
gss_client_end(gss_client *client, const char *value, size_t len)
{
    return take(client, value, len) == GSS_S_COMPLETE;
}

bool
gss_client_fail(gss_client *client, const char *value, size_t len)
{
    OM_uint32 major = take(client, value, len);

    return GSS_ROUTINE_ERROR(major) == GSS_S_FAILURE;
}

void
gss_client_free(gss_client *client)
{
    OM_uint32 minor;

    gss_delete_sec_context(&minor, &client->context, GSS_C_NO_BUFFER);
}
