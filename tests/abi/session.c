/* Sessions: requests in; verdicts, answers and identities out. */

#include "abi.h"

#include <stdlib.h>
#include <string.h>

/* auth_why(). */
#define SIGNED_IN 0
#define NO_CREDENTIALS 100
#define IN_PROGRESS 101
#define MALFORMED_HEADER 200
#define OUT_OF_SEQUENCE 202
#define BAD_BASE64 207
#define TOO_LARGE 208
#define DUPLICATE_HEADER 209
#define UNKNOWN_USER 210
#define WRONG_RESPONSE 211
#define WRONG_CHANNEL_BINDING 214
#define ACCOUNT_DISABLED 217
#define WRONG_SERVICE_NAME 220
#define SCHEME_NOT_OFFERED 224
#define FORWARDED 230
#define NOT_PERSISTENT 231
#define MULTIPLEXED 232
#define BAD_CALL 500
#define BAD_CONFIG 501

static void
reasons_have_names_of_their_own(void)
{
    const char *names[1000];
    unsigned known = 0, reason, other;

    for (reason = 0; reason < 1000; reason++) {
        const char *name = auth_reason_name(reason);

        if (!CHECK(name != NULL && name[0] != '\0') || strcmp(name, "unknown") == 0) {
            continue;
        }
        for (other = 0; other < known; other++) {
            CHECK(strcmp(names[other], name) != 0);
        }
        names[known++] = name;
    }
    CHECK(known > 30);
    CHECK_TEXT(str(auth_reason_name(SIGNED_IN)), "signed-in");
    CHECK_TEXT(str(auth_reason_name(WRONG_RESPONSE)), "wrong-response");
    CHECK_TEXT(str(auth_reason_name(UINT32_MAX)), "unknown");
}

static void
null_is_nobody(void)
{
    auth_str name = str("untouched"), value = str("untouched");
    auth_request request = new_request();
    auth_config *config = new_config("accounts");
    unsigned bit;

    for (bit = 1; bit < 32; bit++) {
        CHECK(auth_begin(UINT32_C(1) << bit) == NULL);
        CHECK(auth_begin(UINT32_C(1) << bit | AUTH_MULTIPLEXED) == NULL);
    }
    CHECK_IS(auth_step(NULL, config, &request), AUTH_ERROR);
    CHECK_IS(auth_step(NULL, NULL, NULL), AUTH_ERROR);
    CHECK_IS(auth_resume(NULL, NULL), AUTH_ERROR);
    CHECK(auth_detach(NULL) == NULL);
    CHECK_IS(auth_timeout(NULL), 0);
    CHECK_IS(auth_status(NULL), 500);
    CHECK_IS(auth_header(NULL, 0, &name, &value), 0);
    CHECK_TEXT(name, "untouched");
    CHECK_IS(auth_why(NULL), BAD_CALL);
    CHECK_TEXT(auth_detail(NULL), "");
    CHECK_TEXT(auth_notice(NULL), "");
    CHECK(!auth_notice_warns(NULL));
    check_nobody(NULL);
    auth_finish(NULL);
    auth_config_free(config);
}

static void
a_session_without_a_step_grants_nothing(void)
{
    auth_session *session = auth_begin(0);

    CHECK(session != NULL);
    CHECK_IS(auth_status(session), 500);
    CHECK_IS(auth_why(session), BAD_CALL);
    check_header(session, 0, 0, NULL, NULL);
    check_nobody(session);
    auth_finish(session);
}

