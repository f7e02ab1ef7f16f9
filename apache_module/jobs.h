/*
 * Steps that have to wait for something, within the time that they may take.
 */

#ifndef JOBS_H
#define JOBS_H

#include "httpd.h"

#include "negotiate_auth.h"

#pragma GCC visibility push(hidden)

/* Lets a child that is to end at once not wait for jobs. */
void jobs_register_hooks(void);

/*
 * After AUTH_WAIT: runs the session's job in a thread of its own, waits for it
 * as long as the options of the step allow, and returns the step's verdict. If
 * no thread can be had the step is given up at once.
 */
auth_verdict jobs_run(request_rec *r, auth_session *session);

#pragma GCC visibility pop

#endif /* JOBS_H */
