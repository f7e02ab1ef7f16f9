/* Tickets of a KDC that was there before, for the services of one.keytab and many.keytab. */

#include "abi.h"
#include "gss_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reasons (docs/reasons.md). */
#define SIGNED_IN 0
#define MISSING_CHANNEL_BINDING 215
#define WRONG_SERVICE_NAME 220
#define SCHEME_NOT_OFFERED 224
#define REPLAYED 233
#define BACKEND_UNAVAILABLE 502

#define SERVICE "HTTP/www.demo.test@DEMO.TEST"

/* Takes the place of the file at once. */
static void
write_keytab(const char *name, const void *data, size_t len)
{
    char new_path[1024];
    FILE *file;

    snprintf(new_path, sizeof new_path, "%s", path_of("new"));
    file = fopen(new_path, "wb");
    if (!CHECK(file != NULL)) {
        return;
    }
    CHECK_IS(fwrite(data, 1, len, file), len);
    CHECK(fclose(file) == 0);
    CHECK(chmod(new_path, 0600) == 0);
    CHECK(rename(new_path, path_of(name)) == 0);
}

static void
copy_keytab(const char *from, const char *to)
{
    static unsigned char data[65536];
    size_t len = read_file(from, data, sizeof data);

    CHECK(len > 0 && len < sizeof data);
    write_keytab(to, data, len);
}

static auth_config *
new_kerberos(const char *keytab)
{
    auth_config *config = auth_config_new();

    CHECK(auth_config_base(config, path_of("")));
    CHECK(set(config, "keytab", keytab));
    return config;
}

/* Shows a new ticket and leaves the handshake to its caller. */
static auth_verdict
show(auth_session *session, const auth_config *config, gss_client *client)
{
    ntlm_field field;

    CHECK(gss_client_begin(client, SERVICE, &field));
    return step(session, config, field.value);
}

/* The same for those who do not look at the answer. */
static auth_verdict
show_once(auth_session *session, const auth_config *config)
{
    gss_client client;
    auth_verdict verdict = show(session, config, &client);

    gss_client_free(&client);
    return verdict;
}

static void
check_ticket_of_alice(const auth_session *session, const char *name)
{
    CHECK_IS(auth_status(session), 0);
    CHECK_IS(auth_why(session), SIGNED_IN);
    CHECK_TEXT(auth_name(session), name);
    CHECK_TEXT(auth_user(session), "alice");
    CHECK_TEXT(auth_domain(session), "DEMO.TEST");
    CHECK_TEXT(auth_mechanism(session), "kerberos");
    CHECK_TEXT(auth_scheme(session), "Negotiate");
    CHECK_TEXT(auth_sid(session), "");
    CHECK_TEXT(auth_group(session, 0), "");
    CHECK(!auth_channel_bound(session));
}

static void
a_ticket_signs_in_for_one_request(void)
{
    auth_config *config = new_kerberos("one.keytab");
    auth_session *session = auth_begin(0), *stream = auth_begin(AUTH_MULTIPLEXED);
    gss_client client;
    auth_str name, value;

    CHECK(auth_config_check(config, NULL));
    CHECK_IS(step(session, config, NULL), AUTH_CHALLENGE);
    check_header(session, 0, AUTH_HEADER_CHALLENGE, "WWW-Authenticate", "Negotiate");
    check_header(session, 1, 0, NULL, NULL);

    CHECK_IS(show(session, config, &client), AUTH_ACCEPTED);
    check_ticket_of_alice(session, "alice@DEMO.TEST");
    CHECK_HAS(auth_detail(session), "alice@DEMO.TEST");
    check_header(session, 0, AUTH_HEADER_ALWAYS, "Persistent-Auth", "false");
    CHECK_IS(auth_header(session, 1, &name, &value), AUTH_HEADER_ALWAYS);
    CHECK_TEXT(name, "WWW-Authenticate");
    CHECK(gss_client_end(&client, value.data, value.len));
    gss_client_free(&client);
    CHECK_IS(step(session, config, NULL), AUTH_CHALLENGE);
    check_nobody(session);

    CHECK_IS(show_once(stream, config), AUTH_ACCEPTED);
    check_ticket_of_alice(stream, "alice@DEMO.TEST");
    auth_finish(session);
    auth_finish(stream);
    auth_config_free(config);
}

