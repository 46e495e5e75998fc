<?php
// PHPMailer, one job a line: number, port, tls, login, recipients, files, subjects, attachment.
// Debian keeps its library below /usr/share/php/libphp-phpmailer.
require '/usr/share/php/libphp-phpmailer/autoload.php';

use PHPMailer\PHPMailer\PHPMailer;

if (($argv[1] ?? '') === 'version') {
    echo PHPMailer::VERSION, ' on PHP ', PHP_VERSION, "\n";
    exit;
}

function send_mails($port, $tls, $login, $recipients, $files, $subjects, $attachment) {
    $mail = new PHPMailer(true);
    $mail->isSMTP();
    $mail->Host = '127.0.0.1';
    $mail->Port = (int) $port;
    $mail->SMTPKeepAlive = true;
    $mail->SMTPAutoTLS = false;
    if ($tls) {
        $mail->SMTPSecure = 'tls';
        $mail->SMTPOptions = ['ssl' => ['cafile' => getenv('MAIL_CA')]];
    }
    if ($login !== 'none') {
        $mail->SMTPAuth = true;
        $mail->AuthType = $login;
        $mail->Username = getenv('MAIL_USER');
        $mail->Password = getenv('MAIL_PASSWORD');
    }
    $mail->CharSet = 'utf-8';
    $mail->Encoding = '8bit';
    $mail->setFrom('erp@contoso.com', 'ERP');
    foreach (explode(',', $recipients) as $recipient) {
        $mail->addAddress($recipient);
    }
    if ($attachment !== '') {
        $mail->addAttachment($attachment);
    }
    $subjects = explode(',', $subjects);
    foreach (explode(',', $files) as $index => $file) {
        $mail->Subject = $subjects[$index];
        $mail->Body = file_get_contents($file);
        $mail->send();
    }
    $mail->smtpClose();
}

while (($line = fgets(STDIN)) !== false) {
    $job = explode("\t", rtrim($line, "\n"));
    $number = array_shift($job);
    try {
        send_mails(...$job);
        echo $number, " ok\n";
    } catch (Exception $error) {
        echo $number, ' ', str_replace("\n", ' ', $error->getMessage()), "\n";
    }
}
