/* Options and configurations. */

#include "abi.h"

#include <string.h>

void
test_options(void)
{
    size_t count = 0, other;

    for (; auth_option_key(count) != NULL; count++) {
        const char *key = auth_option_key(count), *help = auth_option_help(count);

        CHECK(key[0] != '\0' && strlen(key) < 32);
        CHECK(auth_option_syntax(count) != NULL && auth_option_syntax(count)[0] != '\0');
        CHECK(auth_option_default(count) != NULL && auth_option_default(count)[0] != '\0');
        CHECK(help != NULL && help[0] != '\0' && strchr(help, '\n') == NULL);
        CHECK(auth_option_kind(count) == AUTH_OPTION_SCOPE
              || auth_option_kind(count) == AUTH_OPTION_RULE);
        for (other = 0; other < count; other++) {
            CHECK(strcmp(key, auth_option_key(other)) != 0);
        }
    }
    CHECK(count >= 9);
    for (other = count; other < count + 2; other++) {
        CHECK(auth_option_key(other) == NULL);
        CHECK(auth_option_syntax(other) == NULL);
        CHECK(auth_option_default(other) == NULL);
        CHECK(auth_option_help(other) == NULL);
        CHECK_IS(auth_option_kind(other), 0);
    }
    CHECK(auth_option_key(SIZE_MAX) == NULL);
}

/* Every option takes a value that its manual allows, and none takes nothing or nonsense. */
static void
options_take_what_they_allow(void)
{
    static const char *const good[][2] = {
        {"mechanisms", "ntlm"},       {"schemes", "negotiate ntlm"},
        {"accounts", "file:accounts"}, {"domain", "DEMO demo.test"},
        {"channel_binding", "allow"}, {"service_name", "www.demo.test HTTP/demo.test"},
        {"proxies", "10.0.0.0/8 unix:"}, {"handshake_lifetime", "1m30s"},
        {"timeout", "1m500ms"},        {"max_jobs", "64"},
        {"persist", "off"},            {"keytab", "one.keytab"},
        {"realm_map", "DEMO.TEST=DEMO OTHER.TEST=OTHER"}, {"replay_cache", "off force"},
        {"allow_rc4", "off"},          {"certificates", "certificate.der"},
        {"persist_kerberos", "on"},    {"name_format", "short DEMO.TEST OTHER.TEST"},
        {"name_case", "lower"},        {"require", "all group staff admins"},
        {"groups", "names"},           {"groups_form", "json"},
        {"groups_limit", "64k"},       {"group_names", "file:groups"},
        {"realms_without_pac", "DEMO.TEST OTHER.TEST"},
    };
    auth_config *config = auth_config_new();
    size_t at, count = 0, taken = 0;

    CHECK(config != NULL);
    CHECK(auth_config_base(config, path_of("")));
    for (; auth_option_key(count) != NULL; count++) {
        const char *key = auth_option_key(count);

        CHECK(!set(config, key, NULL));
        CHECK(!set(config, key, "no/such value / at all"));
        CHECK_HAS(auth_config_error(config), key);
        for (at = 0; at < sizeof good / sizeof good[0]; at++) {
            if (strcmp(key, good[at][0]) == 0) {
                taken++;
                CHECK(set(config, key, good[at][1]));
                CHECK_TEXT(auth_config_error(config), "");
                /* Rules add up. */
                if (strcmp(key, "require") == 0) {
                    CHECK(set(config, key, good[at][1]));
                } else {
                    CHECK(!set(config, key, good[at][1]));
                    CHECK_HAS(auth_config_error(config), "is duplicate");
                }
            }
        }
    }
    CHECK_IS(taken, count);
    CHECK(auth_config_check(config, NULL));
    CHECK_TEXT(auth_config_error(config), "");
    CHECK_HAS(auth_config_warning(config), "no group is called \"admins\"");
    auth_config_free(config);
}

static void
errors_begin_with_their_place(void)
{
    auth_config *config = auth_config_new();
    auth_str colour = str("red"), perhaps = str("perhaps"), off = str("off");

    CHECK_TEXT(auth_config_error(config), "");
    CHECK(!auth_config_set(config, "colour", &colour, 1, "site.conf:7"));
    CHECK_TEXT(auth_config_error(config), "site.conf:7: there is no option \"colour\"");
    CHECK(!auth_config_set(config, "colour", &colour, 1, NULL));
    CHECK_TEXT(auth_config_error(config), "there is no option \"colour\"");
    CHECK(!auth_config_set(config, "", &colour, 1, ""));
    CHECK(!auth_config_set(config, "persist", &perhaps, 1, "site.conf:8"));
    CHECK_HAS(auth_config_error(config), "site.conf:8: option \"persist\": \"perhaps\"");
    CHECK(!auth_config_set(config, "pers\xff\n", &perhaps, 1, "site\xff.conf:9"));
    CHECK_HAS(auth_config_error(config), "there is no option");
    CHECK(auth_config_set(config, "persist", &off, 1, "site.conf:10"));
    CHECK_TEXT(auth_config_error(config), "");

    /* A late error, too: what was set is not enough. */
    CHECK(!auth_config_check(config, "site.conf:3"));
    CHECK_HAS(auth_config_error(config), "site.conf:3: ");
    CHECK(set(config, "mechanisms", "ntlm"));
    CHECK(!auth_config_check(config, "site.conf:3"));
    CHECK_HAS(auth_config_error(config), "site.conf:7: option \"mechanisms\": ");
    auth_config_free(config);
}