static void
a_call_without_sense_is_an_error(void)
{
    auth_config *config = new_config("accounts");
    auth_session *session = auth_begin(0);
    auth_request request = new_request();
    auth_str lost = str(NULL);

    lost.len = 1;
    CHECK_IS(sign_in(session, config, &alice), AUTH_ACCEPTED);
    CHECK_IS(auth_step(session, NULL, &request), AUTH_ERROR);
    CHECK_IS(auth_status(session), 500);
    CHECK_IS(auth_why(session), BAD_CALL);
    check_nobody(session);
    CHECK_IS(auth_step(session, config, NULL), AUTH_ERROR);
    CHECK_IS(auth_why(session), BAD_CALL);

    request.size = 0;
    CHECK_IS(auth_step(session, config, &request), AUTH_ERROR);
    request.size = sizeof request.size - 1;
    CHECK_IS(auth_step(session, config, &request), AUTH_ERROR);
    CHECK_IS(auth_why(session), BAD_CALL);

    request = new_request();
    request.authorization_count = 1;
    CHECK_IS(auth_step(session, config, &request), AUTH_ERROR);
    request.authorization = &lost;
    CHECK_IS(auth_step(session, config, &request), AUTH_ERROR);
    CHECK_IS(auth_why(session), BAD_CALL);

    request = new_request();
    request.certificate_count = 1;
    CHECK_IS(auth_step(session, config, &request), AUTH_ERROR);
    request = new_request();
    request.host = lost;
    CHECK_IS(auth_step(session, config, &request), AUTH_ERROR);
    request = new_request();
    request.cookie = lost;
    CHECK_IS(auth_step(session, config, &request), AUTH_ERROR);
    request = new_request();
    CHECK_IS(auth_step(session, config, &request), AUTH_CHALLENGE);
    auth_finish(session);
    auth_config_free(config);
}

/* A caller built with a header that ended after flags. */
static void
an_older_caller_is_served(void)
{
    auth_config *config = new_config("accounts");
    auth_session *session = auth_begin(0);
    size_t size = offsetof(auth_request, flags) + sizeof(uint32_t);
    auth_request request = new_request(), *old = (auth_request *) malloc(size);
    ntlm_field authenticate;
    auth_str value;

    greet(session, config, &alice, &authenticate);
    value = str(authenticate.value);
    request.size = size;
    request.authorization = &value;
    request.authorization_count = 1;
    memcpy(old, &request, size);
    CHECK_IS(auth_step(session, config, old), AUTH_ACCEPTED);
    free(old);

    /* Nothing but its size: neither credentials nor a connection that stays open. */
    old = (auth_request *) malloc(sizeof(size_t));
    size = sizeof(size_t);
    memcpy(old, &size, size);
    CHECK_IS(auth_step(session, config, old), AUTH_ACCEPTED);
    CHECK_TEXT(auth_name(session), "DEMO\\Alice");
    free(old);
    auth_finish(session);
    auth_config_free(config);
}

/* A caller built with a header that has more fields at the end. */
static void
a_newer_caller_is_served(void)
{
    auth_config *config = new_config("accounts");
    auth_session *session = auth_begin(0);
    ntlm_field authenticate;
    auth_str value;
    struct {
        auth_request request;
        unsigned char later[64];
    } newer;

    greet(session, config, &alice, &authenticate);
    value = str(authenticate.value);
    memset(&newer, 0xff, sizeof newer);
    newer.request = new_request();
    newer.request.size = sizeof newer;
    newer.request.authorization = &value;
    newer.request.authorization_count = 1;
    CHECK_IS(auth_step(session, config, &newer.request), AUTH_ACCEPTED);
    auth_finish(session);
    auth_config_free(config);
}

static void
check_alice(const auth_session *session)
{
    CHECK_IS(auth_status(session), 0);
    CHECK_IS(auth_why(session), SIGNED_IN);
    CHECK_TEXT(auth_name(session), "DEMO\\Alice");
    CHECK_TEXT(auth_user(session), "Alice");
    CHECK_TEXT(auth_domain(session), "DEMO");
    CHECK_TEXT(auth_mechanism(session), "ntlm");
    CHECK_TEXT(auth_scheme(session), "NTLM");
    CHECK_TEXT(auth_sid(session), "");
    CHECK_TEXT(auth_group(session, 0), "staff");
    CHECK_TEXT(auth_group(session, 1), "web admins");
    CHECK_TEXT(auth_group(session, 2), "");
    CHECK_TEXT(auth_group(session, SIZE_MAX), "");
    CHECK_TEXT(auth_groups(session), "staff,web admins");
    CHECK_TEXT(auth_more(session), "");
    CHECK(!auth_channel_bound(session));
}

