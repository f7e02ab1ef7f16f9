/*
 * An HTTP server that knows who its clients are, to be copied: all that there
 * is to signing in. The HTTP is libmicrohttpd's.
 *
 *     cc -pthread -o server server.c \
 *         $(pkg-config --cflags --libs negotiate-auth libmicrohttpd)
 *     negotiate-auth passwd accounts 'DEMO\alice'
 *     ./server 8080 --accounts file:accounts --domain DEMO \
 *         --keytab http.keytab
 *     curl --ntlm --user 'DEMO\alice' http://127.0.0.1:8080/
 *     curl --negotiate --user : http://localhost:8080/
 *
 * A connection has an auth_session for as long as it lives. A request has one
 * auth_step(), when its head has come, and one answer, when its body has.
 */

#define _POSIX_C_SOURCE 200809L

#include <negotiate_auth.h>

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

/* What clients may use. With pipes for jobs, the usual limit of 1024 files is
   enough for as many connections; each has a thread. A ticket that lists many
   groups fills most of a head. */
#define MAX_CONNECTIONS 900
#define MAX_CONNECTIONS_OF_ONE 200
#define MAX_HEAD_BYTES 98304
#define MAX_SECONDS_OF_SILENCE 30

typedef struct client {
    auth_session *session;
    char peer[64];
} client;

typedef struct answer {
    unsigned status;
    struct MHD_Response *response;
} answer;

/* The head of a request, for the library and for us. */
typedef struct head {
    auth_request request;
    auth_str authorization[2];
    unsigned hosts, lengths, codings;
    bool close, keep_alive, malformed, unknown_coding;
} head;

/* ---- The options --------------------------------------------------------- */

static auth_str
to_str(const char *text)
{
    return (auth_str) {text, strlen(text)};
}

/* Reads --key argument argument ... until the words end. */
static bool
set_options(auth_config *config, char **word)
{
    auth_str arguments[32];

    while (*word != NULL) {
        const char *key = *word++;
        size_t count = 0;

        while (*word != NULL && strncmp(*word, "--", 2) != 0 && count < 32) {
            arguments[count++] = to_str(*word++);
        }
        if (!auth_config_set(config, key + strspn(key, "-"), arguments, count,
                             key)) {
            return false;
        }
    }
    return auth_config_check(config, NULL);
}

/* ---- The connection ------------------------------------------------------ */

static void
see_connection(void *unused, struct MHD_Connection *connection, void **context,
               enum MHD_ConnectionNotificationCode code)
{
    const struct sockaddr *address;
    client *client = *context;

    (void) unused;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        client = calloc(1, sizeof *client);
        if (client != NULL) {
            client->session = auth_begin(0);
            address = MHD_get_connection_info(
                connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
            getnameinfo(address, sizeof(struct sockaddr_in), client->peer,
                        sizeof client->peer, NULL, 0, NI_NUMERICHOST);
        }
        *context = client;
    }
    else if (client != NULL) {
        auth_finish(client->session);
        free(client);
    }
}

/* ---- The request --------------------------------------------------------- */

static bool
is(auth_str str, const char *text)
{
    return str.len == strlen(text) && strncasecmp(str.data, text, str.len) == 0;
}

/* Whether a list, such as "keep-alive, Upgrade", has this token. */
static bool
has_token(auth_str list, const char *token)
{
    const char *at = list.data, *end = list.data + list.len;

    while (at < end) {
        size_t len = strcspn(at, ", \t");

        if (is((auth_str) {at, len}, token)) {
            return true;
        }
        at += len + strspn(at + len, ", \t");
    }
    return false;
}

/* Whether it is a token of HTTP, as the name of a field has to be: a proxy may
   read "Content-Length\t" as what it looks like. */
static bool
is_token(auth_str str)
{
    size_t i;

    for (i = 0; i < str.len; i++) {
        unsigned char c = (unsigned char) str.data[i];

        if (c <= ' ' || c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", c)) {
            return false;
        }
    }
    return str.len > 0;
}

static enum MHD_Result
read_field(void *context, enum MHD_ValueKind kind, const char *name_data,
           size_t name_len, const char *value_data, size_t value_len)
{
    auth_str name = {name_data, name_len}, value = {value_data, value_len};
    head *head = context;
    auth_request *request = &head->request;

    (void) kind;
    head->malformed |= !is_token(name);
    if (is(name, "Authorization")) {
        /* The library refuses two, and so it would three. */
        if (request->authorization_count < 2) {
            head->authorization[request->authorization_count++] = value;
        }
    }
    else if (is(name, "Via") || is(name, "Forwarded")
             || is(name, "X-Forwarded-For")) {
        request->flags |= AUTH_REQUEST_FORWARDED;
    }
    else if (is(name, "Host")) {
        request->host = value;
        head->hosts++;
    }
    else if (is(name, "Cookie")) {
        request->cookie = value;
    }
    else if (is(name, "Connection")) {
        head->close |= has_token(value, "close");
        head->keep_alive |= has_token(value, "keep-alive");
    }
    else if (is(name, "Content-Length")) {
        head->lengths++;
        head->malformed |= strspn(value.data, "0123456789") != value.len;
    }
    else if (is(name, "Transfer-Encoding")) {
        head->codings++;
        head->unknown_coding |= !is(value, "chunked");
    }
    return MHD_YES;
}