static void
files_that_cannot_be_used_are_named(void)
{
    auth_config *config = auth_config_new();

    CHECK(auth_config_base(config, path_of("")));
    CHECK(!set(config, "accounts", "file:absent"));
    CHECK_HAS(auth_config_error(config), "site.conf:7: option \"accounts\": ");
    CHECK_HAS(auth_config_error(config), "absent: ");
    CHECK(!set(config, "accounts", "file:."));
    CHECK_HAS(auth_config_error(config), "is not a regular file");
    CHECK(!set(config, "accounts", "file:"));
    auth_config_free(config);
}

static void
arguments_that_are_no_strings_are_refused(void)
{
    auth_config *config = auth_config_new();
    auth_str none = str(NULL), lost = str(NULL), with_nul = str("off"), no_utf8 = str("\xff\xfe");

    lost.len = 3;
    with_nul.data = "of\0f";
    with_nul.len = 4;
    CHECK(!auth_config_set(config, "persist", NULL, 1, NULL));
    CHECK_HAS(auth_config_error(config), "NULL");
    CHECK(!auth_config_set(config, "persist", &lost, 1, NULL));
    CHECK(!auth_config_set(config, "persist", &none, 1, NULL));
    CHECK(!auth_config_set(config, "persist", &with_nul, 1, NULL));
    CHECK(!auth_config_set(config, "persist", &no_utf8, 1, NULL));
    CHECK(!auth_config_set(config, "persist", &none, SIZE_MAX, NULL));
    CHECK(!auth_config_set(config, NULL, &none, 1, NULL));
    CHECK(!auth_config_set(NULL, "persist", &none, 1, NULL));
    CHECK(!auth_config_set(NULL, NULL, NULL, 0, NULL));
    CHECK(set(config, "persist", "off"));
    CHECK(!auth_config_base(config, NULL));
    CHECK(!auth_config_base(NULL, "/"));
    CHECK(!auth_config_check(NULL, "site.conf:3"));
    CHECK(!auth_config_check_section(NULL, NULL, "site.conf:3"));
    CHECK_TEXT(auth_config_error(NULL), "");
    auth_config_free(config);
    auth_config_free(NULL);
}

/* The text of an option is the caller's again once the call returns. */
static void
strings_are_copied_on_the_way_in(void)
{
    auth_config *config = auth_config_new();
    char key[] = "mechanisms", value[] = "ntlm", where[] = "site.conf:3";
    auth_str argument = str(value);

    CHECK(auth_config_set(config, key, &argument, 1, where));
    memset(key, 'x', sizeof key - 1);
    memset(value, 'x', sizeof value - 1);
    memset(where, 'x', sizeof where - 1);
    CHECK(!auth_config_check(config, NULL));
    CHECK_HAS(auth_config_error(config), "site.conf:3: option \"mechanisms\": ");
    auth_config_free(config);
}

static void
a_child_inherits_what_it_does_not_set(void)
{
    auth_config *parent = new_config("accounts"), *child = auth_config_new();
    auth_config *both, *only_child, *only_parent, *neither;

    CHECK(set(parent, "persist", "on"));
    CHECK(set(child, "persist", "off"));
    both = auth_config_inherit(child, parent);
    only_child = auth_config_inherit(child, NULL);
    only_parent = auth_config_inherit(NULL, parent);
    neither = auth_config_inherit(NULL, NULL);
    CHECK(both != NULL && only_child != NULL && only_parent != NULL && neither != NULL);

    /* What they came from may go first. */
    auth_config_free(parent);
    auth_config_free(child);
    CHECK(auth_config_check(both, NULL));
    CHECK(auth_config_check_section(both, NULL, NULL));
    CHECK(!set(both, "persist", "on"));
    CHECK(!set(both, "accounts", "file:accounts"));
    CHECK(!auth_config_check(only_child, NULL));
    CHECK(!set(only_child, "persist", "on"));
    CHECK(auth_config_check(only_parent, NULL));
    CHECK(!auth_config_check(neither, NULL));
    CHECK_HAS(auth_config_error(neither), "accounts");
    CHECK_HAS(auth_config_error(neither), "keytab");
    CHECK(set(neither, "persist", "on"));
    auth_config_free(both);
    auth_config_free(only_child);
    auth_config_free(only_parent);
    auth_config_free(neither);
}

/* What sections could come to is not what each of them has to. */
static void
a_section_may_inherit_some_of_what_there_is(void)
{
    auth_config *accounts = new_config("accounts"), *section = auth_config_new();
    auth_config *nobody = auth_config_new();

    CHECK(set(section, "mechanisms", "ntlm"));
    CHECK(auth_config_check_section(section, accounts, "site.conf:3"));
    CHECK_TEXT(auth_config_error(section), "");
    CHECK(!auth_config_check_section(section, NULL, "site.conf:3"));
    CHECK_HAS(auth_config_error(section), "site.conf:7: option \"mechanisms\": ");
    CHECK(!auth_config_check_section(section, nobody, "site.conf:3"));
    CHECK(auth_config_check_section(nobody, accounts, "site.conf:3"));
    CHECK(!auth_config_check_section(nobody, nobody, "site.conf:3"));
    CHECK_HAS(auth_config_error(nobody), "site.conf:3: ");
    CHECK(!auth_config_check_section(NULL, accounts, "site.conf:3"));
    auth_config_free(accounts);
    auth_config_free(section);
    auth_config_free(nobody);
}

void
test_config(void)
{
    write_accounts("accounts", 0, "");
    options_take_what_they_allow();
    errors_begin_with_their_place();
    files_that_cannot_be_used_are_named();
    arguments_that_are_no_strings_are_refused();
    strings_are_copied_on_the_way_in();
    a_child_inherits_what_it_does_not_set();
    a_section_may_inherit_some_of_what_there_is();
}