/* As servers do that put rules together themselves. */
static void
a_rule_is_about_who_was_let_in(void)
{
    auth_config *config = new_config("accounts"), *staff = auth_config_new(), *other = auth_config_new();
    auth_session *session = auth_begin(0);
    ntlm_field authenticate;

    CHECK(set(staff, "require", "group STAFF"));
    CHECK(set(other, "require", "group others"));
    auth_config_check_rules(staff, config);
    CHECK_TEXT(auth_config_warning(staff), "");
    auth_config_check_rules(other, config);
    CHECK_HAS(auth_config_warning(other), "no group is called \"others\"");
    auth_config_check_rules(NULL, config);
    auth_config_check_rules(staff, NULL);
    CHECK_TEXT(auth_config_warning(NULL), "");

    CHECK_IS(auth_authorize(session, staff), AUTH_REJECTED);
    greet(session, config, &alice, &authenticate);
    CHECK_IS(auth_authorize(session, staff), AUTH_REJECTED);
    greet(session, config, &alice, &authenticate);
    CHECK_IS(step(session, config, authenticate.value), AUTH_ACCEPTED);
    CHECK_IS(auth_authorize(session, staff), AUTH_ACCEPTED);
    check_alice(session);
    CHECK_IS(auth_authorize(session, other), AUTH_REJECTED);
    CHECK_IS(auth_status(session), 403);
    CHECK_HAS(auth_detail(session), "group others");
    CHECK_HAS(auth_more(session), "\"staff\"");
    CHECK_IS(auth_authorize(session, staff), AUTH_ACCEPTED);
    CHECK_IS(auth_authorize(NULL, staff), AUTH_ERROR);
    CHECK_IS(auth_authorize(session, NULL), AUTH_ERROR);
    auth_finish(session);
    auth_config_free(staff);
    auth_config_free(other);
    auth_config_free(config);
}

static void
a_client_signs_in_once_for_its_connection(void)
{
    auth_config *config = new_config("accounts");
    auth_session *session = auth_begin(0);
    ntlm_field authenticate;
    auth_str value;

    CHECK_IS(step(session, config, NULL), AUTH_CHALLENGE);
    CHECK_IS(auth_status(session), 401);
    CHECK_IS(auth_why(session), NO_CREDENTIALS);
    CHECK_HAS(auth_detail(session), "no credentials");
    check_header(session, 0, AUTH_HEADER_CHALLENGE, "WWW-Authenticate", "NTLM");
    check_header(session, 1, 0, NULL, NULL);
    check_header(session, SIZE_MAX, 0, NULL, NULL);
    check_nobody(session);

    greet(session, config, &alice, &authenticate);
    CHECK_IS(auth_status(session), 401);
    CHECK_IS(auth_why(session), IN_PROGRESS);
    check_header(session, 0, AUTH_HEADER_CHALLENGE, "WWW-Authenticate", NULL);
    check_header(session, 1, AUTH_HEADER_CHALLENGE, "Cache-Control", "no-store");
    check_header(session, 2, 0, NULL, NULL);
    CHECK_IS(auth_header(session, 0, NULL, &value), 0);
    CHECK_IS(auth_header(session, 0, &value, NULL), 0);
    check_nobody(session);

    CHECK_IS(step(session, config, authenticate.value), AUTH_ACCEPTED);
    check_alice(session);
    CHECK_HAS(auth_detail(session), "DEMO\\Alice");
    CHECK_TEXT(auth_notice(session), "");
    check_header(session, 0, AUTH_HEADER_ALWAYS, "Persistent-Auth", "true");
    check_header(session, 1, 0, NULL, NULL);

    CHECK_IS(step(session, config, NULL), AUTH_ACCEPTED);
    check_alice(session);
    check_header(session, 0, 0, NULL, NULL);

    /* The same AUTHENTICATE again answers no challenge any more. */
    CHECK_IS(step(session, config, authenticate.value), AUTH_REJECTED);
    CHECK_IS(auth_why(session), OUT_OF_SEQUENCE);
    check_nobody(session);
    CHECK_IS(step(session, config, NULL), AUTH_CHALLENGE);
    auth_finish(session);
    auth_config_free(config);
}

