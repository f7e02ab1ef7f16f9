"""The directory of the domain controller, as Samba's Python opens it: made, filled, read and written without LDAP.

    /usr/bin/python3 directory.py

Runs in the namespaces of the controller, with Debian's Python, and is called by domain.py (see remote.py). It needs
no daemon, and works beside one.
"""

import logging
import os
import pathlib
import time

import ldb
import samba.dckeytab  # noqa: F401: gives Net its export_keytab
from samba import dsdb, param, samdb
from samba.auth import system_session
from samba.dcerpc import security
from samba.ndr import ndr_pack
from samba.net import Net
from samba.provision import FILL_FULL, provision

import accounts
import remote

SMB_CONF = "/etc/samba/smb.conf"
MINUTE = 60 * 10**7
DAY = 24 * 60 * MINUTE
NO_HOURS = bytes(21)


def main():
    directory = Directory()
    remote.serve({name: getattr(directory, name) for name in
                  ("make", "find", "read", "sids", "write", "unlock", "set_password", "add_user", "set_member", "keytab")})


class Directory:
    """Accounts are named by their sAMAccountName."""

    def __init__(self):
        self.lp = param.LoadParm()
        self.lp.load(SMB_CONF)
        self.opened = None

    @property
    def sam(self):
        if self.opened is None:
            self.opened = samdb.SamDB(session_info=system_session(), lp=self.lp)
        return self.opened

    # Called by the tests

    def make(self, address):
        """Provisions the domain and fills it. Returns its SID."""
        configuration = pathlib.Path(SMB_CONF).read_text()
        log = logging.getLogger("provision")
        log.setLevel(logging.WARNING)
        provision(log, system_session(), smbconf=SMB_CONF, lp=self.lp, samdb_fill=FILL_FULL, realm=accounts.REALM,
                  domain=accounts.DOMAIN, hostname=accounts.DC_NAME, hostip=address, adminpass=accounts.ADMIN_PASSWORD,
                  serverrole="active directory domain controller", dns_backend="SAMBA_INTERNAL",
                  dom_for_fun_level=dsdb.DS_DOMAIN_FUNCTION_2008_R2, batch_mode=True)
        pathlib.Path(SMB_CONF).write_text(configuration)
        self.sam.transaction_start()
        self.set_policy()
        self.add_users()
        self.add_services()
        self.add_groups()
        self.name_controller()
        self.sam.transaction_commit()
        return self.sam.get_domain_sid()

    def find(self, account):
        """Its distinguished name, or None."""
        found = self.sam.search(self.sam.domain_dn(), expression=self.filter(account), attrs=["dn"])
        return str(found[0].dn) if found else None

    def read(self, account, attributes):
        """The values of each attribute, as text or, where they are none, as bytes; SIDs are text."""
        (found,) = self.sam.search(self.sam.domain_dn(), expression=self.filter(account), attrs=attributes)
        return {name: [self.value(name, one) for one in found.get(name, [])] for name in attributes}

    def sids(self, pattern):
        """Of all accounts whose names fit a pattern with asterisks, by name."""
        found = self.sam.search(self.sam.domain_dn(), expression=f"(sAMAccountName={pattern})",
                                attrs=["sAMAccountName", "objectSid"])
        return {str(one["sAMAccountName"]): self.value("objectSid", one["objectSid"][0]) for one in found}

    def write(self, account, attributes, bypass=False):
        """Replaces the values of each attribute; None removes it. bypass: also what only the server may write."""
        message = ldb.Message(self.dn(account))
        for name, value in attributes.items():
            message[name] = ldb.MessageElement([] if value is None else value, ldb.FLAG_MOD_REPLACE, name)
        self.sam.modify(message, controls=[f"local_oid:{dsdb.DSDB_CONTROL_BYPASS_PASSWORD_HASH_OID}:0"]
                        if bypass else [])

    def unlock(self, account):
        """As an administrator does: the count of wrong passwords begins anew, too."""
        self.write(account, {"lockoutTime": "0"})

    def set_password(self, account, password):
        self.sam.setpassword(self.filter(account), password)

    def add_user(self, account, password, attributes=None):
        self.sam.newuser(account, password)
        if attributes:
            self.write(account, attributes)

    def set_member(self, group, account, member):
        """Puts an account into a group, or takes it out."""
        self.sam.add_remove_group_members(group, [account], add_members_operation=member)

    def keytab(self, path, principals):
        """Writes their keys into a new file."""
        pathlib.Path(path).unlink(missing_ok=True)
        for principal in principals:
            Net(None, self.lp).export_keytab(keytab=path, principal=principal)

    # Parts

    def dn(self, account):
        name = self.find(account)
        if name is None:
            raise KeyError(account)
        return ldb.Dn(self.sam, name)

    @staticmethod
    def filter(account):
        return f"(sAMAccountName={ldb.binary_encode(account)})"

    def value(self, name, value):
        if name in ("objectSid", "objectGUID"):
            return self.sam.schema_format_value(name, value).decode()
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:
            return bytes(value)

    def set_policy(self):
        """Any password, for ever; no more attempts than the threshold says."""
        message = ldb.Message(ldb.Dn(self.sam, self.sam.domain_dn()))
        for name, value in {"lockoutThreshold": accounts.LOCKOUT_THRESHOLD, "lockoutDuration": -30 * MINUTE,
                            "lockOutObservationWindow": -30 * MINUTE, "minPwdAge": 0, "maxPwdAge": 0,
                            "pwdHistoryLength": 0, "pwdProperties": 0, "minPwdLength": 1}.items():
            message[name] = ldb.MessageElement(str(value), ldb.FLAG_MOD_REPLACE, name)
        self.sam.modify(message)

    def add_users(self):
        for name in accounts.USERS:
            self.sam.newuser(name, accounts.PASSWORD, mailaddress=f"{name}@{accounts.DNS_DOMAIN}")
        self.set_flag("disabled", dsdb.UF_ACCOUNTDISABLE)
        self.write("expired", {"accountExpires": "130000000000000000"})
        self.write("mustchange", {"pwdLastSet": "0"})
        self.write("hours", {"logonHours": NO_HOURS})
        # winbindd names a workstation with backslashes before it, which this controller does not take away.
        self.write("elsewhere", {"userWorkstations": r"ELSEWHERE,\\ELSEWHERE"})
        self.add_policy_of_age("pwexpired")
        month_ago = int((time.time() + 11644473600) * 10**7) - 30 * DAY
        self.write("pwexpired", {"pwdLastSet": str(month_ago)}, bypass=True)

    def add_policy_of_age(self, account):
        """Passwords of this account alone are good for two days: Samba takes up to one day as for ever."""
        self.sam.add({
            "dn": f"CN=age,CN=Password Settings Container,CN=System,{self.sam.domain_dn()}",
            "objectClass": "msDS-PasswordSettings", "msDS-PasswordSettingsPrecedence": "1",
            "msDS-PasswordReversibleEncryptionEnabled": "FALSE", "msDS-PasswordHistoryLength": "0",
            "msDS-PasswordComplexityEnabled": "FALSE", "msDS-MinimumPasswordLength": "1",
            "msDS-MinimumPasswordAge": "0", "msDS-MaximumPasswordAge": str(-2 * DAY), "msDS-LockoutThreshold": "0",
            "msDS-LockoutObservationWindow": str(-MINUTE), "msDS-LockoutDuration": str(-MINUTE),
            "msDS-PSOAppliesTo": str(self.dn(account))})

    def add_services(self):
        for name, (principals, enctypes) in accounts.SERVICES.items():
            self.sam.newuser(name, accounts.SERVICE_PASSWORD)
            # A password makes keys of the kinds that are allowed when it is set.
            self.write(name, {"servicePrincipalName": principals, "msDS-SupportedEncryptionTypes": str(enctypes)})
            self.set_password(name, accounts.SERVICE_PASSWORD)

    def add_groups(self):
        for name, members in accounts.GROUPS.items():
            self.sam.newgroup(name)
            self.sam.add_remove_group_members(name, members)
        for name, members in accounts.LOCAL_GROUPS.items():
            self.sam.newgroup(name, grouptype=dsdb.GTYPE_SECURITY_DOMAIN_LOCAL_GROUP)
            self.sam.add_remove_group_members(name, members)
        groupie = str(self.dn("groupie"))
        for name in accounts.GROUPS_OF_GROUPIE:
            self.sam.add({"dn": f"CN={name},CN=Users,{self.sam.domain_dn()}", "objectClass": "group",
                          "sAMAccountName": name, "member": groupie})
        self.write("groupie", {"sIDHistory": ndr_pack(security.dom_sid(accounts.FORMER_SID))})

    def name_controller(self):
        """The names that the controller's own service would register, which is off."""
        name, host, domain = accounts.DC_NAME, f"{accounts.DC_NAME}.{accounts.DNS_DOMAIN}", accounts.DNS_DOMAIN
        message = ldb.Message(self.dn(f"{name.upper()}$"))
        message["servicePrincipalName"] = ldb.MessageElement(
            [f"ldap/{host}", f"ldap/{name.upper()}", f"ldap/{host}/{domain}", f"ldap/{host}/{accounts.DOMAIN}",
             f"GC/{host}/{domain}", f"cifs/{host}"], ldb.FLAG_MOD_ADD, "servicePrincipalName")
        self.sam.modify(message)

    def set_flag(self, account, flag):
        before = int(self.read(account, ["userAccountControl"])["userAccountControl"][0])
        self.write(account, {"userAccountControl": str(before | flag)})


if __name__ == "__main__":
    os.umask(0o022)
    main()
