/* Require negotiate-group and Require negotiate-sid. */

#ifndef REQUIRE_H
#define REQUIRE_H

#include "httpd.h"
#include "http_config.h"

#include "negotiate_auth.h"

#pragma GCC visibility push(hidden)

/* A rule of one of these that did not let a user in. */
typedef struct {
    auth_reason reason;
    const char *detail;
    const char *more;           /* for who looks closer, or "" */
} require_denial;

void require_register_hooks(apr_pool_t *p);

/* Of mod_auth_negotiate.c: */

/* The session that r's user has signed in on, or NULL. */
auth_session *require_session(request_rec *r);
void require_note_rules(cmd_parms *cmd, auth_config *rules);
void require_note_denial(request_rec *r, const require_denial *denial);
auth_config *require_own_rules(apr_pool_t *p, auth_config *rules);

#pragma GCC visibility pop

#endif