static void
a_new_handshake_ends_the_sign_in_before_it(void)
{
    auth_config *config = new_config("accounts");
    auth_session *session = auth_begin(0);
    ntlm_field authenticate;

    CHECK_IS(sign_in(session, config, &alice), AUTH_ACCEPTED);
    greet(session, config, &alice, &authenticate);
    check_nobody(session);
    CHECK_IS(step(session, config, NULL), AUTH_CHALLENGE);
    check_nobody(session);
    CHECK_IS(step(session, config, authenticate.value), AUTH_REJECTED);
    CHECK_IS(auth_why(session), OUT_OF_SEQUENCE);
    CHECK_IS(sign_in(session, config, &alice), AUTH_ACCEPTED);
    CHECK_IS(sign_in(session, config, &nobody), AUTH_REJECTED);
    CHECK_IS(step(session, config, NULL), AUTH_CHALLENGE);
    auth_finish(session);
    auth_config_free(config);
}

static void
whoever_does_not_prove_an_account_is_refused(void)
{
    static const struct {
        const ntlm_account *account;
        uint32_t reason;
        const char *detail;
    } wrong[] = {
        {&alice_with_wrong_hash, WRONG_RESPONSE, "DEMO\\alice"},
        {&nobody, UNKNOWN_USER, "DEMO\\nobody"},
        {&mallory, ACCOUNT_DISABLED, "DEMO\\mallory"},
    };
    auth_config *config = new_config("accounts");
    auth_session *session = auth_begin(0);
    size_t i;

    for (i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CHECK_IS(sign_in(session, config, &alice), AUTH_ACCEPTED);
        CHECK_IS(sign_in(session, config, wrong[i].account), AUTH_REJECTED);
        CHECK_IS(auth_why(session), wrong[i].reason);
        CHECK_HAS(auth_detail(session), wrong[i].detail);
        CHECK_IS(auth_status(session), 401);
        check_header(session, 0, AUTH_HEADER_CHALLENGE, "WWW-Authenticate", "NTLM");
        check_nobody(session);
        CHECK_IS(step(session, config, NULL), AUTH_CHALLENGE);
        check_nobody(session);
    }
    auth_finish(session);
    auth_config_free(config);
}

static void
malformed_credentials_are_refused(void)
{
    auth_config *config = new_config("accounts");
    auth_session *session = auth_begin(0);
    size_t len = (size_t) 1 << 20;
    char *large = (char *) malloc(len + 1);

    CHECK_IS(sign_in(session, config, &alice), AUTH_ACCEPTED);
    CHECK_IS(step(session, config, ""), AUTH_REJECTED);
    CHECK_IS(auth_why(session), MALFORMED_HEADER);
    check_nobody(session);
    CHECK_IS(step(session, config, "NTLM ="), AUTH_REJECTED);
    CHECK_IS(auth_why(session), BAD_BASE64);
    CHECK_IS(step(session, config, "Negotiate TlRMTVNTUAAB"), AUTH_REJECTED);
    CHECK_IS(auth_why(session), SCHEME_NOT_OFFERED);
    memset(large, 'A', len);
    memcpy(large, "NTLM ", 5);
    large[len] = '\0';
    CHECK_IS(step(session, config, large), AUTH_REJECTED);
    CHECK_IS(auth_why(session), TOO_LARGE);
    CHECK_IS(step(session, config, NULL), AUTH_CHALLENGE);
    free(large);
    auth_finish(session);
    auth_config_free(config);
}

