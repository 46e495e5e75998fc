# aiosmtplib, one job a line: number, port, tls, login, recipients, files, subjects, attachment.
import asyncio, os, sys
import aiosmtplib

USER, PASSWORD, CA = os.environ["MAIL_USER"], os.environ["MAIL_PASSWORD"], os.environ["MAIL_CA"]


async def send(port, tls, login, recipients, files):
    smtp = aiosmtplib.SMTP(
        hostname="127.0.0.1", port=int(port), start_tls=tls == "1", cert_bundle=CA if tls == "1" else None
    )
    async with smtp:
        if login == "PLAIN":
            await smtp.auth_plain(USER, PASSWORD)
        if login == "LOGIN":
            await smtp.auth_login(USER, PASSWORD)
        for file in files.split(","):
            with open(file, "rb") as mail:
                await smtp.sendmail("erp@contoso.com", recipients.split(","), mail.read())


async def main():
    for line in sys.stdin:
        number, *job = line.rstrip("\n").split("\t")
        try:
            await send(*job[:5])
            print(number, "ok", flush=True)
        except Exception as error:
            print(number, repr(error), flush=True)


asyncio.run(main())
