/*
 * AuthType Negotiate: signs users in as Windows does, by the library
 * negotiate_auth. This module only carries: directives to the library's
 * options, requests to its sessions, and its verdicts back as a status, header
 * fields, a user and a line in the log. What they mean is decided there.
 */

#include "apr_strings.h"
#include "apr_tables.h"

#include "httpd.h"
#include "http_config.h"
#include "http_core.h"
#include "http_log.h"
#include "http_main.h"
#include "http_protocol.h"
#include "http_request.h"
#include "http_ssl.h"
#include "util_filter.h"

#include "jobs.h"
#include "negotiate_auth.h"
#include "require.h"
#include "server_certificates.h"

#if !AP_MODULE_MAGIC_AT_LEAST(20120211, 110)
#error "httpd 2.4.49 is the first that this module can be built for"
#endif

/* Hooks have the parameters that httpd gives them. */
#pragma GCC diagnostic ignored "-Wunused-parameter"

#define AUTH_TYPE "Negotiate"
#define ENV_PREFIX "NEGOTIATE_"
#define ENV_PREFIX_LEN (sizeof(ENV_PREFIX) - 1)

typedef struct {
    auth_config *options;       /* NULL: none is set */
} auth_negotiate_dir_conf;

/* A place in the configuration that sets an option or our AuthType. */
typedef struct {
    const auth_negotiate_dir_conf *conf;
    const server_rec *server;
    const char *authtype;       /* where AuthType is set, or NULL */
} auth_negotiate_section;

/* A Require of ours. Options of its section may follow it. */
typedef struct {
    const ap_conf_vector_t *section;
    const server_rec *server;
    auth_config *rules;
} auth_negotiate_rules;

/* The other end: of a connection, or of one request of a connection that
 * requests share.
 */
typedef struct {
    auth_session *session;
    apr_array_header_t *certificates;   /* auth_str; NULL: not asked for yet */
    unsigned int extended:1;            /* MaxKeepAliveRequests gave way once */
} auth_negotiate_client;

typedef struct {
    const char *name;
    const char *value;
    apr_uint32_t kind;
} auth_negotiate_field;

/* What became of a request of a client: kept with the first of the requests
 * that redirects and subrequests make of it, in that one's pool.
 */
typedef struct {
    auth_negotiate_client *client;      /* NULL: not asked for yet */
    const char *reason;                 /* NULL before the first step */
    char *user;                         /* who has signed in, or NULL */
    const char *env_user;               /* what else is known of the user */
    const char *env_domain;
    const char *env_mechanism;
    const char *env_sid;                /* NULL: not told, like the next */
    const char *env_groups;
    const request_rec *published;       /* has it all; not a subrequest */
    apr_array_header_t *accepted;       /* fields of that verdict, or NULL */
    apr_array_header_t *refused;        /* of the last refusal, or NULL */
    apr_array_header_t *denials;        /* of rules, or NULL */
    int status;                         /* of a refusal that stands, or 0 */
    unsigned int forwarded:1;           /* it came through a proxy */
    unsigned int channel_bound:1;       /* with that user */
    unsigned int stepped:1;             /* the client's token was taken */
    unsigned int served:1;              /* its own request is answered */
    unsigned int sent:1;
} auth_negotiate_request;

module AP_MODULE_DECLARE_DATA auth_negotiate_module;

static ap_filter_rec_t *answer_filter_handle;

/* Stands in the place of the record where a request that has none is being
 * answered.
 */
static const auth_negotiate_request served_alone = { .served = 1 };

/* Filled while a configuration is read, else NULL. */
static apr_array_header_t *sections;
static apr_array_header_t *required;    /* auth_negotiate_rules */

static int is_our_type(const char *type)
{
    return type != NULL && (strcmp(type, AUTH_TYPE) == 0
                            || ap_cstr_casecmp(type, AUTH_TYPE) == 0);
}

/* Configuration */

static apr_status_t free_options(void *options)
{
    auth_config_free(options);
    return APR_SUCCESS;
}

static auth_config *own_options(apr_pool_t *p, auth_config *options)
{
    if (options == NULL) {
        ap_abort_on_oom();
    }
    apr_pool_cleanup_register(p, options, free_options,
                              apr_pool_cleanup_null);
    return options;
}

static void *create_dir_conf(apr_pool_t *p, char *dir)
{
    return apr_pcalloc(p, sizeof(auth_negotiate_dir_conf));
}

