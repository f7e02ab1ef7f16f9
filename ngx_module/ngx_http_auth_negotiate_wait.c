
/*
 * What may block is a job.  It runs in a thread of a pool, while the event
 * loop serves others, and its request goes on when it has finished or when
 * the time for it is over, whichever comes first.
 */


#include "ngx_http_auth_negotiate.h"


#define NGX_HTTP_AUTH_NEGOTIATE_STAY  60000


/* an nginx that is built without threads does not have these */

#pragma weak ngx_thread_pool_add
#pragma weak ngx_thread_task_post


/* a job may outlive its request: this has memory of its own */

struct ngx_http_auth_negotiate_wait_s {
    ngx_thread_task_t               task;
    const auth_job                 *job;
    ngx_event_t                     deadline;
    ngx_http_request_t             *request;   /* NULL: nobody waits */
    ngx_http_auth_negotiate_ctx_t  *ctx;
};


static ngx_int_t ngx_http_auth_negotiate_post(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx, ngx_thread_pool_t *tp);
static void ngx_http_auth_negotiate_run(void *data, ngx_log_t *log);
static void ngx_http_auth_negotiate_done(ngx_event_t *ev);
static void ngx_http_auth_negotiate_deadline(ngx_event_t *ev);
static void ngx_http_auth_negotiate_resume(
    ngx_http_auth_negotiate_wait_t *wait, const auth_job *job);
static void ngx_http_auth_negotiate_leave(void *data);
static void ngx_http_auth_negotiate_abandon(
    ngx_http_auth_negotiate_wait_t *wait);
static void ngx_http_auth_negotiate_free(ngx_http_auth_negotiate_wait_t *wait);


/*
 * After AUTH_WAIT: returns NGX_AGAIN if the request has to wait, and NGX_OK
 * if there is a verdict at once.
 */

ngx_int_t
ngx_http_auth_negotiate_wait(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx, ngx_thread_pool_t *tp)
{
    const auth_job  *job;

    if (tp) {

        if (ngx_http_auth_negotiate_post(r, ctx, tp) == NGX_OK) {
            return NGX_AGAIN;
        }

        ctx->verdict = auth_resume(ctx->session, NULL);

        return NGX_OK;
    }

    /* without threads everybody waits */

    job = auth_detach(ctx->session);

    auth_job_run(job);

    ctx->verdict = auth_resume(ctx->session, job);

    auth_job_free(job);

    return NGX_OK;
}


static ngx_int_t
ngx_http_auth_negotiate_post(ngx_http_request_t *r,
    ngx_http_auth_negotiate_ctx_t *ctx, ngx_thread_pool_t *tp)
{
    ngx_http_cleanup_t              *cln;
    ngx_http_auth_negotiate_wait_t  *wait;

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    wait = ngx_calloc(sizeof(ngx_http_auth_negotiate_wait_t),
                      r->connection->log);
    if (wait == NULL) {
        return NGX_ERROR;
    }

    wait->job = auth_detach(ctx->session);
    wait->request = r;
    wait->ctx = ctx;

    wait->task.ctx = (void *) wait->job;
    wait->task.handler = ngx_http_auth_negotiate_run;
    wait->task.event.data = wait;
    wait->task.event.handler = ngx_http_auth_negotiate_done;
    wait->task.event.log = ngx_cycle->log;

    wait->deadline.data = wait;
    wait->deadline.handler = ngx_http_auth_negotiate_deadline;
    wait->deadline.log = ngx_cycle->log;

    if (ngx_thread_task_post(tp, &wait->task) != NGX_OK) {
        ngx_http_auth_negotiate_free(wait);
        return NGX_ERROR;
    }

    ngx_add_timer(&wait->deadline, auth_timeout(ctx->session));

    cln->handler = ngx_http_auth_negotiate_leave;
    cln->data = ctx;

    ctx->wait = wait;

    return NGX_OK;
}


/* in a thread of the pool, which touches the job and nothing else */

static void
ngx_http_auth_negotiate_run(void *data, ngx_log_t *log)
{
    const auth_job  *job = data;

    auth_job_run(job);
}


static void
ngx_http_auth_negotiate_done(ngx_event_t *ev)
{
    ngx_http_auth_negotiate_wait_t  *wait = ev->data;

    if (wait->request) {
        ngx_http_auth_negotiate_resume(wait, wait->job);
    }

    ngx_http_auth_negotiate_free(wait);
}


static void
ngx_http_auth_negotiate_deadline(ngx_event_t *ev)
{
    ngx_http_auth_negotiate_wait_t  *wait = ev->data;

    /*
     * An exiting worker waits for its threads without sleep.  While there is
     * a timer it does not exit yet, and sleeps.
     */

    ngx_add_timer(ev, NGX_HTTP_AUTH_NEGOTIATE_STAY);

    if (wait->request) {
        ngx_http_auth_negotiate_resume(wait, NULL);
    }
}


/* the second half of the step; without a job it is given up */

static void
ngx_http_auth_negotiate_resume(ngx_http_auth_negotiate_wait_t *wait,
    const auth_job *job)
{
    ngx_connection_t               *c;
    ngx_http_request_t             *r;
    ngx_http_auth_negotiate_ctx_t  *ctx;

    r = wait->request;
    c = r->connection;
    ctx = wait->ctx;

    ngx_http_set_log_request(c->log, r);

    ngx_http_auth_negotiate_abandon(wait);

    ctx->verdict = auth_resume(ctx->session, job);
    ctx->resumed = 1;

    /* the phases, from our handler on */

    r->write_event_handler(r);

    ngx_http_run_posted_requests(c);
}


/*
 * The request ends or, in terms of 1.25.4 and later, is terminated: both run
 * its cleanups before anything of it is freed.
 */

static void
ngx_http_auth_negotiate_leave(void *data)
{
    ngx_http_auth_negotiate_ctx_t  *ctx = data;

    if (ctx->wait) {
        ngx_http_auth_negotiate_abandon(ctx->wait);
        (void) auth_resume(ctx->session, NULL);
        ngx_http_auth_negotiate_log_notice(ctx->session, ngx_cycle->log);
    }
}


/* from here on the job is on its own */

static void
ngx_http_auth_negotiate_abandon(ngx_http_auth_negotiate_wait_t *wait)
{
    wait->ctx->wait = NULL;
    wait->ctx = NULL;
    wait->request = NULL;
}


static void
ngx_http_auth_negotiate_free(ngx_http_auth_negotiate_wait_t *wait)
{
    if (wait->deadline.timer_set) {
        ngx_del_timer(&wait->deadline);
    }

    auth_job_free(wait->job);

    ngx_free(wait);
}


char *
ngx_http_auth_negotiate_thread_pool(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    char  *p = conf;

    ngx_str_t          *value;
    ngx_thread_pool_t  **tp;

    tp = (ngx_thread_pool_t **) (p + cmd->offset);

    if (*tp != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    if (ngx_thread_pool_add == NULL) {
        return "needs an nginx built with threads";
    }

    value = cf->args->elts;

    *tp = ngx_thread_pool_add(cf, &value[1]);

    if (*tp == NULL) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_auth_negotiate_default_pool(ngx_conf_t *cf, ngx_thread_pool_t **tp)
{
    if (ngx_thread_pool_add == NULL) {
        return NGX_CONF_OK;
    }

    *tp = ngx_thread_pool_add(cf, NULL);

    if (*tp == NULL) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
