"""The page of the demo: who is signed in, for a browser or for a program."""

import html
import json

ROWS = [
    ("user", "User"), ("domain", "Domain"), ("mechanism", "Mechanism"), ("scheme", "Scheme"),
    ("server", "Server"), ("protocol", "Protocol"),
]

HTML = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{name}</title>
<style>
  :root {{ color-scheme: light dark; --line: #8884; --accent: #2a7de1; }}
  body {{ font: 16px/1.5 system-ui, sans-serif; display: grid; place-items: center; min-height: 95vh; margin: 0 }}
  main {{ border: 1px solid var(--line); border-top: 4px solid var(--accent); border-radius: 10px;
         padding: 1.5rem 2.5rem; min-width: 18rem }}
  p {{ margin: 0; opacity: .7 }}
  h1 {{ margin: 0 0 1rem; font-size: 2rem }}
  th {{ text-align: left; font-weight: normal; opacity: .7; padding-right: 2rem }}
  td, th {{ border-top: 1px solid var(--line); padding-block: .3rem }}
  table {{ border-collapse: collapse; width: 100% }}
</style>
<main>
<p>Signed in as</p>
<h1>{name}</h1>
<table>
{rows}
</table>
</main>
"""


def render(seen, accept):
    """The content type and the bytes: HTML for browsers, else JSON.

    seen has "user" as the server reports it (REMOTE_USER), and what it says beside that.
    """
    if "text/html" not in accept:
        return "application/json", json.dumps(seen, indent=2).encode() + b"\n"
    details = {**seen, "user": seen.get("account")}
    rows = "\n".join(f"<tr><th>{title}<td>{html.escape(details[key])}" for key, title in ROWS if details.get(key))
    return "text/html; charset=utf-8", HTML.format(name=html.escape(seen["user"]), rows=rows).encode()
