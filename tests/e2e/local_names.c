/*
 * A module for libkrb5 that takes its time: it tells the local names of users,
 * and waits before as long as there is a FIFO at GATE: for somebody to open it
 * for writing, and to close it.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <krb5/localauth_plugin.h>

static void
wait_at_gate(void)
{
    int gate = open(GATE, O_RDONLY | O_CLOEXEC);
    char byte;

    if (gate >= 0) {
        while (read(gate, &byte, 1) < 0 && errno == EINTR) {
            /* void */
        }
        close(gate);
    }
}

/* The first component of the principal. */
static krb5_error_code
name_of(krb5_context context, krb5_localauth_moddata data, const char *type,
        const char *residual, krb5_const_principal principal, char **name)
{
    const krb5_data *user = principal->data;

    (void) context;
    (void) data;
    (void) type;
    (void) residual;
    wait_at_gate();
    *name = strndup(user->data, user->length);
    return *name == NULL ? ENOMEM : 0;
}

static void
free_name(krb5_context context, krb5_localauth_moddata data, char *name)
{
    (void) context;
    (void) data;
    free(name);
}

krb5_error_code
localauth_gate_initvt(krb5_context context, int major, int minor,
                      krb5_plugin_vtable vtable)
{
    krb5_localauth_vtable functions = (krb5_localauth_vtable) vtable;

    (void) context;
    (void) minor;
    if (major != 1) {
        return KRB5_PLUGIN_VER_NOTSUPP;
    }
    functions->name = "gate";
    functions->an2ln = name_of;
    functions->free_string = free_name;
    return 0;
}