/* Runs for every request to a section: what one side alone has is shared. */
static void *merge_dir_conf(apr_pool_t *p, void *basev, void *newv)
{
    auth_negotiate_dir_conf *base = basev;
    auth_negotiate_dir_conf *new = newv;
    auth_negotiate_dir_conf *conf;

    if (base->options == NULL) {
        return new;
    }
    if (new->options == NULL) {
        return base;
    }

    conf = apr_palloc(p, sizeof(*conf));
    conf->options = own_options(p, auth_config_inherit(new->options,
                                                       base->options));
    return conf;
}

static const char *place(cmd_parms *cmd)
{
    return apr_psprintf(cmd->pool, "%s:%d", cmd->directive->filename,
                        cmd->directive->line_num);
}

static void note_section(cmd_parms *cmd, const auth_negotiate_dir_conf *conf,
                         const char *authtype)
{
    auth_negotiate_section *section;

    if (sections != NULL && !ap_check_cmd_context(cmd, NOT_IN_HTACCESS)) {
        section = apr_array_push(sections);
        section->conf = conf;
        section->server = cmd->server;
        section->authtype = authtype;
    }
}

auth_config *require_own_rules(apr_pool_t *p, auth_config *rules)
{
    return own_options(p, rules);
}

void require_note_rules(cmd_parms *cmd, auth_config *rules)
{
    auth_negotiate_rules *noted;

    if (required != NULL && !ap_check_cmd_context(cmd, NOT_IN_HTACCESS)) {
        noted = apr_array_push(required);
        noted->section = cmd->context;
        noted->server = cmd->server;
        noted->rules = rules;
    }
}

static const char *set_option(cmd_parms *cmd, void *dir_conf, const char *line)
{
    auth_negotiate_dir_conf *conf = dir_conf;
    apr_array_header_t *args = apr_array_make(cmd->temp_pool, 4,
                                              sizeof(auth_str));
    auth_str *arg;

    /* AllowOverrideList would let these in, too. */
    if (!(cmd->cmd->req_override & OR_AUTHCFG)) {
        const char *error = ap_check_cmd_context(cmd, NOT_IN_HTACCESS);
        if (error != NULL) {
            return error;
        }
    }

    while (*line) {
        arg = apr_array_push(args);
        arg->data = ap_getword_conf(cmd->temp_pool, &line);
        arg->len = strlen(arg->data);
    }

    if (conf->options == NULL) {
        conf->options = own_options(cmd->pool, auth_config_new());
        auth_config_base(conf->options, ap_server_root);
    }
    note_section(cmd, conf, NULL);

    if (!auth_config_set(conf->options, cmd->info, (auth_str *)args->elts,
                         args->nelts, place(cmd))) {
        return apr_pstrdup(cmd->pool, auth_config_error(conf->options).data);
    }
    return NULL;
}

/* mod_authn_core takes this directive, too: we only look on. */
static const char *see_authtype(cmd_parms *cmd, void *dir_conf,
                                const char *type)
{
    if (ap_find_linked_module("mod_authn_core.c") == NULL) {
        return "AuthType needs mod_authn_core";
    }
    if (is_our_type(type)) {
        note_section(cmd, dir_conf, place(cmd));
    }
    return DECLINE_CMD;
}

static int pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    sections = apr_array_make(ptemp, 8, sizeof(auth_negotiate_section));
    required = apr_array_make(ptemp, 8, sizeof(auth_negotiate_rules));
    return OK;
}

/* The options of all that a section may come to inherit from. */
static auth_config *inherited_options(apr_pool_t *p, const server_rec *server,
                                      const server_rec *main_server)
{
    auth_config *options = own_options(p, auth_config_new());
    const auth_negotiate_section *other;
    int i;

    for (i = 0; i < sections->nelts; i++) {
        other = &APR_ARRAY_IDX(sections, i, auth_negotiate_section);
        if (server == main_server || other->server == main_server
            || other->server == server) {
            options = own_options(p, auth_config_inherit(options,
                                                         other->conf->options));
        }
    }
    return options;
}

/* Warns of rules that nobody can meet; one warning to a line. */
static void check_rules(apr_pool_t *p, const server_rec *main_server)
{
    const auth_negotiate_rules *noted;
    const auth_negotiate_dir_conf *conf;
    auth_config *options;
    char *line, *last;
    int i;

    for (i = 0; i < required->nelts; i++) {
        noted = &APR_ARRAY_IDX(required, i, auth_negotiate_rules);
        conf = ap_get_module_config(noted->section, &auth_negotiate_module);
        options = inherited_options(p, noted->server, main_server);
        if (conf != NULL) {
            options = own_options(p, auth_config_inherit(conf->options,
                                                         options));
        }
        auth_config_check_rules(noted->rules, options);

        line = apr_pstrdup(p, auth_config_warning(noted->rules).data);
        for (line = apr_strtok(line, "\n", &last); line != NULL;
             line = apr_strtok(NULL, "\n", &last)) {
            ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_WARNING, 0, NULL,
                         "%s", line);
        }
    }
}

