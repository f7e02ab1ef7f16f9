/*
 * A client that makes a server work, and tells what the server's work took.
 *
 *     load PORT PID spin|sleep
 *
 * The server listens at 127.0.0.1:PORT and works in the one process PID. Each
 * line on standard input is an order, answered with a line:
 *
 *     OPERATION WIDTH ROUNDS    the server's CPU time for an operation, and the
 *                               latencies that half and 99 % of them keep to,
 *                               all in nanoseconds
 *     hold OPERATION COUNT      opens connections, does the operation once on
 *                               each, and keeps them
 *
 * Tickets are in the caches that the variables KRB5CCNAME, CACHE_OF_32 and
 * CACHE_OF_1000 name; the PACs of the others tell so many groups.
 *
 * WIDTH connections go through a round in step: all ask, all are answered, and
 * only then do they compute their tokens, so that the server has work for all
 * of them before it can sleep, and none while the client computes. The client
 * spins on a core of its own: to wake it up is no work of the server's.
 */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "krb5_client.h"
#include "ntlm_client.h"

#define MOST_WIDTH 32
#define MOST_HELD 4096

/* Milliseconds without an answer, after which the server counts as stuck. */
#define PATIENCE 20000

/* One request: the file it asks for, its token, and what comes back. */
typedef struct leg {
    const char *folder;
    enum token {
        NONE, NEGOTIATE, AUTHENTICATE, TICKET, TICKET_OF_32, TICKET_OF_1000,
        /* Made, but not sent. */
        UNSENT_TICKET,
        /* The last of these, sent again. */
        FORMER
    } token;
    int status;
} leg;

#define STATIC {"open", NONE, 200}
#define CHALLENGED {"shut", NONE, 401}
#define SIGNED_IN {"shut", NONE, 200}
#define SIGN_IN {"shut", NEGOTIATE, 401}, {"shut", AUTHENTICATE, 200}
/* The same requests and answers, where nobody looks at the tokens. */
#define NO_SIGN_IN {"gone", NEGOTIATE, 401}, {"open", FORMER, 200}

/* Who is in a thousand groups, and is let in for one of them. */
#define IN_GROUPS {"groups", TICKET_OF_1000, 200}, {"groups", NONE, 200}
#define NOT_IN_GROUPS {"open", FORMER, 200}, STATIC

/* Lists of legs end where folder is NULL. */
typedef struct operation {
    const char *name;
    /* What a connection is made for; none: it is there already. */
    leg connects[4];
    /* What is measured, and whether on connections that are new. */
    leg legs[4];
    bool anew;
} operation;

static const operation operations[] = {
    {"static", {STATIC}, {STATIC}, false},
    {"challenged", {STATIC}, {CHALLENGED}, false},
    {"signed-in", {SIGN_IN, SIGNED_IN}, {SIGNED_IN}, false},
    {"paced", {STATIC}, {{"open", UNSENT_TICKET, 200}}, false},
    {"ticket", {STATIC}, {{"ticket", TICKET, 200}}, false},
    {"unremembered", {STATIC}, {{"unremembered", TICKET, 200}}, false},
    {"ticket-of-32", {STATIC}, {{"unremembered", TICKET_OF_32, 200}}, false},
    {"ticket-for-rule", {STATIC}, {{"rule", TICKET_OF_32, 200}}, false},
    {"in-groups", {IN_GROUPS}, {{"groups", NONE, 200}}, false},
    {"not-in-groups", {NOT_IN_GROUPS}, {STATIC}, false},
    {"not-signed-in", {NO_SIGN_IN, STATIC}, {STATIC}, false},
    {"connect-once", {{0}}, {STATIC}, true},
    {"connect-twice", {{0}}, {STATIC, STATIC}, true},
    {"sign-in", {{0}}, {SIGN_IN}, true},
};

#define OPERATIONS (sizeof operations / sizeof operations[0])

typedef struct connection {
    int fd;
    ntlm_field token;
    /* What was read of the answer. */
    char answer[8192];
    size_t len;
    uint64_t asked, took;
} connection;

/* alice of DEMO, whose password is "Password". */
static const ntlm_account alice = {
    "DEMO", "alice",
    {0xa4, 0xf4, 0x9c, 0x40, 0x65, 0x10, 0xbd, 0xca,
     0xb6, 0x82, 0x4e, 0xe7, 0xc3, 0x0f, 0xd8, 0x52},
    {0},
};

/* What a browser sends with each request. */
static const char fields[] =
    "Host: www.demo.test\r\n"
    "Connection: keep-alive\r\n"
    "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36"
    " (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,"
    "image/avif,image/webp,*/*;q=0.8\r\n"
    "Referer: http://www.demo.test/start\r\n"
    "Accept-Encoding: gzip, deflate\r\n"
    "Accept-Language: en-US,en;q=0.9\r\n"
    "Cookie: theme=light; session=0123456789abcdef0123456789abcdef\r\n";

static struct sockaddr_in server;
static clockid_t servers_clock;
static bool spins;

