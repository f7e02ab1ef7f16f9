/*
 * One operation of the library, again and again, for a profiler or a clock to
 * look at.
 *
 *     driver FOLDER NETBIOS DNS OPERATION BATCHES
 *
 * FOLDER has files "accounts" and "accounts-of-1000" with DEMO\alice, whose
 * password is "Password" and who is in 1,000 groups in the second, a file
 * "users" of USERS accounts, a file "hostname", and what realm.py makes; NETBIOS and DNS name the server's domain. The operation is done some times in
 * each batch, inside the function measured(); how often, and what it took, is
 * printed, for one operation, from the fastest batch.
 */

#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "krb5_client.h"
#include "negotiate_auth.h"
#include "ntlm_client.h"

#ifdef COUNT_ALLOCATIONS
#include "allocations.h"
#else
static unsigned long allocations;
static size_t bytes_in_use;
#endif

/* Connections between two looks at the clock. */
#define BATCH 100

/* Likewise, for what takes longer. */
#define SMALL_BATCH 25

/* Lines of the file "users". */
#define USERS 10000

/* Of the last key in both keytabs. */
#define SERVICE "HTTP/www.demo.test@DEMO.TEST"

/* One connection, and the request that is to be stepped. */
typedef struct connection {
    auth_session *session;
    auth_request request;
    auth_str authorization;
    ntlm_field field;
    auth_verdict verdict;
} connection;

/* What proves who somebody is, and who may come in. */
typedef struct setup {
    /* None: NTLM. */
    const char *keytab;
    /* The arguments of the option: one, or two. */
    const char *replay_cache[2];
    /* None: no Kerberos. */
    const char *accounts;
    /* The argument of persist_kerberos, and the arguments of require: none, or two. */
    const char *persist, *require[2];
} setup;

/* What is done before, what is measured, and what verdict that has to leave. */
typedef struct operation {
    const char *name;
    void (*prepare)(connection *connection);
    void (*run)(connection *connection);
    auth_verdict expected;
    /* How often it is run in a batch, and how many operations that is each time. */
    unsigned times, parts;
    const setup *setup;
} operation;

static connection connections[BATCH];
static auth_config *config, *child, *users;
static const char *folder;

/* What one operation of the last batch took, and what is held since the batch was prepared. */
static double nanoseconds, allocated, held;
static size_t held_by_others;

static void
fail(const char *what)
{
    fprintf(stderr, "driver: %s\n", what);
    exit(1);
}

/* The library asks for the computer's name, which is part of every message: it is to be the same
   wherever this is counted. */
int
open64(const char *path, int flags, ...)
{
    char instead[1024];
    va_list rest;
    unsigned mode;

    va_start(rest, flags);
    mode = va_arg(rest, unsigned);
    va_end(rest);
    if (strcmp(path, "/proc/sys/kernel/hostname") == 0) {
        snprintf(instead, sizeof instead, "%s/hostname", folder);
        path = instead;
    }
    return open(path, flags, mode);
}

/* ---- Operations -------------------------------------------------------------------------- */

#define PASSWORD {0xa4, 0xf4, 0x9c, 0x40, 0x65, 0x10, 0xbd, 0xca, 0xb6, 0x82, 0x4e, 0xe7, 0xc3, 0x0f, 0xd8, 0x52}

static const ntlm_account alice = {"DEMO", "alice", PASSWORD, {0}};
static const ntlm_account alice_with_wrong_password = {"DEMO", "alice", {1}, {0}};
/* As long a name as hers. */
static const ntlm_account nobody = {"DEMO", "alicf", PASSWORD, {0}};

static void
prepare_negotiate(connection *connection)
{
    ntlm_negotiate("NTLM", &connection->field);
    connection->authorization.data = connection->field.value;
    connection->authorization.len = connection->field.len;
    connection->request.authorization = &connection->authorization;
    connection->request.authorization_count = 1;
}

static void
prepare_authenticate(connection *connection, const ntlm_account *account)
{
    auth_str name, value;

    prepare_negotiate(connection);
    if (auth_step(connection->session, config, &connection->request) != AUTH_CHALLENGE
        || auth_header(connection->session, 0, &name, &value) == 0
        || !ntlm_authenticate(account, value.data, value.len, &connection->field))
    {
        fail("no challenge");
    }
    connection->authorization.len = connection->field.len;
}

static void
prepare_sign_in(connection *connection)
{
    prepare_authenticate(connection, &alice);
}

static void
prepare_wrong_password(connection *connection)
{
    prepare_authenticate(connection, &alice_with_wrong_password);
}

static void
prepare_unknown_user(connection *connection)
{
    prepare_authenticate(connection, &nobody);
}

