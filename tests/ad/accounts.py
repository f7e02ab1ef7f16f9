"""Who is in the domain, by name: the directory makes them, and the tests sign in with them."""

REALM, DNS_DOMAIN, DOMAIN = "AD.EXAMPLE.TEST", "ad.example.test", "ADTEST"
DC_NAME, MEMBER_NAME = "dc1", "web1"
# What browsers know the member by.
WWW = f"www.{DNS_DOMAIN}"

ADMIN_PASSWORD = "Passw0rd-Admin!"
PASSWORD = "Passw0rd-User1!"
SERVICE_PASSWORD = "Passw0rd-Svc1!"
MACHINE_PASSWORD = "Machine-Passw0rd-123456789!"

UMLAUT = "user.\u00fcml\u00e4ut"
# The tests ask with this one whether signing in works: nobody counts its attempts.
PROBE = "probe"
# All with the one password. disabled: the account is; expired: the account has, in 2012; mustchange: the password, at
# the next sign-in; pwexpired: the password has, after two days; locked: nothing yet, the name says what it is for;
# hours: may sign in at no hour; elsewhere: only at the workstation ELSEWHERE; groupie: is in a thousand groups and came
# from another domain.
USERS = ["alice", "bob", "carol", UMLAUT, PROBE, "disabled", "expired", "mustchange", "pwexpired", "locked", "hours",
         "elsewhere", "groupie"]
# After so many wrong passwords within half an hour an account is locked for half an hour.
LOCKOUT_THRESHOLD = 3

# all-staff has web-users as a member; web-local is a domain local group, whose SID only a server of the domain sees.
GROUPS = {"web-admins": ["alice"], "web-users": ["alice", "bob"], "all-staff": ["web-users"]}
LOCAL_GROUPS = {"web-local": ["web-admins"]}
GROUPS_OF_GROUPIE = [f"crowd-{number:03}" for number in range(1000)]
# Its SID in the domain that it came from (sIDHistory).
FORMER_SID = "S-1-5-21-1004336348-1177238915-682003330-1107"

# Accounts of services, with their names and msDS-SupportedEncryptionTypes.
AES, RC4 = 0x18, 0x4
SERVICES = {"svc-www": ([f"HTTP/{WWW}", "HTTP/www"], AES), "svc-rc4": ([f"HTTP/rc4.{DNS_DOMAIN}"], RC4)}
# Which of these names go into which keytab.
KEYTABS = {"http.keytab": SERVICES["svc-www"][0], "rc4.keytab": SERVICES["svc-rc4"][0]}
