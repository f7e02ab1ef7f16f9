/* The messages of MS-NLMP 2.2.1 as a Windows client fills them in. */

#include "ntlm_client.h"

#include <stdint.h>
#include <string.h>

#include "md5.h"

#define MOST 4096

/* AvId (2.2.2.1). */
#define AV_EOL 0
#define AV_FLAGS 6
#define AV_TIMESTAMP 7
#define AV_SINGLE_HOST 8
#define AV_TARGET_NAME 9
#define AV_CHANNEL_BINDINGS 10

/* AUTHENTICATE with Version and MIC. */
#define HEADER 88
#define MIC 72

/* UNICODE, REQUEST_TARGET, SIGN, NTLM, ALWAYS_SIGN, ESS, VERSION, 128, KEY_EXCH, 56 and, in the
   NEGOTIATE only, OEM and LM_KEY, as Windows offers them. */
static const unsigned char negotiate[NTLM_NEGOTIATE_LEN] = {
    'N', 'T', 'L', 'M', 'S', 'S', 'P', 0, 1, 0, 0, 0, 0x97, 0x82, 0x08, 0xe2, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a, 0, 0x63, 0x45, 0, 0, 0, 0x0f,
};

/* Bytes in the making. */
typedef struct bytes {
    unsigned char at[MOST];
    size_t len;
} bytes;

static void
append(bytes *out, const void *data, size_t len)
{
    memcpy(out->at + out->len, data, len);
    out->len += len;
}

static void
append_number(bytes *out, uint32_t number, unsigned size)
{
    for (; size > 0; size--, number >>= 8) {
        out->at[out->len++] = (unsigned char) number;
    }
}

static void
append_utf16(bytes *out, const char *ascii, bool upper)
{
    for (; *ascii != '\0'; ascii++) {
        bool lower = *ascii >= 'a' && *ascii <= 'z';

        append_number(out, (uint32_t) (upper && lower ? *ascii - 'a' + 'A' : *ascii), 2);
    }
}

static void
append_pair(bytes *out, unsigned id, const void *value, size_t len)
{
    append_number(out, id, 2);
    append_number(out, (uint32_t) len, 2);
    append(out, value, len);
}

static uint32_t
number_at(const unsigned char *data, unsigned size)
{
    uint32_t number = 0;

    while (size > 0) {
        number = number << 8 | data[--size];
    }
    return number;
}

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void
write_field(const char *scheme, size_t scheme_len, const unsigned char *data, size_t len,
            ntlm_field *field)
{
    char *out = field->value;
    size_t i;

    memcpy(out, scheme, scheme_len);
    out += scheme_len;
    *out++ = ' ';
    for (i = 0; i < len; i += 3) {
        uint32_t group = (uint32_t) data[i] << 16 | (i + 1 < len ? (uint32_t) data[i + 1] << 8 : 0)
                         | (i + 2 < len ? data[i + 2] : 0);

        *out++ = digits[group >> 18];
        *out++ = digits[group >> 12 & 63];
        *out++ = (char) (i + 1 < len ? digits[group >> 6 & 63] : '=');
        *out++ = (char) (i + 2 < len ? digits[group & 63] : '=');
    }
    *out = '\0';
    field->len = (size_t) (out - field->value);
}

static bool
read_base64(const char *text, size_t len, bytes *out)
{
    uint32_t group = 0;
    size_t i, data = len;

    out->len = 0;
    if (len % 4 != 0 || len / 4 * 3 > sizeof out->at) {
        return false;
    }
    while (data > 0 && text[data - 1] == '=') {
        data--;
    }
    for (i = 0; i < len; i++) {
        const char *digit = i < data ? strchr(digits, text[i]) : digits;

        if (digit == NULL || *digit == '\0') {
            return false;
        }
        group = group << 6 | (uint32_t) (digit - digits);
        if (i % 4 == 3) {
            out->at[out->len++] = (unsigned char) (group >> 16);
            out->at[out->len++] = (unsigned char) (group >> 8);
            out->at[out->len++] = (unsigned char) group;
        }
    }
    out->len -= len - data;
    return true;
}

void
field_write(const char *scheme, const unsigned char *data, size_t len, ntlm_field *field)
{
    size_t scheme_len = strlen(scheme);

    field->len = 0;
    field->value[0] = '\0';
    if (scheme_len + 2 + (len + 2) / 3 * 4 <= sizeof field->value) {
        write_field(scheme, scheme_len, data, len, field);
    }
}

size_t
field_read(const char *value, size_t len, unsigned char *out, size_t most)
{
    const char *space = (const char *) memchr(value, ' ', len);
    bytes token;

    if (space == NULL || !read_base64(space + 1, len - (size_t) (space + 1 - value), &token)
        || token.len > most)
    {
        return 0;
    }
    memcpy(out, token.at, token.len);
    return token.len;
}

/* RC4K (6), of 16 bytes. */
static void
rc4k(const unsigned char key[16], const unsigned char data[16], unsigned char out[16])
{
    unsigned char state[256], swap, j = 0;
    unsigned i;

    for (i = 0; i < 256; i++) {
        state[i] = (unsigned char) i;
    }
    for (i = 0; i < 256; i++) {
        j = (unsigned char) (j + state[i] + key[i % 16]);
        swap = state[i];
        state[i] = state[j];
        state[j] = swap;
    }
    for (i = 1, j = 0; i <= 16; i++) {
        j = (unsigned char) (j + state[i]);
        swap = state[i];
        state[i] = state[j];
        state[j] = swap;
        out[i - 1] = data[i - 1] ^ state[(unsigned char) (state[i] + state[j])];
    }
}

