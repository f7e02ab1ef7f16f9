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

/* A rule of a configuration. */
typedef struct {
    auth_config *config;
    int is_negated;
} require_rule;

static void add_word(apr_array_header_t *words, const char *word)
{
    auth_str *str = apr_array_push(words);

    str->data = word;
    str->len = strlen(word);
}

/* Whether what lets a user in is that the directive is not fulfilled. */
static int is_negated(cmd_parms *cmd)
{
    const ap_directive_t *section = cmd->directive->parent;
    const char *args = cmd->directive->args;
    int negated = !ap_cstr_casecmp(ap_getword_conf(cmd->temp_pool, &args),
                                   "not");

    for (; section != NULL; section = section->parent) {
        if (!ap_cstr_casecmp(section->directive, "<RequireNone")) {
            negated = !negated;
        }
    }
    return negated;
}

static const char *parse_rule(cmd_parms *cmd, const char *kind,
                              const char *line, const void **parsed)
{
    apr_array_header_t *words = apr_array_make(cmd->temp_pool, 5,
                                               sizeof(auth_str));
    require_rule *rule = apr_palloc(cmd->pool, sizeof(*rule));
    const char *place = apr_psprintf(cmd->pool, "%s:%d",
                                     cmd->directive->filename,
                                     cmd->directive->line_num);

    if (!ap_cstr_casecmp(cmd->directive->directive, "<AuthzProviderAlias")) {
        return apr_pstrcat(cmd->pool, "negotiate-", kind, " has no alias: "
                           "whether \"not\" stands before it must be known",
                           NULL);
    }

    rule->config = require_own_rules(cmd->pool, auth_config_new());
    rule->is_negated = is_negated(cmd);
    if (rule->is_negated) {
        add_word(words, "not");
    }
    add_word(words, kind);
    while (*line) {
        add_word(words, ap_getword_conf(cmd->temp_pool, &line));
    }
    if (!auth_config_set(rule->config, "require", (auth_str *)words->elts,
                         words->nelts, place)) {
        return apr_pstrdup(cmd->pool, auth_config_error(rule->config).data);
    }

    require_note_rules(cmd, rule->config);
    *parsed = rule;
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

/* What mod_authz_core turns around is what it is told: whoever cannot be
 * placed is let in neither by a rule nor by its opposite.
 */
static authz_status check_rule(request_rec *r, const char *line,
                               const void *parsed)
{
    const require_rule *rule = parsed;
    auth_session *session = require_session(r);
    auth_verdict verdict;

    if (session == NULL) {
        return AUTHZ_DENIED_NO_USER;
    }

    verdict = auth_authorize(session, rule->config);
    while (verdict == AUTH_WAIT) {
        verdict = jobs_run(r, session);
    }

    switch (verdict) {
    case AUTH_ACCEPTED:
        return rule->is_negated ? AUTHZ_DENIED : AUTHZ_GRANTED;
    case AUTH_REJECTED:
        note_denial(r, session);
        return rule->is_negated ? AUTHZ_GRANTED : AUTHZ_DENIED;
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
