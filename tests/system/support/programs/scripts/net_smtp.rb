# Ruby's net/smtp, one job a line: number, port, tls, login, recipients, files, subjects, attachment.
require 'net/smtp'
require 'openssl'

def send_mails(port, tls, login, recipients, files)
  smtp = Net::SMTP.new('127.0.0.1', port.to_i)
  if tls == '1'
    context = OpenSSL::SSL::SSLContext.new
    context.set_params(ca_file: ENV['MAIL_CA'], verify_mode: OpenSSL::SSL::VERIFY_PEER)
    smtp.enable_starttls(context)
  else
    smtp.disable_starttls
  end
  account = login == 'none' ? [] : [ENV['MAIL_USER'], ENV['MAIL_PASSWORD'], login.downcase.to_sym]
  smtp.start('localhost', *account) do
    files.split(',').each do |file|
      smtp.send_message(File.binread(file), 'erp@contoso.com', recipients.split(','))
    end
  end
end

$stdout.sync = true
$stdin.each_line do |line|
  number, *job = line.chomp.split("\t", -1)
  begin
    send_mails(*job[0, 5])
    puts "#{number} ok"
  rescue StandardError => error
    puts "#{number} #{error.class} #{error.message}".gsub(/\s+/, ' ')
  end
end
