/* Steps that wait: an accounts file that has changed is read again by a job. */

#include "abi.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define BACKEND_UNAVAILABLE 502

/* How many jobs are freed while they run. */
#define ROUNDS 200

/* No wait of this test takes longer than this, in seconds, unless something is broken. */
#define PATIENCE 30

/* ---- The gate ---------------------------------------------------------------------------- */

/* A job opens its file by open64() of the C library, whose place the test's own takes: so that
   the test knows that the job has begun, and can hold it there. */
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool closed;
    unsigned waiting;
} gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0};

#ifdef __cplusplus
extern "C"
#endif
int
open64(const char *path, int flags, ...)
{
    va_list rest;
    mode_t mode;

    va_start(rest, flags);
    mode = (mode_t) va_arg(rest, unsigned);
    va_end(rest);
    pthread_mutex_lock(&gate.mutex);
    gate.waiting++;
    pthread_cond_broadcast(&gate.changed);
    while (gate.closed) {
        pthread_cond_wait(&gate.changed, &gate.mutex);
    }
    gate.waiting--;
    pthread_mutex_unlock(&gate.mutex);
    return open(path, flags, mode);
}

static void
set_gate(bool closed)
{
    pthread_mutex_lock(&gate.mutex);
    gate.closed = closed;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.mutex);
}

/* Whether somebody stands at the closed gate, now or soon. */
static bool
await_at_gate(void)
{
    struct timespec until;
    int error = 0;
    bool there;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE;
    pthread_mutex_lock(&gate.mutex);
    while (gate.waiting == 0 && error == 0) {
        error = pthread_cond_timedwait(&gate.changed, &gate.mutex, &until);
    }
    there = gate.waiting > 0;
    pthread_mutex_unlock(&gate.mutex);
    return there;
}

/* ---- Jobs -------------------------------------------------------------------------------- */

static void *
run(void *job)
{
    auth_job_run((const auth_job *) job);
    return NULL;
}

static pthread_t
start(const auth_job *job)
{
    pthread_t thread;

    CHECK_IS((uint64_t) pthread_create(&thread, NULL, run, (void *) job), 0);
    return thread;
}

/* Signs in again and again until the file, which has changed, is looked at. */
static void
sign_in_until_it_waits(auth_session *session, const auth_config *config)
{
    time_t begun = time(NULL);
    auth_verdict verdict;

    do {
        verdict = sign_in(session, config, &alice);
    } while (verdict == AUTH_ACCEPTED && time(NULL) - begun < PATIENCE);
    CHECK_IS(verdict, AUTH_WAIT);
}

/* A session that waits for the accounts file, which has changed since config was made. */
static auth_session *
new_waiting(const auth_config *config, const char *accounts, unsigned others, const char *more)
{
    auth_session *session = auth_begin(0);

    write_accounts(accounts, others, more);
    sign_in_until_it_waits(session, config);
    return session;
}

static void
check_given_up(auth_session *session, auth_verdict verdict, const auth_config *config)
{
    CHECK_IS(verdict, AUTH_ERROR);
    CHECK_IS(auth_status(session), 503);
    CHECK_IS(auth_why(session), BACKEND_UNAVAILABLE);
    check_header(session, 0, AUTH_HEADER_ALWAYS, "Retry-After", "5");
    check_nobody(session);
    CHECK(auth_detach(session) == NULL);
    CHECK_IS(step(session, config, NULL), AUTH_CHALLENGE);
}

static void
null_is_no_job(void)
{
    auth_config *config = new_config("accounts");
    auth_session *session = auth_begin(0);

    auth_job_run(NULL);
    auth_job_free(NULL);
    CHECK(auth_detach(session) == NULL);
    CHECK_IS(auth_resume(session, NULL), AUTH_ERROR);
    CHECK_IS(auth_status(session), 500);
    CHECK_IS(sign_in(session, config, &alice), AUTH_ACCEPTED);
    CHECK(auth_detach(session) == NULL);
    auth_finish(session);
    auth_config_free(config);
}

static void
a_changed_file_is_read_on_another_thread(void)
{
    auth_config *config = new_config("changing");
    auth_session *session, *other = auth_begin(0);
    const auth_job *job, *same;

    CHECK_IS(sign_in(other, config, &alice), AUTH_ACCEPTED);
    session = new_waiting(config, "changing", 5, "");
    CHECK(auth_status(session) != 0);
    check_nobody(session);
    job = auth_detach(session);
    same = auth_detach(session);
    CHECK(job != NULL && same == job);
    auth_job_free(same);
    CHECK_IS(auth_timeout(session), 10000);

    /* Only one session waits; the others go on with the accounts that are there. */
    CHECK_IS(step(other, config, NULL), AUTH_ACCEPTED);
    CHECK_IS(sign_in(other, config, &alice), AUTH_ACCEPTED);

    CHECK_IS((uint64_t) pthread_join(start(job), NULL), 0);
    CHECK_IS(auth_resume(session, job), AUTH_ACCEPTED);
    CHECK_TEXT(auth_name(session), "DEMO\\Alice");
    CHECK_IS(auth_timeout(session), 0);
    CHECK_HAS(auth_notice(session), "changing: read again, 7 accounts");
    CHECK(!auth_notice_warns(session));
    CHECK_HAS(auth_detail(session), "DEMO\\Alice");
    check_header(session, 0, AUTH_HEADER_ALWAYS, "Persistent-Auth", "true");
    CHECK(auth_detach(session) == NULL);
    CHECK_IS(step(session, config, NULL), AUTH_ACCEPTED);
    CHECK_TEXT(auth_notice(session), "");
    CHECK_IS(step(other, config, NULL), AUTH_ACCEPTED);

    /* A job's result is taken once. */
    CHECK_IS(auth_resume(session, job), AUTH_ERROR);
    check_nobody(session);
    auth_job_free(job);
    auth_finish(session);
    auth_finish(other);
    auth_config_free(config);
}

