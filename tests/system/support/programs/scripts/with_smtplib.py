# Python's own smtplib, one job a line: number, port, tls, login, recipients, files, subjects, attachment.
import os, smtplib, ssl, sys

USER, PASSWORD, CA = os.environ["MAIL_USER"], os.environ["MAIL_PASSWORD"], os.environ["MAIL_CA"]


def send(port, tls, login, recipients, files):
    with smtplib.SMTP("127.0.0.1", int(port)) as smtp:
        if tls == "1":
            smtp.starttls(context=ssl.create_default_context(cafile=CA))
        smtp.ehlo_or_helo_if_needed()
        smtp.user, smtp.password = USER, PASSWORD
        if login == "PLAIN":
            smtp.auth("PLAIN", smtp.auth_plain)
        if login == "LOGIN":
            smtp.auth("LOGIN", smtp.auth_login)
        for file in files.split(","):
            with open(file, "rb") as mail:
                smtp.sendmail("erp@contoso.com", recipients.split(","), mail.read())


for line in sys.stdin:
    number, *job = line.rstrip("\n").split("\t")
    try:
        send(*job[:5])
        print(number, "ok", flush=True)
    except Exception as error:
        print(number, repr(error), flush=True)
