// Java mail, one job a line: number, port, tls, login, recipients, files, subjects, attachment.
import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Properties;
import javax.mail.Session;
import javax.mail.Transport;
import javax.mail.internet.InternetAddress;
import javax.mail.internet.MimeMessage;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocketFactory;
import javax.net.ssl.TrustManagerFactory;

public class Mail {
    static SSLSocketFactory trusting(String authority) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream pem = new FileInputStream(authority)) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(pem));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context.getSocketFactory();
    }

    static void send(String[] job) throws Exception {
        boolean tls = job[2].equals("1");
        boolean auth = !job[3].equals("none");
        Properties keys = new Properties();
        // By name: an address in a certificate is nothing to it.
        keys.put("mail.smtp.host", "localhost");
        keys.put("mail.smtp.port", job[1]);
        keys.put("mail.smtp.from", "erp@contoso.com");
        keys.put("mail.smtp.auth", String.valueOf(auth));
        if (auth) {
            keys.put("mail.smtp.auth.mechanisms", job[3]);
        }
        keys.put("mail.smtp.starttls.enable", String.valueOf(tls));
        keys.put("mail.smtp.starttls.required", String.valueOf(tls));
        if (tls) {
            keys.put("mail.smtp.ssl.checkserveridentity", "true");
            keys.put("mail.smtp.ssl.socketFactory", trusting(System.getenv("MAIL_CA")));
        }
        Session session = Session.getInstance(keys);
        try (Transport transport = session.getTransport("smtp")) {
            if (auth) {
                transport.connect(System.getenv("MAIL_USER"), System.getenv("MAIL_PASSWORD"));
            } else {
                transport.connect();
            }
            for (String file : job[5].split(",")) {
                try (InputStream mail = new FileInputStream(file)) {
                    transport.sendMessage(new MimeMessage(session, mail), InternetAddress.parse(job[4]));
                }
            }
        }
    }

    public static void main(String[] words) throws Exception {
        if (words.length == 1) {
            System.out.println(Session.class.getPackage().getImplementationVersion());
            return;
        }
        BufferedReader jobs = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line; (line = jobs.readLine()) != null; ) {
            String[] job = line.split("\t", -1);
            try {
                send(job);
                System.out.println(job[0] + " ok");
            } catch (Exception error) {
                System.out.println(job[0] + " " + error.toString().replaceAll("\\s+", " "));
            }
        }
    }
}