/* The second request after a sign-in: the first still clears the handshake's answer away. */
static void
prepare_next(connection *connection)
{
    auth_step(connection->session, config, &connection->request);
    connection->request.authorization = NULL;
    connection->request.authorization_count = 0;
    if (auth_step(connection->session, config, &connection->request) != AUTH_ACCEPTED) {
        fail("not signed in");
    }
}

static void
prepare_signed_in(connection *connection)
{
    prepare_sign_in(connection);
    prepare_next(connection);
}

static void
prepare_nothing(connection *connection)
{
    (void) connection;
}

/* A token is good once. */
static void
prepare_ticket(connection *connection)
{
    static krb5_client *client;

    if (client == NULL) {
        client = krb5_client_new(SERVICE, NULL);
    }
    connection->authorization.data = connection->field.value;
    connection->authorization.len = krb5_client_write(client, connection->field.value,
                                                      sizeof connection->field.value);
    connection->request.authorization = &connection->authorization;
    connection->request.authorization_count = 1;
}

static void
prepare_ticket_signed_in(connection *connection)
{
    prepare_ticket(connection);
    prepare_next(connection);
}

static void
set(auth_config *config, const char *key, const char *first, const char *second)
{
    auth_str args[2] = {{first, strlen(first)}, {second, second == NULL ? 0 : strlen(second)}};

    if (!auth_config_set(config, key, args, second == NULL ? 1 : 2, NULL)) {
        fail(auth_config_error(config).data);
    }
}

static auth_config *
new_config(const char *key, const char *first, const char *second)
{
    auth_config *config = auth_config_new();

    set(config, key, first, second);
    return config;
}

/* The path of a file in the folder. */
static const char *
path(const char *prefix, const char *name)
{
    static char path[1024];

    snprintf(path, sizeof path, "%s%s/%s", prefix, folder, name);
    return path;
}

static void
step(connection *connection)
{
    connection->verdict = auth_step(connection->session, config, &connection->request);
}

/* As for a request to a directory of httpd. */
static void
inherit_and_step(connection *connection)
{
    auth_config *merged = auth_config_inherit(child, config);

    connection->verdict = auth_step(connection->session, merged, &connection->request);
    auth_config_free(merged);
}

static void
inherit(connection *connection)
{
    (void) connection;
    auth_config_free(auth_config_inherit(child, config));
}

static void
read_users(connection *connection)
{
    (void) connection;
    users = new_config("accounts", path("file:", "users"), NULL);
}

/* The last of alice's groups in her account, in "cache-of-32" and in "cache-of-1000". */
#define BY_NAME {"group", "group-999"}
#define BY_SID {"sid", "S-1-5-21-1-2-3-2031"}
#define BY_SID_OF_1000 {"sid", "S-1-5-21-1-2-3-2999"}

static const setup of_ntlm = {.accounts = "accounts"};
static const setup of_named_groups = {.accounts = "accounts-of-1000", .require = BY_NAME};
static const setup remembering = {.keytab = "one.keytab", .replay_cache = {"on"}};
static const setup forgetting = {.keytab = "one.keytab", .replay_cache = {"off", "force"}};
static const setup of_many_keys = {.keytab = "many.keytab", .replay_cache = {"off", "force"}};
static const setup of_a_group = {
    .keytab = "one.keytab", .replay_cache = {"off", "force"}, .require = BY_SID,
};
static const setup of_groups = {
    .keytab = "one.keytab", .replay_cache = {"off", "force"}, .persist = "on",
    .require = BY_SID_OF_1000,
};

static const operation operations[] = {
    {"challenge", prepare_nothing, step, AUTH_CHALLENGE, BATCH, 1, &of_ntlm},
    {"negotiate", prepare_negotiate, step, AUTH_CHALLENGE, BATCH, 1, &of_ntlm},
    {"sign-in", prepare_sign_in, step, AUTH_ACCEPTED, BATCH, 1, &of_ntlm},
    {"wrong-password", prepare_wrong_password, step, AUTH_REJECTED, BATCH, 1, &of_ntlm},
    {"unknown-user", prepare_unknown_user, step, AUTH_REJECTED, BATCH, 1, &of_ntlm},
    {"signed-in", prepare_signed_in, step, AUTH_ACCEPTED, BATCH, 1, &of_ntlm},
    {"signed-in-merged", prepare_signed_in, inherit_and_step, AUTH_ACCEPTED, BATCH, 1, &of_ntlm},
    {"inherit", prepare_nothing, inherit, AUTH_ERROR, BATCH, 1, &of_ntlm},
    {"read-accounts", prepare_nothing, read_users, AUTH_ERROR, 1, USERS, &of_ntlm},
    {"ticket", prepare_ticket, step, AUTH_ACCEPTED, SMALL_BATCH, 1, &remembering},
    {"ticket-unremembered", prepare_ticket, step, AUTH_ACCEPTED, SMALL_BATCH, 1, &forgetting},
    {"ticket-of-many-keys", prepare_ticket, step, AUTH_ACCEPTED, SMALL_BATCH, 1, &of_many_keys},
    {"ticket-of-32", prepare_ticket, step, AUTH_ACCEPTED, SMALL_BATCH, 1, &forgetting},
    {"ticket-of-a-group", prepare_ticket, step, AUTH_ACCEPTED, SMALL_BATCH, 1, &of_a_group},
    {"one-of-1000-names", prepare_signed_in, step, AUTH_ACCEPTED, BATCH, 1, &of_named_groups},
    {"one-of-1000-sids", prepare_ticket_signed_in, step, AUTH_ACCEPTED, BATCH, 1, &of_groups},
};