/* NTLMv2_CLIENT_CHALLENGE (2.2.2.7): the server's pairs and the client's own. */
static bool
make_blob(const ntlm_account *account, const unsigned char *target_info, size_t len, bytes *blob)
{
    static const unsigned char version[8] = {1, 1}, zeros[8] = {0}, mic_follows[4] = {2};
    static const unsigned char client_challenge[8] = {0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa};
    static const unsigned char single_host[48] = {48};
    const unsigned char *timestamp = zeros;
    bytes target_name;
    size_t at = 0, end = 0;

    for (; at + 4 <= len && number_at(target_info + at, 2) != AV_EOL; at = end) {
        end = at + 4 + number_at(target_info + at + 2, 2);
        if (end > len) {
            return false;
        }
        if (number_at(target_info + at, 2) == AV_TIMESTAMP && end == at + 12) {
            timestamp = target_info + at + 4;
        }
    }
    blob->len = target_name.len = 0;
    append(blob, version, 8);
    append(blob, timestamp, 8);
    append(blob, client_challenge, 8);
    append(blob, zeros, 4);
    append(blob, target_info, at);
    append_pair(blob, AV_FLAGS, mic_follows, 4);
    append_pair(blob, AV_SINGLE_HOST, single_host, sizeof single_host);
    append_pair(blob, AV_CHANNEL_BINDINGS, account->channel_binding, 16);
    append_utf16(&target_name, "HTTP/www.demo.test", false);
    append_pair(blob, AV_TARGET_NAME, target_name.at, target_name.len);
    append_pair(blob, AV_EOL, zeros, 0);
    append(blob, zeros, 4);
    return true;
}

/* NTProofStr, and SessionBaseKey from it (3.3.2). */
static void
make_proof(const ntlm_account *account, const unsigned char server_challenge[8], const bytes *blob,
           unsigned char proof[16], unsigned char session_base_key[16])
{
    unsigned char ntowf_v2[16];
    bytes text;

    text.len = 0;
    append_utf16(&text, account->user, true);
    append_utf16(&text, account->domain, false);
    hmac_md5(account->nt_hash, text.at, text.len, ntowf_v2);
    text.len = 0;
    append(&text, server_challenge, 8);
    append(&text, blob->at, blob->len);
    hmac_md5(ntowf_v2, text.at, text.len, proof);
    hmac_md5(ntowf_v2, proof, 16, session_base_key);
}

/* The descriptor of the next payload field (2.2.1.3), and the field itself. */
static void
append_payload(bytes *out, size_t descriptor, const void *data, size_t len)
{
    bytes number;

    number.len = 0;
    append_number(&number, (uint32_t) len, 2);
    append_number(&number, (uint32_t) len, 2);
    append_number(&number, (uint32_t) out->len, 4);
    memcpy(out->at + descriptor, number.at, 8);
    append(out, data, len);
}

static void
append_name(bytes *out, size_t descriptor, const char *name)
{
    bytes text;

    text.len = 0;
    append_utf16(&text, name, false);
    append_payload(out, descriptor, text.at, text.len);
}

void
ntlm_negotiate(const char *scheme, ntlm_field *field)
{
    write_field(scheme, strlen(scheme), negotiate, sizeof negotiate, field);
}

bool
ntlm_authenticate(const ntlm_account *account, const char *challenge, size_t len,
                  ntlm_field *field)
{
    static const unsigned char lm_response[24] = {0};
    static const unsigned char exported_session_key[16] = {0x55, 0x55, 0x55};
    const char *space = (const char *) memchr(challenge, ' ', len);
    unsigned char proof[16], session_base_key[16], encrypted_key[16];
    size_t scheme_len, info, info_len;
    bytes message, blob, response, covered;

    if (space == NULL) {
        return false;
    }
    scheme_len = (size_t) (space - challenge);
    if (!read_base64(space + 1, len - scheme_len - 1, &message) || message.len < 56
        || memcmp(message.at, "NTLMSSP\0\2\0\0\0", 12) != 0)
    {
        return false;
    }
    info_len = number_at(message.at + 40, 2);
    info = number_at(message.at + 44, 4);
    if (info > message.len || info_len > message.len - info
        || !make_blob(account, message.at + info, info_len, &blob))
    {
        return false;
    }
    make_proof(account, message.at + 24, &blob, proof, session_base_key);
    rc4k(session_base_key, exported_session_key, encrypted_key);

    covered.len = 0;
    append(&covered, negotiate, sizeof negotiate);
    append(&covered, message.at, message.len);

    response.len = 0;
    append(&response, proof, 16);
    append(&response, blob.at, blob.len);
    /* The flags are those of the CHALLENGE, which were agreed upon. */
    memmove(message.at + 60, message.at + 20, 4);
    memset(message.at, 0, 60);
    memset(message.at + 64, 0, HEADER - 64);
    memcpy(message.at, "NTLMSSP\0\3", 9);
    memcpy(message.at + 64, negotiate + 32, 8);
    message.len = HEADER;
    append_name(&message, 28, account->domain);
    append_name(&message, 36, account->user);
    append_name(&message, 44, "CLIENT");
    append_payload(&message, 12, lm_response, sizeof lm_response);
    append_payload(&message, 20, response.at, response.len);
    append_payload(&message, 52, encrypted_key, 16);

    append(&covered, message.at, message.len);
    hmac_md5(exported_session_key, covered.at, covered.len, message.at + MIC);
    write_field(challenge, scheme_len, message.at, message.len, field);
    return true;
}