static void
two_authorization_fields_are_a_bad_request(void)
{
    auth_config *config = new_config("accounts");
    auth_session *session = auth_begin(0);
    auth_request request = new_request();
    ntlm_field authenticate;
    auth_str fields[2];

    CHECK_IS(sign_in(session, config, &alice), AUTH_ACCEPTED);
    greet(session, config, &alice, &authenticate);
    fields[0] = fields[1] = str(authenticate.value);
    request.authorization = fields;
    request.authorization_count = 2;
    CHECK_IS(auth_step(session, config, &request), AUTH_REJECTED);
    CHECK_IS(auth_status(session), 400);
    CHECK_IS(auth_why(session), DUPLICATE_HEADER);
    check_nobody(session);
    CHECK_IS(step(session, config, authenticate.value), AUTH_REJECTED);
    CHECK_IS(auth_why(session), OUT_OF_SEQUENCE);
    auth_finish(session);
    auth_config_free(config);
}

/* A redirect inside the server does not step the request's token a second time. */
static void
the_same_request_again_spends_no_token(void)
{
    auth_config *config = new_config("accounts"), *other = new_config("accounts");
    auth_session *session = auth_begin(0);
    auth_request request = new_request();
    ntlm_field authenticate;
    auth_str value;

    CHECK(set(other, "channel_binding", "off"));
    greet(session, config, &alice, &authenticate);
    value = str(authenticate.value);
    request.authorization = &value;
    request.authorization_count = 1;
    request.flags |= AUTH_REQUEST_AGAIN;
    CHECK_IS(auth_step(session, config, &request), AUTH_CHALLENGE);
    CHECK_IS(auth_why(session), IN_PROGRESS);
    CHECK_IS(step(session, config, authenticate.value), AUTH_ACCEPTED);
    CHECK_IS(auth_step(session, config, &request), AUTH_ACCEPTED);
    check_alice(session);
    check_header(session, 0, AUTH_HEADER_ALWAYS, "Persistent-Auth", "true");
    CHECK_IS(auth_step(session, other, &request), AUTH_CHALLENGE);
    CHECK_IS(auth_why(session), NO_CREDENTIALS);
    check_nobody(session);
    auth_finish(session);
    auth_config_free(config);
    auth_config_free(other);
}

/* Sessions know a scope by its value: whichever configuration it came with, or outlived. */
static void
a_sign_in_counts_in_its_scope_only(void)
{
    auth_config *config = new_config("accounts"), *same = new_config("accounts");
    auth_config *other = new_config("accounts"), *nothing = auth_config_new();
    auth_session *session = auth_begin(0);
    ntlm_field authenticate;

    CHECK(set(same, "persist", "on"));
    CHECK(set(other, "service_name", "host"));
    CHECK_IS(sign_in(session, config, &alice), AUTH_ACCEPTED);
    auth_config_free(config);
    check_alice(session);
    CHECK_IS(step(session, same, NULL), AUTH_ACCEPTED);
    check_alice(session);
    CHECK_IS(step(session, other, NULL), AUTH_CHALLENGE);
    check_nobody(session);

    greet(session, same, &alice, &authenticate);
    CHECK_IS(step(session, other, authenticate.value), AUTH_REJECTED);
    CHECK_IS(auth_why(session), OUT_OF_SEQUENCE);
    CHECK_IS(step(session, nothing, NULL), AUTH_ERROR);
    CHECK_IS(auth_why(session), BAD_CONFIG);
    CHECK_IS(auth_status(session), 500);
    CHECK_HAS(auth_detail(session), "accounts");
    auth_config_free(same);
    auth_config_free(other);
    auth_config_free(nothing);
    auth_finish(session);
}

static void
the_rules_of_the_request_decide_how_long_it_counts(void)
{
    auth_config *config = new_config("accounts");
    auth_session *session = auth_begin(0);

    CHECK(set(config, "persist", "off"));
    CHECK_IS(sign_in(session, config, &alice), AUTH_ACCEPTED);
    check_header(session, 0, AUTH_HEADER_ALWAYS, "Persistent-Auth", "false");
    CHECK_IS(step(session, config, NULL), AUTH_CHALLENGE);
    check_nobody(session);
    auth_finish(session);
    auth_config_free(config);
}