/* Returns 0, or the status that refuses the request. Where it ends has to be
   beyond doubt: who is signed in is signed in for what follows on the
   connection. */
static unsigned
read_head(head *head, struct MHD_Connection *connection, const char *method,
          const char *version)
{
    auth_request *request = &head->request;
    bool is_http_1_0 = strcmp(version, "HTTP/1.0") == 0;

    memset(head, 0, sizeof *head);
    MHD_get_connection_values_n(connection, MHD_HEADER_KIND, read_field, head);
    request->size = sizeof *request;
    request->authorization = head->authorization;
    request->method = to_str(method);
    request->http_version = is_http_1_0 ? 1000 : 1001;
    if (!head->close && (head->keep_alive || !is_http_1_0)) {
        request->flags |= AUTH_REQUEST_PERSISTENT;
    }
    if (head->malformed || head->hosts > 1
        || head->lengths + head->codings > 1
        || (is_http_1_0 && head->codings > 0)) {
        return MHD_HTTP_BAD_REQUEST;
    }
    return head->unknown_coding ? MHD_HTTP_NOT_IMPLEMENTED : 0;
}

/* ---- Steps --------------------------------------------------------------- */

/* What the thread of a job has of its own: it may outlast the connection. */
typedef struct work {
    const auth_job *job;
    int end; /* of a pipe; closed when the job is done */
} work;

static void *
run_job(void *context)
{
    work *work = context;

    auth_job_run(work->job);
    auth_job_free(work->job);
    close(work->end);
    free(work);
    return NULL;
}

/* Starts the session's job. Returns the end of a pipe that tells when it is
   done, or -1. */
static int
start_job(auth_session *session, pthread_t *thread)
{
    work *work = malloc(sizeof *work);
    int ends[2];

    if (work == NULL || pipe(ends) != 0) {
        free(work);
        return -1;
    }
    work->job = auth_detach(session);
    work->end = ends[1];
    if (pthread_create(thread, NULL, run_job, work) != 0) {
        auth_job_free(work->job);
        close(ends[0]);
        close(ends[1]);
        free(work);
        return -1;
    }
    return ends[0];
}

/* Waits for what may block, as long as the library says. A server that has one
   thread for many connections would let poll() wait for the pipe with all the
   others. */
static auth_verdict
wait_for_job(auth_session *session)
{
    pthread_t thread;
    struct pollfd done = {start_job(session, &thread), POLLIN, 0};
    const auth_job *job;
    auth_verdict verdict;

    if (done.fd < 0) {
        return auth_resume(session, NULL);
    }
    if (poll(&done, 1, (int) auth_timeout(session)) == 1) {
        pthread_join(thread, NULL);
        job = auth_detach(session);
        verdict = auth_resume(session, job);
        auth_job_free(job);
    }
    else {
        pthread_detach(thread);
        verdict = auth_resume(session, NULL);
    }
    close(done.fd);
    return verdict;
}

static const char *
level_of(auth_verdict verdict)
{
    switch (verdict) {
    case AUTH_ACCEPTED:
    case AUTH_CHALLENGE:
        return "info";
    case AUTH_REJECTED:
        return "error";
    default:
        return "crit";
    }
}

/* One line for each decision. That somebody is still signed in is none. */
static void
log_step(const client *client, const auth_request *request,
         auth_verdict verdict)
{
    auth_reason why = auth_why(client->session);
    auth_str notice = auth_notice(client->session);

    if (verdict != AUTH_ACCEPTED || request->authorization_count > 0) {
        fprintf(stderr, "[%s] %s: auth_negotiate: %u %s: %s\n",
                level_of(verdict), client->peer, (unsigned) why,
                auth_reason_name(why), auth_detail(client->session).data);
    }
    if (notice.len > 0) {
        fprintf(stderr, "[%s] auth_negotiate: %s\n",
                auth_notice_warns(client->session) ? "warn" : "notice",
                notice.data);
    }
}

static auth_verdict
step(client *client, const auth_config *config, auth_request *request)
{
    auth_verdict verdict;

    request->peer = to_str(client->peer);
    verdict = auth_step(client->session, config, request);
    /* A step may have to wait for one thing after the other. */
    while (verdict == AUTH_WAIT) {
        verdict = wait_for_job(client->session);
    }
    log_step(client, request, verdict);
    return verdict;
}

/* ---- The answer ---------------------------------------------------------- */

