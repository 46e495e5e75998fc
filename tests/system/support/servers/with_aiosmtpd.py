# aiosmtpd as the server that takes our mail: STARTTLS, AUTH XOAUTH2, verdicts by recipient; and a token
# endpoint of Python's http.server. Nothing in here is ours, so it cannot be wrong the way we are.
#
# with_aiosmtpd.py DIRECTORY CERTIFICATE KEY REFUSED_TOKENS
# Says "ready SMTP-PORT TOKEN-PORT", then "token N", "login TOKEN", "refused TOKEN", "declared N PARAMETERS",
# "mail N" as they happen.
# Mails lie in DIRECTORY as N.eml with their envelope in N.txt: sender, then recipients, a line each.
import asyncio, base64, http.server, json, pathlib, ssl, sys, threading, urllib.parse
from aiosmtpd.smtp import MISSING, AuthResult, SMTP

directory, certificate, key, refused = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
MAILBOX = "erp@contoso.com"


def tell(*words):
    print(*words, flush=True)


class Tokens(http.server.BaseHTTPRequestHandler):
    count = 0

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        good = form.get("grant_type") == ["client_credentials"] and form.get("client_secret") == ["hunter2"]
        if good:
            Tokens.count += 1
            answer = {"access_token": f"token-{Tokens.count}", "token_type": "Bearer", "expires_in": 3600}
        else:
            answer = {"error": "invalid_client", "error_description": "not the secret"}
        body = json.dumps(answer).encode()
        self.send_response(200 if good else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        tell("token", Tokens.count)

    def log_message(self, *_):
        pass


class Mails:
    count = 0
    deferred = set()

    async def auth_XOAUTH2(self, server, args):
        response = args[1] if len(args) > 1 else None
        if response is None:
            response = await server.challenge_auth("")
            if response is MISSING:
                return AuthResult(success=False, handled=True)
        else:
            response = base64.b64decode(response)
        fields = response.decode().split("\x01")
        token = fields[1].removeprefix("auth=Bearer ")
        valid = fields[0] == f"user={MAILBOX}" and fields[2:] == ["", ""]
        number = int(token.removeprefix("token-"))
        if valid and refused < number <= Tokens.count:
            tell("login", token)
            return AuthResult(success=True)
        # Google's and Microsoft's way: the reason as a challenge, an empty line from the client, then 535.
        await server.challenge_auth('{"status":"401","schemes":"bearer"}')
        tell("refused", token)
        await server.push("535 5.7.3 Authentication unsuccessful")
        return AuthResult(success=False, handled=True)

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("unknown"):
            return "550 5.1.1 no such mailbox here"
        if address.startswith("busy") and address not in self.deferred:
            self.deferred.add(address)
            return "450 4.2.1 mailbox is busy"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 fine"

    async def handle_DATA(self, server, session, envelope):
        Mails.count += 1
        (directory / f"{Mails.count}.eml").write_bytes(envelope.content)
        lines = [envelope.mail_from or "<>", *envelope.rcpt_tos]
        (directory / f"{Mails.count}.txt").write_text("\n".join(lines))
        tell("declared", Mails.count, *envelope.mail_options)
        tell("mail", Mails.count)
        return "250 2.0.0 taken"


def submission():
    return SMTP(
        Mails(),
        hostname="mail.test",
        data_size_limit=64 * 1024 * 1024,
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        auth_require_tls=True,
        auth_exclude_mechanism=["PLAIN", "LOGIN"],
        enable_SMTPUTF8=True,
        loop=asyncio.get_running_loop(),
    )


async def main():
    server = await asyncio.get_running_loop().create_server(submission, "127.0.0.1", 0)
    tell("ready", server.sockets[0].getsockname()[1], tokens.server_address[1])
    await server.serve_forever()


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
tokens = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tokens)
threading.Thread(target=tokens.serve_forever, daemon=True).start()
asyncio.run(main())