static void
a_file_that_cannot_be_read_again_leaves_the_accounts_as_they_were(void)
{
    auth_config *config = new_config("changing");
    auth_session *session = new_waiting(config, "changing", 0, "nonsense\n");
    const auth_job *job = auth_detach(session);

    auth_job_run(job);
    CHECK_IS(auth_resume(session, job), AUTH_ACCEPTED);
    CHECK_HAS(auth_notice(session), "changing:3: ");
    CHECK(auth_notice_warns(session));
    auth_job_free(job);
    auth_finish(session);
    auth_config_free(config);
    write_accounts("changing", 0, "");
}

static void
a_step_may_be_given_up(void)
{
    auth_config *config = new_config("changing");
    auth_session *session = new_waiting(config, "changing", 0, "");
    const auth_job *job = auth_detach(session);

    check_given_up(session, auth_resume(session, NULL), config);
    auth_job_free(job);

    /* Nobody read the file: it is still to be read. A job that did not run counts as given up. */
    sign_in_until_it_waits(session, config);
    job = auth_detach(session);
    check_given_up(session, auth_resume(session, job), config);
    auth_job_run(job);
    auth_job_free(job);

    /* A late job did its work all the same. */
    CHECK_IS(sign_in(session, config, &alice), AUTH_ACCEPTED);
    CHECK_HAS(auth_notice(session), "read again");
    auth_finish(session);
    auth_config_free(config);
}

static void
the_next_request_ends_a_step_that_waits(void)
{
    auth_config *config = new_config("changing");
    auth_session *session = new_waiting(config, "changing", 0, "");
    const auth_job *job = auth_detach(session);

    CHECK_IS(step(session, config, NULL), AUTH_CHALLENGE);
    CHECK(auth_detach(session) == NULL);
    auth_job_run(job);
    CHECK_IS(auth_resume(session, job), AUTH_ERROR);
    CHECK_IS(auth_status(session), 500);
    check_nobody(session);
    auth_job_free(job);
    auth_finish(session);
    auth_config_free(config);
}

static void
the_job_of_another_session_resumes_nothing(void)
{
    auth_config *config = new_config("changing"), *other = new_config("accounts");
    auth_session *session = new_waiting(config, "changing", 0, "");
    auth_session *stranger = new_waiting(other, "accounts", 0, "");
    const auth_job *job = auth_detach(session), *foreign = auth_detach(stranger);

    CHECK(job != NULL && foreign != NULL && job != foreign);
    auth_job_run(job);
    auth_job_run(foreign);
    check_given_up(session, auth_resume(session, foreign), config);
    CHECK_IS(auth_resume(stranger, foreign), AUTH_ACCEPTED);
    auth_job_free(job);
    auth_job_free(foreign);
    auth_finish(session);
    auth_finish(stranger);
    auth_config_free(config);
    auth_config_free(other);
}

static void
a_job_runs_once(void)
{
    auth_config *config = new_config("changing");
    auth_session *session = new_waiting(config, "changing", 3, "");
    const auth_job *job = auth_detach(session);
    pthread_t thread;

    set_gate(true);
    thread = start(job);
    CHECK(await_at_gate());
    auth_job_run(job);
    check_given_up(session, auth_resume(session, job), config);
    set_gate(false);
    CHECK_IS((uint64_t) pthread_join(thread, NULL), 0);

    write_accounts("changing", 4, "");
    auth_job_run(job);
    CHECK_IS(sign_in(session, config, &alice), AUTH_ACCEPTED);
    CHECK_HAS(auth_notice(session), "5 accounts");
    auth_job_free(job);
    auth_finish(session);
    auth_config_free(config);
}

/* In every order, at the beginning of the run and somewhere in it. */
static void
everything_may_be_freed_while_the_job_runs(void)
{
    static const char orders[6][4] = {"jsc", "jcs", "sjc", "scj", "cjs", "csj"};
    unsigned round;
    const char *next;

    for (round = 0; round < ROUNDS; round++) {
        auth_config *config = new_config("changing");
        auth_session *session = new_waiting(config, "changing", 100, "");
        const auth_job *job = auth_detach(session);
        pthread_t thread;

        set_gate(true);
        thread = start(job);
        CHECK(await_at_gate());
        set_gate(round % 2 == 0);
        for (next = orders[round / 2 % 6]; *next != '\0'; next++) {
            switch (*next) {
            case 'j':
                auth_job_free(job);
                break;
            case 's':
                auth_finish(session);
                break;
            default:
                auth_config_free(config);
            }
        }
        set_gate(false);
        CHECK_IS((uint64_t) pthread_join(thread, NULL), 0);
    }
}

void
test_jobs(void)
{
    write_accounts("accounts", 0, "");
    write_accounts("changing", 0, "");
    null_is_no_job();
    a_changed_file_is_read_on_another_thread();
    a_file_that_cannot_be_read_again_leaves_the_accounts_as_they_were();
    a_step_may_be_given_up();
    the_next_request_ends_a_step_that_waits();
    the_job_of_another_session_resumes_nothing();
    a_job_runs_once();
    everything_may_be_freed_while_the_job_runs();
}
