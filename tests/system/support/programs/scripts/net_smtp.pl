# Perl's Net::SMTP, one job a line: number, port, tls, login, recipients, files, subjects, attachment.
use strict;
use warnings;
use Authen::SASL;
use Net::SMTP;

$| = 1;
my ($user, $password, $ca) = @ENV{qw(MAIL_USER MAIL_PASSWORD MAIL_CA)};

sub send_mails {
    my ($port, $tls, $login, $recipients, $files) = @_;
    my $smtp = Net::SMTP->new('127.0.0.1', Port => $port) or die "connect: $@\n";
    my $good = sub { my ($done, $what) = @_; $done or die "$what: " . $smtp->code . ' ' . $smtp->message };
    $good->($smtp->starttls(SSL_ca_file => $ca, SSL_verify_mode => 1), 'starttls') if $tls;
    if ($login ne 'none') {
        my $sasl = Authen::SASL->new(
            mechanism => $login,
            callback => { user => $user, pass => $password, authname => '' });
        $good->($smtp->auth($sasl), 'auth');
    }
    for my $file (split /,/, $files) {
        open my $mail, '<:raw', $file or die "$file: $!\n";
        my $text = do { local $/; <$mail> };
        $good->($smtp->mail('erp@contoso.com'), 'mail');
        $good->($smtp->to(split /,/, $recipients), 'to');
        $good->($smtp->data, 'data');
        $good->($smtp->datasend($text), 'datasend');
        $good->($smtp->dataend, 'dataend');
    }
    $smtp->quit;
}

while (my $line = <STDIN>) {
    chomp $line;
    my ($number, @job) = split /\t/, $line, -1;
    my $word = eval { send_mails(@job); 1 } ? 'ok' : $@;
    $word =~ s/\s+/ /g;
    print "$number $word\n";
}
