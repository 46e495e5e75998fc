# Python's own smtplib: reads "LENGTH RECIPIENT,…" and a mail of that length, hands it in over a connection that
# is used again or over one of its own, says "taken" or why not. numbered_smtplib.py PORT reused|one-shot
import contextlib, smtplib, sys

port, is_reused = int(sys.argv[1]), sys.argv[2] == "reused"
orders = sys.stdin.buffer
smtp = None
while order := orders.readline().split():
    octets, recipients = orders.read(int(order[0])), order[1].decode().split(",")
    try:
        if smtp is None:
            smtp = smtplib.SMTP("127.0.0.1", port, timeout=60)
        refused = smtp.sendmail("erp@contoso.com", recipients, octets)
        answer = "not to all" if refused else "taken"
    except (smtplib.SMTPException, OSError) as error:
        answer = repr(error)
    print(answer, flush=True)
    if smtp is not None and not (is_reused and answer == "taken"):
        with contextlib.suppress(smtplib.SMTPException, OSError):
            smtp.quit()
        smtp = None
