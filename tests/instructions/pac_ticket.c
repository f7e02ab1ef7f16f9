/*
 * Gives a ticket a PAC such as a domain controller writes: whoever has the
 * service's key can do that.
 *
 *     pac_ticket KEYTAB SERVICE LOGON_INFO CACHE
 *
 * The ticket for SERVICE is in the cache that the variable KRB5CCNAME names.
 * LOGON_INFO is a file with a KERB_VALIDATION_INFO (MS-PAC 2.5). CACHE, a new
 * file, gets the ticket with a PAC of that and of what every PAC has.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <krb5.h>

#define MOST 65536

#define LOGON_INFO 1

/* Exported by the library, and in none of its headers. */
krb5_error_code krb5_encrypt_tkt_part(krb5_context context,
                                      const krb5_keyblock *key,
                                      krb5_ticket *ticket);
krb5_error_code encode_krb5_ticket(const krb5_ticket *ticket,
                                   krb5_data **encoded);

static krb5_context context;

static void
check(const char *call, krb5_error_code code)
{
    if (code != 0) {
        fprintf(stderr, "%s: %s\n", call,
                krb5_get_error_message(context, code));
        exit(1);
    }
}

static krb5_data
read_file(const char *path)
{
    static char contents[MOST];
    krb5_data data = {0, 0, contents};
    FILE *file = fopen(path, "rb");

    if (file == NULL) {
        perror(path);
        exit(1);
    }
    data.length = (unsigned) fread(contents, 1, sizeof contents, file);
    fclose(file);
    return data;
}

/* The ticket that is there for the service, and whose cache that is. */
static krb5_creds
find(const char *service, krb5_principal *owner)
{
    krb5_creds wanted = {0}, found;
    krb5_ccache cache;

    check("krb5_cc_default", krb5_cc_default(context, &cache));
    check("krb5_cc_get_principal",
          krb5_cc_get_principal(context, cache, owner));
    wanted.client = *owner;
    check(service, krb5_parse_name(context, service, &wanted.server));
    check(service,
          krb5_cc_retrieve_cred(context, cache, 0, &wanted, &found));
    krb5_free_principal(context, wanted.server);
    krb5_cc_close(context, cache);
    return found;
}

/* In the place of what the KDC has authorized. */
static void
put_pac(krb5_enc_tkt_part *part, krb5_data logon_info, krb5_keyblock *key)
{
    krb5_pac pac;
    krb5_data bytes;
    krb5_authdata *authorization, *both[2] = {NULL, NULL};

    check("krb5_pac_init", krb5_pac_init(context, &pac));
    check("krb5_pac_add_buffer",
          krb5_pac_add_buffer(context, pac, LOGON_INFO, &logon_info));
    /* The KDC's own signature is none that a service can check. */
    check("krb5_pac_sign",
          krb5_pac_sign(context, pac, part->times.authtime, part->client, key,
                        key, &bytes));
    authorization = calloc(1, sizeof *authorization);
    authorization->ad_type = KRB5_AUTHDATA_WIN2K_PAC;
    authorization->length = bytes.length;
    authorization->contents = (krb5_octet *) bytes.data;
    both[0] = authorization;
    krb5_free_authdata(context, part->authorization_data);
    check("krb5_encode_authdata_container",
          krb5_encode_authdata_container(context, KRB5_AUTHDATA_IF_RELEVANT,
                                         both, &part->authorization_data));
    krb5_free_data_contents(context, &bytes);
    free(authorization);
    krb5_pac_free(context, pac);
}

int
main(int argc, char **argv)
{
    krb5_keytab keytab;
    krb5_keytab_entry entry;
    krb5_principal owner;
    krb5_creds credentials;
    krb5_ticket *ticket;
    krb5_data *encoded;
    krb5_ccache cache;

    if (argc != 5) {
        fprintf(stderr, "usage: pac_ticket KEYTAB SERVICE LOGON_INFO CACHE\n");
        return 1;
    }
    check("krb5_init_context", krb5_init_context(&context));
    credentials = find(argv[2], &owner);
    check("krb5_decode_ticket",
          krb5_decode_ticket(&credentials.ticket, &ticket));
    check(argv[1], krb5_kt_resolve(context, argv[1], &keytab));
    check(argv[1],
          krb5_kt_get_entry(context, keytab, ticket->server,
                            ticket->enc_part.kvno, ticket->enc_part.enctype,
                            &entry));
    check("krb5_server_decrypt_ticket_keytab",
          krb5_server_decrypt_ticket_keytab(context, keytab, ticket));

    put_pac(ticket->enc_part2, read_file(argv[3]), &entry.key);
    krb5_free_data_contents(context, &ticket->enc_part.ciphertext);
    check("krb5_encrypt_tkt_part",
          krb5_encrypt_tkt_part(context, &entry.key, ticket));
    check("encode_krb5_ticket", encode_krb5_ticket(ticket, &encoded));
    krb5_free_data_contents(context, &credentials.ticket);
    credentials.ticket = *encoded;

    check(argv[4], krb5_cc_resolve(context, argv[4], &cache));
    check(argv[4], krb5_cc_initialize(context, cache, owner));
    check(argv[4], krb5_cc_store_cred(context, cache, &credentials));
    krb5_cc_close(context, cache);

    free(encoded);
    krb5_free_ticket(context, ticket);
    krb5_free_keytab_entry_contents(context, &entry);
    krb5_kt_close(context, keytab);
    krb5_free_cred_contents(context, &credentials);
    krb5_free_principal(context, owner);
    krb5_free_context(context);
    return 0;
}