/* ---- Batches ----------------------------------------------------------------------------- */

static void
prepare(const operation *operation)
{
    connection *connection;

    held_by_others = bytes_in_use;
    for (connection = connections; connection < connections + operation->times; connection++) {
        memset(connection, 0, sizeof *connection);
        connection->session = auth_begin(0);
        connection->request.size = sizeof connection->request;
        connection->request.method.data = "GET";
        connection->request.method.len = 3;
        connection->request.host.data = "www.demo.test";
        connection->request.host.len = 13;
        connection->request.http_version = 1001;
        connection->request.flags = AUTH_REQUEST_PERSISTENT;
        connection->request.peer.data = "192.0.2.7";
        connection->request.peer.len = 9;
        operation->prepare(connection);
    }
}

/* Not to be copied into measured(), so that a first batch can go unseen. */
__attribute__((noinline)) static void
run_all(const operation *operation)
{
    unsigned i;

    for (i = 0; i < operation->times; i++) {
        operation->run(&connections[i]);
    }
}

static double
now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double) now.tv_sec * 1e9 + (double) now.tv_nsec;
}

/* What the profiler looks at. */
__attribute__((noinline)) static void
measured(const operation *operation)
{
    unsigned long before = allocations;
    unsigned batch = operation->times * operation->parts;
    double begun = now();

    run_all(operation);
    nanoseconds = (now() - begun) / batch;
    allocated = (double) (allocations - before) / batch;
    held = (double) (bytes_in_use - held_by_others) / batch;
}

static void
finish(const operation *operation)
{
    connection *connection;

    for (connection = connections; connection < connections + operation->times; connection++) {
        if (connection->verdict != operation->expected) {
            fail("another verdict than expected");
        }
        auth_finish(connection->session);
    }
    auth_config_free(users);
    users = NULL;
}

/* ---- The program ------------------------------------------------------------------------- */

static const operation *
find(const char *name)
{
    size_t i;

    for (i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        if (strcmp(operations[i].name, name) == 0) {
            return &operations[i];
        }
    }
    fail("no such operation");
    return NULL;
}

static auth_config *
new_config_for(const setup *setup)
{
    auth_config *config;

    if (setup->accounts != NULL) {
        config = new_config("accounts", path("file:", setup->accounts), NULL);
    } else {
        config = new_config("keytab", path("", setup->keytab), NULL);
        set(config, "replay_cache", setup->replay_cache[0], setup->replay_cache[1]);
    }
    if (setup->persist != NULL) {
        set(config, "persist_kerberos", setup->persist, NULL);
    }
    if (setup->require[0] != NULL) {
        set(config, "require", setup->require[0], setup->require[1]);
    }
    return config;
}

int
main(int argc, char **argv)
{
    const operation *operation;
    auth_config *domain, *mechanism;
    unsigned long batches;
    double best = 0;

    if (argc != 6) {
        fail("usage: driver FOLDER NETBIOS DNS OPERATION BATCHES");
    }
    folder = argv[1];
    operation = find(argv[4]);
    mechanism = new_config_for(operation->setup);
    domain = new_config("domain", argv[2], argv[3]);
    config = auth_config_inherit(domain, mechanism);
    child = new_config("persist", "on", NULL);

    /* Whatever is done once in a process is done now. */
    prepare(operation);
    run_all(operation);
    finish(operation);

    for (batches = strtoul(argv[5], NULL, 10); batches > 0; batches--) {
        prepare(operation);
        measured(operation);
        finish(operation);
        best = best == 0 || nanoseconds < best ? nanoseconds : best;
    }
    printf("batch %u\nnanoseconds %.0f\nallocations %.3g\nheld %.0f\n",
           operation->times * operation->parts, best, allocated, held);
    auth_config_free(child);
    auth_config_free(config);
    auth_config_free(domain);
    auth_config_free(mechanism);
    return 0;
}
