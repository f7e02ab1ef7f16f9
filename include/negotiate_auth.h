/*
 * negotiate_auth.h - server side of HTTP Negotiate and NTLM authentication.
 *
 *     config = auth_config_new();                    once, at start
 *     auth_config_set(config, "accounts", ...);
 *     auth_config_check(config);
 *
 *     session = auth_begin(0);                       once per connection
 *     switch (auth_step(session, config, &request))  once per request
 *     auth_finish(session);                          when it closes
 *
 * Ownership  What auth_config_new, auth_config_inherit, auth_begin and
 *            auth_detach return is yours: give it back exactly once, to
 *            auth_config_free, auth_finish or auth_job_free.
 * Strings    Copied on the way in. On the way out: borrowed, valid until the
 *            next call that takes the same object without const.
 * NULL       Safe for every pointer to an object: reads give "" or 0, the
 *            rest fail or do nothing.
 * Threads    A configuration that nobody sets any more: any number at once. A
 *            session: one at a time, not always the same one. A job: any.
 * fork       Safe before auth_begin. No call starts a thread or leaves a
 *            descriptor open.
 * Stability  Within one soname nothing is removed, renumbered or resized but
 *            for fields added to the end of auth_request. Numbers may be
 *            added: treat a verdict that you do not know as AUTH_ERROR.
 *
 * Generated from src/ffi.rs: run `make header`.
 */


#ifndef NEGOTIATE_AUTH_H
#define NEGOTIATE_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Options: who may sign in here, and how. */
typedef struct auth_config auth_config;

/** One client connection, or one request where requests share it. */
typedef struct auth_session auth_session;

/** What may block, cut out of a step. */
typedef struct auth_job auth_job;

/**
 * Flag of auth_begin(): HTTP/2 or later, where requests share the connection.
 * Such a session serves one request; nothing outlasts it.
 */
#define AUTH_MULTIPLEXED 1

/**
 * Flags of auth_request. The client and this server's settings allow another
 * request on this connection.
 */
#define AUTH_REQUEST_PERSISTENT 1

/**
 * The client's connection to this server uses TLS.
 */
#define AUTH_REQUEST_TLS 2

/**
 * A Via, Forwarded or X-Forwarded-For field is present.
 */
#define AUTH_REQUEST_FORWARDED 4

/**
 * This server acts as a proxy here: answer 407 and Proxy-Authenticate;
 * authorization holds the values of Proxy-Authorization.
 */
#define AUTH_REQUEST_PROXY 8

/**
 * The same client request again, after a redirect inside the server: its
 * token was taken by the first step and is not looked at again.
 */
#define AUTH_REQUEST_AGAIN 16

/**
 * Kinds of auth_header(). Send it only if the final status is 401 or 407.
 */
#define AUTH_HEADER_CHALLENGE 1

/**
 * Send it whatever the final status is, unless that is a 401 or 407 with which
 * the server asks somebody who has signed in for something else.
 */
#define AUTH_HEADER_ALWAYS 2

/**
 * Kinds of auth_option_kind(). Who can sign in here, and how: belongs to
 * servers, locations and directories, never to files of users.
 */
#define AUTH_OPTION_SCOPE 1

/**
 * What follows from a sign-in: may be set wherever a user may set options.
 */
#define AUTH_OPTION_RULE 2

/**
 * A string. Those returned here are UTF-8 without NUL inside, never NULL, and
 * followed by a NUL that len does not count; they last until the next call
 * that takes the same object without const. Those passed in are copied.
 */
typedef struct auth_str {
  /**
   * The first byte.
   */
  const char *data;
  /**
   * The number of bytes.
   */
  size_t len;
} auth_str;

/**
 * What to do with the request. Zero is never success.
 */
typedef uint32_t auth_verdict;

/**
 * A request. Zero it, set size to sizeof(auth_request) and fill in the rest;
 * what is left zero counts as absent. Nothing of it is kept after the call.
 */
typedef struct auth_request {
  /**
   * sizeof(auth_request) of the caller. Fields past it read as zero.
   */
  size_t size;
  /**
   * The values of every Authorization field, in order.
   */
  const struct auth_str *authorization;
  /**
   * Their number.
   */
  size_t authorization_count;
  /**
   * The method, "GET".
   */
  struct auth_str method;
  /**
   * The host that the client asked for; a port may follow.
   */
  struct auth_str host;
  /**
   * 1000 * major + minor: 1000, 1001, 2000, 3000.
   */
  uint32_t http_version;
  /**
   * AUTH_REQUEST_... together.
   */
  uint32_t flags;
  /**
   * The address of the other end of the TCP connection, "192.0.2.7".
   */
  struct auth_str peer;
  /**
   * The Cookie field.
   */
  struct auth_str cookie;
  /**
   * The certificates, in DER, that the client may have been shown on this
   * connection: needed only with an Authorization field and TLS.
   */
  const struct auth_str *certificates;
  /**
   * Their number.
   */
  size_t certificate_count;
} auth_request;

