/*
 * Signs in to a domain as fast as it goes, with as many at once as are wanted:
 *
 *     winbind THREADS SECONDS winbind DOMAIN USER NT-HASH COMPUTER
 *     winbind THREADS SECONDS server PORT DOMAIN USER NT-HASH
 *
 * By libwbclient alone, each thread with a context of its own, or at the web
 * server at 127.0.0.1:PORT, on a new connection each time. Prints how many a
 * second. The client's own work is the same: an AUTHENTICATE for each.
 */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <wbclient.h>

#include "ntlm_client.h"

#define MOST_THREADS 64

static ntlm_account account;
static const char *computer;
static struct sockaddr_in server;
static uint64_t end;

static void
fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("winbind: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t
now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t) time.tv_sec * 1000000000 + (uint64_t) time.tv_nsec;
}

/* ---- libwbclient alone --------------------------------------------------- */

static void
put(unsigned char **at, uint64_t value, size_t bytes)
{
    while (bytes-- > 0) {
        *(*at)++ = value & 0xff;
        value >>= 8;
    }
}

static void
put_pair(unsigned char **at, unsigned id, const char *name)
{
    put(at, id, 2);
    put(at, 2 * strlen(name), 2);
    for (; *name != '\0'; name++) {
        put(at, (unsigned char) *name, 2);
    }
}

/* A CHALLENGE_MESSAGE (MS-NLMP 2.2.1.2), as a server would tell it. */
static size_t
make_challenge(unsigned char *message, const unsigned char server_challenge[8])
{
    unsigned char *at = message + 56, *info = at;

    put_pair(&at, 2, account.domain);
    put_pair(&at, 1, computer);
    put(&at, 7, 2);
    put(&at, 8, 2);
    put(&at, ((uint64_t) time(NULL) + 11644473600) * 10000000, 8);
    put(&at, 0, 4);
    size_t len = (size_t) (at - info), whole = (size_t) (at - message);

    memset(message, 0, 56);
    memcpy(message, "NTLMSSP\0\2", 9);
    at = message + 16;
    put(&at, 56, 4);
    /* As Windows answers in a domain. */
    put(&at, 0xe2898215, 4);
    memcpy(at, server_challenge, 8);
    at = message + 40;
    put(&at, len, 2);
    put(&at, len, 2);
    put(&at, 56, 4);
    return whole;
}

static void
ask_winbind(struct wbcContext *context)
{
    unsigned char challenge[1024], authenticate[2888], server_challenge[8];
    struct wbcAuthUserParams params = {0};
    struct wbcAuthUserInfo *info = NULL;
    struct wbcAuthErrorInfo *error = NULL;
    ntlm_field field;
    size_t len;

    if (getrandom(server_challenge, 8, 0) != 8) {
        fail("no random bytes");
    }
    len = make_challenge(challenge, server_challenge);
    field_write("NTLM", challenge, len, &field);
    if (!ntlm_authenticate(&account, field.value, field.len, &field)) {
        fail("no answer to the challenge");
    }
    len = field_read(field.value, field.len, authenticate, sizeof authenticate);
    if (len < 64) {
        fail("no AUTHENTICATE");
    }

    params.account_name = account.user;
    params.domain_name = account.domain;
    params.workstation_name = "";
    params.level = WBC_AUTH_USER_LEVEL_RESPONSE;
    memcpy(params.password.response.challenge, server_challenge, 8);
    params.password.response.nt_length = authenticate[20] | authenticate[21] << 8;
    params.password.response.nt_data = authenticate
        + (authenticate[24] | authenticate[25] << 8);
    wbcErr result = wbcCtxAuthenticateUserEx(context, &params, &info, &error);
    if (!WBC_ERROR_IS_OK(result)) {
        fail("%s: %s", wbcErrorString(result), error == NULL ? "" : error->nt_string);
    }
    wbcFreeMemory(info);
}

static void *
ask_winbind_often(void *count)
{
    struct wbcContext *context = wbcCtxCreate();

    while (now() < end) {
        ask_winbind(context);
        ++*(unsigned long *) count;
    }
    wbcCtxFree(context);
    return NULL;
}