/* New connections for an operation, and those that one keeps. */
static connection fresh[MOST_WIDTH];
static connection *kept[OPERATIONS];

static int held[MOST_HELD];
static size_t held_count;

static uint64_t *latencies;
static size_t latency_count;

static void
fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t
read_clock(clockid_t clock)
{
    struct timespec now;

    if (clock_gettime(clock, &now) != 0) {
        fail("the server has ended");
    }
    return (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec;
}

/* The server's CPU time, once it has nothing left to do. */
static uint64_t
servers_time(void)
{
    static const struct timespec while_idle = {0, 2000000};
    uint64_t before, now = read_clock(servers_clock);

    do {
        before = now;
        nanosleep(&while_idle, NULL);
        now = read_clock(servers_clock);
    } while (now != before);
    return now;
}

/* ---- One connection ------------------------------------------------------ */

/*
 * From one address after another, so that ports which wait for their end
 * (TIME_WAIT) are never used up.
 */
static void
open_connection(connection *connection)
{
    static uint32_t opened;
    struct sockaddr_in client = {.sin_family = AF_INET};
    int on = 1;

    client.sin_addr.s_addr = htonl(0x7f000002 + opened++ % 64);
    connection->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connection->fd < 0
        || setsockopt(connection->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on,
                      sizeof on) != 0
        || setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on,
                      sizeof on) != 0
        || bind(connection->fd, (struct sockaddr *) &client, sizeof client) != 0
        || connect(connection->fd, (struct sockaddr *) &server,
                   sizeof server) != 0)
    {
        fail("connect: %s", strerror(errno));
    }
}

/* Each cache is looked into once. */
static void
write_ticket(enum token kind, ntlm_field *field)
{
    static const char *const caches[] = {
        [TICKET] = "KRB5CCNAME",
        [TICKET_OF_32] = "CACHE_OF_32",
        [TICKET_OF_1000] = "CACHE_OF_1000",
        [UNSENT_TICKET] = "KRB5CCNAME",
    };
    static krb5_client *clients[sizeof caches / sizeof caches[0]];

    if (clients[kind] == NULL) {
        clients[kind] = krb5_client_new("HTTP/www.demo.test@DEMO.TEST",
                                        getenv(caches[kind]));
    }
    krb5_client_write(clients[kind], field->value, sizeof field->value);
}

static void
prepare(connection *connection, const leg *leg)
{
    static const char name[] = "\r\nWWW-Authenticate: NTLM ";
    static ntlm_field former;
    const char *value;

    switch (leg->token) {

    case NONE:
        connection->token.value[0] = '\0';
        break;

    case NEGOTIATE:
        ntlm_negotiate("NTLM", &connection->token);
        break;

    case AUTHENTICATE:
        value = strcasestr(connection->answer, name);
        value = value == NULL ? "" : value + sizeof name - sizeof "NTLM ";
        if (!ntlm_authenticate(&alice, value, strcspn(value, "\r"),
                               &connection->token))
        {
            fail("no CHALLENGE in: %s", connection->answer);
        }
        former = connection->token;
        break;

    case FORMER:
        connection->token = former;
        break;

    case TICKET:
    case TICKET_OF_32:
    case TICKET_OF_1000:
        write_ticket(leg->token, &connection->token);
        former = connection->token;
        break;

    case UNSENT_TICKET:
        write_ticket(leg->token, &connection->token);
        connection->token.value[0] = '\0';
        break;
    }
}

static void
ask(connection *connection, const leg *leg)
{
    bool has_token = connection->token.value[0] != '\0';
    char request[sizeof fields + sizeof connection->token.value + 256];
    int len = snprintf(request, sizeof request,
                       "GET /%s/file HTTP/1.1\r\n%s%s%s%s\r\n",
                       leg->folder, fields, has_token ? "Authorization: " : "",
                       connection->token.value, has_token ? "\r\n" : "");

    connection->len = 0;
    if (send(connection->fd, request, (size_t) len, MSG_NOSIGNAL) != len) {
        fail("send: %s", strerror(errno));
    }
}

static void
wait_for(int fd)
{
    struct pollfd readable = {fd, POLLIN, 0};
    uint64_t begun = 0;

    while (poll(&readable, 1, spins ? 0 : PATIENCE) == 0) {
        uint64_t now = read_clock(CLOCK_MONOTONIC);

        begun = begun == 0 ? now : begun;
        if (now - begun >= PATIENCE * 1000000ULL || !spins) {
            fail("no answer for %d ms", PATIENCE);
        }
    }
}

/* Whether the answer is there as a whole. */
static bool
is_whole(const connection *connection)
{
    static const char field[] = "\r\nContent-Length:";
    const char *end = strstr(connection->answer, "\r\n\r\n");
    const char *length = strcasestr(connection->answer, field);

    if (end == NULL) {
        return false;
    }
    if (length == NULL || length > end) {
        fail("no length in: %s", connection->answer);
    }
    return connection->len == (size_t) (end + 4 - connection->answer)
                              + strtoul(length + sizeof field - 1, NULL, 10);
}