/**
 * Why, for the log: a stable number. 0 signed in, 1xx asks, 2xx refuses, 5xx
 * faults. Their names are listed by auth_reason_name().
 */
typedef uint32_t auth_reason;

/**
 * Answer auth_status() with every auth_header(): a bad call, a bad
 * configuration, a back end out of reach or a fault in here.
 */
#define AUTH_ERROR 0

/**
 * Answer auth_status() with every auth_header(): the client has not signed in
 * yet and is expected to go on.
 */
#define AUTH_CHALLENGE 1

/**
 * Serve the request as auth_name(), with every auth_header() in the answer.
 */
#define AUTH_ACCEPTED 2

/**
 * Answer auth_status() with every auth_header(): this attempt was refused.
 */
#define AUTH_REJECTED 3

/**
 * The step needs something that may block: auth_detach() it.
 */
#define AUTH_WAIT 4

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Returns the key of the index-th option, or NULL past the last. Static, like
 * all that auth_option_...() return.
 */
const char *auth_option_key(size_t index);

/**
 * Returns the index-th option's arguments, as a manual writes them, or NULL.
 */
const char *auth_option_syntax(size_t index);

/**
 * Returns the index-th option's default, as a manual writes it, or NULL.
 */
const char *auth_option_default(size_t index);

/**
 * Returns the index-th option's help, one line, or NULL.
 */
const char *auth_option_help(size_t index);

/**
 * Returns AUTH_OPTION_SCOPE or AUTH_OPTION_RULE, or 0 past the last option.
 */
uint32_t auth_option_kind(size_t index);

/**
 * Returns a new configuration without any option set, or NULL.
 */
auth_config *auth_config_new(void);

/**
 * Names the directory that relative paths in later auth_config_set() calls
 * start from. Fails on NULL.
 */
bool auth_config_base(auth_config *config, const char *directory);

/**
 * Sets one option from its arguments; each keeps what its quotes held. where
 * is the place in the configuration, "file:line", or NULL: it starts every
 * error about this option. Fails on an unknown key, a bad value, a second
 * value for one option, or a file that cannot be used; config is then as
 * before but for auth_config_error(). Reads the files that the arguments
 * name: call it while still privileged.
 */
bool auth_config_set(auth_config *config,
                     const char *key,
                     const struct auth_str *args,
                     size_t count,
                     const char *where);

/**
 * Returns a new configuration: child's options, and parent's where child has
 * none. Either may be NULL. Pure and quick: no file is touched, and equal
 * results share what they hold. NULL when out of memory.
 */
auth_config *auth_config_inherit(const auth_config *child,
                                 const auth_config *parent);

/**
 * Says whether somebody could sign in with these options as they stand, all
 * inherited ones included; if not, auth_config_error() says why. where is the
 * place that wants to use them, or NULL: it starts the error unless one option
 * is to blame. Not a must: auth_step() answers 500 with the same words.
 */
bool auth_config_check(auth_config *config, const char *where);

/**
 * The same for a server whose sections are put together for each request: says
 * whether somebody could sign in with config and some of what it may inherit,
 * all of which inherited has. What only single requests can get wrong is left
 * to auth_step().
 */
bool auth_config_check_section(auth_config *config,
                               const auth_config *inherited,
                               const char *where);

/**
 * Returns why the last auth_config_set() or one of the checks failed, else "".
 */
struct auth_str auth_config_error(const auth_config *config);

/**
 * Returns what the last auth_config_check() or auth_config_check_section()
 * found that is hardly meant, one to a line, each with its place; else "".
 */
struct auth_str auth_config_warning(const auth_config *config);

/**
 * Looks whether anybody could meet the rules that rules has, in a place with
 * these options; what speaks against it is in auth_config_warning(rules).
 */
void auth_config_check_rules(auth_config *rules, const auth_config *config);

/**
 * Frees config. Sessions that used it go on.
 */
void auth_config_free(auth_config *config);

/**
 * Returns a new session, for one client connection, or for one request if
 * flags has AUTH_MULTIPLEXED. NULL if flags has a bit that is not known.
 */
auth_session *auth_begin(uint32_t flags);

/**
 * Takes the next request and says what to do with it. Call it once per
 * request, with or without credentials; once more, with AUTH_REQUEST_AGAIN,
 * after each redirect inside the server that leads to a protected place.
 */
auth_verdict auth_step(auth_session *session,
                       const auth_config *config,
                       const struct auth_request *request);