static void
a_ticket_may_last_as_long_as_its_connection(void)
{
    auth_config *config = new_kerberos("one.keytab");
    auth_session *session = auth_begin(0);

    CHECK(set(config, "persist_kerberos", "on"));
    CHECK_IS(show_once(session, config), AUTH_ACCEPTED);
    check_header(session, 0, AUTH_HEADER_ALWAYS, "Persistent-Auth", "true");
    CHECK_IS(step(session, config, NULL), AUTH_ACCEPTED);
    check_ticket_of_alice(session, "alice@DEMO.TEST");
    auth_finish(session);
    auth_config_free(config);
}

static void
the_mechanisms_are_those_that_are_configured(void)
{
    auth_config *both = new_kerberos("one.keytab"), *ntlm = auth_config_new(), *inherited;
    auth_session *session = auth_begin(0);

    CHECK(set(both, "accounts", "file:accounts"));
    CHECK(set(both, "domain", "DEMO"));
    CHECK_IS(step(session, both, NULL), AUTH_CHALLENGE);
    check_header(session, 0, AUTH_HEADER_CHALLENGE, "WWW-Authenticate", "Negotiate");
    check_header(session, 1, AUTH_HEADER_CHALLENGE, "WWW-Authenticate", "NTLM");
    CHECK_IS(show_once(session, both), AUTH_ACCEPTED);
    CHECK_IS(sign_in(session, both, &alice), AUTH_ACCEPTED);
    CHECK_TEXT(auth_mechanism(session), "ntlm");

    CHECK(set(ntlm, "mechanisms", "ntlm"));
    inherited = auth_config_inherit(ntlm, both);
    CHECK_IS(step(session, inherited, NULL), AUTH_CHALLENGE);
    check_header(session, 0, AUTH_HEADER_CHALLENGE, "WWW-Authenticate", "NTLM");
    CHECK_IS(show_once(session, inherited), AUTH_REJECTED);
    CHECK_IS(auth_why(session), SCHEME_NOT_OFFERED);
    auth_finish(session);
    auth_config_free(both);
    auth_config_free(ntlm);
    auth_config_free(inherited);
}

static void
a_token_is_good_once(void)
{
    auth_config *config = new_kerberos("one.keytab"), *careless = new_kerberos("one.keytab");
    auth_session *session = auth_begin(0);
    gss_client client;
    ntlm_field field;
    auth_str name, value;

    CHECK(set(careless, "replay_cache", "off force"));
    CHECK(gss_client_begin(&client, SERVICE, &field));
    CHECK_IS(step(session, config, field.value), AUTH_ACCEPTED);
    CHECK_IS(step(session, config, field.value), AUTH_REJECTED);
    CHECK_IS(auth_why(session), REPLAYED);
    CHECK_IS(auth_status(session), 401);
    CHECK_HAS(auth_detail(session), "ticket for HTTP/www.demo.test@DEMO.TEST, kvno ");
    check_nobody(session);
    CHECK_IS(auth_header(session, 0, &name, &value), AUTH_HEADER_CHALLENGE);
    CHECK(gss_client_fail(&client, value.data, value.len));
    gss_client_free(&client);

    CHECK_IS(step(session, careless, field.value), AUTH_ACCEPTED);
    CHECK_IS(step(session, careless, field.value), AUTH_ACCEPTED);
    auth_finish(session);
    auth_config_free(config);
    auth_config_free(careless);
}

static void
a_ticket_for_another_service_is_refused(void)
{
    auth_config *config = new_kerberos("many.keytab"), *nothing = new_kerberos("one.keytab");
    auth_session *session = auth_begin(0);

    CHECK_IS(show_once(session, config), AUTH_ACCEPTED);
    CHECK(set(config, "service_name", "host-7.demo.test"));
    CHECK_IS(show_once(session, config), AUTH_REJECTED);
    CHECK_IS(auth_why(session), WRONG_SERVICE_NAME);
    check_nobody(session);

    CHECK(set(nothing, "service_name", "host-7.demo.test"));
    CHECK(!auth_config_check(nothing, NULL));
    CHECK_HAS(auth_config_error(nothing), "site.conf:7: option \"keytab\": ");
    CHECK_IS(step(session, nothing, NULL), AUTH_ERROR);
    CHECK_IS(auth_status(session), 500);
    auth_finish(session);
    auth_config_free(config);
    auth_config_free(nothing);
}

