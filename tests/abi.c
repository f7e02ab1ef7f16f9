/*
 * Every function of negotiate_auth.h, with good and with NULL arguments, as a
 * server written in C calls them. Compiles as C99 and as C++11.
 *
 *     abi FOLDER VERSION
 *
 * FOLDER is to be written to and holds groups, certificate.der and binding, which is
 * its MsvAvChannelBindings, one.keytab and many.keytab. VERSION is what the
 * library should say it is. KRB5CCNAME names a cache with alice's ticket.
 */

#include "abi.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *folder;
static unsigned long checks, failures;

int
main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s FOLDER VERSION\n", argv[0]);
        return 2;
    }
    folder = argv[1];
    /* Whoever hangs is ended. */
    alarm(300);
    CHECK_TEXT(str(auth_version()), argv[2]);
    test_options();
    test_config();
    test_sessions();
    test_jobs();
    test_kerberos();
    printf("%lu checks, %lu failed\n", checks, failures);
    return failures == 0 ? 0 : 1;
}

bool
check(bool holds, const char *what, const char *file, int line)
{
    checks++;
    if (!holds) {
        failures++;
        printf("%s:%d: not so: %s\n", file, line, what);
    }
    return holds;
}

bool
check_is(uint64_t got, uint64_t expected, const char *what, const char *file, int line)
{
    if (!check(got == expected, what, file, line)) {
        printf("    is %" PRIu64 ", not %" PRIu64 "\n", got, expected);
        return false;
    }
    return true;
}

bool
check_text(auth_str got, const char *expected, const char *what, const char *file, int line)
{
    bool whole = got.data != NULL && got.data[got.len] == '\0' && strlen(got.data) == got.len;

    if (!check(whole && strcmp(got.data, expected) == 0, what, file, line)) {
        printf("    is \"%s\", not \"%s\"\n", whole ? got.data : "(no text)", expected);
        return false;
    }
    return true;
}

bool
check_has(auth_str got, const char *part, const char *what, const char *file, int line)
{
    bool whole = got.data != NULL && got.data[got.len] == '\0' && strlen(got.data) == got.len;

    if (!check(whole && strstr(got.data, part) != NULL, what, file, line)) {
        printf("    is \"%s\", without \"%s\"\n", whole ? got.data : "(no text)", part);
        return false;
    }
    return true;
}

auth_str
str(const char *text)
{
    auth_str str;

    str.data = text;
    str.len = text == NULL ? 0 : strlen(text);
    return str;
}

const char *
path_of(const char *name)
{
    static char path[1024];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

size_t
read_file(const char *name, void *out, size_t most)
{
    FILE *file = fopen(path_of(name), "rb");
    size_t len = 0;

    if (CHECK(file != NULL)) {
        len = fread(out, 1, most, file);
        fclose(file);
    }
    return len;
}

/* The NT hash of "Password" (MS-NLMP 4.2.2.1.2), and another. */
#define HASH {0xa4, 0xf4, 0x9c, 0x40, 0x65, 0x10, 0xbd, 0xca, 0xb6, 0x82, 0x4e, 0xe7, 0xc3, 0x0f, 0xd8, 0x52}
#define HASH_TEXT "a4f49c406510bdcab6824ee7c30fd852"
#define WRONG_HASH {0xa4, 0xf4, 0x9c, 0x40}

const ntlm_account alice = {"DEMO", "alice", HASH, {0}};
const ntlm_account alice_with_wrong_hash = {"DEMO", "alice", WRONG_HASH, {0}};
const ntlm_account mallory = {"DEMO", "mallory", HASH, {0}};
const ntlm_account nobody = {"DEMO", "nobody", HASH, {0}};

void
write_accounts(const char *name, unsigned others, const char *more)
{
    char new_path[1024];
    FILE *file;
    unsigned i;

    snprintf(new_path, sizeof new_path, "%s/new", folder);
    file = fopen(new_path, "wb");
    if (!CHECK(file != NULL)) {
        return;
    }
    for (i = 0; i < others; i++) {
        fprintf(file, "DEMO\\user%u:" HASH_TEXT ":staff\n", i);
    }
    fprintf(file, "DEMO\\Alice:" HASH_TEXT ":staff,web admins\nDEMO\\mallory:!\n%s", more);
    CHECK(fclose(file) == 0);
    CHECK(chmod(new_path, 0600) == 0);
    CHECK(rename(new_path, path_of(name)) == 0);
}

bool
set(auth_config *config, const char *key, const char *words)
{
    auth_str args[8];
    size_t count = 0;

    while (words != NULL && count < 8) {
        const char *space = strchr(words, ' ');

        args[count].data = words;
        args[count++].len = space == NULL ? strlen(words) : (size_t) (space - words);
        words = space == NULL ? NULL : space + 1;
    }
    return auth_config_set(config, key, count == 0 ? NULL : args, count, "site.conf:7");
}

auth_config *
new_config(const char *accounts)
{
    auth_config *config = auth_config_new();
    char file[1024];

    snprintf(file, sizeof file, "file:%s", accounts);
    CHECK(auth_config_base(config, folder));
    CHECK(set(config, "accounts", file));
    CHECK(set(config, "domain", "DEMO demo.test"));
    CHECK(set(config, "groups", "names"));
    return config;
}

auth_request
new_request(void)
{
    auth_request request;

    memset(&request, 0, sizeof request);
    request.size = sizeof request;
    request.method = str("GET");
    request.host = str("www.demo.test");
    request.http_version = 1001;
    request.flags = AUTH_REQUEST_PERSISTENT;
    request.peer = str("192.0.2.7");
    return request;
}

auth_verdict
step(auth_session *session, const auth_config *config, const char *authorization)
{
    auth_request request = new_request();
    auth_str value = str(authorization);

    if (authorization != NULL) {
        request.authorization = &value;
        request.authorization_count = 1;
    }
    return auth_step(session, config, &request);
}

void
greet(auth_session *session, const auth_config *config, const ntlm_account *account,
      ntlm_field *authenticate)
{
    auth_str name, value;

    ntlm_negotiate("NTLM", authenticate);
    CHECK_IS(step(session, config, authenticate->value), AUTH_CHALLENGE);
    CHECK_IS(auth_header(session, 0, &name, &value), AUTH_HEADER_CHALLENGE);
    CHECK(ntlm_authenticate(account, value.data, value.len, authenticate));
}

auth_verdict
sign_in(auth_session *session, const auth_config *config, const ntlm_account *account)
{
    ntlm_field authenticate;

    greet(session, config, account, &authenticate);
    return step(session, config, authenticate.value);
}

void
check_nobody(const auth_session *session)
{
    CHECK_TEXT(auth_name(session), "");
    CHECK_TEXT(auth_user(session), "");
    CHECK_TEXT(auth_domain(session), "");
    CHECK_TEXT(auth_mechanism(session), "");
    CHECK_TEXT(auth_scheme(session), "");
    CHECK_TEXT(auth_sid(session), "");
    CHECK_TEXT(auth_group(session, 0), "");
    CHECK(!auth_channel_bound(session));
}

void
check_header(const auth_session *session, size_t index, uint32_t kind, const char *name,
             const char *value)
{
    auth_str got_name = str("untouched"), got_value = str("untouched");

    CHECK_IS(auth_header(session, index, &got_name, &got_value), kind);
    CHECK_TEXT(got_name, kind == 0 ? "untouched" : name);
    if (value != NULL) {
        CHECK_TEXT(got_value, kind == 0 ? "untouched" : value);
    }
}