/* Which sections a request will meet is not known before it comes; but where
 * no option can come from anywhere, nobody will ever sign in.
 */
static int check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp,
                        server_rec *s)
{
    const auth_negotiate_section *section;
    auth_config *options;
    int i, status = OK;

    for (i = 0; i < sections->nelts; i++) {
        section = &APR_ARRAY_IDX(sections, i, auth_negotiate_section);
        if (section->authtype == NULL) {
            continue;
        }
        options = own_options(ptemp, auth_config_inherit(section->conf->options,
                                                         NULL));
        if (!auth_config_check_section(options,
                                       inherited_options(ptemp, section->server,
                                                         s),
                                       section->authtype)) {
            ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_EMERG, 0, NULL,
                         "%s", auth_config_error(options).data);
            status = HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    check_rules(ptemp, s);

    sections = NULL;
    required = NULL;
    return status;
}

#define SCOPE (RSRC_CONF | ACCESS_CONF)
#define RULE (RSRC_CONF | ACCESS_CONF | OR_AUTHCFG)

static const command_rec auth_negotiate_cmds[] =
{
    AP_INIT_RAW_ARGS("NegotiateMechanisms", set_option, "mechanisms", SCOPE,
                     "the mechanisms to sign in with"),
    AP_INIT_RAW_ARGS("NegotiateSchemes", set_option, "schemes", SCOPE,
                     "the HTTP authentication schemes to offer, in order"),
    AP_INIT_RAW_ARGS("NegotiateKeytab", set_option, "keytab", SCOPE,
                     "the keytab with the keys of this server for Kerberos"),
    AP_INIT_RAW_ARGS("NegotiateAccounts", set_option, "accounts", SCOPE,
                     "where the accounts for NTLM are, file:PATH"),
    AP_INIT_RAW_ARGS("NegotiateGroupNames", set_option, "group_names", SCOPE,
                     "who knows the names of groups, 'none', 'winbind' or "
                     "file:PATH"),
    AP_INIT_RAW_ARGS("NegotiateRealmsWithoutPac", set_option,
                     "realms_without_pac", SCOPE,
                     "realms whose tickets tell no groups"),
    AP_INIT_RAW_ARGS("NegotiateDomain", set_option, "domain", SCOPE,
                     "the NetBIOS name of the domain, and its DNS name"),
    AP_INIT_RAW_ARGS("NegotiateChannelBinding", set_option, "channel_binding",
                     SCOPE, "'off', 'allow' or 'require'"),
    AP_INIT_RAW_ARGS("NegotiateServiceName", set_option, "service_name", SCOPE,
                     "'any', 'host' or the names a client may ask for"),
    AP_INIT_RAW_ARGS("NegotiateRealmMap", set_option, "realm_map", SCOPE,
                     "realms and the NetBIOS names of their domains, "
                     "REALM=DOMAIN"),
    AP_INIT_RAW_ARGS("NegotiateReplayCache", set_option, "replay_cache", SCOPE,
                     "'on', 'off', 'off force' or a folder for the replay "
                     "cache"),
    AP_INIT_RAW_ARGS("NegotiateAllowRc4", set_option, "allow_rc4", SCOPE,
                     "'on' if tickets may use RC4"),
    AP_INIT_RAW_ARGS("NegotiateCertificates", set_option, "certificates", SCOPE,
                     "certificates of what ends TLS in front of this server"),
    AP_INIT_RAW_ARGS("NegotiateProxies", set_option, "proxies", SCOPE,
                     "'none' or the addresses of proxies that never share "
                     "connections between users"),
    AP_INIT_RAW_ARGS("NegotiateHandshakeLifetime", set_option,
                     "handshake_lifetime", SCOPE,
                     "how long a handshake may take"),
    AP_INIT_RAW_ARGS("NegotiateTimeout", set_option, "timeout", SCOPE,
                     "how long a request waits for the accounts"),
    AP_INIT_RAW_ARGS("NegotiateMaxJobs", set_option, "max_jobs", SCOPE,
                     "how many requests of a process may wait for the accounts "
                     "at once"),
    AP_INIT_RAW_ARGS("NegotiatePersist", set_option, "persist", RULE,
                     "'on' if a sign-in with NTLM holds for the connection, "
                     "'off' if every request signs in"),
    AP_INIT_RAW_ARGS("NegotiatePersistKerberos", set_option,
                     "persist_kerberos", RULE,
                     "'on' if a sign-in with Kerberos holds for the "
                     "connection"),
    AP_INIT_RAW_ARGS("NegotiateNameFormat", set_option, "name_format", RULE,
                     "'full', 'short' and realms, 'domain' or 'local'"),
    AP_INIT_RAW_ARGS("NegotiateNameCase", set_option, "name_case", RULE,
                     "'keep' or 'lower'"),
    AP_INIT_RAW_ARGS("NegotiateGroups", set_option, "groups", RULE,
                     "what is told of a user's groups, 'off', 'names' or "
                     "'sids'"),
    AP_INIT_RAW_ARGS("NegotiateGroupsForm", set_option, "groups_form", RULE,
                     "the list's form, 'comma', 'semicolon' or 'json'"),
    AP_INIT_RAW_ARGS("NegotiateGroupsLimit", set_option, "groups_limit", RULE,
                     "the list's size, beyond which it is not told"),
    AP_INIT_TAKE1("AuthType", see_authtype, NULL, OR_AUTHCFG,
                  "an HTTP authorization type (e.g., \"" AUTH_TYPE "\")"),
    { .name = NULL }
};

/* Requests and clients */

static request_rec *first_request(request_rec *r)
{
    while (r->main || r->prev) {
        r = r->main ? r->main : r->prev;
    }
    return r;
}

/* NULL, served_alone, or, of a first request, the record. */
static auth_negotiate_request *get_place(const request_rec *r)
{
    return ap_get_module_config(r->request_config, &auth_negotiate_module);
}

static auth_negotiate_request *find_record(request_rec *r)
{
    auth_negotiate_request *record = get_place(first_request(r));

    return record == &served_alone ? NULL : record;
}

static int is_served(const request_rec *r)
{
    const auth_negotiate_request *record = get_place(r);

    return record != NULL && record->served;
}

static void mark_served(request_rec *r)
{
    auth_negotiate_request *record = get_place(r);

    if (record == NULL) {
        ap_set_module_config(r->request_config, &auth_negotiate_module,
                             (void *)&served_alone);
    }
    else if (record != &served_alone) {
        record->served = 1;
    }
}

static apr_status_t end_session(void *session)
{
    auth_finish(session);
    return APR_SUCCESS;
}

static auth_negotiate_client *create_client(apr_pool_t *p, apr_uint32_t flags)
{
    auth_negotiate_client *client = apr_pcalloc(p, sizeof(*client));

    client->session = auth_begin(flags);
    apr_pool_cleanup_register(p, client->session, end_session,
                              apr_pool_cleanup_null);
    return client;
}

/* An HTTP/1 connection has one client for all its requests. On HTTP/2 every
 * request has a connection of its own with the real one as its master, and
 * nothing may pass from one to the next.
 */
static auth_negotiate_client *get_client(request_rec *first)
{
    conn_rec *c = first->connection;
    auth_negotiate_client *client;

    if (c->master != NULL) {
        return create_client(first->pool, AUTH_MULTIPLEXED);
    }

    client = ap_get_module_config(c->conn_config, &auth_negotiate_module);
    if (client == NULL) {
        client = create_client(c->pool, 0);
        ap_set_module_config(c->conn_config, &auth_negotiate_module, client);
    }
    return client;
}

static auth_negotiate_request *get_record(request_rec *first)
{
    auth_negotiate_request *record = find_record(first);

    if (record == NULL) {
        record = apr_pcalloc(first->pool, sizeof(*record));
        record->served = is_served(first);
        ap_set_module_config(first->request_config, &auth_negotiate_module,
                             record);
    }
    return record;
}

/* Before mod_remoteip or "RequestHeader unset ... early" remove the fields. */
static int see_proxies(request_rec *r)
{
    if (apr_table_get(r->headers_in, "Via") != NULL
        || apr_table_get(r->headers_in, "Forwarded") != NULL
        || apr_table_get(r->headers_in, "X-Forwarded-For") != NULL) {
        get_record(first_request(r))->forwarded = 1;
    }
    return DECLINED;
}

/* Whether client and server want another request on this connection; see
 * ap_set_keepalive(). MaxKeepAliveRequests is left to keep_for_next_leg().
 */
static int is_persistent(request_rec *r)
{
    const char *connection = apr_table_get(r->headers_in, "Connection");

    return r->connection->keepalive != AP_CONN_CLOSE
        && r->server->keep_alive
        && r->server->keep_alive_timeout > 0
        && !ap_find_token(r->pool, connection, "close")
        && !apr_table_get(r->subprocess_env, "nokeepalive")
        && (r->proto_num >= HTTP_VERSION(1, 1)
            || ap_find_token(r->pool, connection, "keep-alive"));
}

static apr_uint32_t request_flags(request_rec *r,
                                  const auth_negotiate_request *record)
{
    return (is_persistent(r) ? AUTH_REQUEST_PERSISTENT : 0)
        | (record->forwarded ? AUTH_REQUEST_FORWARDED : 0)
        | (ap_ssl_conn_is_ssl(r->connection) ? AUTH_REQUEST_TLS : 0)
        | (r->proxyreq == PROXYREQ_PROXY ? AUTH_REQUEST_PROXY : 0);
}

static auth_str to_auth_str(const char *s)
{
    auth_str str = { s, s ? strlen(s) : 0 };

    return str;
}

/* A request without credentials. */
static auth_request describe_request(request_rec *r,
                                     const auth_negotiate_request *record)
{
    auth_request request;

    memset(&request, 0, sizeof(request));
    request.size = sizeof(request);
    request.method = to_auth_str(r->method);
    request.host = to_auth_str(r->hostname);
    request.http_version = r->proto_num;
    request.flags = request_flags(r, record);
    request.peer = to_auth_str(r->connection->client_ip);
    return request;
}

static int add_value(void *values, const char *name, const char *value)
{
    APR_ARRAY_PUSH(values, auth_str) = to_auth_str(value);
    return 1;
}

static void add_credentials(request_rec *r, auth_negotiate_client *client,
                            auth_request *request)
{
    const char *name = r->proxyreq == PROXYREQ_PROXY ? "Proxy-Authorization"
                                                     : "Authorization";
    apr_array_header_t *values;

    if (apr_table_get(r->headers_in, name) == NULL) {
        return;
    }
    values = apr_array_make(r->pool, 1, sizeof(auth_str));
    apr_table_do(add_value, values, r->headers_in, name, NULL);
    request->authorization = (auth_str *)values->elts;
    request->authorization_count = values->nelts;

    if (request->flags & AUTH_REQUEST_TLS) {
        if (client->certificates == NULL) {
            conn_rec *c = r->connection;
            client->certificates =
                server_certificates(r, c->master ? r->pool : c->pool);
        }
        request->certificates = (auth_str *)client->certificates->elts;
        request->certificate_count = client->certificates->nelts;
    }
}

/* Steps */

static auth_verdict step(request_rec *r, auth_session *session,
                         const auth_request *request)
{
    const auth_negotiate_dir_conf *conf =
        ap_get_module_config(r->per_dir_config, &auth_negotiate_module);
    auth_config *options = conf ? conf->options : NULL;
    auth_verdict verdict;

    /* The library says best what is missing. */
    if (options == NULL) {
        options = own_options(r->pool, auth_config_new());
    }

    verdict = auth_step(session, options, request);
    while (verdict == AUTH_WAIT) {
        verdict = jobs_run(r, session);
    }
    return verdict;
}

static char *copy_str(apr_pool_t *p, auth_str str)
{
    return apr_pstrmemdup(p, str.data, str.len);
}

/* The answer is sent, and logged, when the session may have seen the next
 * request already: all that is kept of a step is a copy.
 */
static apr_array_header_t *copy_fields(apr_pool_t *p,
                                       const auth_session *session)
{
    apr_array_header_t *fields = NULL;
    auth_negotiate_field *field;
    auth_str name, value;
    apr_uint32_t kind;
    apr_size_t i;

    for (i = 0; (kind = auth_header(session, i, &name, &value)) != 0; i++) {
        if (fields == NULL) {
            fields = apr_array_make(p, 2, sizeof(auth_negotiate_field));
        }
        field = apr_array_push(fields);
        field->name = copy_str(p, name);
        field->value = copy_str(p, value);
        field->kind = kind;
    }
    return fields;
}

static int log_level(auth_verdict verdict)
{
    switch (verdict) {
    case AUTH_ACCEPTED:
    case AUTH_CHALLENGE:
        return APLOG_INFO;
    case AUTH_REJECTED:
        return APLOG_ERR;
    default:
        return APLOG_CRIT;
    }
}

/* One line for each decision. */
static void log_step(request_rec *r, auth_session *session, int level)
{
    auth_reason why = auth_why(session);

    ap_log_rerror(APLOG_MARK, level, 0, r, "auth_negotiate: %u %s: %s",
                  why, auth_reason_name(why), auth_detail(session).data);
}

static void log_notice(request_rec *r, auth_session *session)
{
    auth_str notice = auth_notice(session);

    if (notice.len > 0) {
        ap_log_rerror(APLOG_MARK, auth_notice_warns(session) ? APLOG_WARNING
                                                             : APLOG_NOTICE,
                      0, r, "auth_negotiate: %s", notice.data);
    }
}

/* Whether there may be variables of ours: from SetEnvIf, from the request that
 * a subrequest belongs to, or from a step before.
 */
static int has_env(const apr_table_t *env)
{
    const apr_array_header_t *vars = apr_table_elts(env);
    const char *name;
    int i;

    for (i = 0; i < vars->nelts; i++) {
        name = APR_ARRAY_IDX(vars, i, apr_table_entry_t).key;
        if (name != NULL
            && !ap_cstr_casecmpn(name, ENV_PREFIX, ENV_PREFIX_LEN)) {
            return 1;
        }
    }
    return 0;
}

static void unset_identity(apr_table_t *env)
{
    apr_table_unset(env, "NEGOTIATE_USER");
    apr_table_unset(env, "NEGOTIATE_DOMAIN");
    apr_table_unset(env, "NEGOTIATE_MECHANISM");
    apr_table_unset(env, "NEGOTIATE_SID");
    apr_table_unset(env, "NEGOTIATE_GROUPS");
    apr_table_unset(env, "NEGOTIATE_CHANNEL_BOUND");
}

/* A table compares each name with all that begin alike: mostly there are none
 * yet, and all are added.
 */
static void set_env(request_rec *r, auth_negotiate_request *record)
{
    apr_table_t *env = r->subprocess_env;
    int known = record->user != NULL && r->user == record->user;

    if (has_env(env)) {
        apr_table_unset(env, "NEGOTIATE_REASON");
        if (known) {
            unset_identity(env);
        }
    }

    apr_table_addn(env, "NEGOTIATE_REASON", record->reason);
    if (known) {
        apr_table_addn(env, "NEGOTIATE_USER", record->env_user);
        apr_table_addn(env, "NEGOTIATE_DOMAIN", record->env_domain);
        apr_table_addn(env, "NEGOTIATE_MECHANISM", record->env_mechanism);
        if (record->env_sid != NULL) {
            apr_table_addn(env, "NEGOTIATE_SID", record->env_sid);
        }
        if (record->env_groups != NULL) {
            apr_table_addn(env, "NEGOTIATE_GROUPS", record->env_groups);
        }
        if (record->channel_bound) {
            apr_table_addn(env, "NEGOTIATE_CHANNEL_BOUND", "1");
        }
    }
    if (r->main == NULL) {
        record->published = r;
    }
}

/* Redirects and subrequests that stay in a section skip check_authn. */
static int publish(request_rec *r)
{
    auth_negotiate_request *record = find_record(r);

    if (record == NULL || record->reason == NULL) {
        return DECLINED;
    }
    if (record->published != r) {
        set_env(r, record);
    }
    return OK;
}

/* The copy of str that is made where *end points to. */
static char *append_str(char **end, auth_str str)
{
    char *copy = *end;

    memcpy(copy, str.data, str.len);
    copy[str.len] = '\0';
    *end += str.len + 1;
    return copy;
}

static const char *told_str(apr_pool_t *p, auth_str str)
{
    return str.len > 0 ? copy_str(p, str) : NULL;
}

static int accept_user(request_rec *r, apr_pool_t *p,
                       auth_negotiate_request *record)
{
    const auth_session *session = record->client->session;
    auth_str name = auth_name(session);
    auth_str user = auth_user(session);
    auth_str domain = auth_domain(session);
    char *end = apr_palloc(p, name.len + user.len + domain.len + 3);

    /* Other parts of the request may have this pointer for their user. */
    if (record->user == NULL || strcmp(record->user, name.data)) {
        record->user = append_str(&end, name);
    }
    record->env_user = append_str(&end, user);
    record->env_domain = append_str(&end, domain);
    record->env_mechanism = auth_mechanism(session).data;
    record->env_sid = told_str(p, auth_sid(session));
    record->env_groups = told_str(p, auth_groups(session));
    record->channel_bound = auth_channel_bound(session);
    if (record->accepted == NULL) {
        record->accepted = copy_fields(p, session);
    }

    r->user = record->user;
    r->ap_auth_type = (char *)auth_scheme(session).data;
    set_env(r, record);
    return OK;
}

/* A handshake that goes on needs one more request on this connection: it gets
 * one, once, beyond MaxKeepAliveRequests.
 */
static void keep_for_next_leg(request_rec *r, auth_negotiate_client *client)
{
    conn_rec *c = r->connection;

    if (!client->extended && c->master == NULL
        && r->server->keep_alive_max > 0
        && c->keepalives >= r->server->keep_alive_max) {
        client->extended = 1;
        c->keepalives = r->server->keep_alive_max - 1;
    }
}

/* Whether what r answers may become the client's answer, as that of a redirect
 * does, and of a subrequest that looks ahead (DirectoryIndex, %{LA-U:...}). An
 * error document comes too late for that, and what a page includes never does.
 */
static int may_answer(const request_rec *r)
{
    const request_rec *top = r;

    while (top->main != NULL) {
        top = top->main;
    }
    return top->status == HTTP_OK && (top == r || !is_served(top));
}

static int refuse(request_rec *r, apr_pool_t *p,
                  auth_negotiate_request *record)
{
    int status = auth_status(record->client->session);

    if (!ap_is_HTTP_ERROR(status)) {
        status = HTTP_INTERNAL_SERVER_ERROR;
    }
    if (may_answer(r)) {
        record->refused = copy_fields(p, record->client->session);
    }
    if (r->main == NULL) {
        record->status = status;
    }

    unset_identity(r->subprocess_env);
    set_env(r, record);
    return status;
}

/* The client's token is taken once, by the first part of its request that comes
 * to a protected place and can tell it how to go on.
 */
static int authenticate(request_rec *r)
{
    const char *type = ap_auth_type(r);
    request_rec *first = first_request(r);
    auth_negotiate_request *record;
    auth_request request;
    auth_session *session;
    auth_verdict verdict;
    const char *reason;
    int known;

    if (!is_our_type(type)) {
        return DECLINED;
    }

    record = get_record(first);
    if (record->status && r->main == NULL) {
        /* The error document of a refusal is refused alike. */
        publish(r);
        return record->status;
    }

    if (record->client == NULL) {
        record->client = get_client(first);
    }
    session = record->client->session;
    request = describe_request(first, record);
    if (record->stepped) {
        request.flags |= AUTH_REQUEST_AGAIN;
    }
    else if (may_answer(r)) {
        record->stepped = 1;
        add_credentials(first, record->client, &request);
    }

    /* A decision that only stands by the last one is for debuggers. */
    verdict = step(r, session, &request);
    reason = auth_reason_name(auth_why(session));
    known = request.authorization_count == 0
            && (verdict == AUTH_ACCEPTED || reason == record->reason);
    log_step(r, session, known ? APLOG_DEBUG : log_level(verdict));
    if (!(request.flags & AUTH_REQUEST_AGAIN)) {
        log_notice(r, session);
    }

    /* The access log may look at either. */
    record->reason = reason;
    if (r != first) {
        apr_table_setn(first->subprocess_env, "NEGOTIATE_REASON", reason);
    }

    if (verdict == AUTH_ACCEPTED) {
        return accept_user(r, first->pool, record);
    }
    if (verdict == AUTH_CHALLENGE && request.authorization_count > 0) {
        keep_for_next_leg(first, record->client);
    }
    return refuse(r, first->pool, record);
}

/* Asks for other credentials, for whoever refused the user's: as it would ask a
 * new client, on a new connection if this one ends. A 401 has to.
 */
static int note_auth_failure(request_rec *r, const char *type)
{
    request_rec *first = first_request(r);
    auth_negotiate_request *record;
    auth_request request;
    auth_session *stranger;

    if (!is_our_type(type)) {
        return DECLINED;
    }

    record = get_record(first);
    if (record->status == 0) {
        request = describe_request(first, record);
        request.flags |= AUTH_REQUEST_PERSISTENT;
        stranger = auth_begin(0);
        step(r, stranger, &request);
        record->refused = copy_fields(first->pool, stranger);
        auth_finish(stranger);
    }
    return OK;
}

/* Rules */

auth_session *require_session(request_rec *r)
{
    auth_negotiate_request *record = find_record(r);

    return record != NULL && record->user != NULL && r->user == record->user
        ? record->client->session : NULL;
}

static int is_noted(const apr_array_header_t *denials,
                    const require_denial *denial)
{
    const require_denial *noted;
    int i;

    for (i = 0; i < denials->nelts; i++) {
        noted = &APR_ARRAY_IDX(denials, i, require_denial);
        if (noted->reason == denial->reason
            && !strcmp(noted->detail, denial->detail)) {
            return 1;
        }
    }
    return 0;
}

/* Containers decide whether it counts. The page of a denial may be denied
 * alike.
 */
void require_note_denial(request_rec *r, const require_denial *denial)
{
    request_rec *first = first_request(r);
    auth_negotiate_request *record = get_record(first);
    require_denial *noted;

    if (record->denials == NULL) {
        record->denials = apr_array_make(first->pool, 2,
                                         sizeof(require_denial));
    }
    if (is_noted(record->denials, denial)) {
        return;
    }
    noted = apr_array_push(record->denials);
    noted->reason = denial->reason;
    noted->detail = apr_pstrdup(first->pool, denial->detail);
    noted->more = apr_pstrdup(first->pool, denial->more);
}

static int was_denied(const request_rec *r)
{
    for (; r != NULL; r = r->next) {
        if (r->status == HTTP_FORBIDDEN || r->status == HTTP_UNAUTHORIZED) {
            return 1;
        }
    }
    return 0;
}

/* Rules that did not let a user in, if nothing else did; before the access log
 * is written.
 */
static int log_denials(request_rec *r)
{
    auth_negotiate_request *record = find_record(r);
    const require_denial *denial = NULL;
    int i;

    if (record == NULL || record->denials == NULL || !was_denied(r)) {
        return DECLINED;
    }
    for (i = 0; i < record->denials->nelts; i++) {
        denial = &APR_ARRAY_IDX(record->denials, i, require_denial);
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "auth_negotiate: %u %s: %s",
                      denial->reason, auth_reason_name(denial->reason),
                      denial->detail);
    }
    if (*denial->more) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "auth_negotiate: %s",
                      denial->more);
    }
    /* The access log is about the last request, an error page or the first. */
    for (; r != NULL; r = r->next) {
        apr_table_setn(r->subprocess_env, "NEGOTIATE_REASON",
                       auth_reason_name(denial->reason));
    }
    return DECLINED;
}