/**
 * Says whether the rules that the option require has in rules let in whom the
 * last step accepted: AUTH_ACCEPTED, AUTH_REJECTED (403), AUTH_ERROR, or
 * AUTH_WAIT as for a step. Nothing else that rules has counts. For servers
 * that combine rules themselves; others have them in a step's configuration.
 */
auth_verdict auth_authorize(auth_session *session, const auth_config *rules);

/**
 * After AUTH_WAIT: returns the job to run, or NULL if the session does not
 * wait. Each call gives out a count of its own, yours to auth_job_free(): take
 * one for every thread that will use the job.
 */
const auth_job *auth_detach(const auth_session *session);

/**
 * After AUTH_WAIT: returns for how many milliseconds to wait for the job, from
 * then on, before auth_resume() without it; 0 if the session does not wait.
 */
uint32_t auth_timeout(const auth_session *session);

/**
 * Does what may block, on any thread; once, later calls return at once. It
 * touches nothing but the job: session, configuration and the server's memory
 * may be gone.
 */
void auth_job_run(const auth_job *job);

/**
 * Takes the result of the session's own job and goes on with the step. The
 * verdict may be AUTH_WAIT once more: for another job. With NULL the step is given up: AUTH_ERROR with
 * status 503. A job that has not finished counts as given up. Call it on the
 * session's own thread.
 */
auth_verdict auth_resume(auth_session *session,
                         const auth_job *job);

/**
 * Gives one count of a job back, at any time: also while it runs, and after
 * its session and configuration are gone.
 */
void auth_job_free(const auth_job *job);

/**
 * Ends the session: wipes its secrets and frees it.
 */
void auth_finish(auth_session *session);

/**
 * Returns the HTTP status to answer with, or 0 to go on with the request.
 */
uint32_t auth_status(const auth_session *session);

/**
 * Gives the index-th field of the answer and returns its kind, or 0 past the
 * last. One field to a line: names may repeat.
 */
uint32_t auth_header(const auth_session *session,
                     size_t index,
                     struct auth_str *name,
                     struct auth_str *value);

/**
 * Returns who the client is, as the application sees it (REMOTE_USER). This
 * and the other parts of the identity are "" or 0 unless the last verdict was
 * AUTH_ACCEPTED, or AUTH_REJECTED with status 403 for somebody who has signed
 * in and may not come in: a name for the log, and for nothing else.
 */
struct auth_str auth_name(const auth_session *session);

/**
 * Returns the user without the domain, in the account's own spelling.
 */
struct auth_str auth_user(const auth_session *session);

/**
 * Returns the user's domain, in the account's own spelling.
 */
struct auth_str auth_domain(const auth_session *session);

/**
 * Returns the mechanism that proved the identity: "kerberos" or "ntlm". Static.
 */
struct auth_str auth_mechanism(const auth_session *session);

/**
 * Returns the HTTP authentication scheme that the client signed in with:
 * "NTLM" or "Negotiate". Static.
 */
struct auth_str auth_scheme(const auth_session *session);

/**
 * Returns the user's security identifier, or "" if it is not known. This and
 * the groups are told only where the option groups says so.
 */
struct auth_str auth_sid(const auth_session *session);

/**
 * Returns the index-th of the user's groups; "" past the last.
 */
struct auth_str auth_group(const auth_session *session, size_t index);

/**
 * Returns all of the user's groups in one list, as the option groups_form has
 * it; "" if it would be longer than groups_limit.
 */
struct auth_str auth_groups(const auth_session *session);

/**
 * Says whether the proof was bound to this TLS connection.
 */
bool auth_channel_bound(const auth_session *session);

/**
 * Returns why, as a number for the log. Never send it to a client.
 */
auth_reason auth_why(const auth_session *session);

/**
 * Returns why, in one sentence for the log: names in it are escaped. Never
 * send it to a client.
 */
struct auth_str auth_detail(const auth_session *session);

/**
 * Returns more about a refusal, for a log of those who look closer, such as
 * the groups of a user who may not come in; else "".
 */
struct auth_str auth_more(const auth_session *session);

/**
 * Returns what an administrator should read once, whatever became of this
 * request, such as a file that could not be read again; else "".
 */
struct auth_str auth_notice(const auth_session *session);

/**
 * Says whether auth_notice() is a warning: something does not work as it was
 * meant to, and goes on as before.
 */
bool auth_notice_warns(const auth_session *session);

/**
 * Returns "wrong-response" for 211, and so on; "unknown" for a number that has
 * no name. Static.
 */
const char *auth_reason_name(auth_reason reason);

/**
 * Returns the version of the library, such as "1.0.0". Static.
 */
const char *auth_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* NEGOTIATE_AUTH_H */
