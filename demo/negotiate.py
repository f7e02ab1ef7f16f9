"""Signs in with raw NTLM in the scheme Negotiate: negotiate.py 'DOMAIN\\user' URL"""

import base64
import getpass
import http.client
import ssl
import sys
import urllib.parse

try:
    import spnego
except ModuleNotFoundError:
    sys.exit("negotiate.py: pyspnego is missing: python3 -m venv build/v && build/v/bin/pip install pyspnego, "
             "then build/v/bin/python demo/negotiate.py ...")

if len(sys.argv) != 3:
    sys.exit(f"usage: {__doc__}")
name, url = sys.argv[1:]
address = urllib.parse.urlsplit(url)
password = getpass.getpass(f"Password of {name}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")

if address.scheme == "https":
    # The demo's certificate is signed by nobody.
    connection = http.client.HTTPSConnection(address.netloc, context=ssl._create_unverified_context())
else:
    connection = http.client.HTTPConnection(address.netloc)

client = spnego.client(name, password, hostname=address.hostname, service="HTTP", protocol="ntlm")
token = client.step()
while True:
    header = {"Authorization": "Negotiate " + base64.b64encode(token).decode(), "Accept": "application/json"}
    connection.request("GET", address.path or "/", headers=header)
    answer = connection.getresponse()
    body = answer.read().decode()
    scheme, _, challenge = answer.headers.get("WWW-Authenticate", "").partition(" ")
    if answer.status != 401 or not challenge or client.complete:
        break
    token = client.step(base64.b64decode(challenge))

print(answer.status, answer.reason)
print(body)
sys.exit(answer.status != 200)
