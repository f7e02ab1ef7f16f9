/*
 * A job has a thread of its own, which touches nothing but the job and a task:
 * memory that is neither the request's nor the child's. It may outlast both.
 *
 * An apr_thread_pool does not serve here. It may leave a task behind a busy
 * thread while another is idle, it never gives back what it allocates for a
 * thread, and it makes a child that ends wait for all of its threads. The
 * conditions of APR wait by a clock that can be set.
 */

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "apr_thread_proc.h"

#include "ap_mpm.h"
#include "httpd.h"
#include "http_config.h"
#include "http_log.h"
#include "mpm_common.h"

#include "jobs.h"

APLOG_USE_MODULE(auth_negotiate);

/* Hooks have the parameters that httpd gives them. */
#pragma GCC diagnostic ignored "-Wunused-parameter"

/* What a request's thread and the job's share: whoever is done with it last
 * frees it.
 */
typedef struct job_task job_task;
struct job_task {
    const auth_job *job;
    pthread_cond_t changed;     /* ended, or nobody is to wait any more */
    job_task *next;
    job_task **link;            /* what points to it in the list */
    unsigned int ended:1;
    unsigned int given_up:1;
};

/* Guards what follows, and in every task all but its job. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static job_task *awaited;
static int stopping;
static unsigned int threads;

static job_task *create_task(const auth_job *job)
{
    job_task *task = ap_calloc(1, sizeof(*task));
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&task->changed, &attr);
    pthread_condattr_destroy(&attr);
    task->job = job;
    return task;
}

static void free_task(job_task *task)
{
    auth_job_free(task->job);
    pthread_cond_destroy(&task->changed);
    free(task);
}

static void *run_task(void *data)
{
    job_task *task = data;
    int given_up;

    auth_job_run(task->job);

    pthread_mutex_lock(&lock);
    task->ended = 1;
    given_up = task->given_up;
    pthread_cond_signal(&task->changed);
    pthread_mutex_unlock(&lock);

    if (given_up) {
        free_task(task);
    }

    pthread_mutex_lock(&lock);
    threads--;
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* Signals are for the threads that the MPM means them for. */
static int start_thread(job_task *task)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t mask;
    int error;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    apr_setup_signal_thread();

    /* The thread has the lock before it can be counted down. */
    pthread_mutex_lock(&lock);
    error = pthread_create(&thread, &attr, run_task, task);
    if (error == 0) {
        threads++;
    }
    pthread_mutex_unlock(&lock);

    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    pthread_attr_destroy(&attr);
    return error;
}

static struct timespec deadline_after(apr_uint32_t ms)
{
    struct timespec deadline;

    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += ms / 1000;
    deadline.tv_nsec += ms % 1000 * 1000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_sec++;
        deadline.tv_nsec -= 1000000000;
    }
    return deadline;
}

static void insert_task(job_task *task)
{
    task->next = awaited;
    task->link = &awaited;
    if (awaited != NULL) {
        awaited->link = &task->next;
    }
    awaited = task;
}

static void remove_task(job_task *task)
{
    *task->link = task->next;
    if (task->next != NULL) {
        task->next->link = task->link;
    }
}

static void wait_for(job_task *task, apr_uint32_t ms)
{
    struct timespec deadline = deadline_after(ms);
    int error = 0, ended;

    pthread_mutex_lock(&lock);
    insert_task(task);
    while (!task->ended && !stopping && !error) {
        error = pthread_cond_timedwait(&task->changed, &lock, &deadline);
    }
    remove_task(task);
    ended = task->ended;
    task->given_up = !ended;
    pthread_mutex_unlock(&lock);

    if (ended) {
        free_task(task);
    }
}

auth_verdict jobs_run(request_rec *r, auth_session *session)
{
    const auth_job *job = auth_detach(session);
    job_task *task = create_task(auth_detach(session));
    auth_verdict verdict;
    int error = start_thread(task);

    if (error == 0) {
        wait_for(task, auth_timeout(session));
    }
    else {
        /* The step is given up at once: its job has not run. */
        ap_log_rerror(APLOG_MARK, APLOG_ERR, error, r,
                      "auth_negotiate: no thread can be started to wait for "
                      "the accounts");
        free_task(task);
    }

    verdict = auth_resume(session, job);
    auth_job_free(job);
    return verdict;
}

/* Nobody gets an answer any more: requests that wait end now, and the child
 * with them, whatever their jobs do. A child without other threads may be here
 * by a signal in the midst of anything, and has nobody to wake.
 */
static void child_stopping(apr_pool_t *pchild, int graceful)
{
    job_task *task;
    int threaded;

    if (graceful || ap_mpm_query(AP_MPMQ_IS_THREADED, &threaded) || !threaded) {
        return;
    }

    pthread_mutex_lock(&lock);
    stopping = 1;
    for (task = awaited; task != NULL; task = task->next) {
        pthread_cond_signal(&task->changed);
    }
    pthread_mutex_unlock(&lock);
}

/* After the child's own cleanups, and before those of libraries: they take
 * down what jobs that still run are using, libkrb5 its mutexes.
 */
static void leave_jobs(int status, void *data)
{
    int running;

    pthread_mutex_lock(&lock);
    running = threads > 0;
    pthread_mutex_unlock(&lock);

    if (running) {
        _exit(status);
    }
}

static void child_init(apr_pool_t *pchild, server_rec *s)
{
    on_exit(leave_jobs, NULL);
}

void jobs_register_hooks(void)
{
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_stopping(child_stopping, NULL, NULL, APR_HOOK_MIDDLE);
}