/* ---- A web server -------------------------------------------------------- */

/* Asks, and reads an answer, which has no body or one with a length. */
static void
ask(int fd, const char *value, char *answer, size_t most)
{
    static const char field[] = "\r\nContent-Length:";
    size_t len = 0, whole = 0;
    char request[8192];
    int asked = snprintf(request, sizeof request,
                         "GET / HTTP/1.1\r\nHost: www\r\nAuthorization: %s\r\n\r\n", value);

    if (send(fd, request, (size_t) asked, MSG_NOSIGNAL) != asked) {
        fail("send: %s", strerror(errno));
    }
    do {
        ssize_t n = recv(fd, answer + len, most - 1 - len, 0);

        if (n <= 0) {
            fail("the server closed: %s", n < 0 ? strerror(errno) : "in time");
        }
        len += (size_t) n;
        answer[len] = '\0';
        char *body = strstr(answer, "\r\n\r\n"), *length = strcasestr(answer, field);
        if (body != NULL && length != NULL) {
            whole = (size_t) (body + 4 - answer)
                + strtoul(length + sizeof field - 1, NULL, 10);
        }
    } while (whole == 0 || len < whole);
}

static void
sign_in(void)
{
    static const char name[] = "\r\nWWW-Authenticate: NTLM ";
    char answer[8192];
    ntlm_field field;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0
        || connect(fd, (struct sockaddr *) &server, sizeof server) != 0)
    {
        fail("connect: %s", strerror(errno));
    }
    ntlm_negotiate("NTLM", &field);
    ask(fd, field.value, answer, sizeof answer);
    const char *value = strcasestr(answer, name);
    value = value == NULL ? "" : value + sizeof name - sizeof "NTLM ";
    if (!ntlm_authenticate(&account, value, strcspn(value, "\r"), &field)) {
        fail("no CHALLENGE in: %s", answer);
    }
    ask(fd, field.value, answer, sizeof answer);
    if (strncmp(answer, "HTTP/1.1 200 ", 13) != 0) {
        fail("not signed in: %s", answer);
    }
    close(fd);
}

static void *
sign_in_often(void *count)
{
    while (now() < end) {
        sign_in();
        ++*(unsigned long *) count;
    }
    return NULL;
}

/* ---- Both ---------------------------------------------------------------- */

static void
read_hash(const char *hex, unsigned char hash[16])
{
    for (int i = 0; i < 16; i++) {
        unsigned byte;

        if (sscanf(hex + 2 * i, "%2x", &byte) != 1) {
            fail("no NT hash: %s", hex);
        }
        hash[i] = (unsigned char) byte;
    }
}

int
main(int argc, char **argv)
{
    pthread_t threads[MOST_THREADS];
    unsigned long counts[MOST_THREADS] = {0}, all = 0;
    bool direct = argc > 3 && strcmp(argv[3], "winbind") == 0;

    if (argc != 8 || (!direct && strcmp(argv[3], "server") != 0)) {
        fail("usage: THREADS SECONDS winbind|server ...");
    }
    int count = atoi(argv[1]), first = direct ? 4 : 5;
    if (count < 1 || count > MOST_THREADS) {
        fail("from 1 to %d threads", MOST_THREADS);
    }
    account.domain = argv[first];
    account.user = argv[first + 1];
    read_hash(argv[first + 2], account.nt_hash);
    if (direct) {
        computer = argv[7];
    } else {
        server.sin_family = AF_INET;
        server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        server.sin_port = htons((uint16_t) atoi(argv[4]));
    }

    uint64_t begun = now();
    end = begun + (uint64_t) (atof(argv[2]) * 1e9);
    for (int i = 0; i < count; i++) {
        pthread_create(&threads[i], NULL, direct ? ask_winbind_often : sign_in_often,
                       &counts[i]);
    }
    for (int i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        all += counts[i];
    }
    printf("%.1f\n", (double) all / ((double) (now() - begun) / 1e9));
    return 0;
}
