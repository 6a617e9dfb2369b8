package conformance;

import jakarta.mail.Authenticator;
import jakarta.mail.PasswordAuthentication;
import jakarta.mail.Session;
import jakarta.mail.Transport;
import jakarta.mail.internet.InternetAddress;
import jakarta.mail.internet.MimeMessage;
import java.io.FileInputStream;
import java.io.InputStream;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Properties;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import org.eclipse.angus.mail.smtp.SMTPMessage;

/** Submits one message with Jakarta Mail; the arguments are settings, each as name=value. */
public final class Send {
    public static void main(String[] arguments) throws Exception {
        Properties given = new Properties();
        for (String argument : arguments) {
            int sign = argument.indexOf('=');
            given.setProperty(argument.substring(0, sign), argument.substring(sign + 1));
        }
        Properties mail = new Properties();
        mail.put("mail.smtp.host", given.getProperty("host"));
        mail.put("mail.smtp.port", given.getProperty("port"));
        mail.put("mail.smtp.from", given.getProperty("sender"));
        switch (given.getProperty("security")) {
            case "starttls" -> mail.put("mail.smtp.starttls.required", "true");
            case "implicit" -> mail.put("mail.smtp.ssl.enable", "true");
            default -> { }
        }
        // Jakarta Mail checks the name only if it is told to.
        mail.put("mail.smtp.ssl.checkserveridentity", "true");
        if (!given.getProperty("ca", "").isEmpty()) {
            mail.put("mail.smtp.ssl.socketFactory", trusting(given.getProperty("ca")).getSocketFactory());
        }
        String feature = given.getProperty("feature");
        mail.put("mail.smtp.allow8bitmime", String.valueOf(feature.equals("8BITMIME")));
        mail.put("mail.mime.allowutf8", String.valueOf(feature.equals("SMTPUTF8")));
        if (feature.equals("CHUNKING")) {
            mail.put("mail.smtp.chunksize", "1000");
        }
        Authenticator user = null;
        if (!given.getProperty("user", "").isEmpty()) {
            mail.put("mail.smtp.auth", "true");
            mail.put("mail.smtp.auth.mechanisms", given.getProperty("mechanism"));
            user = new Authenticator() {
                @Override
                protected PasswordAuthentication getPasswordAuthentication() {
                    return new PasswordAuthentication(given.getProperty("user"), given.getProperty("password"));
                }
            };
        }
        Session session = Session.getInstance(mail, user);
        try (InputStream content = new FileInputStream(given.getProperty("message"))) {
            MimeMessage message = new MimeMessage(session, content);
            if (feature.equals("DSN")) {
                SMTPMessage wanted = new SMTPMessage(message);
                wanted.setNotifyOptions(SMTPMessage.NOTIFY_SUCCESS | SMTPMessage.NOTIFY_FAILURE);
                wanted.setReturnOption(SMTPMessage.RETURN_HDRS);
                message = wanted;
            }
            // Not Transport.send, which gives the message another Message-ID.
            try (Transport transport = session.getTransport("smtp")) {
                transport.connect();
                transport.sendMessage(message, InternetAddress.parse(given.getProperty("recipients")));
            }
        }
    }

    private static SSLContext trusting(String file) throws Exception {
        KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
        trusted.load(null);
        try (InputStream content = new FileInputStream(file)) {
            trusted.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(content));
        }
        TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(trusted);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return context;
    }
}