static void
streams_that_share_a_connection_get_no_ntlm(void)
{
    auth_config *config = new_config("accounts");
    auth_session *session = auth_begin(AUTH_MULTIPLEXED);
    ntlm_field negotiate;

    CHECK(session != NULL);
    CHECK_IS(step(session, config, NULL), AUTH_CHALLENGE);
    check_header(session, 0, AUTH_HEADER_CHALLENGE, "WWW-Authenticate", "NTLM");
    ntlm_negotiate("NTLM", &negotiate);
    CHECK_IS(step(session, config, negotiate.value), AUTH_REJECTED);
    CHECK_IS(auth_why(session), MULTIPLEXED);
    CHECK_IS(auth_status(session), 401);
    check_header(session, 0, AUTH_HEADER_CHALLENGE, "WWW-Authenticate", "NTLM");
    check_nobody(session);
    auth_finish(session);
    auth_config_free(config);
}

/* Also when a client had signed in on the connection before. */
static void
where_no_challenge_can_work_the_answer_is_403(void)
{
    auth_config *config = new_config("accounts"), *trusting = new_config("accounts");
    auth_session *session = auth_begin(0);
    auth_request request = new_request();

    CHECK_IS(sign_in(session, config, &alice), AUTH_ACCEPTED);
    request.flags |= AUTH_REQUEST_FORWARDED;
    CHECK_IS(auth_step(session, config, &request), AUTH_REJECTED);
    CHECK_IS(auth_status(session), 403);
    CHECK_IS(auth_why(session), FORWARDED);
    check_nobody(session);
    CHECK_IS(step(session, config, NULL), AUTH_CHALLENGE);

    CHECK(set(trusting, "proxies", "192.0.2.0/24"));
    CHECK_IS(auth_step(session, trusting, &request), AUTH_CHALLENGE);

    request = new_request();
    request.flags = 0;
    CHECK_IS(auth_step(session, config, &request), AUTH_REJECTED);
    CHECK_IS(auth_status(session), 403);
    CHECK_IS(auth_why(session), NOT_PERSISTENT);
    auth_finish(session);
    auth_config_free(config);
    auth_config_free(trusting);
}

static void
a_proxy_asks_with_its_own_fields(void)
{
    auth_config *config = new_config("accounts");
    auth_session *session = auth_begin(0);
    auth_request request = new_request();

    request.flags |= AUTH_REQUEST_PROXY;
    CHECK_IS(auth_step(session, config, &request), AUTH_CHALLENGE);
    CHECK_IS(auth_status(session), 407);
    check_header(session, 0, AUTH_HEADER_CHALLENGE, "Proxy-Authenticate", "NTLM");
    auth_finish(session);
    auth_config_free(config);
}

static void
ntlm_is_taken_under_negotiate_where_that_is_offered(void)
{
    auth_config *config = new_config("accounts");
    auth_session *session = auth_begin(0);
    ntlm_field field;
    auth_str name, value;

    CHECK(set(config, "schemes", "negotiate ntlm"));
    CHECK_IS(step(session, config, NULL), AUTH_CHALLENGE);
    check_header(session, 0, AUTH_HEADER_CHALLENGE, "WWW-Authenticate", "Negotiate");
    check_header(session, 1, AUTH_HEADER_CHALLENGE, "WWW-Authenticate", "NTLM");
    ntlm_negotiate("Negotiate", &field);
    CHECK_IS(step(session, config, field.value), AUTH_CHALLENGE);
    CHECK_IS(auth_header(session, 0, &name, &value), AUTH_HEADER_CHALLENGE);
    CHECK(ntlm_authenticate(&alice, value.data, value.len, &field));
    CHECK_IS(step(session, config, field.value), AUTH_ACCEPTED);
    CHECK_TEXT(auth_scheme(session), "Negotiate");
    auth_finish(session);
    auth_config_free(config);
}

static auth_verdict
step_over_tls(auth_session *session, const auth_config *config, const char *authorization,
              const auth_str *certificate)
{
    auth_request request = new_request();
    auth_str value = str(authorization);

    request.authorization = &value;
    request.authorization_count = 1;
    request.flags |= AUTH_REQUEST_TLS;
    request.certificates = certificate;
    request.certificate_count = 1;
    return auth_step(session, config, &request);
}