static void
where_bindings_are_required_a_ticket_without_is_refused(void)
{
    auth_config *config = new_kerberos("one.keytab");
    auth_session *session = auth_begin(0);
    auth_request request = new_request();
    unsigned char der[4096];
    auth_str certificate, value;
    gss_client client;
    ntlm_field field;

    CHECK(set(config, "channel_binding", "require"));
    CHECK_IS(show_once(session, config), AUTH_REJECTED);
    CHECK_IS(auth_status(session), 403);
    CHECK_IS(auth_why(session), MISSING_CHANNEL_BINDING);

    CHECK(gss_client_begin(&client, SERVICE, &field));
    value = str(field.value);
    certificate.data = (const char *) der;
    certificate.len = read_file("certificate.der", der, sizeof der);
    request.authorization = &value;
    request.authorization_count = 1;
    request.flags |= AUTH_REQUEST_TLS;
    request.certificates = &certificate;
    request.certificate_count = 1;
    CHECK_IS(auth_step(session, config, &request), AUTH_REJECTED);
    CHECK_IS(auth_status(session), 401);
    CHECK_IS(auth_why(session), MISSING_CHANNEL_BINDING);
    gss_client_free(&client);
    auth_finish(session);
    auth_config_free(config);
}

/* ---- Jobs -------------------------------------------------------------------------------- */

/* A session that waits: the first ticket that is shown looks at the keytab, which has changed since
   config was made. */
static auth_session *
new_waiting_for_keys(const auth_config *config)
{
    auth_session *session = auth_begin(0);

    CHECK_IS(show_once(session, config), AUTH_WAIT);
    check_nobody(session);
    return session;
}

static void
a_changed_keytab_is_read_by_a_job(void)
{
    auth_config *config;
    auth_session *session, *other = auth_begin(0);
    const auth_job *job;

    copy_keytab("one.keytab", "changing.keytab");
    config = new_kerberos("changing.keytab");
    CHECK(auth_config_check(config, NULL));
    copy_keytab("many.keytab", "changing.keytab");
    session = new_waiting_for_keys(config);
    job = auth_detach(session);
    CHECK(job != NULL);
    CHECK_IS(auth_timeout(session), 10000);
    CHECK_IS(show_once(other, config), AUTH_ACCEPTED);
    auth_job_run(job);
    CHECK_IS(auth_resume(session, job), AUTH_ACCEPTED);
    check_ticket_of_alice(session, "alice@DEMO.TEST");
    CHECK_HAS(auth_notice(session), "changing.keytab: read again, 61 keys");
    CHECK(!auth_notice_warns(session));
    CHECK_IS(step(session, config, NULL), AUTH_CHALLENGE);
    CHECK_TEXT(auth_notice(session), "");
    auth_job_free(job);
    auth_finish(session);
    auth_finish(other);
    auth_config_free(config);
}

static void
a_keytab_that_cannot_be_read_again_leaves_the_keys_as_they_were(void)
{
    auth_config *config;
    auth_session *session;
    const auth_job *job;

    copy_keytab("one.keytab", "broken.keytab");
    config = new_kerberos("broken.keytab");
    CHECK(auth_config_check(config, NULL));
    write_keytab("broken.keytab", "nonsense", 8);
    session = new_waiting_for_keys(config);
    job = auth_detach(session);
    auth_job_run(job);
    CHECK_IS(auth_resume(session, job), AUTH_ACCEPTED);
    CHECK_HAS(auth_notice(session), "broken.keytab: ");
    CHECK_HAS(auth_notice(session), "stay in use");
    CHECK(auth_notice_warns(session));
    auth_job_free(job);
    auth_finish(session);
    auth_config_free(config);
}