/* The answer */

/* Puts our fields in when the final status is known: error documents, scripts
 * and modules change it after us. Only a 401 or 407 takes challenges. If a
 * signed-in user is sent away by one, whoever asks, it takes nothing of the
 * sign-in: the token that ends a handshake would read as one that goes on.
 */
static apr_status_t answer_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    request_rec *r = f->r;
    auth_negotiate_request *record = f->ctx;
    int asks = r->status == HTTP_UNAUTHORIZED
               || r->status == HTTP_PROXY_AUTHENTICATION_REQUIRED;
    const apr_array_header_t *fields =
        asks || record->user == NULL ? record->refused : record->accepted;
    const auth_negotiate_field *field;
    int i;

    for (i = 0; fields != NULL && !record->sent && i < fields->nelts; i++) {
        field = &APR_ARRAY_IDX(fields, i, auth_negotiate_field);
        if (asks || field->kind == AUTH_HEADER_ALWAYS) {
            apr_table_addn(r->err_headers_out, field->name, field->value);
        }
    }
    record->sent = 1;

    ap_remove_output_filter(f);
    return ap_pass_brigade(f->next, bb);
}

static void insert_answer_filter(request_rec *r)
{
    auth_negotiate_request *record;

    if (r->main != NULL) {
        return;
    }
    mark_served(r);
    record = find_record(r);
    if (record != NULL
        && (record->accepted != NULL || record->refused != NULL)) {
        ap_add_output_filter_handle(answer_filter_handle, record, r,
                                    r->connection);
    }
}