/* One handshake over TLS on a connection of its own. */
static auth_verdict
sign_in_over_tls(auth_session *session, const auth_config *config, const ntlm_account *account,
                 const auth_str *certificate)
{
    ntlm_field field;
    auth_str name, value;

    ntlm_negotiate("NTLM", &field);
    CHECK_IS(step_over_tls(session, config, field.value, certificate), AUTH_CHALLENGE);
    CHECK_IS(auth_header(session, 0, &name, &value), AUTH_HEADER_CHALLENGE);
    CHECK(ntlm_authenticate(account, value.data, value.len, &field));
    return step_over_tls(session, config, field.value, certificate);
}

static void
a_sign_in_over_tls_is_bound_to_the_certificate(void)
{
    auth_config *config = new_config("accounts");
    auth_session *session = auth_begin(0), *plain = auth_begin(0), *other = auth_begin(0);
    ntlm_account bound = alice;
    ntlm_field field;
    unsigned char der[4096];
    auth_str certificate;

    CHECK(set(config, "channel_binding", "require"));
    certificate.data = (const char *) der;
    certificate.len = read_file("certificate.der", der, sizeof der);
    CHECK_IS(read_file("binding", bound.channel_binding, 16), 16);
    CHECK_IS(sign_in_over_tls(session, config, &bound, &certificate), AUTH_ACCEPTED);
    CHECK(auth_channel_bound(session));
    CHECK_TEXT(auth_name(session), "DEMO\\Alice");
    CHECK_IS(step(session, config, NULL), AUTH_ACCEPTED);
    CHECK(auth_channel_bound(session));

    bound.channel_binding[0] ^= 1;
    CHECK_IS(sign_in_over_tls(other, config, &bound, &certificate), AUTH_REJECTED);
    CHECK_IS(auth_why(other), WRONG_CHANNEL_BINDING);
    CHECK(!auth_channel_bound(other));
    ntlm_negotiate("NTLM", &field);
    CHECK_IS(step(plain, config, field.value), AUTH_REJECTED);
    CHECK_IS(auth_status(plain), 403);
    CHECK(!auth_channel_bound(plain));
    auth_finish(session);
    auth_finish(plain);
    auth_finish(other);
    auth_config_free(config);
}

static void
the_host_of_the_request_is_the_service_that_is_meant(void)
{
    auth_config *config = new_config("accounts");
    auth_session *session = auth_begin(0);
    auth_request request = new_request();
    ntlm_field authenticate;
    auth_str value;

    CHECK(set(config, "service_name", "host"));
    CHECK_IS(sign_in(session, config, &alice), AUTH_ACCEPTED);
    greet(session, config, &alice, &authenticate);
    value = str(authenticate.value);
    request.authorization = &value;
    request.authorization_count = 1;
    request.host = str("other.demo.test:8080");
    CHECK_IS(auth_step(session, config, &request), AUTH_REJECTED);
    CHECK_IS(auth_why(session), WRONG_SERVICE_NAME);
    auth_finish(session);
    auth_config_free(config);
}

void
test_sessions(void)
{
    write_accounts("accounts", 0, "");
    reasons_have_names_of_their_own();
    null_is_nobody();
    a_session_without_a_step_grants_nothing();
    a_call_without_sense_is_an_error();
    an_older_caller_is_served();
    a_newer_caller_is_served();
    a_client_signs_in_once_for_its_connection();
    a_rule_is_about_who_was_let_in();
    a_new_handshake_ends_the_sign_in_before_it();
    whoever_does_not_prove_an_account_is_refused();
    malformed_credentials_are_refused();
    two_authorization_fields_are_a_bad_request();
    the_same_request_again_spends_no_token();
    a_sign_in_counts_in_its_scope_only();
    the_rules_of_the_request_decide_how_long_it_counts();
    streams_that_share_a_connection_get_no_ntlm();
    where_no_challenge_can_work_the_answer_is_403();
    a_proxy_asks_with_its_own_fields();
    ntlm_is_taken_under_negotiate_where_that_is_offered();
    a_sign_in_over_tls_is_bound_to_the_certificate();
    the_host_of_the_request_is_the_service_that_is_meant();
}
