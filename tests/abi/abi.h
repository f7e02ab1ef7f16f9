/* What the parts of the test of the C API share. */

#ifndef ABI_H
#define ABI_H

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "negotiate_auth.h"
#include "ntlm_client.h"

/* Each counts one check, and says where one failed. */
#define CHECK(holds) check((holds), #holds, __FILE__, __LINE__)
#define CHECK_IS(got, expected) check_is((got), (expected), #got, __FILE__, __LINE__)
#define CHECK_TEXT(got, expected) check_text((got), (expected), #got, __FILE__, __LINE__)

bool check(bool holds, const char *what, const char *file, int line);
bool check_is(uint64_t got, uint64_t expected, const char *what, const char *file, int line);
/* Also that the text ends in its NUL and has no other. */
bool check_text(auth_str got, const char *expected, const char *what, const char *file, int line);

/* The same for a text of which a part counts; "" is in every text. */
#define CHECK_HAS(got, part) check_has((got), (part), #got, __FILE__, __LINE__)
bool check_has(auth_str got, const char *part, const char *what, const char *file, int line);

/* The parts. */
void test_options(void);
void test_config(void);
void test_sessions(void);
void test_jobs(void);
void test_kerberos(void);

auth_str str(const char *text);

/* A file of the folder that the test was given; the text lasts until the next call. */
const char *path_of(const char *name);

/* Reads a whole file of the folder, at most most bytes; returns how many. */
size_t read_file(const char *name, void *out, size_t most);

/* That many other users, then alice, of two groups, and mallory, who is disabled; then more lines.
   Takes the place of the file at once, so that each call is a change to be noticed. */
void write_accounts(const char *name, unsigned others, const char *more);

extern const ntlm_account alice, alice_with_wrong_hash, mallory, nobody;

/* Sets an option from words with single spaces between them; NULL for no argument. */
bool set(auth_config *config, const char *key, const char *words);

/* Options to sign in with, for the domain DEMO with accounts in that file. */
auth_config *new_config(const char *accounts);

/* A GET by HTTP/1.1 without credentials on a connection that stays open. */
auth_request new_request(void);

/* Step with such a request; with a value of Authorization unless it is NULL. */
auth_verdict step(auth_session *session, const auth_config *config, const char *authorization);

/* Sends a NEGOTIATE and makes the AUTHENTICATE that answers the session's challenge. */
void greet(auth_session *session, const auth_config *config, const ntlm_account *account,
           ntlm_field *authenticate);

/* Both messages of a handshake; the verdict on the second. */
auth_verdict sign_in(auth_session *session, const auth_config *config, const ntlm_account *account);

/* That nothing in the session names anybody. */
void check_nobody(const auth_session *session);

/* That the answer has that field of that kind, and that value unless it is NULL. */
void check_header(const auth_session *session, size_t index, uint32_t kind, const char *name,
                  const char *value);

#endif