static void
whoever_waits_for_keys_may_give_up_and_everything_be_freed(void)
{
    auth_config *config;
    auth_session *session;
    const auth_job *job;

    copy_keytab("one.keytab", "left.keytab");
    config = new_kerberos("left.keytab");
    CHECK(auth_config_check(config, NULL));
    copy_keytab("many.keytab", "left.keytab");
    session = new_waiting_for_keys(config);
    job = auth_detach(session);
    CHECK_IS(auth_resume(session, NULL), AUTH_ERROR);
    CHECK_IS(auth_status(session), 503);
    CHECK_IS(auth_why(session), BACKEND_UNAVAILABLE);
    check_header(session, 0, AUTH_HEADER_ALWAYS, "Retry-After", "5");
    check_nobody(session);
    auth_finish(session);
    auth_config_free(config);
    auth_job_run(job);
    auth_job_free(job);
}

/* A name that the system has is asked for by a job. */
static void
a_local_name_is_found_by_a_job(void)
{
    auth_config *config = new_kerberos("one.keytab"), *child = auth_config_new(), *both;
    auth_session *session = auth_begin(0);
    const auth_job *job;

    CHECK(set(child, "name_format", "local"));
    both = auth_config_inherit(child, config);
    CHECK_IS(show_once(session, both), AUTH_WAIT);
    job = auth_detach(session);
    auth_job_run(job);
    CHECK_IS(auth_resume(session, job), AUTH_ACCEPTED);
    check_ticket_of_alice(session, "alice");
    auth_job_free(job);

    CHECK_IS(show_once(session, both), AUTH_WAIT);
    CHECK_IS(auth_resume(session, NULL), AUTH_ERROR);
    check_nobody(session);
    auth_finish(session);
    auth_config_free(config);
    auth_config_free(child);
    auth_config_free(both);
}

static void
names_follow_the_rules_of_the_request(void)
{
    auth_config *config = new_kerberos("one.keytab"), *child = auth_config_new(), *both;
    auth_session *session = auth_begin(0);

    CHECK(set(config, "realm_map", "DEMO.TEST=Demo"));
    CHECK(set(child, "name_format", "domain"));
    CHECK(set(child, "name_case", "lower"));
    both = auth_config_inherit(child, config);
    CHECK_IS(show_once(session, config), AUTH_ACCEPTED);
    check_ticket_of_alice(session, "alice@DEMO.TEST");
    CHECK_IS(show_once(session, both), AUTH_ACCEPTED);
    check_ticket_of_alice(session, "demo\\alice");
    auth_finish(session);
    auth_config_free(config);
    auth_config_free(child);
    auth_config_free(both);
}

static void
keytabs_that_cannot_be_used_are_named(void)
{
    auth_config *config = auth_config_new();

    CHECK(auth_config_base(config, path_of("")));
    CHECK(!set(config, "keytab", "absent"));
    CHECK_HAS(auth_config_error(config), "site.conf:7: option \"keytab\": ");
    CHECK_HAS(auth_config_error(config), "absent: ");
    write_keytab("empty.keytab", "", 0);
    CHECK(!set(config, "keytab", "empty.keytab"));
    copy_keytab("one.keytab", "open.keytab");
    CHECK(chmod(path_of("open.keytab"), 0644) == 0);
    CHECK(!set(config, "keytab", "open.keytab"));
    CHECK_HAS(auth_config_error(config), "open.keytab: others can read");
    CHECK(!set(config, "keytab", "FILE:"));
    CHECK(!set(config, "keytab", "one.keytab many.keytab"));
    CHECK(set(config, "keytab", "FILE:one.keytab"));
    CHECK(auth_config_check(config, NULL));
    auth_config_free(config);
}

void
test_kerberos(void)
{
    write_accounts("accounts", 0, "");
    keytabs_that_cannot_be_used_are_named();
    a_ticket_signs_in_for_one_request();
    a_ticket_may_last_as_long_as_its_connection();
    the_mechanisms_are_those_that_are_configured();
    a_token_is_good_once();
    a_ticket_for_another_service_is_refused();
    where_bindings_are_required_a_ticket_without_is_refused();
    a_changed_keytab_is_read_by_a_job();
    a_keytab_that_cannot_be_read_again_leaves_the_keys_as_they_were();
    whoever_waits_for_keys_may_give_up_and_everything_be_freed();
    a_local_name_is_found_by_a_job();
    names_follow_the_rules_of_the_request();
}