static void
make_answer(answer *answer, unsigned status, const char *text)
{
    size_t len = strlen(text);
    char *line = malloc(len + 2);

    if (line == NULL) {
        return;
    }
    memcpy(line, text, len);
    memcpy(line + len, "\n", 2);
    answer->status = status;
    answer->response = MHD_create_response_from_buffer(len + 1, line,
                                                       MHD_RESPMEM_MUST_FREE);
    MHD_add_response_header(answer->response, "Content-Type",
                            "text/plain; charset=utf-8");
}

/* Adds what the last step wants said. */
static void
add_auth_fields(answer *answer, const auth_session *session)
{
    bool asks = answer->status == 401 || answer->status == 407;
    auth_str name, value;
    uint32_t kind;
    size_t i;

    for (i = 0; (kind = auth_header(session, i, &name, &value)) != 0; i++) {
        if (kind == AUTH_HEADER_ALWAYS || asks) {
            MHD_add_response_header(answer->response, name.data, value.data);
        }
    }
}

/* The application, for who has signed in. */
static void
serve(answer *answer, const auth_session *session)
{
    make_answer(answer, MHD_HTTP_OK, auth_name(session).data);
    MHD_add_response_header(answer->response, "Cache-Control", "no-store");
}

static void
refuse(answer *answer, unsigned status)
{
    make_answer(answer, status, MHD_get_reason_phrase_for(status));
}

/* Decides on a request by its head. */
static void
decide(answer *answer, client *client, const auth_config *config,
       auth_request *request)
{
    unsigned status;

    if (step(client, config, request) == AUTH_ACCEPTED) {
        serve(answer, client->session);
    }
    else {
        status = auth_status(client->session);
        refuse(answer, status >= 400 ? status : 500);
    }
    add_auth_fields(answer, client->session);
}

/* Comes by when the head of a request is there, for each part of the body, and
   at its end. The body is read to its end whoever sent it, so that the next
   message of the client's handshake finds its place on the connection. */
static enum MHD_Result
handle(void *config, struct MHD_Connection *connection, const char *url,
       const char *method, const char *version, const char *body,
       size_t *body_len, void **context)
{
    client *client = MHD_get_connection_info(
        connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    answer *answer = *context;
    unsigned status;
    head head;

    (void) url;
    (void) body;
    if (answer != NULL) {
        if (*body_len == 0) {
            return MHD_queue_response(connection, answer->status,
                                      answer->response);
        }
        *body_len = 0;
        return MHD_YES;
    }

    *context = answer = calloc(1, sizeof *answer);
    if (client == NULL || answer == NULL) {
        return MHD_NO;
    }
    status = read_head(&head, connection, method, version);
    if (status == 0) {
        decide(answer, client, config, &head.request);
        return MHD_YES;
    }
    refuse(answer, status);
    MHD_add_response_header(answer->response, "Connection", "close");
    return MHD_queue_response(connection, status, answer->response);
}

static void
forget(void *unused, struct MHD_Connection *connection, void **context,
       enum MHD_RequestTerminationCode code)
{
    answer *answer = *context;

    (void) unused;
    (void) connection;
    (void) code;
    if (answer != NULL) {
        MHD_destroy_response(answer->response);
        free(answer);
    }
}

/* ---- The server ---------------------------------------------------------- */

/* On this computer alone: elsewhere, NTLM is for TLS. */
static struct MHD_Daemon *
start(const char *port, auth_config *config)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t) strtoul(port, NULL, 10)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };

    return MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION
            | MHD_USE_POLL | MHD_USE_ERROR_LOG,
        0, NULL, NULL, handle, config,
        MHD_OPTION_SOCK_ADDR, (struct sockaddr *) &address,
        MHD_OPTION_NOTIFY_CONNECTION, see_connection, NULL,
        MHD_OPTION_NOTIFY_COMPLETED, forget, NULL,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned) MAX_CONNECTIONS,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned) MAX_CONNECTIONS_OF_ONE,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) MAX_HEAD_BYTES,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned) MAX_SECONDS_OF_SILENCE,
        MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_END);
}

int
main(int argc, char **argv)
{
    auth_config *config = auth_config_new();
    struct MHD_Daemon *daemon = NULL;
    sigset_t signals;
    int number;

    if (argc < 3) {
        fprintf(stderr, "usage: %s PORT --KEY ARGUMENT ...\n", argv[0]);
        return 2;
    }
    /* Threads inherit this: the signals wait for sigwait(). */
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);

    if (!set_options(config, argv + 2)) {
        fprintf(stderr, "server: %s\n", auth_config_error(config).data);
    }
    else if ((daemon = start(argv[1], config)) == NULL) {
        fprintf(stderr, "server: cannot listen on port %s\n", argv[1]);
    }
    else {
        fprintf(stderr, "server: listening on http://127.0.0.1:%u/\n",
                MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
        sigwait(&signals, &number);
        MHD_stop_daemon(daemon);
    }
    auth_config_free(config);
    return daemon == NULL ? 1 : 0;
}
