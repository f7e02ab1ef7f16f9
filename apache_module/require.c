/*
 * Rules about groups, as providers of mod_authz_core: its containers put them
 * together, the library says what is true of each.
 */

#include "apr_strings.h"
#include "apr_tables.h"

#include "ap_provider.h"
#include "httpd.h"
#include "http_config.h"
#include "http_log.h"
#include "http_request.h"
#include "mod_auth.h"

#include "jobs.h"
#include "require.h"

APLOG_USE_MODULE(auth_negotiate);

/* Providers have the parameters that mod_authz_core gives them. */
#pragma GCC diagnostic ignored "-Wunused-parameter"

static void add_word(apr_array_header_t *words, const char *word)
{
    auth_str *str = apr_array_push(words);

    str->data = word;
    str->len = strlen(word);
}

static const char *parse_rule(cmd_parms *cmd, const char *kind,
                              const char *line, const void **parsed)
{
    apr_array_header_t *words = apr_array_make(cmd->temp_pool, 4,
                                               sizeof(auth_str));
    auth_config *rules = require_own_rules(cmd->pool, auth_config_new());
    const char *place = apr_psprintf(cmd->pool, "%s:%d",
                                     cmd->directive->filename,
                                     cmd->directive->line_num);

    add_word(words, kind);
    while (*line) {
        add_word(words, ap_getword_conf(cmd->temp_pool, &line));
    }
    if (!auth_config_set(rules, "require", (auth_str *)words->elts,
                         words->nelts, place)) {
        return apr_pstrdup(cmd->pool, auth_config_error(rules).data);
    }

    require_note_rules(cmd, rules);
    *parsed = rules;
    return NULL;
}

static const char *parse_group(cmd_parms *cmd, const char *line,
                               const void **parsed)
{
    return parse_rule(cmd, "group", line, parsed);
}

static const char *parse_sid(cmd_parms *cmd, const char *line,
                             const void **parsed)
{
    return parse_rule(cmd, "sid", line, parsed);
}

static void note_denial(request_rec *r, const auth_session *session)
{
    require_denial denial;

    denial.reason = auth_why(session);
    denial.detail = auth_detail(session).data;
    denial.more = auth_more(session).data;
    require_note_denial(r, &denial);
}

static authz_status check_rule(request_rec *r, const char *line,
                               const void *rules)
{
    auth_session *session = require_session(r);
    auth_verdict verdict;

    if (session == NULL) {
        return AUTHZ_DENIED_NO_USER;
    }

    verdict = auth_authorize(session, rules);
    while (verdict == AUTH_WAIT) {
        verdict = jobs_run(r, session);
    }

    switch (verdict) {
    case AUTH_ACCEPTED:
        return AUTHZ_GRANTED;
    case AUTH_REJECTED:
        note_denial(r, session);
        return AUTHZ_DENIED;
    default:
        ap_log_rerror(APLOG_MARK, APLOG_CRIT, 0, r, "auth_negotiate: %u %s: %s",
                      auth_why(session), auth_reason_name(auth_why(session)),
                      auth_detail(session).data);
        return AUTHZ_GENERAL_ERROR;
    }
}

static const authz_provider group_provider = { check_rule, parse_group };
static const authz_provider sid_provider = { check_rule, parse_sid };

void require_register_hooks(apr_pool_t *p)
{
    ap_register_auth_provider(p, AUTHZ_PROVIDER_GROUP, "negotiate-group",
                              AUTHZ_PROVIDER_VERSION, &group_provider,
                              AP_AUTH_INTERNAL_PER_CONF);
    ap_register_auth_provider(p, AUTHZ_PROVIDER_GROUP, "negotiate-sid",
                              AUTHZ_PROVIDER_VERSION, &sid_provider,
                              AP_AUTH_INTERNAL_PER_CONF);
}