static void
be_answered(connection *connection, const leg *leg)
{
    ssize_t n;

    do {
        wait_for(connection->fd);
        n = recv(connection->fd, connection->answer + connection->len,
                 sizeof connection->answer - 1 - connection->len, 0);
        if (n <= 0) {
            fail("the server closed: %s", n < 0 ? strerror(errno) : "in time");
        }
        connection->len += (size_t) n;
        connection->answer[connection->len] = '\0';
    } while (!is_whole(connection));

    if (strtol(connection->answer + sizeof "HTTP/1.1", NULL, 10)
        != leg->status)
    {
        fail("%d was expected, not: %s", leg->status, connection->answer);
    }
    if ((leg->token == TICKET || leg->token == TICKET_OF_32
         || leg->token == TICKET_OF_1000)
        && strcasestr(connection->answer, "\r\nWWW-Authenticate: Negotiate ")
           == NULL)
    {
        fail("the server did not prove itself: %s", connection->answer);
    }
}

/* ---- Operations ---------------------------------------------------------- */

static void
go_through(connection *connections, size_t width, const leg *legs, bool anew)
{
    size_t i;
    const leg *leg;

    for (i = 0; i < width; i++) {
        connections[i].took = 0;
    }
    for (leg = legs; leg->folder != NULL; leg++) {
        for (i = 0; i < width; i++) {
            prepare(&connections[i], leg);
        }
        for (i = 0; i < width; i++) {
            connections[i].asked = read_clock(CLOCK_MONOTONIC);
            if (anew && leg == legs) {
                open_connection(&connections[i]);
            }
            ask(&connections[i], leg);
        }
        for (i = 0; i < width; i++) {
            be_answered(&connections[i], leg);
            connections[i].took += read_clock(CLOCK_MONOTONIC)
                                   - connections[i].asked;
        }
    }
}

static void
one_round(const operation *operation, connection *connections, size_t width)
{
    size_t i;

    go_through(connections, width, operation->legs, operation->anew);
    for (i = 0; i < width; i++) {
        latencies[latency_count++] = connections[i].took;
        if (operation->anew) {
            close(connections[i].fd);
        }
    }
}

static int
compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *) a, right = *(const uint64_t *) b;

    return (left > right) - (left < right);
}

static void
measure(const operation *operation, size_t width, size_t rounds)
{
    connection *connections = fresh;
    uint64_t before, cpu;
    size_t i, count = width * rounds;

    if (width == 0 || width > MOST_WIDTH || rounds == 0) {
        fail("a width of 1 to %d, and one round", MOST_WIDTH);
    }
    if (!operation->anew) {
        connections = kept[operation - operations];
        if (connections == NULL) {
            connections = calloc(MOST_WIDTH, sizeof *connections);
            for (i = 0; i < MOST_WIDTH; i++) {
                go_through(&connections[i], 1, operation->connects, true);
            }
            kept[operation - operations] = connections;
        }
    }
    latencies = realloc(latencies, count * sizeof *latencies);
    latency_count = 0;

    before = servers_time();
    for (i = 0; i < rounds; i++) {
        one_round(operation, connections, width);
    }
    cpu = servers_time() - before;

    qsort(latencies, count, sizeof *latencies, compare);
    printf("%.1f %llu %llu\n", (double) cpu / (double) count,
           (unsigned long long) latencies[count / 2],
           (unsigned long long) latencies[count * 99 / 100]);
}

static void
hold(const operation *operation, size_t count)
{
    const leg *legs = operation->anew ? operation->legs : operation->connects;

    if (count > MOST_HELD - held_count) {
        fail("at most %d can be held", MOST_HELD);
    }
    for (; count > 0; count--) {
        go_through(fresh, 1, legs, true);
        held[held_count++] = fresh[0].fd;
    }
    servers_time();
    puts("held");
}

/* ---- The program --------------------------------------------------------- */

static const operation *
find(const char *name)
{
    size_t i;

    for (i = 0; i < OPERATIONS; i++) {
        if (strcmp(operations[i].name, name) == 0) {
            return &operations[i];
        }
    }
    fail("no such operation: %s", name);
    return NULL;
}

int
main(int argc, char **argv)
{
    char line[128], name[32];
    unsigned long width, rounds;

    if (argc != 4) {
        fail("usage: load PORT PID spin|sleep");
    }
    server.sin_family = AF_INET;
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server.sin_port = htons((uint16_t) strtoul(argv[1], NULL, 10));
    spins = strcmp(argv[3], "spin") == 0;
    if (clock_getcpuclockid((pid_t) strtol(argv[2], NULL, 10),
                            &servers_clock) != 0)
    {
        fail("no process %s", argv[2]);
    }

    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "hold %31s %lu", name, &rounds) == 2) {
            hold(find(name), rounds);

        } else if (sscanf(line, "%31s %lu %lu", name, &width, &rounds) == 3) {
            measure(find(name), width, rounds);

        } else {
            fail("no such order: %s", line);
        }
        fflush(stdout);
    }
    return 0;
}