static void register_hooks(apr_pool_t *p)
{
    ap_hook_pre_config(pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_check_config(check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_read_request(see_proxies, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_check_authn(authenticate, NULL, NULL, APR_HOOK_MIDDLE,
                        AP_AUTH_INTERNAL_PER_CONF);
    ap_hook_note_auth_failure(note_auth_failure, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_fixups(publish, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_insert_filter(insert_answer_filter, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_insert_error_filter(insert_answer_filter, NULL, NULL,
                                APR_HOOK_MIDDLE);

    /* Before mod_headers, which may change the fields, and after what
     * mod_cache stores, which they must not get into.
     */
    answer_filter_handle =
        ap_register_output_filter("AUTH_NEGOTIATE", answer_filter, NULL,
                                  AP_FTYPE_CONTENT_SET);
    ap_hook_log_transaction(log_denials, NULL, NULL, APR_HOOK_FIRST);

    server_certificates_register_hooks();
    jobs_register_hooks();
    require_register_hooks(p);
}

AP_DECLARE_MODULE(auth_negotiate) =
{
    STANDARD20_MODULE_STUFF,
    create_dir_conf,                /* dir config creater */
    merge_dir_conf,                 /* dir merger */
    NULL,                           /* server config: see server_certificates */
    NULL,                           /* merge server config */
    auth_negotiate_cmds,            /* command apr_table_t */
    register_hooks,                 /* register hooks */
    AP_MODULE_FLAG_NONE
};
