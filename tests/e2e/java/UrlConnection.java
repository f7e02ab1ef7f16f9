import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.Authenticator;
import java.net.HttpURLConnection;
import java.net.PasswordAuthentication;
import java.net.URL;
import java.nio.file.Files;

import static java.nio.charset.StandardCharsets.UTF_8;

/** java.net.HttpURLConnection, which has an NTLM client of its own. */
class UrlConnection extends Authenticator implements Requests.Client {
    private final String user;
    private final String password;
    private boolean asked;

    public static void main(String[] arguments) throws IOException {
        Requests.serve(UrlConnection::new);
    }

    private UrlConnection(String user, String password) {
        this.user = user;
        this.password = password;
        Authenticator.setDefault(this);
    }

    /** As a person does, who gives up when the password is asked for again. */
    @Override
    protected PasswordAuthentication getPasswordAuthentication() {
        if (asked) {
            return null;
        }
        asked = true;
        return new PasswordAuthentication(user, password.toCharArray());
    }

    @Override
    public Requests.Answer send(Requests.Request request) throws IOException {
        var connection = (HttpURLConnection) new URL(request.url()).openConnection();
        asked = false;
        connection.setRequestMethod(request.method());
        connection.setRequestProperty("X-Test-Id", request.testId());
        if (request.body() != null) {
            write(connection, request);
        }
        int status = connection.getResponseCode();
        try (InputStream body = status < 400 ? connection.getInputStream() : connection.getErrorStream()) {
            return new Requests.Answer(status, body == null ? "" : new String(body.readAllBytes(), UTF_8));
        }
    }

    private static void write(HttpURLConnection connection, Requests.Request request) throws IOException {
        switch (request.how()) {
            case "fixed" -> connection.setFixedLengthStreamingMode(Files.size(request.body()));
            case "chunked" -> connection.setChunkedStreamingMode(0);
            case "expect" -> {
                connection.setRequestProperty("Expect", "100-continue");
                connection.setFixedLengthStreamingMode(Files.size(request.body()));
            }
            default -> { }
        }
        connection.setDoOutput(true);
        try (OutputStream out = connection.getOutputStream()) {
            Files.copy(request.body(), out);
        }
    }
}
