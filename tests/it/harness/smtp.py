"""A mail server on loopback. It prints its port and each received mail as a line of JSON.

Its argument is a JSON object. `answers` are the replies to mails, in turn; the last one repeats.
`user` and `password` are the required login. `certificate` and `key` enable TLS: from the start if
`tls` is "implicit", else by STARTTLS.
"""

import asyncio
import json
import logging
import ssl
import sys
import warnings

from aiosmtpd.smtp import SMTP, AuthResult

# Tests provoke errors on purpose, and the log lines would hide the result of a test.
logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")

WISH = json.loads(sys.argv[1])
ANSWERS = WISH.get("answers", ["250 taken"])


def say(line):
    print(json.dumps(line), flush=True)


class Handler:
    def __init__(self):
        self.asked = 0

    async def handle_DATA(self, server, session, envelope):
        answer = ANSWERS[min(self.asked, len(ANSWERS) - 1)]
        self.asked += 1
        say(
            {
                "message": "mail",
                "answer": answer,
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "text": envelope.content.decode(),
                "is_encrypted": session.ssl is not None or WISH.get("tls") == "implicit",
                "is_authenticated": session.authenticated is True,
            }
        )
        return answer


def authenticate(server, session, envelope, mechanism, login):
    wanted = (WISH.get("user", "").encode(), WISH.get("password", "").encode())
    say({"message": "login", "is_right": (login.login, login.password) == wanted})
    return AuthResult(success=(login.login, login.password) == wanted)


async def main():
    context = None
    if "certificate" in WISH:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(WISH["certificate"], WISH["key"])
    implicit = WISH.get("tls") == "implicit"
    handler = Handler()

    def session():
        return SMTP(
            handler,
            tls_context=None if implicit else context,
            authenticator=authenticate if "user" in WISH else None,
            auth_required="user" in WISH,
            # A test must see a client that sends its password without TLS.
            auth_require_tls=False,
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(session, "127.0.0.1", 0, ssl=context if implicit else None)
    say({"message": "listening", "port": server.sockets[0].getsockname()[1]})
    await server.serve_forever()


asyncio.run(main())
